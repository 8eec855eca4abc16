//! What is remembered, stored and dropped, in simulated time.

use proptest::prelude::*;

use super::*;

const READ: f64 = 100.0;

/// A memory, and its clock.
struct Bench {
    cache: PromptCache<u32>,
    now: Instant,
    calls: u32,
}

impl Bench {
    fn new(slots: usize, stored: Option<u64>) -> Self {
        let cache = PromptCache::new(slots, PromptBounds { stored, read: READ });
        Self { cache, now: Instant::now(), calls: 0 }
    }

    fn begin(&mut self, prompt: &Prompt) -> (u32, Reading) {
        self.calls += 1;
        (self.calls, self.cache.begin(self.now, self.calls, prompt))
    }

    /// Runs a call to its end; returns how many tokens were remembered.
    fn turn(&mut self, prompt: &Prompt) -> u64 {
        let (call, reading) = self.begin(prompt);
        self.now += reading.takes;
        self.cache.end(self.now, call, true);
        reading.cached
    }
}

fn parts(of: u64, range: std::ops::Range<u64>) -> impl Iterator<Item = Part> {
    range.map(move |number| Part { what: of * 1_000_000 + number, tokens: 1 })
}

/// A turn of a conversation: that many tokens of it, answered with ten more.
fn prompt(of: u64, asked: u64) -> Prompt {
    Prompt::new(parts(of, 0..asked), parts(of, asked..asked + 10))
}

#[test]
fn a_second_turn_reads_what_is_new_and_nothing_of_the_answer_before_it() {
    let mut bench = Bench::new(1, Some(1000));
    let (call, first) = bench.begin(&prompt(1, 100));
    assert_eq!((first.cached, first.takes), (0, Duration::from_secs(1)));
    bench.now += first.takes;
    bench.cache.end(bench.now, call, true);
    let (_, second) = bench.begin(&prompt(1, 150));
    assert_eq!((second.tokens, second.cached), (150, 110));
    assert_eq!(second.takes, Duration::from_millis(400));
}

#[test]
fn the_last_part_of_a_prompt_is_always_read() {
    let mut bench = Bench::new(1, Some(1000));
    bench.turn(&prompt(1, 100));
    assert_eq!(bench.turn(&prompt(1, 100)), 99);
}

#[test]
fn the_conversation_unused_longest_is_dropped_first() {
    let mut bench = Bench::new(1, Some(250));
    for conversation in 1..=3 {
        assert_eq!(bench.turn(&prompt(conversation, 100)), 0);
    }
    // The slot holds the third, the store the first two with 110 tokens each.
    assert_eq!(bench.cache.evictions(), 0);
    assert_eq!(bench.turn(&prompt(1, 110)), 109, "from the store");
    assert_eq!(bench.turn(&prompt(4, 100)), 0);
    assert_eq!(bench.cache.evictions(), 1);
    assert_eq!(bench.turn(&prompt(2, 110)), 0, "it was stored first");
    assert_eq!(bench.cache.evictions(), 2);
    assert_eq!(bench.turn(&prompt(1, 120)), 119);
}

#[test]
fn without_a_store_only_the_slots_remember_and_without_a_cache_nothing() {
    let mut slots = Bench::new(2, Some(0));
    let mut nothing = Bench::new(2, None);
    for bench in [&mut slots, &mut nothing] {
        for conversation in 1..=2 {
            bench.turn(&prompt(conversation, 100));
        }
    }
    assert_eq!((slots.turn(&prompt(1, 120)), slots.turn(&prompt(2, 120))), (110, 110));
    assert_eq!(slots.turn(&prompt(3, 100)), 0);
    assert_eq!((slots.turn(&prompt(1, 130)), slots.cache.evictions()), (0, 2));
    assert_eq!(nothing.turn(&prompt(1, 120)), 0);
}

#[test]
fn a_common_beginning_is_shared_and_a_small_one_saves_both_conversations() {
    let with_system = |of: u64, asked: u64| {
        Prompt::new(parts(9, 0..40).chain(parts(of, 0..asked)), parts(of, asked..asked + 10))
    };
    let mut bench = Bench::new(1, Some(1000));
    assert_eq!(bench.turn(&with_system(1, 100)), 0);
    assert_eq!(bench.turn(&with_system(2, 100)), 40);
    assert_eq!(bench.turn(&with_system(1, 120)), 150);
    assert_eq!(bench.turn(&with_system(2, 120)), 150);
}

#[test]
fn an_edited_conversation_is_remembered_up_to_the_edit() {
    let mut bench = Bench::new(1, Some(1000));
    bench.turn(&prompt(1, 100));
    let edited = Prompt::new(parts(1, 0..60).chain(parts(2, 0..50)), []);
    assert_eq!(bench.turn(&edited), 60);
}

#[test]
fn who_leaves_early_has_read_for_the_next_one_what_was_read_by_then() {
    let mut bench = Bench::new(1, Some(1000));
    let (call, _) = bench.begin(&prompt(1, 100));
    bench.now += Duration::from_millis(300);
    bench.cache.end(bench.now, call, false);
    assert_eq!(bench.turn(&prompt(1, 100)), 30);
    let (call, reading) = bench.begin(&prompt(1, 200));
    bench.now += reading.takes + Duration::from_secs(1);
    bench.cache.end(bench.now, call, false);
    assert_eq!(bench.turn(&prompt(1, 200)), 199, "but nothing of its answer");
    bench.cache.end(bench.now, 77, true);
}

#[test]
fn a_conversation_is_stored_once_and_its_beginnings_with_it() {
    let mut bench = Bench::new(1, Some(330));
    for turn in 1..=5 {
        bench.turn(&prompt(1, turn * 60));
        bench.turn(&prompt(2, 5));
    }
    assert_eq!(bench.cache.evictions(), 0);
    assert!(bench.cache.stored.len() <= 2, "{:?}", bench.cache.stored.len());
}

proptest! {
    #[test]
    fn the_store_keeps_its_bound_and_nobody_has_more_remembered_than_asked(
        stored in 0_u64..600, slots in 1_usize..4,
        turns in prop::collection::vec((1_u64..7, 1_u64..300, any::<bool>()), 1..60),
    ) {
        let mut bench = Bench::new(slots, Some(stored));
        let mut running = Vec::new();
        for (conversation, asked, ends) in turns {
            if running.len() == slots || (ends && !running.is_empty()) {
                bench.now += Duration::from_millis(asked);
                bench.cache.end(bench.now, running.remove(0), ends);
            }
            let (call, reading) = bench.begin(&prompt(conversation, asked));
            running.push(call);
            prop_assert_eq!(reading.tokens, asked);
            prop_assert!(reading.cached < asked);
            let held: u64 = bench.cache.stored.iter().map(Held::tokens).sum();
            prop_assert!(held <= stored || bench.cache.stored.len() == 1);
        }
    }
}
