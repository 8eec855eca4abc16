//! Answers cached in this process, within a number of bytes.
//!
//! It owns the entries and their age. It refuses entries larger than the whole bound.
//!
//! The one thing to know: an expired entry stays until it is requested or its room is needed; the
//! bound on bytes always holds.

use std::time::{Duration, Instant};

use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::key::Key;

/// The size of an entry beside its bytes: its key, its place in the table and in the eviction
/// order.
const FRAME: u64 = 160;
/// The usual size of an answer, for the initial size of the table.
const USUAL: u64 = 8 * 1024;

/// Answers by their keys.
#[derive(Debug)]
pub struct Memory(Cache<Key, Kept, Bytewise>);

#[derive(Debug, Clone)]
struct Kept {
    bytes: Bytes,
    since: Instant,
}

#[derive(Debug, Clone)]
struct Bytewise;

impl Weighter<Key, Kept> for Bytewise {
    fn weight(&self, _: &Key, kept: &Kept) -> u64 {
        FRAME + u64::try_from(kept.bytes.len()).unwrap_or(u64::MAX - FRAME)
    }
}

impl Memory {
    /// An empty memory of at most `most` bytes.
    #[must_use]
    pub fn new(most: u64) -> Self {
        let items = usize::try_from(most / USUAL).unwrap_or(usize::MAX).clamp(32, 65_536);
        let options = OptionsBuilder::new()
            // One shard, so that the whole room serves any key: answers are few and large.
            .shards(1)
            .estimated_items_capacity(items)
            .weight_capacity(most)
            .build();
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        Self(match options {
            Ok(options) => Cache::with_options(options, Bytewise, hasher, lifecycle),
            // Both required numbers were given.
            Err(_) => Cache::with_weighter(items, most, Bytewise),
        })
    }

    /// Uses another bound from now on.
    pub fn change(&self, most: u64) {
        if self.0.capacity() != most {
            self.0.set_capacity(most);
        }
    }

    /// The entry under the key, unless it is as old as `ttl` at `now`.
    #[must_use]
    pub fn get(&self, key: &Key, ttl: Duration, now: Instant) -> Option<Bytes> {
        let kept = self.0.get(key)?;
        if now.saturating_duration_since(kept.since) < ttl {
            return Some(kept.bytes);
        }
        // Unless a newer entry was stored there meanwhile.
        self.0.remove_if(key, |there| there.since == kept.since);
        None
    }

    /// Stores the bytes under the key and replaces an earlier entry.
    pub fn put(&self, key: Key, bytes: Bytes, now: Instant) {
        self.0.insert(key, Kept { bytes, since: now });
    }

    /// Forgets the entry under the key.
    pub fn remove(&self, key: &Key) {
        self.0.remove(key);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.0.clear();
    }

    /// How many entries there are, expired ones included.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.0.len()
    }

    /// Their size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::{Key, Runner, Scope};
    use crate::chat::{Ask, EmbedRequest};

    const TTL: Duration = Duration::from_secs(60);

    fn key(number: usize) -> Key {
        let ask = Ask::Embed(EmbedRequest::default());
        let question = Key::question(&ask, Scope { caller: None, policy: None }).unwrap();
        let model = number.to_string();
        let (provider, backend, base_url, manner) = ("", "", "", "");
        question.answered_by(Runner {
            provider,
            backend,
            base_url,
            model: &model,
            manner,
            part: None,
        })
    }

    fn bytes(size: usize) -> Bytes {
        Bytes::from(vec![0; size])
    }

    #[test]
    fn an_entry_is_valid_for_its_ttl_and_no_longer() {
        let memory = Memory::new(1 << 20);
        let now = Instant::now();
        memory.put(key(1), bytes(10), now);
        let just_before = now + TTL - Duration::from_nanos(1);
        assert_eq!(memory.get(&key(1), TTL, just_before), Some(bytes(10)));
        assert_eq!(memory.get(&key(1), TTL, now + TTL), None);
        assert_eq!(memory.entries(), 0);
    }

    #[test]
    fn a_newer_answer_replaces_an_older_one() {
        let memory = Memory::new(1 << 20);
        let now = Instant::now();
        memory.put(key(1), bytes(10), now);
        memory.put(key(1), bytes(20), now + TTL);
        assert_eq!(memory.get(&key(1), TTL, now + TTL), Some(bytes(20)));
        assert_eq!(memory.entries(), 1);
    }

    #[test]
    fn the_bytes_kept_never_exceed_the_bound() {
        let memory = Memory::new(10_000);
        let now = Instant::now();
        for number in 0..1000 {
            memory.put(key(number), bytes(number), now);
            assert!(memory.bytes() <= 10_000, "{} bytes after {number}", memory.bytes());
        }
        assert!(memory.entries() > 0);
        memory.change(1_000);
        assert!(memory.bytes() <= 1_000, "{} bytes", memory.bytes());
    }

    #[test]
    fn an_answer_larger_than_the_bound_is_not_kept() {
        let memory = Memory::new(10_000);
        let now = Instant::now();
        memory.put(key(1), bytes(100), now);
        memory.put(key(2), bytes(10_001), now);
        assert_eq!(memory.get(&key(2), TTL, now), None);
        assert_eq!(memory.get(&key(1), TTL, now), Some(bytes(100)));
    }

    #[test]
    fn nothing_is_left_after_clearing() {
        let memory = Memory::new(10_000);
        let now = Instant::now();
        memory.put(key(1), bytes(100), now);
        memory.clear();
        assert_eq!((memory.entries(), memory.bytes()), (0, 0));
        assert_eq!(memory.get(&key(1), TTL, now), None);
    }
}
