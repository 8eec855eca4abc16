//! Limits the invalid keys from an address.
//!
//! It owns a table of fixed size: an address always hashes to the same slot, which it shares with
//! others, so that no number of addresses makes it grow. It refuses only clients with an invalid
//! key: a valid key is never checked here.
//!
//! The one thing to know: addresses in one slot share its attempts. A client with a wrong key may
//! therefore get 429 instead of 401; other clients are not affected.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Instant;

use parking_lot::Mutex;

use super::bucket::{Bucket, Rate};
use super::refusal::Refusal;

/// How many slots the table has: 100 KiB.
const PLACES: usize = 4096;

/// The recent invalid keys, by address.
#[derive(Debug)]
pub struct Failures {
    table: Mutex<Table>,
    /// Random, so that a client cannot choose an address that shares another's slot.
    hasher: RandomState,
}

#[derive(Debug)]
struct Table {
    rate: Option<Rate>,
    places: Vec<Bucket>,
}

impl Failures {
    /// An empty table with this rate of failures per address; `None` is no limit.
    #[must_use]
    pub fn new(rate: Option<Rate>) -> Self {
        let table = Table { rate, places: vec![Bucket::default(); PLACES] };
        Self { table: Mutex::new(table), hasher: RandomState::new() }
    }

    /// Uses another rate from now on.
    pub fn change(&self, rate: Option<Rate>) {
        self.table.lock().rate = rate;
    }

    /// Counts an invalid key.
    ///
    /// # Errors
    ///
    /// When too many came from this address.
    pub fn count(&self, address: IpAddr, now: Instant) -> Result<(), Refusal> {
        let place = self.place(address);
        let mut table = self.table.lock();
        let (Some(rate), Some(bucket)) = (table.rate, table.places.get_mut(place)) else {
            return Ok(());
        };
        if !bucket.has(1.0, rate, now) {
            return Err(Refusal::Failures { after: bucket.time_until(1.0, rate, now) });
        }
        bucket.spend(1.0, rate, now);
        Ok(())
    }

    fn place(&self, address: IpAddr) -> usize {
        let hash = self.hasher.hash_one(network(address)) % (PLACES as u64);
        usize::try_from(hash).unwrap_or(0)
    }
}

/// What a client cannot change at will: its address, or its /64 network with IPv6, which is what a
/// provider assigns.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RATE: Rate = Rate { capacity: 3.0, per_second: 0.5 };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_a_number_of_attempts_and_then_waits() {
        let failures = Failures::new(Some(RATE));
        let (now, here) = (Instant::now(), address("192.0.2.1"));
        assert!((0..3).all(|_| failures.count(here, now).is_ok()));
        let after = Duration::from_secs(2);
        assert_eq!(failures.count(here, now), Err(Refusal::Failures { after }));
        assert_eq!(failures.count(here, now + after), Ok(()));
        let elsewhere = (2..20).map(|last| address(&format!("192.0.2.{last}")));
        assert!(elsewhere.filter(|there| failures.count(*there, now).is_ok()).count() > 15);
        failures.change(None);
        assert_eq!(failures.count(here, now), Ok(()));
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        assert_eq!(network(address("::ffff:192.0.2.1")), network(address("192.0.2.1")));
        assert_eq!(network(address("2001:db8::1")), network(address("2001:db8::ffff:1:2:3")));
        assert_ne!(network(address("2001:db8::1")), network(address("2001:db8:0:1::1")));
    }

    #[test]
    fn no_number_of_addresses_makes_the_table_grow() {
        let failures = Failures::new(Some(RATE));
        let now = Instant::now();
        for number in 0..100_000u32 {
            let _ = failures.count(IpAddr::V4(number.into()), now);
        }
        assert_eq!(failures.table.lock().places.len(), PLACES);
    }
}
