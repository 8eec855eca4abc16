//! Shares of slot time over ten minutes: as the weights say, whatever the conversations are.

use super::*;

/// Ten minutes.
const SPAN: Duration = Duration::from_secs(600);
/// How far a key may be ahead of its share, in mean jobs of which nothing is remembered: the four
/// that the rule allows, and those that run or are settled late.
const MOST: f64 = 9.0;

/// Two keys with some agents each, which nearly always have turns that wait.
fn two_keys(seed: u64) -> (Agents, [u32; 2]) {
    let mut random = fastrand::Rng::with_seed(seed);
    let slots = random.u32(1..=2);
    let tokens = random.u64(30_000..200_000) + 20_000 * u64::from(slots);
    let weights = [random.u32(1..=4), random.u32(1..=4)];
    let counts = [random.usize(4..=10), random.usize(4..=20)];
    let mut it = agents(vec![host(slots, tokens)], counts[0] + counts[1], seed);
    for (number, agent) in it.agents.iter_mut().enumerate() {
        let key = usize::from(number >= counts[0]);
        agent.key = Arc::from(key.to_string());
        agent.weight = weights[key];
        let (start, grows) = (random.u32(500..15_000), random.u32(20..200));
        let (answer, pause) = (random.u32(20..300), random.u64(0..200));
        agent.steps = steps(10_000, start, [grows, answer], Duration::from_millis(pause));
        agent.common = random.bool().then_some((1, 3_000));
    }
    (it, weights)
}

/// The slot time that each of the two keys has had, in seconds.
fn had(it: &Agents, ordered: Ordered) -> [f64; 2] {
    let mut had = [0.0; 2];
    for turn in it.run_until(ordered, Instant::now(), SPAN).turns {
        had[usize::from(*it.agents[turn.agent].key == *"1")] += turn.held.as_secs_f64();
    }
    had
}

/// How long a turn of this agent takes if nothing is remembered, in seconds.
fn cold(agent: &Agent) -> f64 {
    let common = agent.common.map_or(0, |(_, tokens)| tokens);
    let first = agent.steps[0];
    f64::from(first.grows + common) / 1_000.0 + f64::from(first.answer) / 40.0
}

#[test]
fn two_keys_share_slot_time_by_weight_whatever_their_conversations_are() {
    for seed in 0..60 {
        let (it, weights) = two_keys(seed);
        let had = had(&it, Ordered::Remembered);
        let mean = it.agents.iter().map(cold).sum::<f64>() / it.agents.len() as f64;
        let [one, other] = [0, 1].map(|key| had[key] / f64::from(weights[key]));
        let ahead = if one > other { weights[0] } else { weights[1] };
        let lead = (one - other).abs() * f64::from(ahead) / mean;
        assert!(lead < MOST, "seed {seed}: {lead:.1} jobs, {had:?} at {weights:?}");
    }
}

/// One agent of one key beside twenty of another: its turns and its longest wait once all are
/// known, in mean jobs of which nothing is remembered.
fn one_beside_twenty(weights: [u32; 2], seed: u64) -> (f64, f64) {
    let mut it = agents(vec![host(1, 64_000)], 21, seed);
    for (number, agent) in it.agents.iter_mut().enumerate() {
        let key = usize::from(number > 0);
        agent.key = Arc::from(key.to_string());
        agent.weight = weights[key];
        let [first, second, ..] = agent.steps[..] else { panic!("{agent:?}") };
        let start = first.grows - second.grows;
        agent.steps = steps(10_000, start, [100, first.answer], first.pause);
    }
    let outcome = it.run_until(Ordered::Remembered, Instant::now(), SPAN);
    let mean = it.agents.iter().map(cold).sum::<f64>() / it.agents.len() as f64;
    let own = |turn: &&Turn| turn.agent == 0 && turn.ended > SPAN / 4;
    let waits: Vec<f64> =
        outcome.turns.iter().filter(own).map(|turn| turn.waited.as_secs_f64() / mean).collect();
    (waits.iter().sum::<f64>() / waits.len() as f64, waits.iter().fold(0.0, |a, b| b.max(a)))
}

#[test]
fn a_key_with_one_conversation_waits_for_hardly_more_than_what_runs() {
    for (weights, mean, most) in [([1, 1], 1.0, 2.0), ([3, 1], 1.0, 2.0), ([1, 3], 1.2, 4.0)] {
        for seed in 0..6 {
            let (waits, longest) = one_beside_twenty(weights, seed);
            assert!(waits < mean && longest < most, "{weights:?} {seed}: {waits} {longest}");
        }
    }
}
