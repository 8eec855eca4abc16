//! Beliefs about a server that reads ten tokens a second, corrected by its answers.

use super::*;

const LANE: Lane = Lane(1);

/// A server whose model reads ten tokens a second; four bytes are a token.
struct Bench {
    remembered: Remembered,
    now: Instant,
    caller: Arc<str>,
}

impl Bench {
    fn new() -> Self {
        let remembered = Remembered::new(RememberPolicy::default());
        Self { remembered, now: Instant::now(), caller: Arc::from("a") }
    }

    /// A conversation of so many pieces, each of a hundred tokens.
    fn chain(conversation: u64, pieces: u64) -> Arc<Chain> {
        Arc::new(Chain::of_pieces((0..pieces).map(|piece| (conversation << 32 | piece, 400))))
    }

    /// A call of which so many tokens were in the server's cache.
    fn call(&mut self, chain: &Arc<Chain>, cached: u64) -> Share {
        self.call_by(Priority::Interactive, chain, cached)
    }

    fn call_by(&mut self, priority: Priority, chain: &Arc<Chain>, cached: u64) -> Share {
        let caller = Arc::clone(&self.caller);
        self.remembered.arrive(LANE, chain, &caller, self.now);
        let (lane, hold) = (LANE, 1.0);
        let starting = Starting { lane, chain: Some(chain), caller: &caller, priority, hold };
        let call = self.remembered.start(starting, 1, self.now);
        let share = self.remembered.share(call).unwrap();
        let total = u64::from(chain.size()) / 4;
        let reading = Duration::from_secs((total - cached) / 10);
        let counts = Counts {
            prompt: Some(total),
            cached: Some(cached),
            answer: Some(0),
            reading: Some(reading).filter(|reading| !reading.is_zero()),
        };
        self.remembered.count(call, counts);
        self.now += reading + Duration::from_secs(1);
        self.remembered.end(call, ReadEnd::Answered, self.now);
        share
    }

    fn estimate(&self, chain: &Arc<Chain>) -> Estimate {
        self.remembered.estimate(LANE, Some(chain), 5.0)
    }

    fn room(&self) -> Option<f64> {
        self.remembered.models[&LANE].room
    }
}

#[test]
fn a_conversation_that_goes_on_costs_only_what_is_new() {
    let mut bench = Bench::new();
    let (one, next) = (Bench::chain(1, 10), Bench::chain(1, 11));
    let unknown = bench.estimate(&one);
    assert_eq!((unknown.cold, unknown.cost, bench.remembered.knows_any()), (5.0, 5.0, false));
    assert_eq!(bench.call(&one, 0), Share { remembered: 0, total: 1_000 });
    let Estimate { cold, cost, reading } = bench.estimate(&next);
    assert_eq!((cold.round(), cost.round(), reading.round()), (111.0, 11.0, 10.0));
    assert_eq!(bench.call(&next, 1_000), Share { remembered: 1_000, total: 1_100 });
    let view = bench.remembered.view(LANE).unwrap();
    assert_eq!((view.conversations, view.read_rate, view.room), (1, Some(10), None));
    assert_eq!(view.reused.map(|part| (part * 100.0).round()), Some(48.0));
}

#[test]
fn the_room_of_a_cache_is_learnt_from_what_it_has_lost() {
    let mut bench = Bench::new();
    (1..=5).for_each(|number| {
        bench.call(&Bench::chain(number, 10), 0);
    });
    assert_eq!(bench.room(), None);
    // The first one is gone, so four thousand tokens are too many.
    bench.call(&Bench::chain(1, 11), 0);
    assert_eq!(bench.room(), Some(4_000.0));
    assert_eq!(bench.estimate(&Bench::chain(2, 11)).reading.round(), 110.0, "lost as well");
    // Another was there although it was believed lost.
    bench.call(&Bench::chain(2, 11), 1_000);
    assert_eq!(bench.room(), Some(5_100.0));
}

#[test]
fn a_server_that_has_lost_everything_keeps_its_room() {
    let mut bench = Bench::new();
    (1..=3).for_each(|number| {
        bench.call(&Bench::chain(number, 10), 0);
    });
    bench.call(&Bench::chain(1, 11), 1_000);
    bench.call(&Bench::chain(2, 11), 1_000);
    // It was used last and is gone: the server was restarted.
    bench.call(&Bench::chain(2, 12), 0);
    assert_eq!(bench.room(), None);
    assert_eq!(bench.estimate(&Bench::chain(1, 12)).reading.round(), 120.0);
    assert_eq!(bench.estimate(&Bench::chain(2, 13)).reading.round(), 10.0);
}

#[test]
fn what_was_never_read_is_not_remembered_and_a_crash_loses_all() {
    let mut bench = Bench::new();
    let (one, next) = (Bench::chain(1, 10), Bench::chain(1, 20));
    bench.call(&one, 0);
    let caller = Arc::clone(&bench.caller);
    let mut end = |end| {
        let (chain, priority) = (Some(&next), Priority::Interactive);
        let starting = Starting { lane: LANE, chain, caller: &caller, priority, hold: 1.0 };
        let call = bench.remembered.start(starting, 1, bench.now);
        bench.remembered.end(call, end, bench.now);
        bench.remembered.estimate(LANE, Some(&next), 1.0).reading.round()
    };
    assert_eq!(end(ReadEnd::Unread), 100.0);
    assert_eq!(end(ReadEnd::Broken), 0.0);
    assert_eq!(end(ReadEnd::Crashed), 200.0);
    assert_eq!(end(ReadEnd::Broken), 0.0);
    assert_eq!(end(ReadEnd::Gone), 200.0);
}

#[test]
fn a_slot_is_kept_for_those_who_come_back_soon() {
    let mut bench = Bench::new();
    let turn = |pieces| Bench::chain(1, pieces);
    bench.call(&turn(10), 0);
    assert_eq!(bench.remembered.kept_in(LANE), 1);
    // A hundred seconds to read it again, of which six tenths are waited.
    let until = bench.remembered.next_step().unwrap();
    assert_eq!((until - bench.now).as_secs_f64().round(), 60.0);
    bench.now += Duration::from_secs(2);
    bench.call(&turn(11), 1_000);
    assert_eq!(bench.remembered.kept_in(LANE), 1, "the old one was taken, and there is a new one");
    bench.remembered.pass(bench.now + Duration::from_secs(60));
    assert_eq!(bench.remembered.kept_in(LANE), 1);
    bench.now += Duration::from_secs(100);
    bench.remembered.pass(bench.now);
    assert_eq!(bench.remembered.kept_in(LANE), 0);
    // Two long pauses for one short one: it is not expected back.
    bench.call(&turn(12), 0);
    bench.remembered.pass(bench.now + Duration::from_secs(100));
    bench.call(&turn(13), 0);
    assert_eq!(bench.remembered.kept_in(LANE), 0);
}

#[test]
fn no_slot_is_kept_for_batch_work_or_for_an_unloaded_model() {
    let mut bench = Bench::new();
    bench.call_by(Priority::Batch, &Bench::chain(1, 10), 0);
    assert!(!bench.remembered.keeps_any());
    bench.call(&Bench::chain(2, 10), 0);
    assert!(bench.remembered.keeps_any());
    bench.remembered.unload(LANE);
    assert!(!bench.remembered.keeps_any());
    assert_eq!(bench.estimate(&Bench::chain(2, 11)).reading.round(), 110.0, "its speed is known");
    bench.remembered.forget_server();
    assert!(!bench.remembered.knows_any());
}

#[test]
fn the_time_left_of_running_jobs_is_that_of_their_costs() {
    let mut bench = Bench::new();
    bench.call(&Bench::chain(1, 10), 0);
    let caller = Arc::clone(&bench.caller);
    let chain = Bench::chain(1, 11);
    let (chain, priority) = (Some(&chain), Priority::Interactive);
    let starting = Starting { lane: LANE, chain, caller: &caller, priority, hold: 1.0 };
    bench.remembered.start(starting, 1, bench.now);
    assert_eq!(bench.remembered.left(bench.now).round(), 11.0);
    assert_eq!(bench.remembered.left(bench.now + Duration::from_secs(4)).round(), 7.0);
    assert_eq!(bench.remembered.left(bench.now + Duration::from_secs(40)), 0.0);
}

#[test]
fn slot_time_is_charged_only_where_reading_takes_long() {
    let mut bench = Bench::new();
    let mut end = |chain: &Arc<Chain>, writing| {
        let caller = Arc::clone(&bench.caller);
        let priority = Priority::Interactive;
        let (chain, lane, hold) = (Some(chain), LANE, 1.0);
        let starting = Starting { lane, chain, caller: &caller, priority, hold };
        let call = bench.remembered.start(starting, 1, bench.now);
        let total = u64::from(chain.unwrap().size()) / 4;
        let reading = Duration::from_secs(total / 10);
        let counts = Counts { prompt: Some(total), reading: Some(reading), ..Counts::default() };
        bench.remembered.count(call, counts);
        bench.now += reading + Duration::from_secs(writing);
        bench.remembered.end(call, ReadEnd::Answered, bench.now)
    };
    assert_eq!(end(&Bench::chain(1, 10), 100), None, "nothing was known when it started");
    assert_eq!(
        end(&Bench::chain(2, 1), 100),
        Some(110.0),
        "the last one took as long as its answer"
    );
    let charged: Vec<_> = (3..40).map(|number| end(&Bench::chain(number, 1), 100)).collect();
    let last = charged.last();
    assert_eq!(last, Some(&None), "they are read for ten seconds of a hundred");
}

#[test]
fn jobs_of_an_earlier_memory_are_not_taken_for_others() {
    let mut bench = Bench::new();
    let caller = Arc::clone(&bench.caller);
    let chain = Bench::chain(1, 10);
    let (chain, priority) = (Some(&chain), Priority::Interactive);
    let starting = Starting { lane: LANE, chain, caller: &caller, priority, hold: 1.0 };
    let old = bench.remembered.start(starting, 1, bench.now);
    let policy = RememberPolicy::default();
    let mut next = Remembered::after(policy, bench.remembered.last());
    let new = next.start(starting, 1, bench.now);
    assert_eq!(next.end(old, ReadEnd::Answered, bench.now), None);
    assert!(old != new && next.share(new).is_some());
}

#[test]
fn where_the_line_does_not_follow_it_only_what_was_sent_is_known() {
    let mut bench = Bench::new();
    let policy = RememberPolicy { orders: false, ..RememberPolicy::default() };
    bench.remembered.change(policy);
    let chain = Bench::chain(1, 10);
    assert_eq!(bench.remembered.known(LANE, &chain), 0);
    bench.call(&chain, 0);
    let longer = Bench::chain(1, 11);
    assert_eq!(bench.remembered.known(LANE, &longer), 4_000);
    assert_eq!(bench.estimate(&longer), Estimate::plain(5.0));
    assert!(!bench.remembered.knows_any() && !bench.remembered.keeps_any());
    // That nothing was found says nothing of others, nor of room.
    bench.call(&Bench::chain(2, 10), 0);
    bench.call(&longer, 0);
    assert_eq!((bench.room(), bench.remembered.known(LANE, &Bench::chain(2, 10))), (None, 4_000));
    bench.call(&longer, 1_000);
    let view = bench.remembered.view(LANE).unwrap();
    assert_eq!((view.conversations, view.read_rate), (2, None));
    assert!(view.reused > Some(0.2), "{view:?}");
    // What is believed of a cloud is no ground for an order.
    bench.remembered.change(RememberPolicy::default());
    assert_eq!(bench.remembered.known(LANE, &longer), 0);
}
