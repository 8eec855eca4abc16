//! The choice between waiting jobs, one rule at a time.

use super::*;
use crate::admission::line::{Entry, Line, Share};
use crate::policy::Priority;
use std::sync::Arc;
use std::time::Instant;

/// Keys of waiting jobs, the oldest first.
fn keys(count: usize) -> Vec<Key> {
    let mut line: Line<()> = Line::new();
    let now = Instant::now();
    let share = Share { caller: Arc::from("a"), weight: 1, priority: Priority::Interactive };
    let entry = || {
        let (share, lane) = (share.clone(), Lane(1));
        Entry { share, lane, since: now, until: now, movable: false, load: () }
    };
    (0..count).map(|_| line.insert(entry(), false)).collect()
}

fn candidate(key: Key, cost: f64) -> Candidate {
    let (lane, waited, promised) = (Lane(1), 1.0, 100.0);
    Candidate { key, lane, level: 0, weight: 1, waited, promised, cold: 10.0, cost }
}

/// The place of the chosen one.
fn chosen(candidates: &[Candidate]) -> usize {
    let policy = RememberPolicy::default();
    let choice = Choice::new(candidates, candidates[0].key, 10.0, policy).unwrap();
    let chosen = choice.best().key;
    candidates.iter().position(|candidate| candidate.key == chosen).unwrap()
}

#[test]
fn one_that_costs_much_less_goes_first() {
    let keys = keys(3);
    let costs = |costs: [f64; 3]| {
        let pairs = keys.iter().zip(costs);
        chosen(&pairs.map(|(key, cost)| candidate(*key, cost)).collect::<Vec<_>>())
    };
    assert_eq!(costs([10.0, 10.0, 1.0]), 2);
    assert_eq!(costs([10.0, 5.0, 1.0]), 2);
    assert_eq!(costs([10.0, 9.0, 7.0]), 0, "not for a small gain");
    assert_eq!(costs([1.0, 1.0, 1.0]), 0);
    assert_eq!(costs([10.0, 1.0, 1.0]), 1, "of equals the one that came first");
}

#[test]
fn nobody_is_passed_by_once_it_is_late() {
    let keys = keys(2);
    let mut cold = candidate(keys[0], 10.0);
    let remembered = candidate(keys[1], 1.0);
    cold.waited = 149.0;
    assert_eq!(chosen(&[cold.clone(), remembered.clone()]), 1);
    cold.waited = 150.0;
    assert_eq!(chosen(&[cold.clone(), remembered.clone()]), 0);
    (cold.promised, cold.waited) = (1.0, 19.0);
    assert_eq!(chosen(&[cold.clone(), remembered.clone()]), 1, "twice its own time at least");
    cold.waited = 20.0;
    assert_eq!(chosen(&[cold, remembered]), 0);
}

#[test]
fn a_caller_that_has_had_much_more_than_another_waits() {
    let keys = keys(2);
    let cold = candidate(keys[0], 10.0);
    let mut remembered = candidate(keys[1], 1.0);
    remembered.level = 4 * Turn::MEAN.0;
    assert_eq!(chosen(&[cold.clone(), remembered.clone()]), 1);
    remembered.level += 1;
    assert_eq!(chosen(&[cold.clone(), remembered.clone()]), 0);
    remembered.weight = 2;
    assert_eq!(
        chosen(&[cold.clone(), remembered.clone()]),
        0,
        "its part is the same at any weight"
    );
    remembered.level = 2 * Turn::MEAN.0;
    assert_eq!(chosen(&[cold, remembered]), 1);
}
