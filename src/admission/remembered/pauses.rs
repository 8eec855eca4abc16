//! How long callers usually take until a conversation goes on.
//!
//! Owns the last pauses of a bounded number of callers. A caller of whom nothing is known is taken
//! for one like those who were new lately: some ask once and never again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::ring::Ring;

/// How many callers are known.
const MOST: usize = 1024;

/// So many newcomers tell what newcomers do.
const ENOUGH: usize = 5;

/// See the module's introduction.
#[derive(Debug, Default)]
pub struct Pauses {
    callers: HashMap<Arc<str>, Pause>,
    /// The first pauses of the latest callers that were new, in seconds.
    newcomers: Ring<20>,
    last: u64,
}

#[derive(Debug, Default)]
struct Pause {
    /// In seconds.
    last: Ring<20>,
    used: u64,
}

impl Pauses {
    /// A caller's conversation has gone on after this pause, or has not gone on for so long.
    pub fn add(&mut self, caller: &Arc<str>, pause: Duration) {
        if self.callers.len() >= MOST && !self.callers.contains_key(caller) {
            let oldest = self.callers.iter().min_by_key(|(_, pause)| pause.used);
            if let Some(oldest) = oldest.map(|(caller, _)| Arc::clone(caller)) {
                self.callers.remove(&oldest);
            }
        }
        self.last += 1;
        if !self.callers.contains_key(caller) {
            self.newcomers.push(pause.as_secs_f64());
        }
        let known = self.callers.entry(Arc::clone(caller)).or_default();
        known.last.push(pause.as_secs_f64());
        known.used = self.last;
    }

    /// Whether the caller is usually back within this time, as far as is known.
    pub fn is_back_within(&self, caller: &str, time: Duration) -> bool {
        let own = self.callers.get(caller).and_then(|pause| pause.last.median());
        let others = || self.newcomers.median().filter(|_| self.newcomers.count() >= ENOUGH);
        let usual = own.or_else(others);
        usual.is_none_or(|usual| usual <= time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_expected_back_until_it_has_stayed_away() {
        let mut pauses = Pauses::default();
        let caller = Arc::from("a");
        let seconds = Duration::from_secs;
        assert!(pauses.is_back_within(&caller, seconds(1)));
        pauses.add(&caller, seconds(5));
        assert!(!pauses.is_back_within(&caller, seconds(1)));
        (0..2).for_each(|_| pauses.add(&caller, seconds(1)));
        assert!(pauses.is_back_within(&caller, seconds(1)));
    }

    #[test]
    fn a_new_caller_is_expected_to_be_like_those_who_were_new_lately() {
        let mut pauses = Pauses::default();
        let seconds = Duration::from_secs;
        let mut come = |number: u32, pause| pauses.add(&Arc::from(number.to_string()), pause);
        (0..4).for_each(|number| come(number, seconds(60)));
        assert!(pauses.is_back_within("new", seconds(1)), "too few have been seen");
        pauses.add(&Arc::from("4"), seconds(60));
        assert!(!pauses.is_back_within("new", seconds(1)));
        // What one caller goes on to do says nothing of others.
        (0..30).for_each(|_| pauses.add(&Arc::from("0"), seconds(1)));
        assert!(!pauses.is_back_within("new", seconds(1)));
        (5..12).for_each(|number| pauses.add(&Arc::from(number.to_string()), seconds(1)));
        assert!(pauses.is_back_within("new", seconds(1)));
    }

    #[test]
    fn invented_callers_do_not_fill_the_memory() {
        let mut pauses = Pauses::default();
        for number in 0..3 * MOST {
            pauses.add(&Arc::from(number.to_string()), Duration::from_secs(9));
        }
        assert_eq!(pauses.callers.len(), MOST);
    }
}
