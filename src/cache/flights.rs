//! The calls in flight that others may join, across all threads.
//!
//! It owns which call stands for which key. It refuses to forget a call in favour of one that has already been
//! replaced.
//!
//! The one thing to know: the answers kept are looked at under the same lock, so that a request which finds neither
//! an answer nor a call is the only one of its kind.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::call::Call;
use super::key::Key;

/// The calls by the keys of their questions.
#[derive(Debug, Default)]
pub struct Flights(Mutex<HashMap<Key, Arc<Call>>>);

/// A call's place among them, given back by being dropped.
#[derive(Debug)]
pub struct Place {
    flights: Arc<Flights>,
    key: Key,
    call: Arc<Call>,
}

/// All calls, while nobody else looks at them.
pub struct Board<'a> {
    flights: &'a Arc<Flights>,
    calls: MutexGuard<'a, HashMap<Key, Arc<Call>>>,
}

impl Flights {
    /// Looks at all calls; nobody else does meanwhile.
    pub fn board(self: &Arc<Self>) -> Board<'_> {
        Board { flights: self, calls: self.0.lock() }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().len()
    }
}

impl Board<'_> {
    /// The call that stands for the key.
    #[must_use]
    pub fn call(&self, key: &Key) -> Option<&Arc<Call>> {
        self.calls.get(key)
    }

    /// Puts a call there, in place of one that nobody joins any more.
    #[must_use]
    pub fn put(&mut self, key: Key, call: &Arc<Call>) -> Place {
        self.calls.insert(key, Arc::clone(call));
        Place { flights: Arc::clone(self.flights), key, call: Arc::clone(call) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut calls = self.flights.0.lock();
        if calls.get(&self.key).is_some_and(|call| Arc::ptr_eq(call, &self.call)) {
            calls.remove(&self.key);
        }
    }
}
