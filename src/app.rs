//! The application: starts everything that a configuration asks for, and stops it.
//!
//! It owns the parts that are started and the order in which they stop. It refuses to start in
//! part: if one listener cannot be bound, nothing runs.
//!
//! The one thing to know: a reload keeps the gate of every provider whose name stays, or returns
//! while its calls still run, so that its slots, line and breaker survive, whatever else changes
//! about it.

mod announced;
pub mod checked;
pub mod commands;
pub mod connect;
pub mod demo;
pub mod descriptors;
mod in_force;
pub mod keys;
pub mod probe;
mod providers;
mod reload;
pub mod remote;
pub mod routed;
mod running;
mod watch;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use actix::Addr;
use actix_rt::task::JoinHandle;
use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use parking_lot::Mutex;
use providers::Providers;
use reload::{Current, InForce};
use socket2::{Domain, Protocol, Socket, Type};

use crate::admin::{self, Admin, Feed};
use crate::admission::leases::Leases;
use crate::config::{Bound, Config, Read, Sources};
use crate::http::{self, Front};
use crate::provider::{HealthActor, LoadsActor, Watch};
use crate::redis::Link;
use crate::telemetry::ConfigRead;
use crate::telemetry::otel::{self, Exporters};

/// The most connections that may wait to be accepted. The standard library's 128 is too few for a
/// burst of clients.
const BACKLOG: i32 = 4096;

/// A running gateway.
pub struct App {
    front: Data<Front>,
    main: Running,
    admin: Running,
    current: Arc<Current>,
    /// The limits that it shares with other gateways.
    leases: Option<Arc<Leases>>,
    /// Checks the health of the providers.
    health: Addr<HealthActor>,
    /// The Redis that replicas share.
    link: Option<Link>,
    /// The events for consoles, and the task that collects them.
    feed: (Arc<Feed>, JoinHandle<()>),
    /// Export spans and metrics.
    exporters: Option<Exporters>,
    /// Watches the configuration file.
    watch: JoinHandle<()>,
}

/// A running listener.
struct Running {
    address: SocketAddr,
    server: ServerHandle,
}

/// The source of the configuration, for reloads.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file named on the command line.
    pub explicit: Option<PathBuf>,
    /// The file and the environment that were read.
    pub read: Read,
    /// Where the values are from.
    pub sources: Sources,
}

/// Why the application did not start.
#[derive(Debug)]
pub struct StartError {
    /// The address, as configured.
    pub listen: SocketAddr,
    /// What went wrong with it.
    pub error: io::Error,
}

impl App {
    /// Starts everything. Must be called within a running actix system. Without a `source` it
    /// cannot be reloaded.
    ///
    /// # Errors
    ///
    /// If a listener cannot be bound; then nothing runs.
    pub fn start(config: Config, source: Option<Source>) -> Result<Self, StartError> {
        let (server, console) = (config.server.listen, config.admin.listen);
        let main = bind(server).map_err(|error| StartError { listen: server, error })?;
        let admin = bind(console).map_err(|error| StartError { listen: console, error })?;
        let link = Link::start(&config.redis);
        let leases = link.clone().map(Leases::new).map(Arc::new);
        let mut providers = Providers::new(leases.clone());
        let routing = Arc::new(providers.routing(&config));
        let health = HealthActor::start_with(routing.providers.clone());
        let loads = LoadsActor::start_with(routing.providers.clone());
        let exporters = exporters(&config);
        let front = Data::new(Front::new(
            &config.server,
            &config.auth,
            &config.keys,
            (&config.cache, &config.responses),
            routing,
            link.clone(),
            leases.clone(),
        ));
        let (token, keys) = (config.admin.token.clone(), config.keys.len());
        let bound = Bound { main: address(&main, server)?, admin: address(&admin, console)? };
        let current = Current {
            front: front.clone(),
            in_force: Mutex::new(InForce::new(config, source)),
            bound,
            providers: Arc::new(Mutex::new(providers)),
            health: health.clone(),
            loads,
        };
        let current = Arc::new(current);
        let started = |listen| move |error| StartError { listen, error };
        let feed = Feed::start(front.clone(), bound.main);
        let admin = {
            let (asked, shown) = (Arc::clone(&current), Arc::clone(&current));
            let hooks = Admin {
                front: front.clone(),
                main: bound.main,
                feed: Arc::clone(&feed.0),
                token,
                reload: Box::new(move || asked.reload()),
                effective: Box::new(move || shown.effective()),
            };
            run(admin, |listener| admin::serve(listener, hooks)).map_err(started(console))?
        };
        let main =
            run(main, |listener| http::serve(listener, front.clone())).map_err(started(server))?;
        if link.is_none() {
            providers::say_alone(&front.routing().providers);
        }
        announced::listeners(main.address, admin.address, keys);
        announced::providers(&front.routing().providers);
        ConfigRead { is_again: false, changed: &[], overridden: &[], next_start: &[] }.emit();
        let watch = current.watch();
        Ok(Self { front, main, admin, current, leases, health, link, feed, exporters, watch })
    }

    /// The address to which clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.main.address
    }

    /// The address to which operators connect.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address
    }

    /// Reads the configuration again and logs the result; if it has problems the old one stays.
    pub fn reload(&self) {
        drop(self.current.reload());
    }

    /// Stops in order: first it is no longer ready, then it refuses new work, then running work
    /// gets time to end, and the listeners close last.
    pub async fn stop(self) {
        log::info!(target: "llm_gateway", "stopping");
        self.watch.abort();
        self.health.do_send(Watch(Vec::new()));
        self.front.drain().await;
        if let Some(leases) = &self.leases {
            leases.give_back().await;
        }
        if let Some(link) = &self.link {
            // If this fails the other gateways notice seconds later.
            link.leave().await.ok();
        }
        // No work runs any more, but the last answers may not have been written yet.
        self.main.server.stop(true).await;
        let (feed, looking) = &self.feed;
        looking.abort();
        feed.close().await;
        self.admin.server.stop(false).await;
        if let Some(exporters) = self.exporters {
            // A collector that does not answer blocks another thread, not this one.
            actix_rt::task::spawn_blocking(move || exporters.stop()).await.ok();
        }
        log::info!(target: "llm_gateway", "stopped");
    }
}

/// Starts to export spans and metrics if a collector is configured. If that fails, the gateway
/// still serves.
fn exporters(config: &Config) -> Option<Exporters> {
    otel::start(&config.otel).unwrap_or_else(|error| {
        log::error!(target: "otel", "no spans and metrics are sent: {error}");
        None
    })
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the previous process.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The bound address of a listener, for which `listen` was configured.
fn address(listener: &TcpListener, listen: SocketAddr) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| StartError { listen, error })
}

fn run(
    listener: TcpListener,
    serve: impl FnOnce(TcpListener) -> io::Result<actix_web::dev::Server>,
) -> io::Result<Running> {
    let address = listener.local_addr()?;
    let server = serve(listener)?;
    let handle = server.handle();
    drop(actix_rt::spawn(server));
    Ok(Running { address, server: handle })
}
