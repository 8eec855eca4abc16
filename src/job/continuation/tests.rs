//! Answers that break off and are joined: examples and random ones.

use proptest::prelude::*;

use super::*;
use crate::chat::{Completion, Finish, ToolCallPiece, Usage};

fn text(text: &str) -> ChatEvent {
    ChatEvent::Text(text.to_owned())
}

fn reasoning(text: &str) -> ChatEvent {
    ChatEvent::Reasoning(text.to_owned())
}

fn done() -> ChatEvent {
    let (finish, usage) = (Finish::Stop, Usage::default());
    ChatEvent::Done(Completion { finish, stop_sequence: None, usage })
}

fn call() -> ChatEvent {
    let (id, name) = (Some("1".to_owned()), Some("f".to_owned()));
    ChatEvent::ToolCall(ToolCallPiece { index: 0, id, name, arguments: String::new() })
}

/// The delivered part of `events`, up to the first that differs.
fn joined(
    continuation: &mut Continuation,
    events: &[ChatEvent],
) -> Result<Vec<ChatEvent>, Differs> {
    let mut delivered = Vec::new();
    for event in events {
        delivered.extend(continuation.join(event.clone())?);
    }
    Ok(delivered)
}

/// A continuation after these events of a broken answer.
fn having(events: &[ChatEvent]) -> Continuation {
    let mut continuation = Continuation::keeping();
    assert_eq!(joined(&mut continuation, events).unwrap(), events);
    continuation
}

#[test]
fn a_repeated_answer_is_delivered_from_where_the_first_one_broke() {
    let mut continuation = having(&[reasoning("hm"), text("Hel"), text("lo")]);
    continuation.repeat();
    let again = [reasoning("h"), reasoning("m"), text("Hello, wor"), text("ld"), done()];
    assert_eq!(joined(&mut continuation, &again), Ok(vec![text(", wor"), text("ld"), done()]));
    // It may break off as well, and a third answer continues it.
    continuation.repeat();
    let third = [reasoning("hm"), text("Hello, world"), text("!"), done()];
    assert_eq!(joined(&mut continuation, &third), Ok(vec![text("!"), done()]));
}

#[test]
fn a_repeated_answer_that_differs_or_ends_too_soon_is_refused() {
    for other in [
        vec![text("Help")],
        vec![text("H"), text("i")],
        vec![text("Hel"), done()],
        vec![reasoning("Hello")],
        vec![text("Hel"), reasoning("lo")],
        vec![call()],
        vec![text("Hell"), call()],
        vec![done()],
    ] {
        let mut continuation = having(&[text("Hello")]);
        continuation.repeat();
        assert_eq!(joined(&mut continuation, &other), Err(Differs), "{other:?}");
    }
    let mut continuation = having(&[reasoning("hm"), text("Hello")]);
    continuation.repeat();
    assert_eq!(joined(&mut continuation, &[reasoning("hmm")]), Err(Differs));
}

#[test]
fn events_that_cannot_be_joined_are_not_kept() {
    let signature = ChatEvent::Signature("s".to_owned());
    for event in [call(), ChatEvent::Logprobs(Vec::new()), signature, text(&"a".repeat(MOST + 1))] {
        let mut continuation = Continuation::keeping();
        assert!(continuation.is_joinable());
        assert_eq!(continuation.join(event.clone()), Ok(Some(event)));
        assert!(!continuation.is_joinable());
        assert_eq!(continuation.delivered, []);
        // Delivery continues all the same.
        assert_eq!(continuation.join(text("a")), Ok(Some(text("a"))));
    }
    assert!(having(&[text(&"a".repeat(MOST))]).is_joinable());
}

#[test]
fn a_tool_call_may_follow_the_repeated_part() {
    let mut continuation = having(&[text("Let me look")]);
    continuation.repeat();
    let again = [text("Let me look"), call(), done()];
    assert_eq!(joined(&mut continuation, &again), Ok(vec![call(), done()]));
    assert!(!continuation.is_joinable());
}

#[test]
fn a_signature_within_the_repeated_part_is_dropped_and_one_after_it_is_not() {
    let signature = || ChatEvent::Signature("s".to_owned());
    let mut continuation = having(&[reasoning("hm"), text("He")]);
    continuation.repeat();
    let again = [reasoning("hm"), signature(), text("Hello")];
    assert_eq!(joined(&mut continuation, &again), Ok(vec![text("llo")]));
    let mut continuation = having(&[reasoning("hm")]);
    continuation.repeat();
    let again = [reasoning("hm"), signature(), text("Hello")];
    assert_eq!(joined(&mut continuation, &again), Ok(vec![signature(), text("Hello")]));
}

#[test]
fn only_plain_text_that_ends_in_a_word_can_be_continued() {
    assert_eq!(having(&[text("Hel"), text("lo")]).open_end(), Some("Hello"));
    assert_eq!(having(&[text("Hello ")]).open_end(), None);
    assert_eq!(having(&[text("Hello\n")]).open_end(), None);
    assert_eq!(having(&[reasoning("hm")]).open_end(), None);
    assert_eq!(having(&[reasoning("hm"), text("Hello")]).open_end(), None);
    assert_eq!(having(&[]).open_end(), None);
}

#[test]
fn a_continuing_answer_is_delivered_as_it_is_unless_it_begins_to_reason() {
    let mut continuation = having(&[text("Hel")]);
    continuation.go_on();
    assert_eq!(joined(&mut continuation, &[text("lo"), done()]), Ok(vec![text("lo"), done()]));
    // A third answer has to repeat all of it.
    continuation.repeat();
    assert_eq!(joined(&mut continuation, &[text("Hello!")]), Ok(vec![text("!")]));
    let mut continuation = having(&[text("Hel")]);
    continuation.go_on();
    assert_eq!(continuation.join(reasoning("hm")), Err(Differs));
}

/// An answer: alternating runs of the two kinds, of letters of one and of several bytes.
fn answer() -> impl Strategy<Value = Vec<(bool, String)>> {
    prop::collection::vec((any::<bool>(), "[abé€🦀]{1,6}"), 0..6)
}

/// The same letters, cut into different events.
fn cut(answer: &[(bool, String)], sizes: &[usize]) -> Vec<ChatEvent> {
    let mut sizes = sizes.iter().copied().cycle();
    let mut events = Vec::new();
    for (thinks, stretch) in answer {
        let mut letters = stretch.chars().peekable();
        while letters.peek().is_some() {
            let piece: String = letters.by_ref().take(sizes.next().unwrap_or(1)).collect();
            events.push(if *thinks { reasoning(&piece) } else { text(&piece) });
        }
    }
    events
}

/// The letters of events with their kinds, and whether the end was among the events.
fn letters(events: &[ChatEvent]) -> (Vec<(bool, char)>, bool) {
    let mut letters = Vec::new();
    let mut has_ended = false;
    for event in events {
        match event {
            ChatEvent::Text(text) => letters.extend(text.chars().map(|letter| (false, letter))),
            ChatEvent::Reasoning(text) => letters.extend(text.chars().map(|letter| (true, letter))),
            _ => has_ended = true,
        }
    }
    (letters, has_ended)
}

proptest! {
    #[test]
    fn the_delivered_and_joined_parts_make_the_last_answer_or_an_error(
        first in answer(),
        other in prop_oneof![Just(None), answer().prop_map(Some)],
        sizes in prop::collection::vec(1usize..4, 1..5),
        other_sizes in prop::collection::vec(1usize..4, 1..5),
        deaths in prop::collection::vec(0usize..30, 1..4),
    ) {
        let last = other.unwrap_or_else(|| first.clone());
        let mut continuation = Continuation::keeping();
        let mut delivered = Vec::new();
        let mut attempts: Vec<Vec<ChatEvent>> =
            deaths.iter().map(|at| cut(&first, &sizes).into_iter().take(*at).collect()).collect();
        let mut whole = cut(&last, &other_sizes);
        whole.push(done());
        attempts.push(whole.clone());
        let mut differs = false;
        for attempt in &attempts {
            continuation.repeat();
            for event in attempt {
                match continuation.join(event.clone()) {
                    Ok(joined) => delivered.extend(joined),
                    Err(Differs) => {
                        differs = true;
                        break;
                    }
                }
            }
        }
        let ((had, has_ended), (wanted, _)) = (letters(&delivered), letters(&whole));
        let before = letters(&attempts[..deaths.len()].concat().into_iter().collect::<Vec<_>>());
        prop_assert!(!before.1);
        if differs {
            prop_assert!(!has_ended, "an answer that differs never ends well");
            prop_assert!(first != last);
        } else {
            prop_assert_eq!(had, wanted);
            prop_assert!(has_ended);
        }
    }
}
