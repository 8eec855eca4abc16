//! The calls in flight that others may join, across all threads.
//!
//! It owns the table of calls by key. A call that was already replaced cannot remove its successor.
//!
//! The one thing to know: cached answers are looked up under the same lock, so a request that finds
//! neither an answer nor a call is the only one of its kind.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::call::Call;
use super::key::Key;

/// The calls by their keys.
#[derive(Debug, Default)]
pub struct Flights(Mutex<HashMap<Key, Arc<Call>>>);

/// A call's place in the table, given back on drop.
#[derive(Debug)]
pub struct Place {
    flights: Arc<Flights>,
    key: Key,
    call: Arc<Call>,
}

/// All calls, locked.
pub struct Board<'a> {
    flights: &'a Arc<Flights>,
    calls: MutexGuard<'a, HashMap<Key, Arc<Call>>>,
}

impl Flights {
    /// Locks the table of calls.
    pub fn board(self: &Arc<Self>) -> Board<'_> {
        Board { flights: self, calls: self.0.lock() }
    }

    /// How many calls there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().len()
    }
}

impl Board<'_> {
    /// The call with the key.
    #[must_use]
    pub fn call(&self, key: &Key) -> Option<&Arc<Call>> {
        self.calls.get(key)
    }

    /// Puts a call into the table, in place of one that can no longer be joined.
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
