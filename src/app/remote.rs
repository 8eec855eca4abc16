//! Asks a running gateway, and changes what it does, through its admin listener: the console's
//! controls for a shell.
//!
//! It owns the search for the listener, the token, and what each failure means to a script. It
//! needs no valid configuration, for the same reason as the health check: what runs is asked, not
//! what would start next.
//!
//! The one thing to know: the token of a configuration goes only to the address of that
//! configuration; another address gets `ADMIN_TOKEN` alone.

pub mod changes;
pub mod keys;
pub mod status;
mod table;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use ureq::http::Request;

use super::running;
use crate::config;
use crate::listener::reachable;
use crate::secret::Secret;

/// How long one question may take; a gateway answers at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(3);

/// The admin listener of a running gateway.
pub struct Remote {
    address: String,
    token: Secret,
    agent: ureq::Agent,
}

/// Why the gateway did not do what was asked.
#[derive(Debug, PartialEq, Eq)]
pub enum RemoteError {
    /// No gateway answers there.
    Unreachable(String),
    /// It wants another token, or another way of asking.
    Forbidden(String),
    /// Its configuration has these problems, one per line, and the old one stays.
    Configuration(String),
    /// It refused, or answered something else than expected.
    Refused(String),
}

impl RemoteError {
    /// What happened, for people.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Unreachable(message)
            | Self::Forbidden(message)
            | Self::Configuration(message)
            | Self::Refused(message) => message,
        }
    }
}

impl Remote {
    /// The gateway at this address, else the one that runs with this file on this machine, else the
    /// one that the environment and the file describe.
    #[must_use]
    pub fn find(address: Option<&str>, explicit: Option<&Path>) -> Self {
        let operated = config::operated(explicit);
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .timeout_connect(Some(CONNECT))
            .http_status_as_error(false)
            // An environment's proxy leads out of the machine, where no gateway's console is.
            .proxy(None)
            .max_redirects(0)
            .user_agent(concat!("llm-gateway/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent: ureq::Agent = config.into();
        if let Some(address) = address {
            let address = address.trim_end_matches('/');
            let has_scheme = address.contains("://");
            let address = if has_scheme { address.to_owned() } else { format!("http://{address}") };
            return Self { address, token: operated.own_token.unwrap_or_default(), agent };
        }
        let at = |listen| Self {
            address: format!("http://{}", reachable(listen)),
            token: operated.token.clone(),
            agent: agent.clone(),
        };
        let bound = running::bound(explicit);
        let is_described = |bound: &SocketAddr| reachable(*bound) == reachable(operated.listen);
        if bound.iter().any(is_described) {
            return at(operated.listen);
        }
        let running = bound.into_iter().map(at).find(Self::is_for_operators);
        running.unwrap_or_else(|| at(operated.listen))
    }

    /// Asks for JSON.
    ///
    /// # Errors
    ///
    /// If the gateway cannot be reached, refuses, or answers no JSON.
    pub fn get(&self, path: &str) -> Result<Value, RemoteError> {
        self.ask("GET", path, "")
    }

    /// Has it do something.
    ///
    /// # Errors
    ///
    /// As [`Remote::get`].
    pub fn post(&self, path: &str) -> Result<Value, RemoteError> {
        self.ask("POST", path, "")
    }

    /// Changes something.
    ///
    /// # Errors
    ///
    /// As [`Remote::get`].
    pub fn patch(&self, path: &str, change: &Value) -> Result<Value, RemoteError> {
        self.ask("PATCH", path, &change.to_string())
    }

    /// Its address, with the scheme.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether it is no main listener, which alone says that it lives. Both are the gateway's own, so
    /// the token goes to either.
    fn is_for_operators(&self) -> bool {
        let bearer = format!("Bearer {}", self.token.expose());
        let asked = self.agent.get(format!("{}/livez", self.address));
        asked.header("authorization", bearer).call().is_ok_and(|answer| answer.status() != 200)
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value, RemoteError> {
        let address = &self.address;
        let mut request = Request::builder().method(method).uri(format!("{address}{path}"));
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token.expose()));
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let wrong = |error: ureq::http::Error| RemoteError::Refused(format!("{address}: {error}"));
        let request = request.body(body.to_owned()).map_err(wrong)?;
        let answer = self.agent.run(request).map_err(|error| unreachable(address, &error))?;
        let status = answer.status().as_u16();
        let text = answer.into_body().read_to_string();
        let text = text.map_err(|error| unreachable(address, &error))?;
        match serde_json::from_str::<Value>(&text) {
            Ok(told) if (200..300).contains(&status) => Ok(told),
            // The main listener numbers its requests.
            Ok(told) if at(&told, "request_id").is_null() => Err(self.refusal(status, &told)),
            Ok(_) | Err(_) => Err(RemoteError::Refused(format!(
                "{address}: is this an admin listener? it knows no {path} (status {status})"
            ))),
        }
    }

    fn refusal(&self, status: u16, told: &Value) -> RemoteError {
        let address = &self.address;
        if let Some(problems) = at(told, "problems").as_array() {
            let lines: Vec<&str> = problems.iter().filter_map(Value::as_str).collect();
            return RemoteError::Configuration(lines.join("\n"));
        }
        let detail = at(told, "detail");
        let detail = detail.as_str().map_or_else(|| detail.to_string(), str::to_owned);
        match status {
            401 if self.token.is_empty() => RemoteError::Forbidden(format!(
                "{address}: {detail}: put the gateway's admin.token into ADMIN_TOKEN"
            )),
            401 => RemoteError::Forbidden(format!(
                "{address}: {detail}: the one in ADMIN_TOKEN, or of the configuration, is another"
            )),
            403 => RemoteError::Forbidden(format!("{address}: {detail}")),
            _ => RemoteError::Refused(detail),
        }
    }
}

fn unreachable(address: &str, error: &ureq::Error) -> RemoteError {
    let cause = match error {
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    RemoteError::Unreachable(format!(
        "{address}: {cause}: is the gateway running, and is this its admin.listen? --address names another"
    ))
}

/// The path of a provider, or of something below it.
fn provider_path(name: &str, below: &str) -> String {
    let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    format!("/admin/providers/{name}{below}")
}

/// Drains or resumes a provider; returns what it does then.
///
/// # Errors
///
/// If the gateway cannot be asked, or does not know the provider.
pub fn turn(remote: &Remote, provider: &str, turn: Turn) -> Result<String, RemoteError> {
    let (below, told) = match turn {
        Turn::Drain => ("/drain", "takes no new work"),
        Turn::Resume => ("/resume", "takes work"),
    };
    let status = remote.post(&provider_path(provider, below))?;
    let (running, waiting) = (at(&status, "in_flight"), at(&status, "queued"));
    Ok(format!("{provider}: {told}; {running} running, {waiting} in line\n"))
}

/// What [`turn`] does.
#[derive(Debug, Clone, Copy)]
pub enum Turn {
    /// It gets no new work.
    Drain,
    /// It gets work again.
    Resume,
}

/// Has the gateway read its configuration again; returns what it says of the new one.
///
/// # Errors
///
/// The problems of a configuration that it refuses, or why it could not be asked.
pub fn reload(remote: &Remote) -> Result<String, RemoteError> {
    let told = remote.post("/admin/reload")?;
    let empty = Vec::new();
    let list = |name: &str| at(&told, name).as_array().unwrap_or(&empty).iter();
    let mut text = "the configuration is in force\n".to_owned();
    for one in list("changed") {
        let (key, kind) = (text_of(at(one, "key")), text_of(at(one, "change")));
        text += &match (at(one, "before"), at(one, "after")) {
            (Value::Null, Value::Null) => format!("{kind}: {key}\n"),
            (before, after) => format!("{kind}: {key} {before} -> {after}\n"),
        };
    }
    for one in list("patched") {
        let (key, value, configured) =
            (text_of(at(one, "key")), at(one, "value"), at(one, "configured"));
        text += &format!("as set at run time: {key} {value}, configured: {configured}\n");
    }
    for one in list("overridden") {
        let (key, variable) = (text_of(at(one, "key")), text_of(at(one, "variable")));
        text += &format!("to no effect: {key}, which {variable} sets\n");
    }
    for key in list("next_start") {
        text += &format!("with the next start: {}\n", text_of(key));
    }
    for warning in list("warnings") {
        text += &format!("warning: {}\n", text_of(warning));
    }
    Ok(text)
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// The value of this name; what is not told is null.
fn at<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}
