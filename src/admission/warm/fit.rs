//! Which models have been seen loaded at the same time, and which have not fitted.
//!
//! Owns a bounded number of both kinds of sets. It knows nothing of memory: it only remembers.
//!
//! The one thing to know: trying every pair would cost as much as loading without a plan. What was
//! never seen is guessed by the number of models.

use std::collections::{BTreeSet, VecDeque};

use crate::admission::line::Lane;

/// How many sets of each kind are remembered.
const MOST: usize = 50;

/// What was learnt about models beside each other.
#[derive(Debug, Default)]
pub(super) struct Fit {
    together: VecDeque<BTreeSet<Lane>>,
    apart: VecDeque<BTreeSet<Lane>>,
}

impl Fit {
    /// These were loaded at the same time.
    pub fn together(&mut self, lanes: &BTreeSet<Lane>) {
        self.apart.retain(|set| !set.is_subset(lanes));
        if !self.together.iter().any(|set| lanes.is_subset(set)) {
            self.together.retain(|set| !set.is_subset(lanes));
            push(&mut self.together, lanes.clone());
        }
    }

    /// One of these had to go for another.
    pub fn apart(&mut self, lanes: BTreeSet<Lane>) {
        // The server has less room than it had.
        self.together.retain(|set| !lanes.is_subset(set));
        if !self.apart.contains(&lanes) {
            push(&mut self.apart, lanes);
        }
    }

    /// Whether these fit beside each other; `None` if that is unknown.
    pub fn fits(&self, lanes: &BTreeSet<Lane>) -> Option<bool> {
        if lanes.len() <= 1 || self.together.iter().any(|set| lanes.is_subset(set)) {
            return Some(true);
        }
        let fewest = self.apart.iter().map(BTreeSet::len).min();
        let is_known = self.apart.iter().any(|set| set.is_subset(lanes));
        let is_as_many = fewest.is_some_and(|fewest| lanes.len() >= fewest);
        (is_known || is_as_many).then_some(false)
    }

    /// The lane belongs to another model now.
    pub fn forget(&mut self, lane: Lane) {
        self.together.retain(|set| !set.contains(&lane));
        self.apart.retain(|set| !set.contains(&lane));
    }
}

fn push(sets: &mut VecDeque<BTreeSet<Lane>>, set: BTreeSet<Lane>) {
    if sets.len() >= MOST {
        sets.pop_front();
    }
    sets.push_back(set);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(lanes: &[u16]) -> BTreeSet<Lane> {
        lanes.iter().map(|lane| Lane(*lane)).collect()
    }

    #[test]
    fn what_was_seen_is_believed_and_what_was_not_is_guessed_by_number() {
        let mut fit = Fit::default();
        assert_eq!((fit.fits(&set(&[1])), fit.fits(&set(&[1, 2]))), (Some(true), None));
        fit.together(&set(&[1, 2, 3]));
        assert_eq!(fit.fits(&set(&[1, 3])), Some(true));
        assert_eq!(fit.fits(&set(&[1, 4])), None);
        fit.apart(set(&[4, 5]));
        assert_eq!(fit.fits(&set(&[4, 5, 6])), Some(false));
        assert_eq!(fit.fits(&set(&[1, 4])), Some(false));
        assert_eq!(fit.fits(&set(&[1, 2])), Some(true));
    }

    #[test]
    fn the_newest_observation_of_the_same_models_wins() {
        let mut fit = Fit::default();
        fit.together(&set(&[1, 2]));
        fit.apart(set(&[1, 2]));
        assert_eq!(fit.fits(&set(&[1, 2])), Some(false));
        fit.together(&set(&[1, 2, 3]));
        assert_eq!(fit.fits(&set(&[1, 2])), Some(true));
    }

    #[test]
    fn memory_is_bounded() {
        let mut fit = Fit::default();
        for lane in 0..1000 {
            fit.together(&set(&[lane, lane + 1]));
            fit.apart(set(&[lane, lane + 2]));
        }
        assert!(fit.together.len() <= MOST && fit.apart.len() <= MOST);
    }
}
