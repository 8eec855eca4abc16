//! Readers get every event in order, or are cut loose; none waits for the slowest.

use proptest::prelude::*;

use super::*;
use crate::chat::{Carried, ErrorKind};

/// A log with room for about this many events of one letter.
fn log(events: usize) -> Log {
    Log::new(events * (FRAME + 1))
}

fn event(number: usize) -> ChatEvent {
    let letter = b'a' + u8::try_from(number % 26).unwrap();
    ChatEvent::Text(char::from(letter).to_string())
}

fn text(next: &Next) -> Option<&str> {
    match next {
        Next::Event(event) => match &**event {
            ChatEvent::Text(text) => Some(text),
            other => panic!("{other:?}"),
        },
        Next::Anew | Next::Wait | Next::Failed(_) | Next::CutLoose => None,
    }
}

#[test]
fn a_late_reader_gets_the_earlier_events_and_then_the_new_ones() {
    let mut log = log(100);
    let first = log.join().unwrap();
    log.append(event(0));
    log.append(event(1));
    assert_eq!(text(&log.read(first)), Some("a"));
    let late = log.join().unwrap();
    assert_eq!(text(&log.read(late)), Some("a"));
    assert_eq!(text(&log.read(late)), Some("b"));
    assert_eq!(log.read(late), Next::Wait);
    log.append(event(2));
    assert_eq!(text(&log.read(late)), Some("c"));
    assert_eq!(text(&log.read(first)), Some("b"));
}

#[test]
fn a_carried_answer_counts_once() {
    let carried = |covers| {
        ChatEvent::Carried(Carried {
            bytes: b"{\"text\":\"ab\"}".to_vec(),
            covers,
            form: 0,
            has_more: false,
        })
    };
    let mut log = log(1000);
    log.append(carried(2));
    let bytes = log.held;
    log.append(ChatEvent::Text("a".repeat(100)));
    log.append(ChatEvent::Text("b".repeat(100)));
    assert_eq!(log.held, bytes + 2 * FRAME);
    log.append(ChatEvent::Text("c".repeat(100)));
    assert_eq!(log.held, bytes + 3 * FRAME + 100);
    log.append(carried(1));
    log.restart();
    log.append(ChatEvent::Text("d".repeat(100)));
    assert_eq!(log.held, FRAME + 100, "another answer is not covered by the one before");
}

#[test]
fn a_failure_follows_the_earlier_events_and_no_reader_joins_it() {
    let mut log = log(100);
    let reader = log.join().unwrap();
    log.append(event(0));
    let error = GatewayError::new(ErrorKind::Timeout, "x");
    log.fail(error.clone());
    log.fail(GatewayError::internal("later"));
    assert_eq!(log.join(), None);
    assert_eq!(text(&log.read(reader)), Some("a"));
    assert_eq!(log.read(reader), Next::Failed(error.clone()));
    assert_eq!(log.read(reader), Next::Failed(error));
}

#[test]
fn the_last_to_leave_is_known() {
    let mut log = log(100);
    let (one, other) = (log.join().unwrap(), log.join().unwrap());
    assert!(!log.leave(one));
    assert!(log.leave(other));
}

#[test]
fn no_reader_joins_once_half_of_the_bound_is_used() {
    let mut log = log(10);
    let _reader = log.join().unwrap();
    for number in 0..5 {
        log.append(event(number));
        assert!(log.join().is_some(), "after {number}");
    }
    log.append(event(5));
    assert_eq!(log.join(), None);
}

#[test]
fn beyond_the_bound_slow_readers_are_cut_loose_and_fast_ones_continue() {
    let mut log = log(10);
    let (fast, slow) = (log.join().unwrap(), log.join().unwrap());
    for number in 0..10 {
        assert!(!log.append(event(number)));
        assert_eq!(text(&log.read(fast)), text(&Next::Event(Arc::new(event(number)))));
    }
    assert!(log.append(event(10)));
    assert_eq!(log.read(slow), Next::CutLoose);
    assert_eq!(text(&log.read(fast)), Some("k"));
    assert!(!log.is_complete());
    assert!(log.leave(fast), "who was cut loose is no reader any more");
}

#[test]
fn an_answer_that_begins_anew_does_so_for_every_reader() {
    let mut log = log(10);
    let (fast, slow) = (log.join().unwrap(), log.join().unwrap());
    for number in 0..11 {
        log.append(event(number));
        log.read(fast);
    }
    assert_eq!(log.read(slow), Next::CutLoose);
    log.restart();
    assert!(log.is_complete());
    let late = log.join().unwrap();
    log.append(event(20));
    assert_eq!(log.read(fast), Next::Anew);
    for reader in [fast, late] {
        assert_eq!(text(&log.read(reader)), Some("u"));
    }
}

#[test]
fn a_lone_reader_is_never_cut_loose_however_long_the_answer() {
    let mut log = log(4);
    let reader = log.join().unwrap();
    for number in 0..1000 {
        assert!(!log.append(event(number)));
        assert_eq!(text(&log.read(reader)), text(&Next::Event(Arc::new(event(number)))));
    }
    assert!(log.events().count() <= 4);
}

#[test]
fn an_event_larger_than_the_bound_reaches_all_present_readers() {
    let mut log = log(4);
    let (one, other) = (log.join().unwrap(), log.join().unwrap());
    let large = ChatEvent::Text("x".repeat(10_000));
    log.append(large.clone());
    assert_eq!(log.read(one), Next::Event(Arc::new(large.clone())));
    assert_eq!(log.read(other), Next::Event(Arc::new(large)));
}

#[test]
fn the_fastest_reader_sets_the_pace() {
    let mut log = log(100);
    let (fast, _slow) = (log.join().unwrap(), log.join().unwrap());
    log.append(event(0));
    log.append(event(1));
    assert!(!log.has_room(2));
    log.read(fast);
    assert!(log.has_room(2));
}

#[derive(Debug, Clone)]
enum Step {
    Append,
    Join,
    Read(usize),
    Leave(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Append),
        1 => Just(Step::Join),
        4 => (0..8_usize).prop_map(Step::Read),
        1 => (0..8_usize).prop_map(Step::Leave),
    ]
}

proptest! {
    /// In any order of steps a reader's events have no gap, and the held bytes stay within the
    /// bound plus the fastest reader's unread events.
    #[test]
    fn no_reader_ever_misses_an_event(steps in prop::collection::vec(any_step(), 0..300)) {
        const MOST: usize = 12;
        const AHEAD: u64 = 4;
        let mut log = log(MOST);
        let mut readers: Vec<(ReaderId, usize)> = Vec::new();
        let mut appended = 0;
        for step in steps {
            match step {
                Step::Append => {
                    if log.has_room(AHEAD) && !readers.is_empty() {
                        log.append(event(appended));
                        appended += 1;
                    }
                }
                Step::Join => readers.extend(log.join().map(|id| (id, 0))),
                Step::Read(which) => {
                    let count = readers.len().max(1);
                    let Some((id, at)) = readers.get_mut(which % count) else { continue };
                    match log.read(*id) {
                        Next::Event(got) => {
                            prop_assert_eq!(&*got, &event(*at));
                            *at += 1;
                        }
                        Next::Wait => prop_assert_eq!(*at, appended),
                        Next::CutLoose => {
                            prop_assert!(*at + MOST <= appended, "{at} of {appended}");
                            readers.remove(which % count);
                        }
                        Next::Anew | Next::Failed(_) => panic!("neither was said"),
                    }
                }
                Step::Leave(which) => {
                    let count = readers.len().max(1);
                    if which % count < readers.len() {
                        let (id, _) = readers.remove(which % count);
                        log.leave(id);
                    }
                }
            }
            prop_assert!(log.events().count() <= MOST + usize::try_from(AHEAD).unwrap());
        }
    }
}
