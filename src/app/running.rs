//! The gateways that run on this machine and their addresses, from the kernel's `/proc`.
//!
//! It lets the health check find a gateway whose file has changed or is missing by now. It refuses
//! to guess: a process counts only if it is the same program, in the same network, and was started
//! with the same file and the same variables for its address as this command. Processes that it may
//! not read do not count.
//!
//! The one thing to know: `/proc` does not show the variables of `.env`, so the comparison leaves
//! them out on both sides.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::config::Start;

/// The kernel's suffix to the name of a program whose file was replaced.
const DELETED: &str = " (deleted)";
/// The state of a listening socket, `TCP_LISTEN` in the kernel's `tcp_states.h`.
const LISTENS: &str = "0A";

/// The addresses of the gateways that were started in the same way as this command, their admin
/// listeners included.
#[must_use]
pub fn bound(explicit: Option<&Path>) -> Vec<SocketAddr> {
    let Ok(folder) = std::env::current_dir() else { return Vec::new() };
    let start = Start::new(explicit, &folder, |name| std::env::var(name).ok());
    find(Path::new("/proc"), &std::process::id().to_string(), &start)
}

fn find(proc: &Path, own: &str, start: &Start) -> Vec<SocketAddr> {
    let this = Process(proc.join(own));
    let (binary, network) = (this.binary(), this.network());
    let (Some(_), Ok(entries)) = (&binary, fs::read_dir(proc)) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter(|name| name != own && name.bytes().all(|letter| letter.is_ascii_digit()))
        .map(|name| Process(proc.join(name)))
        .filter(|other| other.binary() == binary && other.network() == network)
        .filter(|other| other.start().as_ref() == Some(start))
        .flat_map(|other| other.listens())
        .collect()
}

/// A process's folder in `/proc`.
struct Process(PathBuf);

impl Process {
    fn binary(&self) -> Option<String> {
        let path = self.link("exe")?;
        Some(path.strip_suffix(DELETED).unwrap_or(&path).to_owned())
    }

    fn network(&self) -> Option<String> {
        self.link("ns/net")
    }

    /// How it was started; `None` if it is not a serving gateway, or may not be read.
    fn start(&self) -> Option<Start> {
        let words = self.words("cmdline")?;
        let explicit = serves(words.into_iter().skip(1))?;
        let variables = self.words("environ")?;
        let variables: HashMap<&str, &str> =
            variables.iter().filter_map(|variable| variable.split_once('=')).collect();
        let variable = |name: &str| variables.get(name).map(|value| (*value).to_owned());
        let explicit = explicit.as_deref().map(Path::new);
        Some(Start::new(explicit, Path::new(&self.link("cwd")?), variable))
    }

    fn listens(&self) -> Vec<SocketAddr> {
        let Ok(open) = fs::read_dir(self.0.join("fd")) else { return Vec::new() };
        let links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let sockets: Vec<String> = links
            .filter_map(|link| {
                let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
                Some(inode.to_owned())
            })
            .collect();
        let tables = ["net/tcp", "net/tcp6"].map(|table| fs::read_to_string(self.0.join(table)));
        let tables = tables.into_iter().filter_map(Result::ok);
        tables
            .flat_map(|table| table.lines().filter_map(listener).collect::<Vec<_>>())
            .filter(|(_, inode)| sockets.contains(inode))
            .map(|(address, _)| address)
            .collect()
    }

    fn link(&self, name: &str) -> Option<String> {
        fs::read_link(self.0.join(name)).ok()?.into_os_string().into_string().ok()
    }

    /// The texts in a file between its zero bytes.
    fn words(&self, name: &str) -> Option<Vec<String>> {
        let bytes = fs::read(self.0.join(name)).ok()?;
        let words = bytes.split(|byte| *byte == 0);
        Some(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
    }
}

/// The configuration file on the command line of a serving gateway; `None` for any other command.
fn serves(mut words: impl Iterator<Item = String>) -> Option<Option<String>> {
    let (mut file, mut command) = (None, None);
    while let Some(word) = words.next() {
        if word == "--config" {
            file = words.next();
        } else if let Some(named) = word.strip_prefix("--config=") {
            file = Some(named.to_owned());
        } else if !word.is_empty() && command.is_none() {
            command = Some(word);
        }
    }
    command.is_none_or(|command| command == "serve").then_some(file)
}

/// The address and the inode of a listening socket, from a line of `/proc/PID/net/tcp`: its second,
/// fourth and tenth words (`proc_pid_net(5)`).
fn listener(line: &str) -> Option<(SocketAddr, String)> {
    let mut words = line.split_whitespace();
    let (address, state) = (words.nth(1)?, words.nth(1)?);
    let inode = words.nth(5)?;
    let (ip, port) = address.split_once(':')?;
    // Each word of an address is in the machine's byte order.
    let word = |at: usize| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok();
    let ip = match ip.len() {
        8 => Ipv4Addr::from(word(0)?.to_ne_bytes()).into(),
        32 => {
            let mut bytes = [0; 16];
            for (index, four) in bytes.chunks_mut(4).enumerate() {
                four.copy_from_slice(&word(index)?.to_ne_bytes());
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    let address = SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?);
    (state == LISTENS).then(|| (address, inode.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    /// Makes a folder like the kernel's for a process.
    fn process(proc: &Path, id: &str, words: &[&str], variables: &[&str]) -> PathBuf {
        let folder = proc.join(id);
        for name in ["fd", "ns", "net"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        fs::write(folder.join("cmdline"), words.join("\0") + "\0").unwrap();
        fs::write(folder.join("environ"), variables.join("\0")).unwrap();
        symlink("/usr/bin/llm-gateway", folder.join("exe")).unwrap();
        symlink("/srv", folder.join("cwd")).unwrap();
        symlink("net:[1]", folder.join("ns/net")).unwrap();
        symlink("/dev/null", folder.join("fd/0")).unwrap();
        symlink("socket:[77]", folder.join("fd/8")).unwrap();
        symlink("socket:[78]", folder.join("fd/9")).unwrap();
        let word = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
        let line = |address: String, state: &str, inode: u32| {
            format!(
                "   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000        0 {inode} 1 0000000000000000 100 0 0 10 0\n"
            )
        };
        let (loopback, any) = (word([127, 0, 0, 1]), word([0; 4]));
        let tcp = [
            HEAD.to_owned(),
            line(format!("{loopback}:1F40"), LISTENS, 77),
            line(format!("{loopback}:1F40"), "01", 79),
            line(format!("{any}:0016"), LISTENS, 80),
        ];
        fs::write(folder.join("net/tcp"), tcp.concat()).unwrap();
        let six = format!("{any}{any}{any}{}", word([0, 0, 0, 1]));
        let tcp6 = [HEAD.to_owned(), line(format!("{six}:26AD"), LISTENS, 78)];
        fs::write(folder.join("net/tcp6"), tcp6.concat()).unwrap();
        folder
    }

    fn start(explicit: Option<&str>, folder: &str) -> Start {
        Start::new(explicit.map(Path::new), Path::new(folder), |_| None)
    }

    fn found(proc: &Path, start: &Start) -> Vec<String> {
        find(proc, "7", start).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_sockets_of_a_gateway_started_in_the_same_way_are_found() {
        let proc = tempfile::tempdir().unwrap();
        let proc = proc.path();
        process(proc, "7", &["llm-gateway", "health"], &[]);
        assert_eq!(found(proc, &start(None, "/srv")), [""; 0], "only this command runs");
        let folder = process(proc, "12", &["llm-gateway"], &["PATH=/bin", "PORT="]);
        assert_eq!(found(proc, &start(None, "/srv")), ["127.0.0.1:8000", "[::1]:9901"]);
        let named = start(Some("/srv/config/gateway.toml"), "/elsewhere");
        assert_eq!(found(proc, &named).len(), 2, "the same file by another name");
        fs::remove_file(folder.join("exe")).unwrap();
        symlink("/usr/bin/llm-gateway (deleted)", folder.join("exe")).unwrap();
        assert_eq!(found(proc, &start(None, "/srv")).len(), 2, "updated meanwhile");
        fs::remove_file(folder.join("ns/net")).unwrap();
        symlink("net:[2]", folder.join("ns/net")).unwrap();
        assert_eq!(found(proc, &start(None, "/srv")), [""; 0], "in another network");
    }

    #[test]
    fn a_gateway_started_in_another_way_is_not_found() {
        let proc = tempfile::tempdir().unwrap();
        let proc = proc.path();
        process(proc, "7", &["llm-gateway", "health"], &[]);
        process(proc, "12", &["llm-gateway", "serve", "--config", "a.toml"], &[]);
        process(proc, "13", &["llm-gateway", "--config=b.toml", "serve"], &[]);
        process(proc, "14", &["llm-gateway", "--config", "c.toml", "check"], &[]);
        process(proc, "15", &["llm-gateway", "serve"], &["PORT=9000"]);
        process(proc, "16", &["llm-gateway"], &["LLM_GATEWAY_CONFIG=d.toml"]);
        process(proc, "16x", &["llm-gateway", "serve"], &[]);
        for (file, found_of) in [("a", 2), ("b", 2), ("c", 0), ("d", 2), ("e", 0)] {
            let start = start(Some(&format!("{file}.toml")), "/srv");
            assert_eq!(found(proc, &start).len(), found_of, "{file}");
        }
        assert_eq!(found(proc, &start(None, "/srv")), [""; 0]);
        assert_eq!(find(&proc.join("none"), "7", &start(None, "/srv")), []);
    }
}
