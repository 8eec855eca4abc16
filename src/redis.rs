//! The Redis that several gateways share, if there is one.
//!
//! A [`Link`] sends it single operations: scripts, reads and writes. They run on a separate thread,
//! over one connection; a caller waits at most for `redis.timeout`, and not at all while the Redis
//! is known to be away. It never makes a request fail: [`Unavailable`] means "decide without the
//! others", never an error answer.
//!
//! The one thing to know: an operation that timed out may still happen later. An operation that
//! must not happen twice, or late, has to be a script that detects that.

mod connection;
mod script;
pub mod settings;
mod value;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::telemetry::{RedisDisconnected, RedisOperated, RedisOutcome};
use connection::{Operation, Request, Talker};
use settings::RedisSettings;

pub use script::Script;
pub use value::Value;

/// The most operations in progress at one time, which also bounds the values in memory; the next is
/// refused at once.
const MOST: usize = 1024;

/// A handle to the thread that talks to the Redis. The thread ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Link {
    operations: mpsc::Sender<Operation>,
    places: Arc<Semaphore>,
    /// The thread's runtime; `None` if it could not be started.
    runtime: Option<Handle>,
    shared: Arc<Shared>,
}

/// Why there is no answer. All reasons mean the same to a caller: continue without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// The Redis is away; nothing was tried, and the caller did not wait.
    Away,
    /// Too many operations are in progress; nothing was tried.
    Full,
    /// There was no answer in time. The operation may still happen.
    Late,
    /// The Redis answered with an error, or the connection broke. The operation may have happened.
    Failed,
}

/// The state that the handles and the thread share.
#[derive(Debug)]
struct Shared {
    /// The address, password masked.
    url: String,
    prefix: String,
    timeout: Duration,
    /// This gateway's name among the replicas, a new one at each start.
    replica: Box<str>,
    /// The key of the set of replicas.
    members: String,
    up: AtomicBool,
    /// The moment since which it has been up without a break.
    found: Mutex<Option<Instant>>,
    replicas: AtomicU32,
}

impl Link {
    /// Starts to connect, in the background. `None` if no Redis is configured. If the thread cannot
    /// be started, this is logged and the Redis stays away.
    #[must_use]
    pub fn start(settings: &RedisSettings) -> Option<Self> {
        if settings.url.is_empty() {
            return None;
        }
        let shared = Arc::new(Shared {
            url: settings.url.to_string(),
            prefix: settings.prefix.clone(),
            timeout: settings.timeout,
            replica: Uuid::new_v4().to_string().into(),
            members: format!("{}:replicas", settings.prefix),
            up: AtomicBool::new(false),
            found: Mutex::new(None),
            replicas: AtomicU32::new(settings.replicas.max(1)),
        });
        let (operations, receiver) = mpsc::channel(MOST);
        let begun = begin(settings, receiver, Arc::clone(&shared));
        if let Err(error) = &begun {
            RedisDisconnected { url: &shared.url, cause: &error.to_string() }.emit();
        }
        let (places, runtime) = (Arc::new(Semaphore::new(MOST)), begun.ok());
        Some(Self { operations, places, runtime, shared })
    }

    /// The key `PREFIX:KIND:NAME`.
    #[must_use]
    pub fn key(&self, kind: &str, name: &str) -> String {
        format!("{}:{kind}:{name}", self.shared.prefix)
    }

    /// Runs a script in one step. Its keys come from [`Link::key`].
    ///
    /// # Errors
    ///
    /// If there is no answer, for any reason; never later than `redis.timeout`.
    ///
    /// # Cancellation
    ///
    /// Dropping the future discards the answer; the script may still run.
    pub async fn run(
        &self,
        script: &'static Script,
        keys: Vec<String>,
        arguments: Vec<Bytes>,
    ) -> Result<Value, Unavailable> {
        self.ask(Request::Run { script, keys, arguments }).await
    }

    /// Reads a key; `None` if it does not exist, or there is no answer.
    pub async fn get(&self, key: String) -> Option<Bytes> {
        self.ask(Request::Get { key }).await.ok()?.bytes()
    }

    /// Writes a key that `holds` for this time, in whole milliseconds, at least one.
    ///
    /// # Errors
    ///
    /// If it may not have been written; never later than `redis.timeout`.
    pub async fn set(&self, key: String, value: Bytes, holds: Duration) -> Result<(), Unavailable> {
        self.ask(Request::Set { key, value, holds }).await.map(drop)
    }

    /// Reports that this gateway stops, so that the others no longer count it.
    ///
    /// # Errors
    ///
    /// If there is no answer; then the others count it for some seconds more.
    pub async fn leave(&self) -> Result<(), Unavailable> {
        self.ask(Request::Leave).await.map(drop)
    }

    /// How long an operation may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.shared.timeout
    }

    /// Whether the Redis is away, so that every gateway decides for itself.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        !self.shared.up.load(Ordering::Acquire)
    }

    /// How many gateways share the Redis, this one included: as the Redis last reported, else as
    /// configured; at least 1. It does not fall in the first seconds after an outage, when some
    /// gateways may not have reported yet.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.shared.replicas.load(Ordering::Relaxed)
    }

    /// This gateway's name among the replicas: a new one at each start.
    #[must_use]
    pub fn replica(&self) -> &str {
        &self.shared.replica
    }

    /// Runs work for the Redis in the background, on its thread instead of a worker's. It ends with
    /// the last handle at the latest.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        match &self.runtime {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
        }
    }

    async fn ask(&self, request: Request) -> Result<Value, Unavailable> {
        let result = self.try_ask(request).await;
        let outcome = match &result {
            Ok(_) => RedisOutcome::Ok,
            Err(Unavailable::Away) => RedisOutcome::Skipped,
            Err(Unavailable::Full) => RedisOutcome::Full,
            Err(Unavailable::Late) => RedisOutcome::Timeout,
            Err(Unavailable::Failed) => RedisOutcome::Error,
        };
        RedisOperated { outcome }.emit();
        result
    }

    async fn try_ask(&self, request: Request) -> Result<Value, Unavailable> {
        if self.is_degraded() {
            return Err(Unavailable::Away);
        }
        let place = Arc::clone(&self.places).try_acquire_owned().or(Err(Unavailable::Full))?;
        let deadline = Instant::now() + self.shared.timeout;
        let (answer, answered) = oneshot::channel();
        let operation = Operation { request, answer, deadline, place };
        self.operations.try_send(operation).or(Err(Unavailable::Away))?;
        match tokio::time::timeout_at(deadline.into(), answered).await {
            Ok(Ok(result)) => result,
            // The connection broke before this operation was sent.
            Ok(Err(_)) => Err(Unavailable::Away),
            Err(_) => Err(Unavailable::Late),
        }
    }
}

/// Starts the thread.
fn begin(
    settings: &RedisSettings,
    operations: mpsc::Receiver<Operation>,
    shared: Arc<Shared>,
) -> io::Result<Handle> {
    let talker = Talker::new(settings, operations, shared).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let thread = std::thread::Builder::new().name("redis".to_owned());
    thread.spawn(move || runtime.block_on(talker.talk()))?;
    Ok(handle)
}

impl fmt::Display for Unavailable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Away => "the redis is away",
            Self::Full => "too many operations are under way",
            Self::Late => "the redis did not answer in time",
            Self::Failed => "the redis answered with an error",
        })
    }
}

impl std::error::Error for Unavailable {}
