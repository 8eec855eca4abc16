//! The limits of each key: a rate of requests, tokens per minute and per day, and concurrent
//! requests.
//!
//! It owns an [`Account`] for each caller, by name, and the [`Failures`] of clients without a valid
//! key. A [`Ticket`] takes from an account and gives back the unused part when it is dropped. It
//! refuses with a [`Refusal`] that says when a retry makes sense.
//!
//! The one thing to know: an account outlives the configuration it came from. A reload changes its
//! terms and keeps its use; only a removed name is forgotten.

mod account;
mod bucket;
mod failures;
mod meters;
mod refusal;
pub mod settings;
mod shared;
mod terms;
mod ticket;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::redis::Link;
use shared::Shared;

pub use account::{Account, AccountStatus, MeterStatus};
pub use bucket::Rate;
pub use failures::Failures;
pub use meters::Standing;
pub use refusal::Refusal;
pub use terms::{Meter, Terms};
pub use ticket::{ANSWER, Need, Ticket};

/// The accounts of all callers.
#[derive(Debug)]
pub struct Limits {
    accounts: Mutex<BTreeMap<Arc<str>, Arc<Account>>>,
    shared: Option<Arc<Shared>>,
}

impl Limits {
    /// No accounts yet. With a link, gateways that share the Redis share their callers' limits.
    #[must_use]
    pub fn new(link: Option<Link>) -> Self {
        let shared = link.map(|link| Arc::new(Shared::new(link)));
        Self { accounts: Mutex::default(), shared }
    }

    /// Sets the callers and their terms, and returns their accounts. Other accounts are forgotten;
    /// their running requests finish.
    pub fn replace(&self, callers: &[(Arc<str>, Terms)]) -> Vec<Arc<Account>> {
        let mut accounts = self.accounts.lock();
        let open = |(name, terms): &(Arc<str>, Terms)| match accounts.get(name) {
            Some(account) => {
                account.change(*terms);
                Arc::clone(account)
            }
            None => Arc::new(Account::new(name, *terms, self.shared.clone())),
        };
        let opened: Vec<Arc<Account>> = callers.iter().map(open).collect();
        *accounts = opened
            .iter()
            .map(|account| (Arc::clone(account.name()), Arc::clone(account)))
            .collect();
        opened
    }

    /// The last known number of gateways among which limits are divided while Redis does not
    /// answer; 1 without a Redis.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.shared.as_ref().map_or(1, |shared| shared.replicas())
    }

    /// Every account, by name.
    #[must_use]
    pub fn statuses(&self) -> Vec<AccountStatus> {
        let now = Instant::now();
        self.accounts.lock().values().map(|account| account.status(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn new_terms_apply_at_once_and_keep_what_was_used() {
        let limits = Limits::new(None);
        let name: Arc<str> = Arc::from("a");
        let rate = |capacity| Some(Rate { capacity, per_second: 0.001 });
        let terms = |capacity| Terms { rate: rate(capacity), ..Terms::default() };
        let left = || limits.statuses()[0].requests.as_ref().map(|meter| meter.remaining);
        let open = |terms| limits.replace(&[(Arc::clone(&name), terms)]).remove(0);
        let mut ticket = Ticket::new(open(terms(10.0)));
        ticket.enter().await.unwrap();
        assert_eq!(left(), Some(9));
        open(terms(5.0));
        assert_eq!(left(), Some(4));
        assert_eq!(limits.statuses()[0].in_flight, 1);
        open(Terms::default());
        assert_eq!(left(), None);
        drop(ticket);
        assert_eq!(limits.statuses()[0].in_flight, 0);
        limits.replace(&[]);
        assert!(limits.statuses().is_empty());
        open(terms(10.0));
        assert_eq!(left(), Some(10));
    }
}
