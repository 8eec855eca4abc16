//! The memory's books, whatever is entered, withdrawn and forgotten.

use super::*;
use crate::chat::{ChatRequest, Message, Role};

fn chain(texts: &[&str]) -> Arc<Chain> {
    let messages = texts.iter().map(|text| Message::text(Role::User, *text)).collect();
    Arc::new(Chain::new(&ChatRequest { messages, ..ChatRequest::default() }))
}

fn caller(name: &str) -> Arc<str> {
    Arc::from(name)
}

/// The invariants that the module states.
fn check(memory: &Memory) {
    let chains = || memory.held.values().map(|held| &held.chain);
    let beginnings: usize = chains().map(|chain| chain.beginnings().len()).sum();
    assert_eq!(memory.beginnings, beginnings);
    assert_eq!(memory.known.values().map(|it| it.held as usize).sum::<usize>(), beginnings);
    assert_eq!(memory.bytes, memory.held.values().map(Held::bytes).sum::<u64>());
    assert_eq!(memory.order.len(), memory.held.len());
    for chain in chains() {
        assert_eq!(memory.known(chain), chain.size());
    }
}

#[test]
fn a_conversation_that_goes_on_takes_the_place_of_what_it_was() {
    let mut memory = Memory::default();
    let one = chain(&["who?", "me"]);
    let first = memory.enter(&one, &caller("a"));
    assert_eq!((first.known, first.before.is_none()), (0, true));
    memory.answered(first.number, 100, Instant::now());
    assert_eq!(memory.held(), (1, u64::from(one.size()) + 100));
    let next = chain(&["who?", "me", "why?", "so"]);
    assert_eq!(memory.find(&next), Some(first.number));
    let second = memory.enter(&next, &caller("a"));
    assert_eq!((second.number, second.known), (first.number, one.size()));
    assert_eq!(memory.held(), (1, u64::from(next.size())));
    check(&memory);
    memory.withdraw(second.number, second.before.as_ref());
    assert_eq!(memory.known(&next), one.size());
    check(&memory);
    memory.withdraw(first.number, None);
    assert_eq!((memory.held(), memory.known(&next)), ((0, 0), 0));
}

#[test]
fn branches_and_common_beginnings_are_held_beside_each_other() {
    let mut memory = Memory::default();
    let trunk = chain(&["rules", "who?"]);
    let branches = [chain(&["rules", "who?", "a"]), chain(&["rules", "who?", "b"])];
    let first = memory.enter(&trunk, &caller("a")).number;
    let grown = memory.enter(&branches[0], &caller("a"));
    let branch = memory.enter(&branches[1], &caller("a"));
    assert_eq!(grown.number, first);
    assert_ne!(branch.number, first);
    assert_eq!(branch.known, trunk.size());
    check(&memory);
    memory.keep_only(branch.number);
    assert_eq!(memory.known(&branches[0]), trunk.size());
    assert_eq!(memory.known(&branches[1]), branches[1].size());
    check(&memory);
}

#[test]
fn what_only_others_have_sent_is_not_a_callers_own() {
    let mut memory = Memory::default();
    let common = chain(&["rules"]);
    memory.enter(&chain(&["rules", "mine"]), &caller("a"));
    let other = memory.enter(&chain(&["rules", "yours"]), &caller("b"));
    assert_eq!((other.known, other.own), (common.size(), 0));
    let again = memory.enter(&chain(&["rules", "yours", "more"]), &caller("b"));
    assert_eq!((again.own, again.known), (again.known, chain(&["rules", "yours"]).size()));
    let spying = memory.enter(&chain(&["rules", "mine", "?"]), &caller("c"));
    assert_eq!((spying.known, spying.own), (chain(&["rules", "mine"]).size(), 0));
}

#[test]
fn a_conversation_that_was_forgotten_is_no_other() {
    let mut memory = Memory::default();
    let before = memory.enter(&chain(&["a"]), &caller("a"));
    memory.clear();
    let after = memory.enter(&chain(&["b", "c"]), &caller("a"));
    assert_ne!(before.number, after.number);
    memory.withdraw(before.number, before.before.as_ref());
    memory.answered(before.number, 10, Instant::now());
    assert_eq!(memory.held().0, 1);
    check(&memory);
}

#[test]
fn those_used_longest_ago_are_forgotten_first() {
    let mut memory = Memory::default();
    let chains: Vec<_> = ["a", "b", "c"].map(|text| chain(&[text])).into_iter().collect();
    let size = u64::from(chains[0].size());
    for chain in &chains {
        memory.enter(chain, &caller("a"));
    }
    assert_eq!(memory.enter(&chains[0], &caller("a")).distance, 2 * size);
    memory.keep(2 * size);
    let known: Vec<_> = chains.iter().map(|chain| memory.known(chain) > 0).collect();
    assert_eq!(known, [true, false, true]);
    memory.keep(0);
    assert_eq!(memory.held().0, 1, "one stays, however large it is");
    check(&memory);
}

#[test]
fn the_memory_is_bounded_and_its_books_are_right_whatever_comes() {
    let mut memory = Memory::default();
    let mut random = fastrand::Rng::with_seed(7);
    for step in 0..4_000 {
        let texts: Vec<String> =
            (0..random.usize(1..6)).map(|_| random.u8(..4).to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let entered = memory.enter(&chain(&texts), &caller("a"));
        match random.u8(..6) {
            0 => memory.withdraw(entered.number, entered.before.as_ref()),
            1 => memory.answered(entered.number, random.u64(..500), Instant::now()),
            2 => memory.keep(random.u64(..4_000)),
            _ => {}
        }
        if step % 100 == 0 {
            check(&memory);
        }
    }
    let long = |number: u32| chain(&vec![number.to_string().as_str(); 4_000]);
    (0..100).for_each(|number| drop(memory.enter(&long(number), &caller("a"))));
    assert!(memory.beginnings <= MOST_BEGINNINGS);
    (0..5_000).for_each(|number| {
        drop(memory.enter(&chain(&[&number.to_string()]), &caller("a")));
    });
    assert_eq!(memory.held().0, MOST);
    check(&memory);
}
