//! The same behind a real nginx, as many run it: it tries the other replica when one refuses the
//! connection or answers 503.
//!
//! It owns the nginx process, which listens on a socket in its own folder and reads new addresses
//! on SIGHUP. Without an nginx the test prints that it is skipped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::{
    CLIENTS, Client, Gate, SLOTS, go_on, is_whole, logged, request, restart, spawn_gateway,
    upstream,
};
use crate::harness::{Log, Provider};
use crate::patience::within;

/// A running nginx. Dropping it ends it.
struct Nginx {
    folder: TempDir,
    process: Child,
    log: Log,
}

#[tokio::test]
async fn nginx_hides_a_rolling_restart_from_every_client() {
    let gates = [Gate::closed(), Gate::closed()];
    let upstream = upstream(&gates);
    let config = Provider::ollama(&upstream).slots(SLOTS);
    let mut replicas = [spawn_gateway(&config).await, spawn_gateway(&config).await];
    let mut addresses = [replicas[0].address(), replicas[1].address()];
    let Some(nginx) = Nginx::start(addresses).await else {
        println!("skipped: nginx is not installed, as with `apt-get install nginx-light`");
        let [one, two] = replicas;
        one.end(0).await;
        return two.end(0).await;
    };
    let is_over = Arc::new(AtomicBool::new(false));
    let mut clients: Vec<Client<usize>> =
        (0..CLIENTS).map(|number| client(nginx.socket(), number, &is_over)).collect();
    let (mut served, mut turned_away) = (0, 0);

    for (index, gate) in gates.iter().enumerate() {
        go_on(&mut clients).await;
        // The held call goes around nginx.
        let content = format!("held {index}");
        let old = restart(&mut replicas[index], &config, &content, gate, &mut clients).await;
        addresses[index] = replicas[index].address();
        nginx.reload(addresses).await;
        let book = logged(&old);
        (served, turned_away) = (served + book.served, turned_away + book.turned_away);
    }
    go_on(&mut clients).await;
    is_over.store(true, Ordering::SeqCst);

    let mut calls = gates.len();
    for client in clients {
        calls += client.end.await.unwrap();
    }
    for new in replicas {
        let book = logged(&new);
        assert!(book.served > 0 && book.turned_away == 0, "{book:?}");
        served += book.served;
        new.end(book.served).await;
    }
    assert_eq!(served, calls);
    assert!(turned_away > 0, "nginx never met a replica that was stopping");
}

/// A client that makes one call after the other through nginx, and needs to know nothing.
fn client(socket: PathBuf, number: usize, is_over: &Arc<AtomicBool>) -> Client<usize> {
    let (counter, calls) = watch::channel(0);
    let is_over = Arc::clone(is_over);
    let end = tokio::spawn(async move {
        let mut call = 0;
        while !is_over.load(Ordering::SeqCst) {
            let is_streamed = call % 3 == 0;
            let request = request(&format!("client-{number}-{call}"), "hi", is_streamed);
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            let text = within("an answer through nginx", async {
                stream.write_all(&request).await.unwrap();
                let mut text = String::new();
                stream.read_to_string(&mut text).await.unwrap();
                text
            });
            let text = text.await;
            assert!(is_whole(&text, is_streamed), "call {call} of client {number} fails: {text}");
            call += 1;
            counter.send_replace(call);
        }
        call
    });
    Client { calls, end }
}

impl Nginx {
    /// Starts it in front of these replicas; `None` where there is no nginx.
    async fn start(replicas: [SocketAddr; 2]) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        write_config(folder.path(), replicas);
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = match command.spawn() {
            Ok(process) => process,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => panic!("nginx cannot be started: {error}"),
        };
        let log = Log::collect(process.stderr.take().unwrap());
        let nginx = Self { folder, process, log };
        nginx.logged("start worker process ").await;
        Some(nginx)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("front.sock")
    }

    /// Has it use these replicas, and awaits the end of the worker that knew the others.
    async fn reload(&self, replicas: [SocketAddr; 2]) {
        let ended = self.ended_workers();
        write_config(self.folder.path(), replicas);
        self.signal("-HUP");
        let is_next = |line: &str| line.contains("exited with code 0").then_some(());
        let mut left = ended + 1;
        let counted = |line: &str| {
            left -= usize::from(is_next(line).is_some());
            (left == 0).then_some(())
        };
        self.log.first(counted, "the end of nginx's old worker").await;
    }

    fn ended_workers(&self) -> usize {
        self.log.lines().iter().filter(|line| line.contains("exited with code 0")).count()
    }

    async fn logged(&self, text: &str) {
        self.log.first(|line| line.contains(text).then_some(()), text).await;
    }

    fn signal(&self, name: &str) {
        let Some(pid) = self.process.id() else { return };
        let sent = std::process::Command::new("kill").args([name, &pid.to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {name} {pid}");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // In order, so that its worker ends too.
        self.signal("-TERM");
    }
}

fn write_config(folder: &Path, [one, two]: [SocketAddr; 2]) {
    // `max_fails=0`: a replica that was down is tried again at once. The rest is an ordinary
    // configuration.
    let text = format!(
        "daemon off; user root; worker_processes 1; pid nginx.pid; error_log stderr notice;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
         access_log off; client_body_temp_path body; proxy_temp_path proxy;\n\
         fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
         upstream gateway {{ server {one} max_fails=0; server {two} max_fails=0; }}\n\
         server {{\n\
         listen unix:{};\n\
         location / {{\n\
         proxy_pass http://gateway; proxy_http_version 1.1; proxy_buffering off;\n\
         proxy_next_upstream error timeout http_503 non_idempotent;\n\
         }} }} }}\n",
        folder.join("front.sock").display()
    );
    std::fs::write(folder.join("nginx.conf"), text).unwrap();
}
