//! Agents of several kinds before simulated hosts: the order by what is remembered against others.

mod shares;

use super::*;

/// A host with room for this many tokens, those in its slots included.
fn host(slots: u32, tokens: u64) -> Host {
    let cache = tokens - u64::from(slots) * 20_000;
    Host { slots, read: 1_000.0, write: 40.0, cache }
}

/// Turns that are alike; the first one has the beginning, too.
fn steps(turns: u32, start: u32, [grows, answer]: [u32; 2], pause: Duration) -> Vec<Step> {
    let step = |turn| Step {
        grows: if turn == 0 { start + grows } else { grows },
        answer,
        is_repeated: true,
        pause,
    };
    (0..turns).map(step).collect()
}

fn agent(number: usize, random: &mut fastrand::Rng) -> Agent {
    let (start, at) = (random.u32(5_000..12_000), random.u64(..5_000));
    let (grows, answer) = (random.u32(800..2_500), random.u32(60..140));
    let pause = Duration::from_millis(random.u64(500..3_000));
    Agent {
        key: Arc::from(format!("key-{number}")),
        weight: 1,
        priority: Priority::Interactive,
        at: Duration::from_millis(at),
        common: None,
        steps: steps(13, start, [grows, answer], pause),
    }
}

fn agents(hosts: Vec<Host>, count: usize, seed: u64) -> Agents {
    let mut random = fastrand::Rng::with_seed(seed);
    let agents = (0..count).map(|number| agent(number, &mut random)).collect();
    let max_wait = Duration::from_secs(3_600);
    let policy = RememberPolicy::default();
    Agents { hosts, agents, max_queue: 64, max_wait, policy, counts: true }
}

fn means(make: impl Fn(u64) -> Agents, ordered: Ordered) -> Summary {
    let seeds = 6;
    let mut mean = Summary::default();
    for seed in 0..seeds {
        let it = make(seed).run(ordered, Instant::now()).summary();
        mean.answered += it.answered;
        mean.refused += it.refused;
        for (mean, it) in [
            (&mut mean.whole, it.whole),
            (&mut mean.mean_wait, it.mean_wait),
            (&mut mean.p50, it.p50),
            (&mut mean.p95, it.p95),
            (&mut mean.max, it.max),
            (&mut mean.reused, it.reused),
        ] {
            *mean += it / seeds as f64;
        }
    }
    mean
}

/// Asserts that the whole work and the mean wait are at most these parts of what they are in the
/// order of arrival, and that one in twenty waits no longer than that.
fn assert_shorter(make: impl Fn(u64) -> Agents, whole: f64, mean: f64) {
    let arrival = means(&make, Ordered::Arrival);
    let remembered = means(&make, Ordered::Remembered);
    assert_eq!(remembered.answered, arrival.answered);
    assert_eq!((remembered.refused, arrival.refused), (0, 0));
    assert!(remembered.whole <= whole * arrival.whole, "{remembered:?} {arrival:?}");
    assert!(remembered.mean_wait <= mean * arrival.mean_wait, "{remembered:?} {arrival:?}");
    assert!(remembered.p95 <= 1.2 * arrival.p95, "{remembered:?} {arrival:?}");
}

#[test]
fn agents_wait_half_as_long_whether_or_not_hosts_tell_what_they_remember() {
    for counts in [true, false] {
        let make = |seed| Agents { counts, ..agents(vec![host(1, 64_000); 3], 9, seed) };
        assert_shorter(make, 0.55, 0.42);
        let prefix = means(make, Ordered::Prefix);
        let remembered = means(make, Ordered::Remembered);
        assert!(remembered.mean_wait < 0.5 * prefix.mean_wait, "{remembered:?} {prefix:?}");
    }
}

#[test]
fn small_caches_several_slots_and_unequal_hosts() {
    assert_shorter(|seed| agents(vec![host(1, 40_000); 3], 12, seed), 0.6, 0.45);
    assert_shorter(|seed| agents(vec![host(2, 128_000); 4], 24, seed), 0.45, 0.3);
    let slow = Host { read: 333.0, write: 13.0, ..host(1, 64_000) };
    assert_shorter(|seed| agents(vec![host(1, 64_000), slow], 8, seed), 0.5, 0.4);
}

#[test]
fn a_common_beginning_helps_all_who_have_it() {
    let make = |seed| {
        let mut it = agents(vec![host(1, 64_000); 3], 9, seed);
        for agent in &mut it.agents {
            agent.common = Some((1, 6_000));
            agent.steps[0].grows = agent.steps[1].grows + 2_000;
        }
        it
    };
    assert_shorter(make, 0.7, 0.6);
}

#[test]
fn one_key_with_eight_agents_does_not_keep_another_waiting() {
    let make = |seed| {
        let mut it = agents(vec![host(1, 64_000); 3], 9, seed);
        it.agents.iter_mut().skip(1).for_each(|agent| agent.key = Arc::from("eight"));
        it
    };
    assert_shorter(make, 0.7, 0.6);
    let mean = |turns: &[&Turn]| {
        let waits: f64 = turns.iter().map(|turn| turn.waited.as_secs_f64()).sum();
        waits / turns.len() as f64
    };
    let (mut alone, mut others) = (0.0, 0.0);
    for seed in 0..6 {
        let outcome = make(seed).run(Ordered::Remembered, Instant::now());
        let (one, eight): (Vec<_>, Vec<_>) = outcome.turns.iter().partition(|turn| turn.agent == 0);
        alone += mean(&one);
        others += mean(&eight);
    }
    assert!(alone < 1.2 * others, "{alone} {others}");
}

#[test]
fn short_chats_are_served_as_they_come() {
    let make = |seed| {
        let mut it = agents(vec![host(1, 64_000); 3], 40, seed);
        for agent in &mut it.agents {
            agent.steps = steps(1, 3_000, [2_000, agent.steps[0].answer], Duration::ZERO);
        }
        it
    };
    assert_shorter(make, 1.05, 1.1);
}

#[test]
fn one_conversation_is_served_in_the_order_in_which_it_comes() {
    let make = || agents(vec![host(1, 64_000)], 1, 1);
    let started = |ordered| make().run(ordered, Instant::now()).started;
    assert_eq!(started(Ordered::Remembered), started(Ordered::Arrival));
}

#[test]
fn unrelated_questions_are_served_in_the_order_of_the_line() {
    let started = |ordered| {
        let mut it = agents(vec![host(2, 64_000)], 40, 3);
        for (number, agent) in it.agents.iter_mut().enumerate() {
            agent.steps = steps(1, 200, [50, 100], Duration::ZERO);
            agent.key = Arc::from(format!("key-{}", number % 4));
        }
        it.run(ordered, Instant::now()).started
    };
    assert_eq!(started(Ordered::Remembered), started(Ordered::Arrival));
}

#[test]
fn nobody_waits_much_longer_than_in_the_order_of_arrival() {
    for seed in 0..6 {
        let it = agents(vec![host(1, 40_000); 3], 12, seed);
        let [arrival, remembered] = [Ordered::Arrival, Ordered::Remembered]
            .map(|ordered| it.run(ordered, Instant::now()).summary());
        assert!(remembered.max < 2.0 * arrival.max, "{remembered:?} {arrival:?}");
    }
}

#[test]
fn a_turn_that_is_refused_is_asked_again_and_waits_from_the_first_time() {
    let mut it = agents(vec![host(1, 64_000)], 4, 2);
    it.max_queue = 1;
    let outcome = it.run(Ordered::Arrival, Instant::now());
    let summary = outcome.summary();
    assert!(summary.refused > 0, "{summary:?}");
    assert_eq!(summary.answered, 4 * 13, "{summary:?}");
    // Four agents, one slot, each turn read whole: who is refused waits for the others, too.
    assert!(summary.max > 20.0, "{summary:?}");
}

#[test]
fn an_answer_that_is_not_said_again_is_no_part_of_the_next_prompt() {
    let read = |is_repeated| {
        let mut it = agents(vec![host(1, 64_000)], 1, 1);
        let pause = Duration::from_secs(1);
        it.agents[0].steps = steps(2, 1_000, [100, 300], pause);
        it.agents[0].steps.iter_mut().for_each(|step| step.is_repeated = is_repeated);
        let outcome = it.run(Ordered::Remembered, Instant::now());
        (outcome.read, outcome.reused)
    };
    assert_eq!(read(true), (1_200, 1_400));
    assert_eq!(read(false), (1_200, 1_100));
}

/// A minute of one slot, a column for each second: capitals read, small letters write.
fn minute(ordered: Ordered) -> (String, usize) {
    let names = ["A", "B", "C"];
    let agent = |(number, name): (usize, &&str)| Agent {
        key: Arc::from(*name),
        weight: 1,
        priority: Priority::Interactive,
        at: Duration::from_secs(number as u64),
        common: None,
        steps: steps(30, 7_000, [1_000, 40], Duration::from_secs(1)),
    };
    let mut it = agents(vec![host(1, 36_000)], 0, 0);
    it.agents = names.iter().enumerate().map(agent).collect();
    let outcome = it.run(ordered, Instant::now());
    let minute: Vec<_> =
        outcome.turns.iter().filter(|turn| turn.ended <= Duration::from_secs(60)).collect();
    let at = |tenths: u64| {
        let now = Duration::from_millis(tenths);
        let is_now = |turn: &&Turn| turn.ended > now && turn.ended - turn.held <= now;
        outcome.turns.iter().find(is_now).map_or('.', |turn| {
            let is_writing = turn.ended <= now + Duration::from_secs(1);
            let name = names[turn.agent].chars().next().unwrap();
            if is_writing { name.to_ascii_lowercase() } else { name }
        })
    };
    ((0..60).map(|second| at(second * 1_000 + 500)).collect(), minute.len())
}

#[test]
fn the_minute_in_the_guide_is_what_happens() {
    let guide = include_str!("../../../docs/remembered.md");
    for (name, ordered) in
        [("order of arrival", Ordered::Arrival), ("remembered", Ordered::Remembered)]
    {
        let (strip, answers) = minute(ordered);
        let line = format!("{name:<20}{strip}  {answers} answers");
        assert!(guide.contains(&line), "{line}");
    }
}
