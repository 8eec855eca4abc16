//! The thread that talks to the Redis: it connects, sends operations, drops a broken connection and
//! reconnects.
//!
//! Owns the connection and its state, up or down, and logs each change once. It refuses to wait:
//! operations that arrive while the Redis is down fail at once, and an operation that is late is
//! forgotten; if its answer still arrives, it is ignored.
//!
//! What a reader would get wrong: an operation that timed out may still happen, even after a later
//! one. Scripts for which this matters number their requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, IntoConnectionInfo, RedisError, RedisResult,
};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout, timeout_at};

use super::script::Script;
use super::settings::RedisSettings;
use super::value::Value;
use super::{Shared, Unavailable};
use crate::telemetry::{RedisConnected, RedisDisconnected};

/// How often a replica reports that it is alive; this also detects a silent Redis when there are no
/// operations.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How long a replica counts after its last report.
const BEAT_HOLDS: Duration = Duration::from_secs(5);
/// The failures in a row after which the connection is dropped.
const STRIKES: u32 = 3;
/// How long connecting and a first answer may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// The pauses between attempts to connect: they double from the first to the second.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

static HEARTBEAT: Script = Script::new(include_str!("heartbeat.lua"));

/// A request to the Redis.
#[derive(Debug)]
pub(super) enum Request {
    Run {
        script: &'static Script,
        keys: Vec<String>,
        arguments: Vec<Bytes>,
    },
    Get {
        key: String,
    },
    Set {
        key: String,
        value: Bytes,
        holds: Duration,
    },
    /// Reports that this replica stops.
    Leave,
}

/// A request in progress. Dropping it ends the wait of its caller.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) request: Request,
    pub(super) answer: oneshot::Sender<Result<Value, Unavailable>>,
    pub(super) deadline: Instant,
    /// One of the permits for operations in progress.
    pub(super) place: OwnedSemaphorePermit,
}

/// Talks to the Redis until the last handle is dropped.
pub(super) struct Talker {
    client: Client,
    operations: mpsc::Receiver<Operation>,
    shared: Arc<Shared>,
    /// The moment since which the Redis has been away; `None` while it answers, and before the
    /// first attempt.
    away: Option<Instant>,
}

/// The state that the operations of one connection share.
#[derive(Clone)]
struct Bond {
    connection: MultiplexedConnection,
    shared: Arc<Shared>,
    strikes: Arc<AtomicU32>,
    broken: mpsc::Sender<String>,
}

/// Why a connection ended.
enum Parting {
    /// No handle is left.
    Done,
    /// It broke.
    Broken(String),
}

impl Talker {
    /// Prepares the address; it does not connect yet.
    ///
    /// # Errors
    ///
    /// If the address is invalid.
    pub(super) fn new(
        settings: &RedisSettings,
        operations: mpsc::Receiver<Operation>,
        shared: Arc<Shared>,
    ) -> RedisResult<Self> {
        let address = settings.url.expose().into_connection_info()?;
        // Requests are small, and a caller waits for each.
        let tcp = address.tcp_settings().clone().set_nodelay(true);
        let client = Client::open(address.set_tcp_settings(tcp))?;
        Ok(Self { client, operations, shared, away: None })
    }

    /// Runs until every handle is gone.
    pub(super) async fn talk(mut self) {
        let mut pause = PAUSES[0];
        loop {
            match timeout(CONNECT_WITHIN, self.connect()).await {
                Ok(Ok(connection)) => {
                    pause = PAUSES[0];
                    self.found();
                    match self.carry(connection).await {
                        Parting::Done => return,
                        Parting::Broken(cause) => self.lost(&cause),
                    }
                }
                Ok(Err(error)) => self.lost(&told(&error)),
                Err(_) => self.lost("it does not answer"),
            }
            if self.rest(pause).await {
                return;
            }
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    /// Connects, and checks that scripts run: a Redis that only accepts connections is of no use.
    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        // Every await here has its own deadline.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let mut connection =
            self.client.get_multiplexed_async_connection_with_config(&config).await?;
        beat(&mut connection, &self.shared, BEAT_HOLDS).await?;
        Ok(connection)
    }

    /// Sends operations until the connection breaks or the last handle is dropped.
    async fn carry(&mut self, connection: MultiplexedConnection) -> Parting {
        let (broken, mut breaking) = mpsc::channel(1);
        let shared = Arc::clone(&self.shared);
        let bond = Bond { connection, shared, strikes: Arc::default(), broken };
        let mut beats = interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beats.reset();
        loop {
            tokio::select! {
                biased;
                Some(cause) = breaking.recv() => return Parting::Broken(cause),
                operation = self.operations.recv() => match operation {
                    Some(operation) => drop(tokio::spawn(bond.clone().carry(operation))),
                    None => return Parting::Done,
                },
                _ = beats.tick() => drop(tokio::spawn(bond.clone().beat())),
            }
        }
    }

    /// Waits, and fails all operations that arrive meanwhile. Returns whether the last handle was
    /// dropped.
    async fn rest(&mut self, pause: Duration) -> bool {
        // Spread, so that replicas do not reconnect together.
        let pause = sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return false,
                operation = self.operations.recv() => if operation.is_none() { return true },
            }
        }
    }

    fn found(&mut self) {
        let away = self.away.take().map(|since| since.elapsed());
        *self.shared.found.lock() = Some(Instant::now());
        self.shared.up.store(true, Ordering::Release);
        RedisConnected { url: &self.shared.url, away }.emit();
    }

    fn lost(&mut self, cause: &str) {
        self.shared.up.store(false, Ordering::Release);
        *self.shared.found.lock() = None;
        if self.away.is_none() {
            self.away = Some(Instant::now());
            RedisDisconnected { url: &self.shared.url, cause }.emit();
        }
    }
}

impl Bond {
    async fn carry(mut self, operation: Operation) {
        let Operation { request, answer, deadline, place } = operation;
        let result = timeout_at(deadline.into(), self.perform(request)).await;
        let result = match result {
            Ok(Ok(value)) => {
                self.strikes.store(0, Ordering::Relaxed);
                Ok(value.into())
            }
            Ok(Err(error)) => {
                self.failed(&error);
                Err(Unavailable::Failed)
            }
            Err(_) => {
                self.strike("it does not answer in time".to_owned());
                Err(Unavailable::Late)
            }
        };
        drop(place);
        // The caller may have stopped waiting.
        drop(answer.send(result));
    }

    async fn beat(mut self) {
        let Self { connection, shared, .. } = &mut self;
        match timeout(shared.timeout, beat(connection, shared, BEAT_HOLDS)).await {
            Ok(Ok(())) => self.strikes.store(0, Ordering::Relaxed),
            Ok(Err(error)) => self.failed(&error),
            Err(_) => self.strike("it does not answer in time".to_owned()),
        }
    }

    async fn perform(&mut self, request: Request) -> RedisResult<::redis::Value> {
        match request {
            Request::Run { script, keys, arguments } => {
                let mut call = script.hashed().prepare_invoke();
                for key in keys {
                    call.key(key);
                }
                for argument in &arguments {
                    call.arg(argument.as_ref());
                }
                call.invoke_async(&mut self.connection).await
            }
            Request::Get { key } => Cmd::get(key).query_async(&mut self.connection).await,
            Request::Set { key, value, holds } => {
                let holds = u64::try_from(holds.as_millis()).unwrap_or(u64::MAX).max(1);
                Cmd::pset_ex(key, value.as_ref(), holds).query_async(&mut self.connection).await
            }
            Request::Leave => {
                beat(&mut self.connection, &self.shared, Duration::ZERO).await?;
                Ok(::redis::Value::Okay)
            }
        }
    }

    fn failed(&self, error: &RedisError) {
        log::debug!(target: "redis", cause = told(error); "an operation failed");
        if error.is_unrecoverable_error() || error.is_io_error() {
            self.break_off(told(error));
        } else {
            self.strike(told(error));
        }
    }

    fn strike(&self, cause: String) {
        if self.strikes.fetch_add(1, Ordering::Relaxed) + 1 >= STRIKES {
            self.break_off(cause);
        }
    }

    fn break_off(&self, cause: String) {
        // Only the first cause counts, and none of a connection that has already ended. All of this
        // happens on one thread, so that no new connection can appear between the two steps.
        if self.broken.try_send(cause).is_ok() {
            self.shared.up.store(false, Ordering::Release);
        }
    }
}

/// Reports that this replica is alive, and learns how many are.
async fn beat(
    connection: &mut MultiplexedConnection,
    shared: &Shared,
    holds: Duration,
) -> RedisResult<()> {
    let mut call = HEARTBEAT.hashed().prepare_invoke();
    call.key(&shared.members)
        .arg(&*shared.replica)
        .arg(u64::try_from(holds.as_millis()).unwrap_or(0));
    let replicas: u32 = call.invoke_async(connection).await?;
    if holds.is_zero() {
        return Ok(());
    }
    // If this replica has only just reconnected, others may not have reported again yet.
    let is_settled = shared.found.lock().is_some_and(|found| found.elapsed() >= BEAT_HOLDS);
    if is_settled {
        shared.replicas.store(replicas.max(1), Ordering::Relaxed);
    } else {
        shared.replicas.fetch_max(replicas, Ordering::Relaxed);
    }
    Ok(())
}

/// Describes an error without the operation's content.
fn told(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::AuthenticationFailed => "it refuses the password".to_owned(),
        _ => error.to_string(),
    }
}
