//! Answers used again: those that are kept, and those that are being made.
//!
//! A [`Cache`] is shared by all workers. A request that repeats [`Cache::claim`]s its answer: it finds one that is
//! kept, joins a call in flight that asks the same, or makes the call itself, for all who come after it.
//!
//! [`key`] says what is the same, [`eligible`] what may be used again at all, [`log`] holds an answer for several
//! readers: all pure. [`call`] puts locks and wake-ups around it, [`follow`] the tasks.
//!
//! The one thing to know: events are what is shared and kept, never bytes for a client. One answer serves every
//! dialect, whole or streamed, and each client gets ids of its own.

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

/// Answers kept and in flight, shared by all workers.
#[derive(Debug)]
pub struct Cache {
    settings: ArcSwap<CacheSettings>,
    memory: Arc<Memory>,
    remote: Option<Remote>,
    flights: Arc<Flights>,
}

/// What a client says about using answers again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// Whether it wants an answer of its own, which others may use: `Cache-Control: no-cache`.
    pub fresh: bool,
    /// Whether it wants nothing to do with others: `Cache-Control: no-store`.
    pub alone: bool,
    /// Whether it takes an answer although asking again would give another: `x-gateway-cache: allow`.
    pub any: bool,
}

/// A request that may be answered by what is there.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// What is asked.
    pub ask: &'a Ask,
    /// The same as it came, where one of those who may answer is asked so.
    pub carry: Option<&'a Carry>,
    /// Who asks.
    pub caller: &'a Caller,
    /// Where the content may go.
    pub policy: Option<DataPolicy>,
    /// All that may answer it, the first one first, after every check of scope and policy.
    pub runners: &'a [Runner<'a>],
    /// What the client says about caching.
    pub control: CacheControl,
}

/// What a request found.
pub enum Claim {
    /// An answer, given by this model.
    Hit(Candidate, Entry),
    /// A call that asks the same.
    Joined(Reader),
    /// Nothing: it makes the call, and reads the answer as the others do.
    Leads {
        /// Where the answer goes.
        writer: Writer,
        /// Where else it is looked for, and what becomes of it.
        keeper: Keeper,
        /// Where it is read.
        reader: Reader,
    },
}

/// What the cache holds at one instant.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Answers kept, those too old included.
    pub entries: usize,
    /// The bytes that they take.
    pub bytes: u64,
    /// Calls in flight that others may join.
    pub in_flight: usize,
}

impl Cache {
    /// An empty cache, which also uses the Redis that replicas share where there is one.
    #[must_use]
    pub fn new(settings: &CacheSettings, link: Option<Link>) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings.clone()),
            memory: Arc::new(Memory::new(settings.max_size)),
            remote: link.map(Remote::new),
            flights: Arc::default(),
        }
    }

    /// Takes other settings. Answers that are kept stay, as long as they are young enough and have room.
    pub fn change(&self, settings: &CacheSettings) {
        self.memory.change(settings.max_size);
        self.settings.store(Arc::new(settings.clone()));
    }

    /// Whether the request is one whose answer may be used again.
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

    /// Finds an answer or a call for the request, or makes it the one that calls; `None` when the request is none
    /// that this is for, or nobody may answer it.
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
            // Whoever else has the very model that would run has as good an answer.
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

    /// Forgets every answer that is kept here and, where there is a Redis, there. Calls in flight go on, and so do the
    /// memories of other replicas.
    ///
    /// # Errors
    ///
    /// When the Redis is not known to have done its part.
    pub async fn clear(&self) -> Result<(), Unavailable> {
        self.memory.clear();
        match &self.remote {
            Some(remote) => remote.clear().await,
            None => Ok(()),
        }
    }

    /// Where an answer is kept, and may be looked for.
    fn stores(
        &self,
        settings: &CacheSettings,
        policy: Option<DataPolicy>,
        control: CacheControl,
    ) -> Stores {
        // The Redis may be anywhere and seen by anybody, so what must stay local stays in this process.
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

    /// What it holds now.
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
