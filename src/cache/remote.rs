//! Answers that replicas share, in their Redis.
//!
//! It owns the keys there, and scripts that go by the Redis' own clock. It refuses nothing and is never a failure: a
//! Redis that is away, slow or wrong is an answer that is not there.
//!
//! The one thing to know: a prompt that must stay local never comes here, and neither does its answer. That is decided
//! where a claim is made, by giving it no remote store at all.

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
    /// Which of the keys it was found under.
    pub index: usize,
    /// How old it is.
    pub age: Duration,
    /// Its bytes.
    pub bytes: Bytes,
    /// What they hold.
    pub entry: Entry,
}

impl Remote {
    /// The answers in the Redis at the other end of the link.
    #[must_use]
    pub fn new(link: Link) -> Self {
        Self(link)
    }

    /// The first answer under one of the keys, younger than `ttl`.
    pub async fn get(&self, keys: &[Key], ttl: Duration) -> Option<Found> {
        let mut places: Vec<String> = keys.iter().map(|key| self.place(key)).collect();
        places.push(self.cleared());
        let found = self.0.run(&GET, places, Vec::new()).await.ok()?;
        read(found).filter(|found| found.index < keys.len() && found.age < ttl)
    }

    /// Keeps an answer for `ttl`, if that is possible now.
    pub async fn put(self, key: Key, bytes: Bytes, ttl: Duration) {
        // The Redis knows no time of zero; less than a millisecond is as good as one.
        let millis = ttl.as_millis().max(1).to_string();
        let kept = self.0.run(&PUT, vec![self.place(&key)], vec![bytes, Bytes::from(millis)]);
        // Nobody waits for it: the next one who asks finds nothing and keeps it again.
        drop(kept.await);
    }

    /// Makes every answer kept so far one that is not found, for all replicas.
    ///
    /// # Errors
    ///
    /// When it is not known to have happened.
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

/// Reads what the script answers; `None` for nothing and for what no gateway has written.
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
