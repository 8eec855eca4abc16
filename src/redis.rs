//! The Redis that several gateways share, where there is one.
//!
//! A [`Link`] carries single operations to it: scripts, reads and writes. They run on a thread of their own, over one
//! connection; whoever asks waits `redis.timeout` at most, and not at all while the Redis is known to be away. It
//! refuses to be a reason for failure: [`Unavailable`] means "decide without the others", never an error answer.
//!
//! The one thing to know: an operation that was given up may still happen later. Whatever must not happen twice, or
//! late, has to be a script that notices.

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

use crate::telemetry::{RedisLost, RedisOperated, RedisOutcome};
use connection::{Operation, Request, Talker};
use settings::RedisSettings;

pub use script::Script;
pub use value::Value;

/// Operations under way at one time, values held in memory included; the next is refused at once.
const MOST: usize = 1024;

/// A handle to the thread that talks to the Redis. The thread ends when the last handle is gone.
#[derive(Debug, Clone)]
pub struct Link {
    operations: mpsc::Sender<Operation>,
    places: Arc<Semaphore>,
    /// The thread's runtime; `None` when it could not be started.
    runtime: Option<Handle>,
    shared: Arc<Shared>,
}

/// Why there is no answer. All of them mean the same to whoever asked: go on without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// The Redis is away; nothing was tried and no time was lost.
    Away,
    /// Too many operations are under way; nothing was tried.
    Full,
    /// There was no answer in time. The operation may still happen.
    Late,
    /// The Redis answered with an error, or the connection broke. The operation may have happened.
    Failed,
}

/// What handles and thread know of each other.
#[derive(Debug)]
struct Shared {
    /// The address, password masked.
    url: String,
    prefix: String,
    timeout: Duration,
    /// This gateway's name among the replicas, another one at each start.
    replica: Box<str>,
    /// The key of the set of replicas.
    members: String,
    up: AtomicBool,
    /// Since when it has been up without a break.
    found: Mutex<Option<Instant>>,
    replicas: AtomicU32,
}

impl Link {
    /// Starts to connect, in the background. `None` when no Redis is configured. Should the thread not start, the
    /// Redis is away for good, which is in the log.
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
            RedisLost { url: &shared.url, cause: &error.to_string() }.emit();
        }
        let (places, runtime) = (Arc::new(Semaphore::new(MOST)), begun.ok());
        Some(Self { operations, places, runtime, shared })
    }

    /// The key `PREFIX:KIND:NAME`.
    #[must_use]
    pub fn key(&self, kind: &str, name: &str) -> String {
        format!("{}:{kind}:{name}", self.shared.prefix)
    }

    /// Runs a script in one step. Its keys are made by [`Link::key`].
    ///
    /// # Errors
    ///
    /// When there is no answer, for whatever reason; never later than `redis.timeout`.
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives the answer up; the script may run all the same.
    pub async fn run(
        &self,
        script: &'static Script,
        keys: Vec<String>,
        arguments: Vec<Bytes>,
    ) -> Result<Value, Unavailable> {
        self.ask(Request::Run { script, keys, arguments }).await
    }

    /// Reads a key; `None` when there is none, and when there is no answer.
    pub async fn get(&self, key: String) -> Option<Bytes> {
        self.ask(Request::Get { key }).await.ok()?.bytes()
    }

    /// Writes a key for the time that it `holds`, of which whole milliseconds count, at least one.
    ///
    /// # Errors
    ///
    /// When it is not known to be written; never later than `redis.timeout`.
    pub async fn set(&self, key: String, value: Bytes, holds: Duration) -> Result<(), Unavailable> {
        self.ask(Request::Set { key, value, holds }).await.map(drop)
    }

    /// Says that this gateway is going, so that nobody counts it any longer.
    ///
    /// # Errors
    ///
    /// When there is no answer; then it counts for some seconds more.
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

    /// How many gateways share the Redis, itself included: as it last said, else as configured; at least 1. It does not fall
    /// in the first seconds after an outage, when not everybody may have been heard of yet.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.shared.replicas.load(Ordering::Relaxed)
    }

    /// This gateway's name among the replicas: another one at each start.
    #[must_use]
    pub fn replica(&self) -> &str {
        &self.shared.replica
    }

    /// Runs work in the background that has to do with the Redis: on its thread, so that no worker has to do it. It
    /// ends with the last handle at the latest.
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
            // The connection broke before it was this operation's turn.
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
