//! Whole logs, and what becomes of their requests.

use super::*;
use crate::plan::models::log;
use crate::policy::Priority;

/// A line: when its request ended, whose it was, and what the log says of it.
#[derive(Clone, Copy)]
struct Line {
    second: u64,
    key: &'static str,
    model: &'static str,
    outcome: &'static str,
    queue_ms: u64,
    first_ms: u64,
    total_ms: u64,
}

const ANSWERED: Line = Line {
    second: 10,
    key: "alice",
    model: "mistral",
    outcome: "ok",
    queue_ms: 1_000,
    first_ms: 2_000,
    total_ms: 5_000,
};

const LEFT: Line = Line {
    key: "bob",
    outcome: "cancelled",
    first_ms: 0,
    queue_ms: 9_000,
    total_ms: 9_000,
    ..ANSWERED
};

fn written(lines: &[Line], provider: &str) -> String {
    let write = |line: &Line| {
        let Line { second, key, model, outcome, queue_ms, first_ms, total_ms } = line;
        format!(
            r#"{{"time":"2026-11-30T08:{:02}:{:02}.000Z","target":"access","outcome":"{outcome}","caller":"{key}","provider":"{provider}","model":"{model}","attempts":1,"queue_ms":{queue_ms},"first_ms":{first_ms},"total_ms":{total_ms}}}"#,
            second / 60,
            second % 60
        ) + "\n"
    };
    lines.iter().map(write).collect()
}

fn loads(texts: &[&str]) -> Vec<LoadTime> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn read(
    text: &str,
    unsaid: Unsaid<'_>,
) -> Result<(Vec<PlannedModel>, Recorded, Vec<Request>), String> {
    let mut models = Vec::new();
    let log = log::read(text)?;
    let (recorded, requests) = requests(log, unsaid, &mut models, &mut Rng::with_seed(3))?;
    Ok((models, recorded, requests))
}

fn unsaid(loads: &[LoadTime]) -> Unsaid<'_> {
    Unsaid { provider: None, loads, batch: &[], patience: Duration::from_secs(60) }
}

fn seconds(times: impl IntoIterator<Item = Duration>) -> Vec<f64> {
    times.into_iter().map(|time| time.as_secs_f64()).collect()
}

#[test]
fn requests_come_when_they_came_for_as_long_as_their_calls_took() {
    let late = Line { second: 30, key: "carol", queue_ms: 0, total_ms: 2_500, ..ANSWERED };
    let text = written(&[late, ANSWERED], "ollama");
    let loads = loads(&["20s"]);
    let (_, recorded, requests) = read(&text, unsaid(&loads)).unwrap();
    assert_eq!(seconds(requests.iter().map(|one| one.at)), [0.0, 22.5]);
    assert_eq!(seconds(requests.iter().map(|one| one.hold)), [4.0, 2.5]);
    assert_eq!(requests.iter().map(|one| &*one.key).collect::<Vec<_>>(), ["alice", "carol"]);
    assert_eq!((recorded.span, recorded.requests), (Duration::from_millis(22_500), 2));
    assert_eq!(recorded.from, "2026-11-30T08:00:05Z");
}

#[test]
fn who_left_waits_as_long_again_and_would_have_had_an_answer_like_others() {
    let longer = Line { second: 40, total_ms: 15_000, ..LEFT };
    let refused = Line { second: 50, outcome: "overloaded", total_ms: 3, queue_ms: 0, ..LEFT };
    let text = written(&[ANSWERED, LEFT, longer, refused], "ollama");
    let loads = loads(&["20s"]);
    let (_, _, requests) = read(&text, unsaid(&loads)).unwrap();
    let of = |key: &str| {
        let own = requests.iter().filter(|one| &*one.key == key);
        seconds(own.map(|one| one.patience))
    };
    // The refused one would have waited as long as its key was ever seen to.
    assert_eq!((of("alice"), of("bob")), (vec![60.0], vec![9.0, 15.0, 15.0]));
    assert_eq!(seconds(requests.iter().map(|one| one.hold)), [4.0; 4]);
}

#[test]
fn the_time_of_a_load_is_the_operators_else_the_logs_else_that_of_all_others() {
    let line = |model| Line { model, ..ANSWERED };
    let mut text = written(&[line("named"), line("logged:latest"), line("other")], "ollama");
    for (model, took) in [("named", 1), ("logged", 9_000), ("logged", 8_000), ("logged", 50_000)] {
        text += &format!(
            "{{\"target\":\"loads\",\"provider\":\"ollama\",\"model\":\"{model}\",\"load_ms\":{took}}}\n"
        );
    }
    text += r#"{"target":"loads","provider":"spare","model":"other","load_ms":1}"#;
    let times = loads(&["20s", "named=45s"]);
    let (models, recorded, _) = read(&text, unsaid(&times)).unwrap();
    assert_eq!(seconds(models.iter().map(|one| one.load)), [45.0, 9.0, 20.0]);
    assert_eq!(recorded.models[1].load_seconds, 9.0);
    let error = read(&text, unsaid(&[])).unwrap_err();
    assert!(error.contains("`named`") || error.contains("`other`"), "{error}");
    assert!(error.contains("write --load other=20s"), "{error}");
}

#[test]
fn one_model_under_two_names_is_one() {
    let text = written(&[ANSWERED, Line { model: "Mistral:latest", ..ANSWERED }], "ollama");
    let times = loads(&["20s"]);
    let (models, recorded, _) = read(&text, unsaid(&times)).unwrap();
    assert_eq!((models.len(), recorded.models[0].requests), (1, 2));
}

#[test]
fn calls_of_another_provider_are_counted_and_not_replayed() {
    let text = written(&[ANSWERED], "ollama") + &written(&[ANSWERED, ANSWERED], "spare");
    let times = loads(&["20s"]);
    let error = read(&text, unsaid(&times)).unwrap_err();
    assert_eq!(error, "has requests at `ollama` and `spare`: choose one with --provider NAME");
    let named = |name| Unsaid { provider: Some(name), ..unsaid(&times) };
    let (_, recorded, requests) = read(&text, named("ollama")).unwrap();
    assert_eq!(requests.len(), 1);
    let said: Vec<String> = recorded.passed_over.said().collect();
    assert_eq!(said, ["2 lines, line 2 the first: is at another provider"]);
    let error = read(&text, named("nobody")).unwrap_err();
    assert_eq!(error, "has no request at `nobody`, only at `ollama` and `spare`");
}

#[test]
fn batch_keys_are_named_and_a_log_without_an_answer_is_refused() {
    let times = loads(&["20s"]);
    let batch = ["bob".to_owned()];
    let text = written(&[ANSWERED, LEFT], "ollama");
    let (_, _, requests) = read(&text, Unsaid { batch: &batch, ..unsaid(&times) }).unwrap();
    let classes: Vec<Priority> = requests.iter().map(|one| one.priority).collect();
    assert_eq!(classes, [Priority::Batch, Priority::Interactive]);
    let error = read(&written(&[LEFT], "ollama"), unsaid(&times)).unwrap_err();
    assert!(error.contains("no request that was answered"), "{error}");
}

#[test]
fn a_time_of_a_load_has_a_unit_and_perhaps_a_model() {
    let read = |text: &str| text.parse::<LoadTime>();
    assert_eq!(read("llama3.1:70b=45s").unwrap().load, Duration::from_secs(45));
    assert!(read("20").unwrap_err().contains("write a unit"));
    assert!(read("a b=20s").unwrap_err().contains("`a b` is no name of a model"));
}
