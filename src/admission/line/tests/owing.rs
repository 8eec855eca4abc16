//! Slot time that jobs really took, settled after they have been served.

use super::*;

/// A line in which two callers wait with many jobs.
fn two() -> Line<u32> {
    let mut line = Line::new();
    for load in 0..40 {
        for caller in ["a", "b"] {
            line.insert(entry(interactive(caller, 1), load, Instant::now()), false);
        }
    }
    line
}

fn half(turns: u64) -> Turn {
    Turn(Turn::MEAN.0 * turns / 2)
}

/// Serves the next job of this caller out of turn.
fn serve_one_of(line: &mut Line<u32>, caller: &str, turn: Turn) {
    let first = line.next(|_| true, true).unwrap();
    let own = line.waiting(|_| true, true).find(|(_, entry, _)| *entry.share.caller == *caller);
    let key = own.unwrap().0;
    line.serve(key, first, turn, 0).unwrap();
}

#[test]
fn what_a_caller_gets_back_is_not_lost_when_others_were_served_meanwhile() {
    let mut line = two();
    serve_one_of(&mut line, "a", half(20));
    // By the time it is known that the job took half a turn, the other has caught up.
    assert_eq!(served(&mut line, 10), HashMap::from([("b".into(), 10)]));
    line.correct(&interactive("a", 1), -9.5);
    let next = served(&mut line, 12);
    assert!(next["a"] >= 10, "{next:?}");
}

#[test]
fn a_longer_turn_leaves_what_callers_have_had_at_its_worth() {
    let mut line = two();
    serve_one_of(&mut line, "a", half(16));
    // A turn is four times as long from now on: what were eight are two.
    line.rescale(0.25);
    assert_eq!(served(&mut line, 2), HashMap::from([("b".into(), 2)]));
    let next = served(&mut line, 10);
    assert_eq!((next["a"], next["b"]), (5, 5));
}
