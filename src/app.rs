//! The application: from a configuration to running listeners, and back to rest.
//!
//! It owns what is started and in which order it stops. It refuses to start in part: when one listener cannot be
//! bound, nothing runs.
//!
//! The one thing to know: a reload keeps the gate of every provider whose name stays, or comes back while calls of it
//! still run, so that no slot, line or breaker is forgotten, whatever else changes about it.

pub mod connect;
pub mod demo;
pub mod descriptors;
pub mod keys;
pub mod probe;
mod providers;
mod reload;
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
use crate::config::{Bound, Config, Read};
use crate::http::{self, Front};
use crate::provider::{HealthActor, Watch};
use crate::redis::Link;
use crate::telemetry::ConfigRead;
use crate::telemetry::otel::{self, Exporters};

/// Connections that may wait to be accepted. The standard library's 128 is too few for a burst of clients.
const BACKLOG: i32 = 4096;

/// A running gateway.
pub struct App {
    front: Data<Front>,
    main: Running,
    admin: Running,
    current: Arc<Current>,
    /// The limits that it keeps together with other gateways.
    leases: Option<Arc<Leases>>,
    /// Asks the providers whether they work.
    health: Addr<HealthActor>,
    /// The Redis that replicas share.
    link: Option<Link>,
    /// What consoles are told, and the task that looks for it.
    feed: (Arc<Feed>, JoinHandle<()>),
    /// Send spans and metrics.
    exporters: Option<Exporters>,
    /// Watches the configuration file.
    watch: JoinHandle<()>,
}

/// A listener that serves.
struct Running {
    address: SocketAddr,
    server: ServerHandle,
}

/// Where the configuration comes from, to be read again.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file named on the command line.
    pub explicit: Option<PathBuf>,
    /// What was read.
    pub read: Read,
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
    /// Starts everything. Must be called within a running actix system. Without a `source` there is nothing to
    /// reload.
    ///
    /// # Errors
    ///
    /// When a listener cannot be bound; then nothing runs.
    pub fn start(config: Config, source: Option<Source>) -> Result<Self, StartError> {
        let (server, console) = (config.server.listen, config.admin.listen);
        let main = bind(server).map_err(|error| StartError { listen: server, error })?;
        let admin = bind(console).map_err(|error| StartError { listen: console, error })?;
        let link = Link::start(&config.redis);
        let leases = link.clone().map(Leases::new).map(Arc::new);
        let mut providers = Providers::new(leases.clone());
        let routing = Arc::new(providers.routing(&config));
        let health = HealthActor::start_with(routing.providers.clone());
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
        let token = config.admin.token.clone();
        let bound = Bound { main: address(&main, server)?, admin: address(&admin, console)? };
        let current = Current {
            front: front.clone(),
            in_force: Mutex::new(InForce::new(config, source)),
            bound,
            providers: Arc::new(Mutex::new(providers)),
            health: health.clone(),
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
        log::info!(target: "llm_gateway", "gateway listening on http://{}", main.address);
        log::info!(target: "llm_gateway", "admin listening on http://{}", admin.address);
        ConfigRead { is_again: false, overridden: &[], next_start: &[] }.emit();
        let watch = current.watch();
        Ok(Self { front, main, admin, current, leases, health, link, feed, exporters, watch })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.main.address
    }

    /// Where operators connect.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address
    }

    /// Reads the configuration again. What came of it is in the log; when it has problems the old one stays.
    pub fn reload(&self) {
        drop(self.current.reload());
    }

    /// Stops in order: readiness first, then no new work, time for what runs, and the listeners last.
    pub async fn stop(self) {
        log::info!(target: "llm_gateway", "stopping");
        self.watch.abort();
        self.health.do_send(Watch(Vec::new()));
        self.front.drain().await;
        if let Some(leases) = &self.leases {
            leases.give_back().await;
        }
        if let Some(link) = &self.link {
            // Without an answer the others hear of it seconds later.
            link.leave().await.ok();
        }
        // Nothing runs any more, but what was answered last may not have been written yet.
        self.main.server.stop(true).await;
        let (feed, looking) = &self.feed;
        looking.abort();
        feed.close().await;
        self.admin.server.stop(false).await;
        if let Some(exporters) = self.exporters {
            // A collector that does not answer keeps its thread waiting, and not this one.
            actix_rt::task::spawn_blocking(move || exporters.stop()).await.ok();
        }
        log::info!(target: "llm_gateway", "stopped");
    }
}

/// Spans and metrics go to a collector where one is configured. Without them the gateway serves all the same.
fn exporters(config: &Config) -> Option<Exporters> {
    otel::start(&config.otel).unwrap_or_else(|error| {
        log::error!(target: "otel", "no spans and metrics are sent: {error}");
        None
    })
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the process before it.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Where a listener that was to listen here does so.
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
