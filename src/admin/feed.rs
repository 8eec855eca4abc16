//! The events for an open console: first a snapshot, then changes.
//!
//! It owns the one task that observes the gateway, the frames that it makes, and the [`SEATS`]
//! consoles that may be open at one time. It makes each frame once for all consoles, and none while
//! no console is open.
//!
//! The one thing to know: a console may miss single steps. A console that falls behind gets a new
//! snapshot, and a request that began and ended between two looks is shown as ended.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix_rt::task::JoinHandle;
use actix_rt::time::sleep;
use actix_web::web::Data;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use super::frames::Frames;
use super::history::History;
use super::verdict::{self, Verdict};
use crate::http::Front;
use crate::provider::Status;
use crate::telemetry::journal::{CallerUsage, Changes, JOURNAL};

/// The most consoles that may be open at one time.
const SEATS: u32 = 16;
/// How many beats a console may fall behind before it gets a new snapshot.
const BACKLOG: usize = 32;
/// How often it looks at providers and keys.
const EVERY: Duration = Duration::from_secs(1);
/// How often in that time it looks at requests, while a console is open.
const BEATS: u32 = 4;
/// How long it waits for open consoles to end when the gateway stops.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The feed of all consoles.
pub struct Feed {
    front: Data<Front>,
    /// The address to which clients connect.
    main: SocketAddr,
    since: SystemTime,
    history: Mutex<History>,
    /// `None` once the gateway stops.
    frames: Mutex<Option<broadcast::Sender<Bytes>>>,
    seats: Arc<Semaphore>,
}

/// One open console.
struct Seat {
    feed: Arc<Feed>,
    frames: broadcast::Receiver<Bytes>,
    needs_snapshot: bool,
    /// Returned on drop.
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    /// Starts a feed about the gateway behind `front`; returns it and the task that looks once a
    /// second.
    #[must_use]
    pub fn start(front: Data<Front>, main: SocketAddr) -> (Arc<Self>, JoinHandle<()>) {
        let (frames, _) = broadcast::channel(BACKLOG);
        let feed = Arc::new(Self {
            front,
            main,
            since: SystemTime::now(),
            history: Mutex::default(),
            frames: Mutex::new(Some(frames)),
            seats: Arc::new(Semaphore::new(SEATS as usize)),
        });
        let looking = actix_rt::spawn(Arc::clone(&feed).look());
        (feed, looking)
    }

    /// Ends every open console and opens no more. Returns when they have ended, or after a second.
    pub async fn close(&self) {
        drop(self.frames.lock().take());
        drop(tokio::time::timeout(LAST_WORDS, self.seats.acquire_many(SEATS)).await);
    }

    /// The events for one console; `None` if too many are open or the gateway stops.
    pub(super) fn open(
        self: &Arc<Self>,
    ) -> Option<impl Stream<Item = Result<Bytes, Infallible>> + use<>> {
        let permit = Arc::clone(&self.seats).try_acquire_owned().ok()?;
        // This comes before the snapshot, so that no change is missed between the two.
        let frames = self.frames.lock().as_ref()?.subscribe();
        let feed = Arc::clone(self);
        let seat = Seat { feed, frames, needs_snapshot: true, _permit: permit };
        Some(unfold(seat, Seat::next))
    }

    async fn look(self: Arc<Self>) {
        let mut seen = 0;
        loop {
            let beats = if self.is_watched() { BEATS } else { 1 };
            for _ in 0..beats {
                sleep(EVERY / beats).await;
                if self.is_watched() {
                    seen = self.tell(seen, Frames::default());
                }
            }
            self.sample();
            if self.is_watched() {
                let mut frames = Frames::default();
                frames.add("providers", &self.providers());
                frames.add("keys", &self.keys());
                frames.add("refusals", &self.history.lock().refusals());
                seen = self.tell(seen, frames);
            }
        }
    }

    /// Sends `frames` and all changes since `seen`.
    fn tell(&self, seen: u64, mut frames: Frames) -> u64 {
        let Changes { version, requests, failures, notes, configuration } = JOURNAL.changes(seen);
        requests.iter().for_each(|request| frames.add("request", request));
        failures.iter().rev().for_each(|failure| frames.add("error", failure));
        notes.iter().for_each(|note| frames.add("change", note));
        configuration.iter().for_each(|read| frames.add("configuration", read));
        if let Some((frames, sender)) = frames.finish().zip(self.frames.lock().as_ref()) {
            // There is no receiver if the last console has just closed.
            drop(sender.send(frames));
        }
        version
    }

    fn is_watched(&self) -> bool {
        self.frames.lock().as_ref().is_some_and(|frames| frames.receiver_count() > 0)
    }

    fn sample(&self) {
        let routing = self.front.routing();
        let providers: Vec<_> =
            routing.providers.iter().map(|provider| provider.status()).collect();
        self.history.lock().look(&providers, JOURNAL.totals(), JOURNAL.tally());
    }

    /// Everything that a console needs at first.
    fn snapshot(&self) -> Bytes {
        let Changes { requests, failures, notes, configuration, .. } = JOURNAL.changes(0);
        let mut all = self.providers();
        if let Some(all) = all.as_object_mut() {
            all.insert("history".to_owned(), self.history.lock().all());
            all.insert("keys".to_owned(), self.keys());
            all.insert("refusals".to_owned(), self.history.lock().refusals());
            all.insert("changes".to_owned(), json!(notes));
            all.insert("requests".to_owned(), json!(requests));
            all.insert("errors".to_owned(), json!(failures));
            all.insert("configuration".to_owned(), json!(configuration));
        }
        let mut frames = Frames::default();
        frames.add("snapshot", &all);
        frames.finish().unwrap_or_default()
    }

    /// The gateway as a whole, and every provider.
    fn providers(&self) -> Value {
        let routing = self.front.routing();
        let history = self.history.lock();
        let running = JOURNAL.running();
        let statuses: Vec<_> = routing.providers.iter().map(|provider| provider.status()).collect();
        let provider = |provider: &Status<'_>| {
            let here = running.iter().filter(|((name, _), _)| **name == *provider.name);
            let by_caller: Map<_, _> =
                here.map(|((_, caller), count)| (caller.to_string(), json!(count))).collect();
            let mut status = json!(provider);
            if let Some(status) = status.as_object_mut() {
                status.insert("rates".to_owned(), json!(history.rates(provider.name)));
                status.insert("in_flight_by_caller".to_owned(), by_caller.into());
            }
            status
        };
        let providers: Vec<Value> = statuses.iter().map(provider).collect();
        json!({
            "gateway": {
                "version": env!("CARGO_PKG_VERSION"),
                "started_at": seconds(self.since),
                "now": seconds(SystemTime::now()),
                "address": format!("http://{}", self.main),
                "draining": self.front.is_draining(),
                "in_flight": self.front.active(),
                "buffered_bytes": self.front.buffered(),
                "last_minute": history.last_minute(),
                "verdict": verdict::of(&statuses, &history, self.front.is_draining()),
            },
            "providers": providers,
            "live": JOURNAL.live(),
        })
    }

    /// The state of the gateway as a whole, in words.
    pub(super) fn verdict(&self, providers: &[Status<'_>]) -> Verdict {
        verdict::of(providers, &self.history.lock(), self.front.is_draining())
    }

    /// Each key: what it has used, and what is left of its limits.
    fn keys(&self) -> Value {
        let limits = self.front.limits().statuses();
        let mut slots: HashMap<Arc<str>, u64> = HashMap::new();
        for ((_, caller), count) in JOURNAL.running() {
            *slots.entry(caller).or_default() += count;
        }
        let row = |(name, usage): (Arc<str>, CallerUsage)| {
            let mut row = json!(usage);
            if let Some(row) = row.as_object_mut() {
                row.insert("slots".to_owned(), json!(slots.get(&name).copied().unwrap_or(0)));
                let limits = limits.iter().find(|limits| limits.name == name);
                row.insert("limits".to_owned(), json!(limits));
                row.insert("name".to_owned(), json!(name));
            }
            row
        };
        JOURNAL.callers().into_iter().map(row).collect()
    }
}

impl Seat {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if std::mem::take(&mut self.needs_snapshot) {
            return Some((Ok(self.feed.snapshot()), self));
        }
        let frames = match self.frames.recv().await {
            Ok(frames) => frames,
            Err(RecvError::Lagged(_)) => self.feed.snapshot(),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(frames), self))
    }
}

/// Seconds since 1970, rounded to milliseconds.
fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * 1_000.0).round() / 1_000.0
}
