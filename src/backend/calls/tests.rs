//! Tests of numbering and order, in whatever order the pieces come.

use super::*;
use proptest::prelude::*;

fn piece(index: u64, id: Option<&str>, name: Option<&str>, arguments: &str) -> Fragment {
    let own = |text: &str| text.to_owned();
    let (id, name, arguments) = (id.map(own), name.map(own), own(arguments));
    Fragment { index: Some(index), id, name, arguments, fallback: None }
}

/// The calls in these pieces: id, name, arguments.
fn joined(events: &[ChatEvent]) -> Vec<(String, String, String)> {
    let mut calls: Vec<(String, String, String)> = Vec::new();
    for event in events {
        let ChatEvent::ToolCall(piece) = event else { panic!("{event:?}") };
        if piece.index as usize == calls.len() {
            calls.push((piece.id.clone().unwrap(), piece.name.clone().unwrap(), String::new()));
        }
        assert_eq!(piece.index as usize + 1, calls.len(), "calls come one after the other");
        calls.last_mut().unwrap().2.push_str(&piece.arguments);
    }
    calls
}

fn taken(pieces: Vec<Fragment>) -> Result<Vec<(String, String, String)>, DecodeError> {
    let (mut calls, mut events) = (Calls::new(1), Vec::new());
    for piece in pieces {
        calls.take_piece(piece, true, &mut events)?;
    }
    calls.end(&mut events)?;
    Ok(joined(&events))
}

fn call(id: &str, name: &str, arguments: &str) -> (String, String, String) {
    (id.to_owned(), name.to_owned(), arguments.to_owned())
}

#[test]
fn minted_ids_differ_within_and_between_answers() {
    let ids: std::collections::HashSet<String> =
        (0..50u64).flat_map(|seed| (0..50).map(move |index| mint(seed, index))).collect();
    assert_eq!(ids.len(), 2500);
}

#[test]
fn a_call_that_ends_without_arguments_is_given_an_empty_object() {
    for arguments in ["", " ", "{}"] {
        let pieces =
            vec![piece(0, Some("a"), Some("f"), arguments), piece(1, Some("b"), Some("g"), "")];
        let calls = taken(pieces).unwrap();
        assert_eq!((calls[0].2.trim(), calls[1].2.as_str()), ("{}", "{}"));
    }
}

#[test]
fn interleaved_pieces_become_whole_calls() {
    let pieces = vec![
        piece(0, Some("a"), Some("f"), ""),
        piece(1, Some("b"), Some("g"), ""),
        piece(0, None, None, "{\"x\""),
        piece(1, None, None, "{\"y\": \"}\""),
        piece(0, None, None, ":1}"),
        piece(1, None, None, "}"),
        piece(0, None, None, ""),
    ];
    let expected = [call("a", "f", "{\"x\":1}"), call("b", "g", "{\"y\": \"}\"}")];
    assert_eq!(taken(pieces).unwrap(), expected);
}

#[test]
fn the_first_call_is_written_as_it_comes_and_the_next_when_the_first_is_complete() {
    let (mut calls, mut events) = (Calls::new(1), Vec::new());
    let mut take = |piece| {
        calls.take_piece(piece, true, &mut events).unwrap();
        std::mem::take(&mut events).len()
    };
    assert_eq!(take(piece(0, Some("a"), Some("f"), "{")), 1);
    assert_eq!(take(piece(0, None, None, "\"x\":")), 1);
    assert_eq!(take(piece(1, Some("b"), Some("g"), "{\"y\":")), 0);
    // Now the first is complete, and the second is written with its name and what was held of it.
    assert_eq!(take(piece(0, None, None, "1}")), 2);
    assert_eq!(take(piece(1, None, None, "2}")), 1);
}

#[test]
fn real_arguments_replace_an_empty_object_that_comes_first() {
    let pieces = vec![piece(0, Some("a"), Some("f"), "{}"), piece(0, None, None, "{\"x\":1}")];
    assert_eq!(taken(pieces).unwrap(), [call("a", "f", "{\"x\":1}")]);
}

#[test]
fn calls_with_the_same_id_are_distinguished_by_their_index() {
    let pieces = vec![
        piece(0, Some("a"), Some("f"), "{\"x\":1}"),
        piece(1, Some("a"), Some("g"), "{\"y\":1}"),
        piece(1, Some("a"), None, ""),
    ];
    assert_eq!(taken(pieces).unwrap().len(), 2);
}

#[test]
fn late_blank_pieces_are_ignored_and_others_are_malformed() {
    let begun =
        || vec![piece(0, Some("a"), Some("f"), "{}"), piece(1, Some("b"), Some("g"), "{\"y\":1}")];
    let with = |late| taken(begun().into_iter().chain([late]).collect());
    for late in ["", " \n"] {
        assert_eq!(with(piece(0, None, None, late)).unwrap().len(), 2);
        assert_eq!(with(piece(0, Some("a"), Some("f"), late)).unwrap().len(), 2);
        assert_eq!(with(piece(7, None, None, late)).unwrap().len(), 2);
    }
    assert!(matches!(with(piece(0, None, None, "{}")), Err(DecodeError::Malformed(_))));
    assert!(matches!(with(piece(7, None, None, "{}")), Err(DecodeError::Malformed(_))));
}

#[test]
fn the_memory_for_held_and_remembered_calls_is_bounded() {
    let (mut calls, mut events) = (Calls::new(1), Vec::new());
    for index in 0..1000 {
        let whole = piece(index, None, Some("f"), "{\"x\":1}");
        calls.take_piece(whole, true, &mut events).unwrap();
        assert!(calls.calls.len() <= MAX_REMEMBERED + 2);
    }
    let large = "x".repeat(1 << 20);
    let mut take =
        |index| calls.take_piece(piece(index, None, Some("f"), &large), true, &mut Vec::new());
    assert_eq!(take(5000), Ok(()));
    let ended = (5001..5040).map(take).find(Result::is_err);
    assert_eq!(ended, Some(Err(DecodeError::TooLarge)));
}

proptest! {
    #[test]
    fn every_call_has_its_own_text_however_the_pieces_are_interleaved(
        order in proptest::collection::vec(0u64..4, 0..60),
    ) {
        // The text of each call is a whole object, sent character by character; the names come
        // first.
        let texts: Vec<String> = (0..4).map(|index| format!("{{\"k{index}\":[\"{{]\",{index}]}}")).collect();
        let mut sent = [0usize; 4];
        let mut pieces: Vec<Fragment> =
            (0..4).map(|index| piece(index, None, Some(&format!("f{index}")), "")).collect();
        let rest = (0..4u64).flat_map(|index| std::iter::repeat_n(index, 40));
        for index in order.into_iter().chain(rest) {
            let at = &mut sent[index as usize];
            let letter: String = texts[index as usize].chars().skip(*at).take(1).collect();
            *at += 1;
            pieces.push(piece(index, None, None, &letter));
        }
        let calls = taken(pieces).unwrap();
        let told: Vec<String> = calls.into_iter().map(|call| call.2).collect();
        prop_assert_eq!(told, texts);
    }
}
