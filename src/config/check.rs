//! Checks whether settings of the right type make sense, alone and together.
//!
//! Owns the listeners' rules and the helpers of all checks; keys, providers and routes each have a
//! file. It reports no second problem about a value that did not even have the right type.
//!
//! What a reader would get wrong: this runs before unset provider settings are resolved, because a
//! default adapts to other settings where a written value would contradict them.

mod calls;
mod keys;
mod otel;
mod providers;
mod routes;

use super::Config;
use super::key_path::KeyPath;
use super::listen::Bound;
use super::problem::{Origin, Problem};
use super::tree::Tree;
use crate::secret::Secret;
use crate::units::format_size;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The running gateway that would use the configuration, if there is one: facts that hold until its
/// next start, whatever the configuration says.
pub struct Running {
    /// Its bound addresses.
    pub bound: Bound,
    /// Whether `auth.anonymous` may open it to everyone. If it requires keys now, only the file
    /// itself may do that.
    pub may_open: bool,
}

/// A configuration under review, and the findings.
pub struct Review<'a> {
    config: &'a Config,
    tree: &'a Tree,
    flawed: Vec<KeyPath>,
    named_providers: Vec<String>,
    running: Option<&'a Running>,
    /// Settings that must be changed.
    pub problems: Vec<Problem>,
    /// Settings that work but should be changed.
    pub warnings: Vec<Problem>,
}

impl<'a> Review<'a> {
    /// Reviews everything. `flawed` are the places from which a value was removed,
    /// `named_providers` all providers in the file, valid or not.
    pub fn of(
        config: &'a Config,
        tree: &'a Tree,
        flawed: Vec<KeyPath>,
        named_providers: Vec<String>,
        running: Option<&'a Running>,
    ) -> Self {
        let (problems, warnings) = (Vec::new(), Vec::new());
        let mut review =
            Self { config, tree, flawed, named_providers, running, problems, warnings };
        review.server();
        review.cache();
        review.listeners();
        review.auth();
        review.keys();
        review.providers();
        review.routes();
        review.redis();
        review.otel();
        review.log();
        review
    }

    fn server(&mut self) {
        let server = &self.config.server;
        let path = KeyPath::of("server");
        self.in_range(&path.key("workers"), server.workers, 0..=1024);
        self.positive(&path.key("body_timeout"), server.body_timeout);
        self.positive(&path.key("write_stall"), server.write_stall);
        self.positive(&path.key("heartbeat_after"), server.heartbeat_after);
        if server.max_body == 0 {
            self.problem(&path.key("max_body"), r#"write more than nothing, as in "16MiB""#);
        }
        if server.max_body > server.max_buffered {
            let [body, buffered] = [server.max_body, server.max_buffered].map(format_size);
            self.contradiction(&path, ("max_body", &body), ("max_buffered", &buffered));
        }
    }

    fn cache(&mut self) {
        let cache = &self.config.cache;
        let path = KeyPath::of("cache");
        if cache.max_size == 0 && !cache.ttl.is_zero() {
            self.problem(&path.key("max_size"), r#"write more than nothing, or ttl = "0s""#);
        }
        if cache.max_answer == 0 {
            self.problem(&path.key("max_answer"), r#"write more than nothing, as in "2MiB""#);
        }
    }

    fn listeners(&mut self) {
        let config = self.config;
        let (server, admin) = (KeyPath::of("server").key("listen"), KeyPath::of("admin"));
        let keys = KeyPath::of("keys");
        let bound = |of: fn(&Bound) -> SocketAddr| {
            let address = self.running.map(|running| of(&running.bound));
            address.filter(|address| is_beyond_loopback(*address))
        };
        let (bound_main, bound_admin) = (bound(|bound| bound.main), bound(|bound| bound.admin));
        let is_keyed = !config.keys.is_empty() || self.flawed.iter().any(|path| keys.holds(path));
        let is_meant = config.auth.anonymous && self.running.is_none_or(|running| running.may_open);
        match bound_main {
            _ if is_keyed || is_meant => {}
            _ if is_beyond_loopback(config.server.listen) && !config.auth.anonymous => {
                let message = "beyond loopback callers need keys: write [[keys]], set API_KEYS, or let \
                               everybody in with auth.anonymous = true";
                self.problem(&server, message);
            }
            Some(bound) => {
                let message = format!(
                    "there are none, and this gateway is bound to {bound}, beyond loopback, until it stops: \
                     write [[keys]], set API_KEYS, or let everybody in with auth.anonymous = true in the file"
                );
                self.problem(&keys, message);
            }
            None => {}
        }
        if is_beyond_loopback(config.admin.listen) && config.admin.token.is_empty() {
            let message = "beyond loopback operators need a token: write admin.token";
            self.problem(&admin.key("listen"), message);
        } else if let (Some(bound), true) = (bound_admin, config.admin.token.is_empty()) {
            let message = format!(
                "is empty, and the admin listener is bound to {bound}, beyond loopback, until the gateway stops: \
                 write the token"
            );
            self.problem(&admin.key("token"), message);
        }
        if clash(config.server.listen, config.admin.listen) {
            let message = format!(
                "server.listen {} and admin.listen {} share a port: write two different ones",
                config.server.listen, config.admin.listen
            );
            self.problem_of_either(&admin.key("listen"), &server, message);
        }
    }

    fn redis(&mut self) {
        let redis = &self.config.redis;
        let path = KeyPath::of("redis");
        if let Some(problem) = redis.url.problem() {
            self.problem(&path.key("url"), problem);
        }
        if redis.prefix.is_empty() || redis.prefix.contains(char::is_whitespace) {
            self.problem(&path.key("prefix"), "write what every key begins with, without spaces");
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(10)).contains(&redis.timeout) {
            self.problem(&path.key("timeout"), r#"write "1ms" to "10s""#);
        }
        self.in_range(&path.key("replicas"), redis.replicas, 1..=1000);
    }

    fn log(&mut self) {
        if self.config.log.prompts {
            let message = "what callers ask may appear in the log: set it to false as soon as it is not needed";
            self.warn(&KeyPath::of("log").key("prompts"), message);
        }
    }

    /// Records a problem, unless the value at the path, around it or below it already has one.
    fn problem(&mut self, path: &KeyPath, message: impl Into<String>) {
        if !self.flawed.iter().any(|flawed| flawed.holds(path) || path.holds(flawed)) {
            self.problems.push(Problem::new(self.tree.origin(path), path, message));
        }
    }

    /// Records a problem between two keys at the one that was written, preferably the first.
    fn problem_of_either(&mut self, one: &KeyPath, other: &KeyPath, message: impl Into<String>) {
        let is_flawed = |path: &KeyPath| self.flawed.iter().any(|flawed| flawed.holds(path));
        if is_flawed(one) || is_flawed(other) {
            return;
        }
        let is_written = self.tree.get(one).is_some() || self.tree.get(other).is_none();
        self.problem(if is_written { one } else { other }, message);
    }

    /// Records that one key's value is above the limit that another key of its table sets.
    fn contradiction(
        &mut self,
        table: &KeyPath,
        (key, value): (&str, &str),
        (limit_key, limit): (&str, &str),
    ) {
        let message = format!(
            "`{key}` is {value}, above `{limit_key}`, which is {limit}: lower the one or raise the other"
        );
        self.problem_of_either(&table.key(key), &table.key(limit_key), message);
    }

    fn warn(&mut self, path: &KeyPath, message: impl Into<String>) {
        self.warnings.push(Problem::new(self.tree.origin(path), path, message));
    }

    fn in_range<T>(&mut self, path: &KeyPath, value: T, range: RangeInclusive<T>)
    where
        T: PartialOrd + Display,
    {
        if !range.contains(&value) {
            let message =
                format!("write a number from {} to {}, not {value}", range.start(), range.end());
            self.problem(path, message);
        }
    }

    fn positive(&mut self, path: &KeyPath, duration: Duration) {
        if duration.is_zero() {
            self.problem(path, r#"write more than nothing, as in "30s""#);
        }
    }

    /// Checks that a secret can be sent in a header, which may contain visible ASCII only.
    fn sendable(&mut self, path: &KeyPath, secret: &Secret) {
        if !secret.expose().chars().all(|letter| letter.is_ascii_graphic()) {
            let message = "a key has letters, digits and signs of ASCII only, and no spaces";
            self.problem(path, message);
        }
    }

    /// Checks a glob for `wildmatch`: `*` and `?`, no sets and no alternatives.
    fn glob(&mut self, path: &KeyPath, glob: &str) {
        if glob.is_empty() {
            self.problem(path, r#"write a name or a pattern, as in "llama*""#);
        } else if glob.contains(['[', ']', '{', '}']) {
            self.problem(
                path,
                "only `*` and `?` stand for other letters: write one pattern for each",
            );
        } else if glob.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
            self.problem(path, "a name has no spaces: write one pattern for each");
        }
    }

    fn globs(&mut self, path: &KeyPath, globs: &[String]) {
        for (index, glob) in globs.iter().enumerate() {
            self.glob(&path.index(index), glob);
        }
    }

    fn provider(&mut self, path: &KeyPath, name: &str) {
        if self.named_providers.iter().any(|known| known == name)
            || self.config.providers.contains_key(name)
        {
            return;
        }
        let known = self.config.providers.keys().map(String::as_str);
        let message = match super::fit::nearest(name, known) {
            Some(near) => format!("no provider is named `{name}`; did you mean `{near}`?"),
            None => format!("no provider is named `{name}`: write a [providers.{name}] section"),
        };
        self.problem(path, message);
    }

    fn provider_list(&mut self, path: &KeyPath, names: &[String]) {
        for (index, name) in names.iter().enumerate() {
            let path = path.index(index);
            self.provider(&path, name);
            if names.iter().take(index).any(|earlier| earlier == name) {
                self.problem(&path, format!("`{name}` is listed twice: write it once"));
            }
        }
    }

    fn is_from_file(&self, path: &KeyPath) -> bool {
        matches!(self.tree.origin(path), Origin::File { .. })
    }

    fn is_from_environment(&self, path: &KeyPath) -> bool {
        matches!(self.tree.origin(path), Origin::Environment { .. })
    }
}

fn is_beyond_loopback(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

/// Whether two listeners would need the same port. Port 0 takes a free one.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && overlap
}
