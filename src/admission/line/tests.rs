//! Tables and properties of the line; `naive` is a second implementation to compare it with.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::admission::cost::Turn;

mod naive;
mod owing;

fn share(caller: &str, weight: u32, priority: Priority) -> Share {
    Share { caller: Arc::from(caller), weight, priority }
}

fn interactive(caller: &str, weight: u32) -> Share {
    share(caller, weight, Priority::Interactive)
}

fn batch(caller: &str) -> Share {
    share(caller, 1, Priority::Batch)
}

fn entry(share: Share, load: u32, start: Instant) -> Entry<u32> {
    let until = start + Duration::from_secs(30);
    Entry { share, lane: Lane(0), since: start, until, movable: false, load }
}

fn serve(line: &mut Line<u32>) -> Option<Entry<u32>> {
    let key = line.next(|_| true, true)?;
    line.serve(key, key, Turn::MEAN, 0)
}

/// Serves `count` jobs and counts them by caller.
fn served(line: &mut Line<u32>, count: usize) -> HashMap<String, usize> {
    let mut served = HashMap::new();
    for _ in 0..count {
        let entry = serve(line).unwrap();
        *served.entry(entry.share.caller.to_string()).or_default() += 1;
    }
    served
}

#[test]
fn a_callers_jobs_are_served_in_order_and_its_retries_first() {
    let now = Instant::now();
    let mut line = Line::new();
    for load in 0..3 {
        line.insert(entry(interactive("a", 1), load, now), false);
    }
    line.insert(entry(interactive("a", 1), 10, now), true);
    line.insert(entry(interactive("a", 1), 11, now), true);
    let order: Vec<u32> = std::iter::from_fn(|| serve(&mut line)).map(|entry| entry.load).collect();
    assert_eq!(order, [11, 10, 0, 1, 2]);
}

#[test]
fn ten_jobs_beside_a_thousand_are_served_within_their_share() {
    let now = Instant::now();
    let mut line = Line::new();
    for load in 0..1_000 {
        line.insert(entry(interactive("many", 1), load, now), false);
    }
    served(&mut line, 100);
    for load in 0..10 {
        line.insert(entry(interactive("few", 1), load, now), false);
    }
    assert_eq!(served(&mut line, 20).get("few"), Some(&10));
}

#[test]
fn weights_three_to_one_give_three_to_one() {
    let now = Instant::now();
    let mut line = Line::new();
    for load in 0..400 {
        line.insert(entry(interactive("heavy", 3), load, now), false);
        line.insert(entry(interactive("light", 1), load, now), false);
    }
    for _ in 0..10 {
        let served = served(&mut line, 40);
        assert!((29..=31).contains(&served["heavy"]), "{served:?}");
    }
}

#[test]
fn a_caller_with_one_job_at_a_time_gets_no_more_than_its_weight() {
    let now = Instant::now();
    let mut line = Line::new();
    for load in 0..400 {
        line.insert(entry(interactive("heavy", 3), load, now), false);
    }
    line.insert(entry(interactive("light", 1), 0, now), false);
    let mut light = 0;
    for _ in 0..200 {
        if &*serve(&mut line).unwrap().share.caller == "light" {
            light += 1;
            line.insert(entry(interactive("light", 1), 0, now), false);
        }
    }
    assert!((45..=55).contains(&light), "{light} of 200");
}

#[test]
fn a_caller_that_was_held_back_does_not_catch_up() {
    let now = Instant::now();
    let mut line = Line::new();
    for load in 0..200 {
        line.insert(entry(interactive("a", 1), load, now), false);
        line.insert(entry(batch("b"), load, now), false);
    }
    for _ in 0..50 {
        let key = line.next(|_| true, false).unwrap();
        assert_eq!(&*line.serve(key, key, Turn::MEAN, 0).unwrap().share.caller, "a");
    }
    let served = served(&mut line, 20);
    assert!((9..=11).contains(&served["b"]), "{served:?}");
}

#[test]
fn closed_lanes_are_skipped_and_keep_their_place() {
    let now = Instant::now();
    let mut line = Line::new();
    for load in 0..4 {
        let lane = Lane((load % 2) as u16);
        line.insert(Entry { lane, ..entry(interactive("a", 1), load, now) }, false);
    }
    let key = line.next(|lane| lane == Lane(1), true).unwrap();
    assert_eq!(line.serve(key, key, Turn::MEAN, 0).unwrap().load, 1);
    assert_eq!(line.next(|_| false, true), None);
    let order: Vec<u32> = std::iter::from_fn(|| serve(&mut line)).map(|entry| entry.load).collect();
    assert_eq!(order, [0, 2, 3]);
}

#[test]
fn the_longest_queue_by_weight_gives_way_until_it_is_no_longer_than_the_newcomers() {
    let now = Instant::now();
    let mut line = Line::new();
    for load in 0..6 {
        line.insert(entry(interactive("long", 1), load, now), false);
        line.insert(entry(interactive("weighty", 6), load, now), false);
    }
    let mut pushed = Vec::new();
    while let Some(key) = line.giving_way_to(&interactive("new", 1)) {
        pushed.push(line.remove(key).unwrap().load);
        line.insert(entry(interactive("new", 1), 100, now), false);
    }
    assert_eq!(pushed, [5, 4, 3]);
    assert_eq!(line.waiting_of(&interactive("new", 1)), 3);
    assert_eq!(line.giving_way_to(&interactive("long", 1)), None);
}

#[test]
fn batch_gives_way_first_and_never_pushes_out_interactive_work() {
    let now = Instant::now();
    let mut line = Line::new();
    for load in 0..5 {
        line.insert(entry(interactive("a", 1), load, now), false);
    }
    assert_eq!(line.giving_way_to(&batch("b")), None);
    line.insert(entry(batch("b"), 7, now), false);
    line.insert(entry(batch("c"), 8, now), false);
    line.insert(entry(batch("b"), 9, now), true);
    let key = line.giving_way_to(&interactive("a", 1)).unwrap();
    assert_eq!(line.remove(key).unwrap().load, 8);
    let key = line.giving_way_to(&interactive("a", 1)).unwrap();
    assert_eq!(line.remove(key).unwrap().load, 7);
    assert_eq!(line.giving_way_to(&interactive("a", 1)), None, "a retry never gives way");
}

#[test]
fn a_newcomers_place_follows_from_its_own_queue_and_the_weights() {
    let now = Instant::now();
    let mut line = Line::new();
    for load in 0..60 {
        line.insert(entry(interactive("many", 1), load, now), false);
    }
    assert_eq!(line.ahead_of_newcomer(&interactive("many", 1), false), 60);
    assert_eq!(line.ahead_of_newcomer(&interactive("many", 1), true), 0);
    assert_eq!(line.ahead_of_newcomer(&interactive("few", 1), false), 1);
    let first = line.insert(entry(interactive("few", 1), 0, now), false);
    let second = line.insert(entry(interactive("few", 1), 1, now), false);
    assert_eq!(line.ahead_of(first), Some(1));
    assert_eq!(line.ahead_of(second), Some(3));
    assert_eq!(line.ahead_of_newcomer(&interactive("many", 1), false), 62);
}

#[test]
fn a_place_in_a_lane_counts_the_jobs_of_that_lane_only() {
    let now = Instant::now();
    let mut line = Line::new();
    let mut come = |caller: &str, lane: u16| {
        let entry = Entry { lane: Lane(lane), ..entry(interactive(caller, 1), 0, now) };
        line.insert(entry, false)
    };
    for _ in 0..3 {
        come("a", 1);
    }
    let keys = [come("a", 2), come("b", 2), come("a", 2)];
    assert_eq!(keys.map(|key| line.ahead_in_lane(key)), [Some(1), Some(1), Some(2)]);
    let newcomer = |caller| line.ahead_of_newcomer_in_lane(&interactive(caller, 1), Lane(2));
    assert_eq!((newcomer("a"), newcomer("b"), newcomer("c")), (3, 3, 2));
    assert_eq!(line.ahead_of_newcomer_in_lane(&interactive("c", 1), Lane(3)), 0);
}

#[test]
fn the_oldest_is_found_among_retries_too() {
    let start = Instant::now();
    let mut line = Line::new();
    assert_eq!(line.oldest(), None);
    for (seconds, again) in [(3, false), (4, false), (2, true), (5, true)] {
        let since = start + Duration::from_secs(seconds);
        line.insert(Entry { since, ..entry(interactive("a", 1), 0, start) }, again);
    }
    assert_eq!(line.oldest(), Some(start + Duration::from_secs(2)));
}

#[test]
fn nothing_is_remembered_of_an_empty_line() {
    let now = Instant::now();
    let mut line = Line::new();
    for caller in 0..100 {
        line.insert(entry(interactive(&caller.to_string(), 1), caller, now), false);
    }
    while serve(&mut line).is_some() {}
    assert!(line.is_empty() && line.queues.is_empty() && line.lanes.is_empty());
    assert!(line.flows.interactive.is_empty() && line.ahead.is_empty());
    assert_eq!((line.weights, line.clock), (0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Insert {
        caller: u8,
        weight: u32,
        batch: bool,
        lane: u16,
        again: bool,
        until: u64,
        movable: bool,
    },
    Serve {
        lanes: u16,
        batch: bool,
    },
    Remove(usize),
    GiveWay {
        caller: u8,
        batch: bool,
    },
    Impatient {
        lane: u16,
        until: u64,
        movable: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let insert = (0..4u8, 1..4u32, any::<bool>(), 0..3u16, 0..10u8, 0..50u64, any::<bool>());
    prop_oneof![
        6 => insert.prop_map(|(caller, weight, batch, lane, again, until, movable)| {
            Step::Insert { caller, weight, batch, lane, again: again == 0, until, movable }
        }),
        4 => (0..8u16, any::<bool>()).prop_map(|(lanes, batch)| Step::Serve { lanes, batch }),
        1 => (0..64usize).prop_map(Step::Remove),
        1 => (0..4u8, any::<bool>()).prop_map(|(caller, batch)| Step::GiveWay { caller, batch }),
        1 => (0..3u16, 0..50u64, any::<bool>())
            .prop_map(|(lane, until, movable)| Step::Impatient { lane, until, movable }),
    ]
}

proptest! {
    #[test]
    fn the_line_decides_like_the_naive_one(steps in prop::collection::vec(step(), 1..300)) {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let class = |batch| if batch { Priority::Batch } else { Priority::Interactive };
        let mut line = Line::new();
        let mut naive = naive::Naive::default();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert { caller, weight, batch, lane, again, until, movable } => {
                    let share = share(&caller.to_string(), weight, class(batch));
                    let entry = Entry {
                        share, lane: Lane(lane), since: start, until: at(until), movable,
                        load: number as u32,
                    };
                    naive.insert(line.insert(entry_copy(&entry), again), entry);
                }
                Step::Serve { lanes, batch } => {
                    let open = |lane: Lane| lanes & (1 << lane.0) != 0;
                    let next = line.next(open, batch);
                    prop_assert_eq!(next, naive.next(open, batch));
                    if let Some(key) = next {
                        prop_assert_eq!(line.serve(key, key, Turn::MEAN, 0).map(|entry| entry.load), naive.serve(key));
                    }
                }
                Step::Remove(index) => if let Some(key) = naive.nth(index) {
                    prop_assert_eq!(line.remove(key).map(|entry| entry.load), naive.remove(key));
                    prop_assert!(line.remove(key).is_none());
                },
                Step::GiveWay { caller, batch } => {
                    let newcomer = share(&caller.to_string(), 1, class(batch));
                    prop_assert_eq!(line.giving_way_to(&newcomer), naive.giving_way_to(&newcomer));
                }
                Step::Impatient { lane, until, movable } => {
                    let found = line.impatient(Lane(lane), at(until), movable);
                    let all = naive.impatient(Lane(lane), at(until), movable);
                    prop_assert_eq!(found.is_some(), !all.is_empty());
                    prop_assert!(found.is_none_or(|key| all.contains(&key)));
                }
            }
            prop_assert_eq!(line.len(), naive.len());
            prop_assert_eq!(line.weights, naive.weights());
            for lane in 0..3 {
                prop_assert_eq!(line.waiting_in(Lane(lane)), naive.waiting_in(Lane(lane)));
            }
        }
    }
}

fn entry_copy(entry: &Entry<u32>) -> Entry<u32> {
    Entry { share: entry.share.clone(), ..*entry }
}
