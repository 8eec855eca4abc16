//! The application: from a configuration to running listeners, and back to rest.
//!
//! It owns what is started and in which order it stops. It refuses to start in part: when one listener cannot be
//! bound, nothing runs.
//!
//! The one thing to know: a reload keeps the gate of every provider whose name stays, or comes back while calls of it
//! still run, so that no slot, line or breaker is forgotten, whatever else changes about it.

pub mod demo;
pub mod descriptors;
pub mod keys;
pub mod probe;
mod providers;
pub mod routed;
mod watch;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix_rt::task::JoinHandle;
use actix_rt::time::sleep;
use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use parking_lot::Mutex;
use providers::Providers;
use socket2::{Domain, Protocol, Socket, Type};

use crate::admin::{self, Admin, Feed};
use crate::config::{self, Config, Fingerprint};
use crate::http::{self, Front};
use crate::provider::parts::Parts;
use crate::provider::{HealthActor, Watch};
use crate::redis::Link;
use crate::telemetry::otel::{self, Exporters};

/// Connections that may wait to be accepted. The standard library's 128 is too few for a burst of clients.
const BACKLOG: i32 = 4096;
/// How often it is looked whether the last call of a provider that was taken out has ended.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// A running gateway.
pub struct App {
    front: Data<Front>,
    main: Running,
    admin: Running,
    current: Arc<Current>,
    /// Asks the providers whether they work.
    health: Addr<HealthActor>,
    /// The Redis that replicas share.
    link: Option<Link>,
    /// What consoles are told, and the task that looks for it.
    feed: (Arc<Feed>, JoinHandle<()>),
    /// Send spans and metrics.
    exporters: Option<Exporters>,
    /// Watches the configuration file.
    watch: Option<JoinHandle<()>>,
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
    /// The file that was read, which is watched; `None` when there is none.
    pub file: Option<PathBuf>,
    /// What it said.
    pub fingerprint: Fingerprint,
}

/// The configuration in force.
struct Current {
    config: Mutex<Config>,
    /// Never locked for longer than it takes to look through them.
    providers: Arc<Mutex<Providers>>,
    source: Option<Source>,
    /// What the file was when it was last read, whatever came of it.
    tried: Mutex<Fingerprint>,
    health: Addr<HealthActor>,
    /// The limits that it keeps together with other gateways.
    parts: Option<Arc<Parts>>,
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
        let parts = link.clone().map(Parts::new).map(Arc::new);
        let mut providers = Providers::new(parts.clone());
        let routing = Arc::new(providers.routing(&config));
        let health = HealthActor::start_with(routing.providers.clone());
        let exporters = exporters(&config);
        let front = Data::new(Front::new(
            &config.server,
            &config.auth,
            &config.keys,
            &config.cache,
            routing,
            link.clone(),
            parts.clone(),
        ));
        let token = config.admin.token.clone();
        let tried = source.as_ref().map(|source| source.fingerprint.clone()).unwrap_or_default();
        let current = Arc::new(Current {
            config: Mutex::new(config),
            providers: Arc::new(Mutex::new(providers)),
            source,
            tried: Mutex::new(tried),
            health: health.clone(),
            parts,
        });
        let started = |listen| move |error| StartError { listen, error };
        let address = main.local_addr().map_err(started(server))?;
        let feed = Feed::start(front.clone(), address);
        let admin = {
            let (front, current) = (front.clone(), Arc::clone(&current));
            let shown = Arc::clone(&current);
            let hooks = Admin {
                front: front.clone(),
                main: address,
                feed: Arc::clone(&feed.0),
                token,
                reload: Box::new(move || current.reload(&front)),
                effective: Box::new(move || config::effective(&shown.config.lock())),
            };
            run(admin, |listener| admin::serve(listener, hooks)).map_err(started(console))?
        };
        let main =
            run(main, |listener| http::serve(listener, front.clone())).map_err(started(server))?;
        log::info!(target: "llm_gateway", "gateway listening on http://{}", main.address);
        log::info!(target: "llm_gateway", "admin listening on http://{}", admin.address);
        let watch = watch_file(&current, &front);
        Ok(Self { front, main, admin, current, health, link, feed, exporters, watch })
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

    /// Reads the configuration again.
    ///
    /// # Errors
    ///
    /// The problems, one per line; the old configuration stays.
    pub fn reload(&self) -> Result<(), String> {
        self.current.reload(&self.front)
    }

    /// Stops in order: readiness first, then no new work, time for what runs, and the listeners last.
    pub async fn stop(self) {
        log::info!(target: "llm_gateway", "stopping");
        if let Some(watch) = &self.watch {
            watch.abort();
        }
        self.health.do_send(Watch(Vec::new()));
        self.front.drain().await;
        if let Some(parts) = &self.current.parts {
            parts.give_back().await;
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

impl Current {
    fn reload(&self, front: &Front) -> Result<(), String> {
        let Some(source) = &self.source else {
            return Err("error: this gateway runs without a configuration file".to_owned());
        };
        // One reload at a time, and none sees half of another.
        let mut current = self.config.lock();
        if let Some(file) = &source.file {
            // Before it is read: what is written from now on will be seen as a change.
            *self.tried.lock() = config::fingerprint(file);
        }
        // The process's own variables never change; those of `.env` do.
        let loaded = config::read_environment()
            .and_then(|environment| config::load(source.explicit.as_deref(), &environment));
        let loaded = loaded.map_err(|problems| {
            log::error!(target: "llm_gateway", "the configuration is refused and the old one stays:\n{problems}");
            problems.to_string()
        })?;
        for warning in &loaded.warnings {
            log::warn!(target: "llm_gateway", "{warning}");
        }
        let after = loaded.config;
        for (key, differs) in [
            ("server.listen", after.server.listen != current.server.listen),
            ("server.workers", after.server.workers != current.server.workers),
            ("server.write_stall", after.server.write_stall != current.server.write_stall),
            ("admin.listen", after.admin.listen != current.admin.listen),
            ("admin.token", after.admin.token != current.admin.token),
            ("redis", after.redis != current.redis),
            ("log.format", after.log.format != current.log.format),
            ("otel", after.otel != current.otel),
        ] {
            if differs {
                log::warn!(target: "llm_gateway", "{key} changes with the next start");
            }
        }
        let routing = Arc::new(self.providers.lock().routing(&after));
        self.health.do_send(Watch(routing.providers.clone()));
        front.change(&after.server, &after.auth, &after.keys, &after.cache, routing);
        *current = after;
        drop(actix_rt::spawn(forget(Arc::clone(&self.providers))));
        log::info!(target: "llm_gateway", "the configuration was read again");
        Ok(())
    }
}

/// Forgets the providers that a reload has taken out. What is known of them here keeps their part of a limit that
/// gateways share, which the others could use.
async fn forget(providers: Arc<Mutex<Providers>>) {
    loop {
        // Whoever held them is told of the change at this very moment.
        sleep(FORGET_EVERY).await;
        if !providers.lock().forget() {
            return;
        }
    }
}

/// Spans and metrics go to a collector where one is configured. Without them the gateway serves all the same.
fn exporters(config: &Config) -> Option<Exporters> {
    otel::start(&config.otel).unwrap_or_else(|error| {
        log::error!(target: "otel", "no spans and metrics are sent: {error}");
        None
    })
}

/// Watches the configuration file where there is one.
fn watch_file(current: &Arc<Current>, front: &Data<Front>) -> Option<JoinHandle<()>> {
    let file = current.source.as_ref()?.file.clone()?;
    let (current, front) = (Arc::clone(current), front.clone());
    let tried = {
        let current = Arc::clone(&current);
        move || current.tried.lock().clone()
    };
    // What is wrong with the file is in the log; the old configuration stays.
    let reload = move || drop(current.reload(&front));
    Some(actix_rt::spawn(watch::watch(file, tried, reload)))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the process before it.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
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
