//! Which calls of a log count as turns of one conversation.

use super::*;
use crate::plan::models::log;
use crate::policy::Priority;

/// A call of a key: when it arrives and ends, in seconds, and its tokens.
fn line(key: &str, times: [u64; 2], tokens: [u64; 3]) -> String {
    let ([arrives, ends], [prompt, cached, answer]) = (times, tokens);
    let (hour, minute, second) = (8 + ends / 3_600, ends / 60 % 60, ends % 60);
    let total = (ends - arrives) * 1_000;
    format!(
        r#"{{"time":"2026-11-30T{hour:02}:{minute:02}:{second:02}Z","target":"access","outcome":"ok","caller":"{key}","provider":"p","model":"m","queue_ms":0,"first_ms":{},"total_ms":{total},"prompt_tokens":{prompt},"cached_tokens":{cached},"completion_tokens":{answer}}}
"#,
        total / 2
    )
}

fn read(text: &str) -> (Recorded, Vec<Agent>) {
    let chosen = Chosen { provider: None, model: None, batch: &["night".to_owned()] };
    agents(log::read(text).unwrap(), chosen).unwrap()
}

fn turns(text: &str) -> Vec<(String, usize)> {
    let (_, agents) = read(text);
    agents.iter().map(|agent| (agent.key.to_string(), agent.steps.len())).collect()
}

fn several(expected: &[(&str, usize)]) -> Vec<(String, usize)> {
    expected.iter().map(|(key, turns)| ((*key).to_owned(), *turns)).collect()
}

#[test]
fn a_prompt_that_grows_from_an_earlier_one_of_the_key_is_its_next_turn() {
    let text = [
        line("a", [0, 10], [4_000, 0, 100]),
        line("b", [1, 11], [4_050, 0, 100]),
        line("a", [12, 20], [4_600, 4_100, 50]),
        // Its answer says more than the next turn repeats: as with reasoning.
        line("a", [25, 30], [5_000, 4_650, 900]),
        line("a", [31, 40], [5_200, 5_000, 40]),
    ]
    .concat();
    let (recorded, agents) = read(&text);
    assert_eq!(turns(&text), several(&[("a", 4), ("b", 1)]));
    assert_eq!((recorded.conversations, recorded.turns, recorded.calls), (1, 4, 5));
    let seconds = Duration::from_secs;
    let step = |grows, answer, is_repeated, pause| Step {
        grows,
        answer,
        is_repeated,
        pause: seconds(pause),
    };
    assert_eq!(
        agents[0].steps,
        [
            step(4_000, 100, true, 0),
            step(500, 50, true, 2),
            step(350, 900, false, 5),
            step(200, 40, false, 1)
        ]
    );
    assert_eq!((agents[0].at, agents[1].at), (Duration::ZERO, seconds(1)));
    // Half of the time to read, half to write: of the calls that read at least 1,000.
    assert_eq!(recorded.reused.map(|reused| (100.0 * reused).round()), Some(60.0));
    let rates = [recorded.read, recorded.write].map(|rate| rate.unwrap().round());
    assert_eq!(rates, [800.0, 20.0]);
}

#[test]
fn two_conversations_of_one_key_are_told_apart() {
    // At the same time: no turn comes before the answer to the last one.
    let at_once =
        [line("a", [0, 10], [4_000, 0, 100]), line("a", [5, 15], [4_500, 0, 100])].concat();
    assert_eq!(turns(&at_once), several(&[("a", 1), ("a", 1)]));
    // One after the other: the longest that fits goes on.
    let text = at_once
        + &line("a", [20, 30], [5_000, 0, 100])
        + &line("a", [31, 35], [4_300, 0, 100])
        // A shorter one has begun anew.
        + &line("a", [40, 50], [900, 0, 100]);
    assert_eq!(turns(&text), several(&[("a", 2), ("a", 2), ("a", 1)]));
}

#[test]
fn a_prompt_that_is_mostly_new_or_comes_after_a_break_is_no_next_turn() {
    let mostly_new = [line("a", [0, 10], [400, 0, 50]), line("a", [11, 20], [4_000, 0, 50])];
    assert_eq!(turns(&mostly_new.concat()), several(&[("a", 1), ("a", 1)]));
    let late = [line("a", [0, 10], [4_000, 0, 50]), line("a", [620, 630], [4_200, 0, 50])];
    assert_eq!(turns(&late.concat()), several(&[("a", 1), ("a", 1)]));
    // More of it was in a cache than the earlier call had.
    let other = [line("a", [0, 10], [4_000, 0, 50]), line("a", [20, 30], [6_000, 5_000, 50])];
    assert_eq!(turns(&other.concat()), several(&[("a", 1), ("a", 1)]));
    let in_time = [line("a", [0, 10], [4_000, 0, 50]), line("a", [600, 610], [4_200, 0, 50])];
    assert_eq!(turns(&in_time.concat()), several(&[("a", 2)]));
}

#[test]
fn what_does_not_count_is_named_and_batch_keys_are_batch_work() {
    let other = line("a", [2, 3], [9, 0, 1]).replace("\"m\"", "\"other\"");
    let unknown = line("a", [2, 3], [0, 0, 0]);
    let text = line("night", [0, 10], [4_000, 0, 100]) + &other + &unknown;
    let (recorded, agents) = read(&text);
    assert_eq!(agents.len(), 1);
    assert_eq!((agents[0].priority, &*recorded.model), (Priority::Batch, "m"));
    let said: Vec<String> = recorded.passed_over.said().collect();
    assert_eq!(said, ["line 3: has no tokens of a prompt", "line 2: is for another model"]);
}

#[test]
fn a_log_that_says_no_tokens_or_has_not_the_model_is_refused() {
    let of = |text: &str, model| {
        let chosen = Chosen { provider: None, model, batch: &[] };
        agents(log::read(text).unwrap(), chosen).unwrap_err()
    };
    let error = of(&line("a", [0, 1], [0, 0, 0]), None);
    assert!(error.contains("access lines have them as prompt_tokens"), "{error}");
    let error = of(&line("a", [0, 1], [5, 0, 1]), Some("n"));
    assert_eq!(error, "has no call of `n` with tokens, only of `m`");
}

#[test]
fn where_cached_tokens_are_not_counted_the_rate_of_reading_is_unknown() {
    let text = line("a", [0, 10], [4_000, 0, 100])
        .replace("\"cached_tokens\":0", "\"cached_tokens\":null");
    let (recorded, _) = read(&text);
    assert_eq!((recorded.read, recorded.reused), (None, None));
    assert!(recorded.write.is_some());
}
