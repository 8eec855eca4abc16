//! A real Redis on a free port, in a folder of its own, which a test can stop, freeze and start
//! again.
//!
//! It owns the process and its folder. It refuses to be skipped: without a `redis-server` the tests
//! that need one fail and say what to install, since a guarantee that was not checked does not
//! hold.
//!
//! What a reader would get wrong: a port cannot be taken by one process for another. The kernel
//! assigns it and the test passes it to the Redis; if another process takes it in between, the test
//! tries another.

use crate::harness::RedisSection;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::patience::{eventually, within};

/// A running Redis, or one that was stopped. Dropping it ends the process.
pub struct Redis {
    address: SocketAddr,
    folder: TempDir,
    process: Option<Child>,
}

/// What becomes of the keys when it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// They are there again when it starts again.
    Kept,
    /// They are again what they were at the last `SAVE`.
    Old,
    /// They are gone.
    Lost,
}

impl Redis {
    /// Starts one and awaits its first answer.
    pub async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        loop {
            let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            if let Some(process) = launch(address, &folder).await {
                return Self { address, folder, process: Some(process) };
            }
        }
    }

    /// Its address for a configuration.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The section of a configuration that names it; an operation may take `timeout`.
    pub fn section(&self, timeout: &str) -> RedisSection {
        RedisSection::default().url(self.url()).timeout(timeout)
    }

    /// Stops it.
    pub async fn stop(&mut self, keys: Keys) {
        let mut process = self.process.take().unwrap();
        let how = match keys {
            Keys::Kept => "SHUTDOWN SAVE",
            Keys::Old | Keys::Lost => "SHUTDOWN NOSAVE",
        };
        drop(ask(self.address, how).await);
        within("the end of the redis", process.wait()).await.unwrap();
        if keys == Keys::Lost {
            drop(std::fs::remove_file(self.folder.path().join("dump.rdb")));
        }
    }

    /// Starts it again where it was, and awaits its first answer.
    pub async fn start_again(&mut self) {
        let process = eventually(
            || format!("a redis starts again on {}", self.address),
            async || launch(self.address, &self.folder).await,
        )
        .await;
        self.process = Some(process);
    }

    /// Stops its clock: connections are still accepted by the kernel, and nothing answers.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it continue.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// The answer to a command without arguments that need quoting, as it is sent.
    pub async fn ask(&self, command: &str) -> String {
        ask(self.address, command).await.unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.process.as_ref().unwrap().id().unwrap().to_string();
        let sent = std::process::Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success(), "kill {name} {pid}");
    }
}

/// Starts a process there; `None` when it ended, as it does when the port is taken.
async fn launch(address: SocketAddr, folder: &TempDir) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.arg("--dir").arg(folder.path()).args(["--dbfilename", "dump.rdb"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut process = command.spawn().unwrap_or_else(|error| {
        panic!("redis-server cannot be started ({error}): install it, as with `apt-get install redis-server`")
    });
    let own = format!("process_id:{}\r\n", process.id().unwrap());
    eventually(
        || format!("a redis answers on {address}"),
        async || {
            if process.try_wait().unwrap().is_some() {
                return Some(false);
            }
            // Another test's Redis may have got the port.
            let about = ask(address, "INFO server").await.ok()?;
            about.contains(&own).then_some(true)
        },
    )
    .await
    .then_some(process)
}

/// Sends one command over a connection of its own, and reads until nothing more arrives.
async fn ask(address: SocketAddr, command: &str) -> std::io::Result<String> {
    let asking = async {
        let mut connection = TcpStream::connect(address).await?;
        connection.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    within(&format!("an answer to {command:?}"), asking).await
}
