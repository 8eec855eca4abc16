//! A demonstration without a model, a key or a file: a simulated Ollama with the gateway in front
//! of it.
//!
//! The one thing to know: in the image it listens where the image says, beyond the container's
//! loopback, or nobody could reach it. The admin listener then has a token, made for this run.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::{App, StartError, keys};
use crate::config::Config;
use crate::provider::settings::MaxConcurrency;
use crate::secret::Secret;
use crate::sim::{self, Sim, SimSettings};

/// A running demonstration.
pub struct Demo {
    /// The gateway.
    pub app: App,
    /// The admin listener's token; empty on loopback.
    token: Secret,
    /// The simulated Ollama behind it.
    pub sim: Sim,
}

/// The variable by which the image makes the gateway reachable. The demonstration reads no other.
const LISTEN: &str = "LLM_GATEWAY__SERVER__LISTEN";

/// Starts the simulator on a free loopback port and the gateway in front of it, on its default
/// ports if they are free, or where the image's variable says. Must be called within a running
/// actix system.
///
/// # Errors
///
/// If a listener cannot be bound.
pub fn start() -> Result<Demo, StartError> {
    let settings = SimSettings { slots: 2, ..SimSettings::default() };
    let listen = settings.listen;
    let sim = sim::start(settings).map_err(|error| StartError { listen, error })?;
    let mut config = Config::default();
    let asked = std::env::var(LISTEN).ok().and_then(|address| address.parse().ok());
    let beyond = asked.filter(|address: &SocketAddr| !address.ip().is_loopback());
    match beyond {
        Some(address) => {
            config.server.listen = address;
            config.admin.listen.set_ip(address.ip());
            config.admin.listen = free_or_any(config.admin.listen);
            // Whoever reaches this port may use the simulator; nobody else may turn its knobs.
            config.auth.anonymous = true;
            let made = keys::new_key("demo").map_err(|error| StartError {
                listen: config.admin.listen,
                error: io::Error::other(error.to_string()),
            })?;
            config.admin.token = Secret::new(made.key);
        }
        None => {
            config.server.listen = free_or_any(asked.unwrap_or(config.server.listen));
            config.admin.listen = free_or_any(config.admin.listen);
        }
    }
    let token = config.admin.token.clone();
    for provider in config.providers.values_mut() {
        provider.base_url = format!("http://{}", sim.addr());
        provider.max_concurrency = MaxConcurrency::Fixed(2);
    }
    Ok(Demo { app: App::start(config, None)?, token, sim })
}

/// The address, or one with any free port if its port is taken.
fn free_or_any(address: SocketAddr) -> SocketAddr {
    match TcpListener::bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => SocketAddr::new(address.ip(), 0),
        Ok(_) | Err(_) => address,
    }
}

/// Ready-to-paste commands.
#[must_use]
pub fn commands(demo: &Demo) -> String {
    let reachable = |address: SocketAddr| match address.ip().is_unspecified() {
        true => format!("localhost:{}", address.port()),
        false => address.to_string(),
    };
    let (gateway, admin) = (reachable(demo.app.address()), reachable(demo.app.admin_address()));
    let token = demo.token.expose();
    let (asks, bearer) = match token.is_empty() {
        true => (String::new(), String::new()),
        false => (
            format!(", which asks for {token}"),
            format!(" \\\n  -H 'authorization: Bearer {token}'"),
        ),
    };
    let body = |stream: &str| {
        format!(
            r#"{{"messages": [{{"role": "user", "content": "Why is the sky blue?"}}]{stream}}}"#
        )
    };
    format!(
        "The gateway runs in front of a simulated Ollama. Paste one of these:\n\n\
         # a whole answer\n\
         curl http://{gateway}/v1/chat -H 'content-type: application/json' \\\n  -d '{whole}'\n\n\
         # the same, piece by piece\n\
         curl -N http://{gateway}/v1/chat -H 'content-type: application/json' \\\n  -d '{streamed}'\n\n\
         # what the provider is doing: the console, in a browser{asks}\n\
         http://{admin}/\n\n\
         # the same as JSON, and the metrics\n\
         curl http://{admin}/admin/providers{bearer}\n\
         curl http://{admin}/metrics{bearer}\n\n\
         Stop with Ctrl-C.\n",
        whole = body(""),
        streamed = body(r#", "stream": true"#),
    )
}
