//! A demonstration without a model, a key or a file: a simulated Ollama with the gateway in front
//! of it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::{App, StartError};
use crate::config::Config;
use crate::provider::settings::MaxConcurrency;
use crate::sim::{self, Sim, SimSettings};

/// A running demonstration.
pub struct Demo {
    /// The gateway.
    pub app: App,
    /// The simulated Ollama behind it.
    pub sim: Sim,
}

/// Starts the simulator on a free loopback port and the gateway in front of it, on its default
/// ports if they are free. Must be called within a running actix system.
///
/// # Errors
///
/// If a listener cannot be bound.
pub fn start() -> Result<Demo, StartError> {
    let settings = SimSettings { slots: 2, ..SimSettings::default() };
    let listen = settings.listen;
    let sim = sim::start(settings).map_err(|error| StartError { listen, error })?;
    let mut config = Config::default();
    config.server.listen = free_or_any(config.server.listen);
    config.admin.listen = free_or_any(config.admin.listen);
    for provider in config.providers.values_mut() {
        provider.base_url = format!("http://{}", sim.addr());
        provider.max_concurrency = MaxConcurrency::Fixed(2);
    }
    Ok(Demo { app: App::start(config, None)?, sim })
}

/// The address, or one with any free port if its port is taken.
fn free_or_any(address: SocketAddr) -> SocketAddr {
    match TcpListener::bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
        }
        Ok(_) | Err(_) => address,
    }
}

/// Ready-to-paste commands.
#[must_use]
pub fn commands(demo: &Demo) -> String {
    let (gateway, admin) = (demo.app.address(), demo.app.admin_address());
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
         # what the provider is doing: the console, in a browser\n\
         http://{admin}/\n\n\
         # the same as JSON, and the metrics\n\
         curl http://{admin}/admin/providers\n\
         curl http://{admin}/metrics\n\n\
         Stop with Ctrl-C.\n",
        whole = body(""),
        streamed = body(r#", "stream": true"#),
    )
}
