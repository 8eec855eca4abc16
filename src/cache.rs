//! Reuse of answers: cached ones, and those of calls in flight.
//!
//! A [`Cache`] is shared by all workers. A repeatable request [`Cache::claim`]s its answer: it
//! finds a cached one, joins an identical call in flight, or makes the call itself, which later
//! requests may join.
//!
//! [`key`] decides which requests are identical, [`eligible`] which answers may be reused, [`log`]
//! holds an answer for several readers: all pure. [`call`] adds locks and wake-ups, [`follow`] the
//! tasks.
//!
//! The one thing to know: it shares and stores events, never bytes for a client. One answer serves
//! every dialect, whole or streamed, and each client gets its own ids.

pub mod call;
pub mod eligible;
pub mod entry;
pub mod flights;
pub mod follow;
pub mod keep;
pub mod key;
pub mod log;
pub mod memory;
pub mod remote;
pub mod responses;
pub mod settings;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use serde::Serialize;

use crate::chat::{Ask, Carry};
use crate::job::{Caller, Candidate};
use crate::policy::DataPolicy;
use crate::redis::{Link, Unavailable};
use call::{Call, Reader, Writer};
use eligible::{Repeats, repeats};
use entry::Entry;
use flights::Flights;
use keep::{Keeper, Stores};
use key::{Key, Runner, Scope};
use memory::Memory;
use remote::Remote;
use settings::CacheSettings;

/// Answers cached and in flight, shared by all workers.
#[derive(Debug)]
pub struct Cache {
    settings: ArcSwap<CacheSettings>,
    memory: Arc<Memory>,
    remote: Option<Remote>,
    flights: Arc<Flights>,
}

/// A client's wishes about reused answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// Whether it wants a new answer, which others may reuse: `Cache-Control: no-cache`.
    pub fresh: bool,
    /// Whether it wants no sharing at all: `Cache-Control: no-store`.
    pub alone: bool,
    /// Whether it accepts a reused answer although a new one would differ: `x-gateway-cache:
    /// allow`.
    pub any: bool,
}

/// A request that may be answered from the cache.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The request.
    pub ask: &'a Ask,
    /// The request as it came, if a candidate gets it so.
    pub carry: Option<&'a Carry>,
    /// The caller.
    pub caller: &'a Caller,
    /// Where the content may go.
    pub policy: Option<DataPolicy>,
    /// All candidates in order, after every check of scope and policy.
    pub runners: &'a [Runner<'a>],
    /// The client's wishes about caching.
    pub control: CacheControl,
}

/// The result of a claim.
pub enum Claim {
    /// A cached answer, given by this model.
    Hit(Candidate, Entry),
    /// An identical call in flight.
    Joined(Reader),
    /// Nothing: the request makes the call, and reads the answer like the others.
    Leads {
        /// Takes the answer.
        writer: Writer,
        /// Looks for the answer elsewhere, and keeps it.
        keeper: Keeper,
        /// Reads the answer.
        reader: Reader,
    },
}

/// The cache at one instant.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Cached answers, expired ones included.
    pub entries: usize,
    /// Their size in bytes.
    pub bytes: u64,
    /// Calls in flight that others may join.
    pub in_flight: usize,
}

impl Cache {
    /// An empty cache, which also uses the replicas' shared Redis if there is one.
    #[must_use]
    pub fn new(settings: &CacheSettings, link: Option<Link>) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings.clone()),
            memory: Arc::new(Memory::new(settings.max_size)),
            remote: link.map(Remote::new),
            flights: Arc::default(),
        }
    }

    /// Takes other settings. Cached answers stay while they are young enough and there is room.
    pub fn change(&self, settings: &CacheSettings) {
        self.memory.change(settings.max_size);
        self.settings.store(Arc::new(settings.clone()));
    }

    /// Whether the request's answer may be reused.
    #[must_use]
    pub fn concerns(&self, ask: &Ask, control: CacheControl) -> bool {
        let settings = self.settings.load();
        let is_on = settings.coalesce || !settings.ttl.is_zero();
        is_on
            && !control.alone
            && match repeats(ask) {
                Repeats::Yes => true,
                Repeats::Sampled => settings.nondeterministic || control.any,
                Repeats::Never => false,
            }
    }

    /// Finds an answer or a call for the request, or lets it make the call; `None` when its answer
    /// must not be reused, or no candidate may answer it.
    #[must_use]
    pub fn claim(&self, asked: Asked<'_>) -> Option<Claim> {
        let Asked { ask, carry, caller, policy, runners, control } = asked;
        let settings = self.settings.load();
        let first = runners.first()?;
        let scope = Scope { caller: (!settings.shared).then_some(&*caller.name), policy };
        let question = match carry {
            Some(carry) => Key::carried(carry, scope)?,
            None => Key::question(ask, scope)?,
        };
        let keyed = |runner: &Runner<'_>| (candidate(runner), question.answered_by(*runner));
        let keys: Vec<(Candidate, Key)> = runners.iter().map(keyed).collect();
        let call_key = question.in_flight(runners, caller.priority);
        let is_cached = !settings.ttl.is_zero();
        let mut board = self.flights.board();
        if is_cached && !control.fresh {
            let now = Instant::now();
            // An answer of the same model at another provider is as good.
            for (candidate, key) in keys.iter().filter(|(one, _)| *one.model == *first.model) {
                let kept = self.memory.get(key, settings.ttl, now);
                if let Some(entry) = kept.as_ref().and_then(Entry::read) {
                    return Some(Claim::Hit(candidate.clone(), entry));
                }
            }
        }
        if settings.coalesce && !control.fresh {
            let reader = board.call(&call_key).and_then(|call| call.join());
            if let Some(reader) = reader {
                return Some(Claim::Joined(reader));
            }
        }
        let most = usize::try_from(settings.max_answer).unwrap_or(usize::MAX);
        let (writer, reader) = Call::begin(&caller.name, most);
        let reader = reader?;
        let place = settings.coalesce.then(|| board.put(call_key, writer.call()));
        let stores = is_cached.then(|| self.stores(&settings, policy, control));
        let keeper = Keeper { stores, most, keys, place };
        Some(Claim::Leads { writer, keeper, reader })
    }

    /// Forgets every answer cached here and, if there is one, in Redis. Calls in flight and the
    /// memories of other replicas are not affected.
    ///
    /// # Errors
    ///
    /// When Redis may not have done it.
    pub async fn clear(&self) -> Result<(), Unavailable> {
        self.memory.clear();
        match &self.remote {
            Some(remote) => remote.clear().await,
            None => Ok(()),
        }
    }

    /// The stores for an answer.
    fn stores(
        &self,
        settings: &CacheSettings,
        policy: Option<DataPolicy>,
        control: CacheControl,
    ) -> Stores {
        // The Redis may be on any machine and readable by others, so local-only answers stay in
        // this process.
        let may_leave = match policy {
            Some(DataPolicy::Local) => false,
            None => true,
        };
        Stores {
            memory: Arc::clone(&self.memory),
            remote: self.remote.clone().filter(|_| may_leave),
            ttl: settings.ttl,
            may_look: !control.fresh,
        }
    }

    /// The cache's present state.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            entries: self.memory.entries(),
            bytes: self.memory.bytes(),
            in_flight: self.flights.count(),
        }
    }
}

fn candidate(runner: &Runner<'_>) -> Candidate {
    let (provider, model) = (Arc::from(runner.provider), Arc::from(runner.model));
    Candidate { provider, model, context: None, part: runner.part }
}
