//! The gateway as its operators run it: the real binary in its own process.
//!
//! A [`Gateway`] owns the process, its folder and everything it printed. It starts with an empty
//! environment in a folder of its own, so that no `.env`, configuration or variable of the
//! developer leaks in. Listeners get ports from the kernel; the addresses are read from the log.
//!
//! What a reader would get wrong: a test has to *end* its gateway. [`Gateway::end`] checks that
//! everything came to rest and adds up; dropping a running gateway without it fails the test.

mod config;
mod log;
mod metrics;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::client::get;
use crate::patience::{eventually, within};
pub use config::{
    Auth, Breaker, Cache, Config, Health, Key, Names, Otel, Provider, Rate, RedisSection, Retry,
    Route, Server, Target, Timeouts, Tls,
};
pub use log::{Access, Log};
pub use metrics::Metrics;

/// A running gateway.
pub struct Gateway {
    child: Child,
    main: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    stdout: Log,
    stderr: Log,
    folder: TempDir,
    has_ended: bool,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Printed {
    /// The exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// What an operator sends to the process.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// Stop in order.
    Term,
    /// The same, from a terminal.
    Int,
    /// Read the configuration again.
    Hup,
    /// End at once.
    Kill,
}

/// Starts a gateway with this configuration, a [`Config`], a [`Provider`] or TOML, and awaits both
/// its listeners.
///
/// Listeners that the configuration does not name are `127.0.0.1:0`.
pub async fn spawn_gateway(config: impl Display) -> Gateway {
    spawn_gateway_with(config, &[]).await
}

/// Like [`spawn_gateway`], with these environment variables.
pub async fn spawn_gateway_with(config: impl Display, variables: &[(&str, &str)]) -> Gateway {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, with_listeners(config)).unwrap();
    let mut command = command(&["serve", "--config", file.to_str().unwrap()], variables);
    command.current_dir(folder.path());
    Gateway::start(command, folder).await
}

/// Like [`spawn_gateway`], after the shell has run `limits`, such as `ulimit -n 64`.
pub async fn spawn_gateway_under(limits: &str, config: impl Display) -> Gateway {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, with_listeners(config)).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limits}; exec \"$0\" serve --config gateway.toml")]);
    command.arg(env!("CARGO_BIN_EXE_llm-gateway")).env_clear().current_dir(folder.path());
    Gateway::start(command, folder).await
}

/// Starts a gateway in a folder that is prepared already, with exactly these arguments and
/// variables.
pub async fn spawn_gateway_in(
    folder: TempDir,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Gateway {
    let mut command = command(arguments, variables);
    command.current_dir(folder.path());
    Gateway::start(command, folder).await
}

/// Starts the demonstration and awaits both its listeners.
pub async fn spawn_demo() -> Gateway {
    let folder = TempDir::new().unwrap();
    let mut command = command(&["demo"], &[]);
    command.current_dir(folder.path());
    Gateway::start(command, folder).await
}

/// Runs a command of the binary to its end in an empty folder.
pub async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Printed {
    let folder = TempDir::new().unwrap();
    run_in(folder.path(), arguments, variables).await
}

/// Runs a command of the binary to its end in `folder`.
pub async fn run_in(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Printed {
    let mut command = command(arguments, variables);
    command.stdin(Stdio::null());
    ended(&mut command, folder, arguments).await
}

/// Like [`run_in`], with `input` as its standard input.
pub async fn run_with_input(folder: &Path, arguments: &[&str], input: &str) -> Printed {
    let file = folder.join("standard-input");
    std::fs::write(&file, input).unwrap();
    let mut command = command(arguments, &[]);
    command.stdin(std::fs::File::open(file).unwrap());
    ended(&mut command, folder, arguments).await
}

async fn ended(command: &mut Command, folder: &Path, arguments: &[&str]) -> Printed {
    let output = command.current_dir(folder).output();
    let output = within(&format!("the end of {arguments:?}"), output).await.unwrap();
    Printed {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Gateway {
    /// Where it serves clients.
    pub fn address(&self) -> SocketAddr {
        self.main.unwrap()
    }

    /// The URL of a path on the main listener.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// The URL of a path on the admin listener.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin.unwrap())
    }

    /// The folder that it works in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where its configuration file is.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    /// Replaces the configuration file; the gateway notices within seconds, or when told to reload.
    pub fn write_config(&self, config: impl Display) {
        std::fs::write(self.config_file(), with_listeners(config)).unwrap();
    }

    /// Everything it has logged so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.stderr.lines()
    }

    /// Everything it has written to standard output so far.
    pub fn printed_lines(&self) -> Vec<String> {
        self.stdout.lines()
    }

    /// Awaits a log line that contains `text`, and returns it.
    pub async fn logged(&self, text: &str) -> String {
        self.stderr.first(|line| line.contains(text).then(|| line.to_owned()), text).await
    }

    /// The access lines logged so far: one per request that has ended.
    pub fn access_lines(&self) -> Vec<Access> {
        self.stderr.lines().iter().filter_map(|line| Access::parse(line)).collect()
    }

    /// What `GET /metrics` answers now.
    pub async fn metrics(&self) -> Metrics {
        let answer = get(&self.admin_url("/metrics")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Metrics::parse(&answer.text())
    }

    /// What `GET /admin/providers` answers now.
    pub async fn providers(&self) -> Value {
        let answer = get(&self.admin_url("/admin/providers")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Memory that the process holds now, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// How many descriptors the process holds now.
    pub fn open_descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// The soft and the hard limit of descriptors that the process works under.
    pub fn descriptor_limits(&self) -> (String, String) {
        let limits = std::fs::read_to_string(self.proc("limits")).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        let mut columns = line.split_whitespace().map(str::to_owned);
        (columns.next().unwrap(), columns.next().unwrap())
    }

    /// Awaits rest: nothing in flight, nothing queued, every slot free.
    pub async fn settled(&self) {
        let mut last = String::new();
        let seen = std::cell::RefCell::new(&mut last);
        eventually(
            || format!("the gateway comes to rest: {}", seen.borrow()),
            async || {
                let metrics = self.metrics().await;
                let busy = metrics.sum("llm_gateway_in_flight", &[])
                    + metrics.sum("llm_gateway_queued", &[]);
                let providers = self.providers().await;
                **seen.borrow_mut() = providers.to_string();
                (busy == 0.0 && all_free(&providers)).then_some(())
            },
        )
        .await;
    }

    /// Awaits that `sent` requests have ended, and checks that each ended once: in the metrics, in
    /// the log, and with the same outcomes in both.
    pub async fn adds_up(&self, sent: usize) {
        let total = "llm_gateway_requests_total";
        let counted = std::cell::Cell::new(0.0);
        eventually(
            || format!("{sent} requests end, {} have; {:#?}", counted.get(), self.log_lines()),
            async || {
                counted.set(self.metrics().await.sum(total, &[]));
                (counted.get() == sent as f64).then_some(())
            },
        )
        .await;
        let lines = self.access_log(sent).await;
        log::check_once_each(&lines, sent);
        let metrics = self.metrics().await;
        for (outcome, count) in log::outcomes(&lines) {
            assert_eq!(metrics.sum(total, &[("outcome", &outcome)]), count as f64, "{outcome}");
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Term => "-TERM",
            Signal::Int => "-INT",
            Signal::Hup => "-HUP",
            Signal::Kill => "-KILL",
        };
        let pid = self.child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success(), "kill {name} {pid}");
    }

    /// Awaits the end of the process.
    pub async fn exited(&mut self) -> ExitStatus {
        self.has_ended = true;
        within("the end of the gateway", self.child.wait()).await.unwrap()
    }

    /// Checks that all is at rest and adds up to `sent` requests, then stops the gateway in order.
    pub async fn end(mut self, sent: usize) {
        self.has_ended = true;
        self.settled().await;
        self.adds_up(sent).await;
        self.signal(Signal::Term);
        let status = self.exited().await;
        assert_eq!(status.code(), Some(0), "{:#?}", self.log_lines());
    }

    /// Kills it with the requests that it has, for tests that need nothing more of it.
    pub async fn kill(mut self) {
        self.has_ended = true;
        self.child.kill().await.unwrap();
    }

    async fn start(mut command: Command, folder: TempDir) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let stdout = Log::collect(child.stdout.take().unwrap());
        let stderr = Log::collect(child.stderr.take().unwrap());
        let (main, admin, has_ended) = (None, None, false);
        let mut gateway = Self { child, main, admin, stdout, stderr, folder, has_ended };
        gateway.main = Some(gateway.listener("gateway listening on http://").await);
        gateway.admin = Some(gateway.listener("admin listening on http://").await);
        gateway
    }

    /// Awaits at least `count` access lines; every line is read once, however many there are.
    async fn access_log(&self, count: usize) -> Vec<Access> {
        let (mut looked_at, mut found) = (0, Vec::new());
        let enough = |lines: &[String]| {
            found.extend(lines[looked_at..].iter().filter_map(|line| Access::parse(line)));
            looked_at = lines.len();
            (found.len() >= count).then(|| std::mem::take(&mut found))
        };
        self.stderr.until(enough, &format!("{count} access lines")).await
    }

    async fn listener(&self, announcement: &str) -> SocketAddr {
        let address = |line: &str| {
            let (_, rest) = line.split_once(announcement)?;
            let bound = rest.split([' ', '"']).next().unwrap_or_default();
            let mut address: SocketAddr = bound.parse().unwrap();
            if address.ip().is_unspecified() {
                address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
            }
            Some(address)
        };
        self.stderr.first(address, announcement).await
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id().unwrap())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.log_lines();
            let last = lines.len().saturating_sub(40);
            eprintln!("the gateway's last lines:\n{}", lines[last..].join("\n"));
        } else {
            assert!(self.has_ended, "the test did not end its gateway: say gateway.end(sent)");
        }
    }
}

fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llm-gateway"));
    command.args(arguments).env_clear().envs(variables.iter().copied()).kill_on_drop(true);
    command
}

/// The configuration as text, with `127.0.0.1:0` for the listeners that it does not name.
pub fn with_listeners(config: impl Display) -> String {
    let mut config: toml::Table = config.to_string().parse().unwrap();
    for section in ["server", "admin"] {
        let section = config.entry(section).or_insert_with(|| toml::Table::new().into());
        let section = section.as_table_mut().unwrap();
        section.entry("listen").or_insert_with(|| "127.0.0.1:0".into());
    }
    config.to_string()
}

/// Whether no provider runs or holds anything, in whichever shape they are listed.
fn all_free(providers: &Value) -> bool {
    let count = |value: &Value| match value {
        Value::Number(number) => number.as_f64().unwrap(),
        Value::Object(by_key) => by_key.values().filter_map(Value::as_f64).sum(),
        other => panic!("not a count: {other}"),
    };
    let is_free = |provider: &Value| {
        count(&provider["in_flight"]) + count(&provider["queued"]) == 0.0
            && provider["free"] == provider["limit"]
    };
    match providers {
        Value::Array(list) => list.iter().all(is_free),
        Value::Object(by_name) => match by_name.get("providers") {
            Some(listed) => all_free(listed),
            None => by_name.values().all(is_free),
        },
        other => panic!("not a list of providers: {other}"),
    }
}
