//! Answers that replicas share in Redis.
//!
//! It owns the keys there, and scripts that use the clock of Redis. It refuses nothing and never
//! fails: a Redis that is unreachable, slow or wrong counts as a missing answer.
//!
//! The one thing to know: a prompt that must stay local never gets here, and neither does its
//! answer. The claim decides that by having no remote store at all.

use std::time::Duration;

use bytes::Bytes;

use super::entry::Entry;
use super::key::Key;
use crate::redis::{Link, Script, Unavailable, Value};

static GET: Script = Script::new(include_str!("remote/get.lua"));
static PUT: Script = Script::new(include_str!("remote/put.lua"));
static CLEAR: Script = Script::new(include_str!("remote/clear.lua"));

/// Answers in a Redis.
#[derive(Debug, Clone)]
pub struct Remote(Link);

/// An answer that was found.
#[derive(Debug)]
pub struct Found {
    /// The index of its key.
    pub index: usize,
    /// How old it is.
    pub age: Duration,
    /// Its bytes.
    pub bytes: Bytes,
    /// The bytes as an entry.
    pub entry: Entry,
}

impl Remote {
    /// The answers in the Redis behind the link.
    #[must_use]
    pub fn new(link: Link) -> Self {
        Self(link)
    }

    /// The answer under the first of the keys that has one younger than `ttl`.
    pub async fn get(&self, keys: &[Key], ttl: Duration) -> Option<Found> {
        let mut places: Vec<String> = keys.iter().map(|key| self.place(key)).collect();
        places.push(self.cleared());
        let found = self.0.run(&GET, places, Vec::new()).await.ok()?;
        read(found).filter(|found| found.index < keys.len() && found.age < ttl)
    }

    /// Stores an answer for `ttl`, if that is possible now.
    pub async fn put(self, key: Key, bytes: Bytes, ttl: Duration) {
        // Redis rejects a time of zero; less than a millisecond counts as one.
        let millis = ttl.as_millis().max(1).to_string();
        let kept = self.0.run(&PUT, vec![self.place(&key)], vec![bytes, Bytes::from(millis)]);
        // A failure does not matter: the next request finds nothing and stores the answer again.
        drop(kept.await);
    }

    /// Invalidates every answer stored so far, for all replicas.
    ///
    /// # Errors
    ///
    /// When it may not have happened.
    pub async fn clear(&self) -> Result<(), Unavailable> {
        self.0.run(&CLEAR, vec![self.cleared()], Vec::new()).await.map(drop)
    }

    fn place(&self, key: &Key) -> String {
        self.0.key("answer", &key.to_string())
    }

    fn cleared(&self) -> String {
        self.0.key("answers", "cleared")
    }
}

/// Reads the script's answer; `None` for nothing and for values that no gateway has written.
fn read(value: Value) -> Option<Found> {
    let Value::List(values) = value else { return None };
    let [place, age, bytes] = <[Value; 3]>::try_from(values).ok()?;
    let index = usize::try_from(place.integer()?).ok()?.checked_sub(1)?;
    let age = Duration::from_millis(u64::try_from(age.integer()?).ok()?);
    let bytes = bytes.bytes()?;
    let entry = Entry::read_foreign(&bytes)?;
    Some(Found { index, age, bytes, entry })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::write;
    use crate::chat::{ChatEvent, Completion, Finish, Usage};

    fn answered(place: i64, age: i64, bytes: &Bytes) -> Option<Found> {
        read(Value::List(vec![
            Value::Integer(place),
            Value::Integer(age),
            Value::Bytes(bytes.clone()),
        ]))
    }

    #[test]
    fn only_whole_answers_are_found() {
        let (finish, stop_sequence, usage) = (Finish::Stop, None, Usage::default());
        let done = ChatEvent::Done(Completion { finish, stop_sequence, usage });
        let bytes = write(&[], std::iter::empty(), &done, 100).unwrap();
        let found = answered(2, 30, &bytes).unwrap();
        assert_eq!((found.index, found.age), (1, Duration::from_millis(30)));
        assert_eq!(found.entry.events().collect::<Vec<_>>(), [done]);
        assert!(answered(0, 30, &bytes).is_none());
        assert!(answered(1, -30, &bytes).is_none());
        assert!(answered(1, 30, &Bytes::from_static(b"something else")).is_none());
        assert!(read(Value::Nil).is_none());
        assert!(read(Value::List(vec![Value::Integer(1)])).is_none());
    }
}
