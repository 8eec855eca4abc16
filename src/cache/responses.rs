//! Stored responses that their callers may continue: a bounded memory.
//!
//! It owns the stored part of answers at `/v1/responses`, how long it is kept, and for whom. Each
//! turn is stored by itself and names the previous one. Nothing is guaranteed beyond the bounds: a
//! turn that is too old, evicted or lost with the process is gone, and the client is told how to
//! continue without it.
//!
//! The one thing to know: a caller finds its own responses, never another caller's. Local-only
//! turns are stored in this process only, and requests that continue them stay local too.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::key::Key;
use super::memory::Memory;
use super::settings::ResponsesSettings;
use crate::dialect::Turn;
use crate::redis::{Link, Script, Value};

static GET: Script = Script::new(include_str!("remote/get.lua"));
static PUT: Script = Script::new(include_str!("remote/put.lua"));
static FORGET: Script = Script::new(include_str!("responses/forget.lua"));

/// The most turns that one request follows back.
const LONGEST: usize = 1000;

/// Responses by caller and id, shared by all workers.
#[derive(Debug)]
pub struct Responses {
    settings: ArcSwap<ResponsesSettings>,
    memory: Memory,
    link: Option<Link>,
}

/// One stored turn.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    is_local: bool,
    turn: Turn,
}

/// The turns that a request refers to.
#[derive(Debug, Default)]
pub struct Recalled {
    /// By the ids of their responses.
    pub turns: HashMap<String, Turn>,
    /// Whether one of them must stay local.
    pub is_local: bool,
}

impl Responses {
    /// An empty memory; the replicas' shared Redis is used if there is one.
    #[must_use]
    pub fn new(settings: &ResponsesSettings, link: Option<Link>) -> Self {
        let memory = Memory::new(settings.max_size);
        Self { settings: ArcSwap::from_pointee(settings.clone()), memory, link }
    }

    /// Takes other settings. Stored turns stay while they are young enough and there is room.
    pub fn change(&self, settings: &ResponsesSettings) {
        self.memory.change(settings.max_size);
        self.settings.store(std::sync::Arc::new(settings.clone()));
    }

    /// Whether responses are stored at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.settings.load().ttl.is_zero()
    }

    /// Finds the turns of these ids and all turns before them that are still stored.
    pub async fn recall(&self, caller: &str, mut wanted: Vec<String>) -> Recalled {
        let mut recalled = Recalled::default();
        while let Some(id) = wanted.pop() {
            if recalled.turns.len() == LONGEST || recalled.turns.contains_key(&id) {
                continue;
            }
            if let Some(Kept { is_local, turn }) = self.find(caller, &id).await {
                wanted.extend(turn.previous.clone());
                recalled.is_local |= is_local;
                recalled.turns.insert(id, turn);
            }
        }
        recalled
    }

    /// The turn of this id.
    pub async fn one(&self, caller: &str, id: &str) -> Option<Turn> {
        self.find(caller, id).await.map(|kept| kept.turn)
    }

    async fn find(&self, caller: &str, id: &str) -> Option<Kept> {
        let ttl = self.settings.load().ttl;
        let key = Key::response(caller, id)?;
        let bytes = match self.memory.get(&key, ttl, Instant::now()) {
            Some(bytes) => bytes,
            None => self.fetch(&key, ttl).await?,
        };
        serde_json::from_slice(&bytes).ok()
    }

    async fn fetch(&self, key: &Key, ttl: Duration) -> Option<Bytes> {
        let link = self.link.as_ref()?;
        let places = vec![link.key("response", &key.to_string()), link.key("responses", "cleared")];
        let found = link.run(&GET, places, Vec::new()).await.ok()?;
        let Value::List(values) = found else { return None };
        let [_, age, bytes] = <[Value; 3]>::try_from(values).ok()?;
        let age = Duration::from_millis(u64::try_from(age.integer()?).ok()?);
        bytes.bytes().filter(|_| age < ttl)
    }

    /// Stores a turn under the id of its response.
    pub fn keep(&self, caller: &str, id: &str, turn: Turn, is_local: bool) {
        let ttl = self.settings.load().ttl;
        if ttl.is_zero() {
            return;
        }
        let Some(key) = Key::response(caller, id) else { return };
        let Ok(bytes) = serde_json::to_vec(&Kept { is_local, turn }) else { return };
        let bytes = Bytes::from(bytes);
        self.memory.put(key, bytes.clone(), Instant::now());
        // The Redis may be on any machine and readable by others.
        let Some(link) = self.link.clone().filter(|_| !is_local) else { return };
        let millis = ttl.as_millis().max(1).to_string();
        let places = vec![link.key("response", &key.to_string())];
        // A failure does not matter: a client whose turn is missing is told how to continue.
        drop(actix::spawn(async move {
            drop(link.run(&PUT, places, vec![bytes, Bytes::from(millis)]).await);
        }));
    }

    /// Forgets a turn; returns whether it was there.
    pub async fn forget(&self, caller: &str, id: &str) -> bool {
        let was_there = self.find(caller, id).await.is_some();
        let Some(key) = Key::response(caller, id) else { return false };
        self.memory.remove(&key);
        if let Some(link) = &self.link {
            let places = vec![link.key("response", &key.to_string())];
            drop(link.run(&FORGET, places, Vec::new()).await);
        }
        was_there
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn turn(text: &str, previous: Option<&str>) -> Turn {
        Turn {
            response: Map::new(),
            input: vec![json!(text)],
            previous: previous.map(str::to_owned),
        }
    }

    fn wanted(id: &str) -> Vec<String> {
        vec![id.to_owned()]
    }

    #[tokio::test]
    async fn a_caller_finds_its_own_turns_and_all_before_them() {
        let responses = Responses::new(&ResponsesSettings::default(), None);
        responses.keep("a", "r1", turn("1", None), true);
        responses.keep("a", "r2", turn("2", Some("r1")), false);
        let recalled = responses.recall("a", wanted("r2")).await;
        assert_eq!(recalled.turns.len(), 2);
        assert!(recalled.is_local);
        assert!(responses.recall("b", wanted("r2")).await.turns.is_empty());
        assert!(responses.forget("a", "r1").await);
        assert!(!responses.forget("a", "r1").await);
        let recalled = responses.recall("a", wanted("r2")).await;
        assert_eq!((recalled.turns.len(), recalled.is_local), (1, false));
    }

    #[tokio::test]
    async fn a_cycle_of_turns_ends() {
        let responses = Responses::new(&ResponsesSettings::default(), None);
        responses.keep("a", "r1", turn("1", Some("r2")), false);
        responses.keep("a", "r2", turn("2", Some("r1")), false);
        assert_eq!(responses.recall("a", wanted("r2")).await.turns.len(), 2);
    }

    #[tokio::test]
    async fn nothing_is_kept_beyond_the_bounds() {
        let off = ResponsesSettings { ttl: Duration::ZERO, ..ResponsesSettings::default() };
        let responses = Responses::new(&off, None);
        responses.keep("a", "r1", turn("1", None), false);
        assert!(!responses.is_on() && responses.one("a", "r1").await.is_none());
        let small = ResponsesSettings { max_size: 2000, ..ResponsesSettings::default() };
        let responses = Responses::new(&small, None);
        for number in 0..100 {
            responses.keep("a", &format!("r{number}"), turn("1", None), false);
        }
        assert!(responses.memory.bytes() <= 2000);
    }
}
