//! The kinds of work for which the order of loads matters, in simulated time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::*;
use crate::admission::Limits;
use crate::admission::concurrency::Concurrency;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A stream of requests of one key for one model.
#[derive(Clone, Copy)]
struct Stream {
    key: &'static str,
    model: usize,
    per_minute: f64,
    hold: f64,
    patience: f64,
}

fn workload(loads: &[f64], room: usize, slots: u32, streams: &[Stream], minutes: f64) -> Workload {
    let mut random = Rng::with_seed(5);
    let mut requests = Vec::new();
    for stream in streams {
        let mut at = 0.0;
        loop {
            at += -(1.0 - random.f64()).ln() * 60.0 / stream.per_minute;
            if at > minutes * 60.0 {
                break;
            }
            let hold = stream.hold * (0.5 + random.f64());
            requests.push(Request {
                at: seconds(at),
                key: Arc::from(stream.key),
                priority: Priority::Interactive,
                model: stream.model,
                hold: seconds(hold),
                patience: seconds(stream.patience),
            });
        }
    }
    requests.sort_by_key(|request| request.at);
    let models = loads.iter().enumerate().map(|(index, load)| PlannedModel {
        name: Arc::from(format!("m{index}:latest")),
        load: seconds(*load),
        size: 0,
    });
    Workload {
        models: models.collect(),
        room,
        memory: None,
        slots,
        limits: Limits {
            max_concurrency: Concurrency::Fixed(4),
            max_queue: 64,
            max_queue_wait: seconds(30.0),
        },
        latency: Duration::from_millis(2),
        requests,
    }
}

/// Twelve keys, three to each of four models whose loads take 8 to 45 s, one of which fits.
fn four_models(per_minute: f64) -> Workload {
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let streams = keys.iter().enumerate().map(|(number, key)| Stream {
        key,
        model: number % 4,
        per_minute,
        hold: 4.0,
        patience: 600.0,
    });
    let streams: Vec<Stream> = streams.collect();
    let mut workload = workload(&[8.0, 15.0, 25.0, 45.0], 1, 4, &streams, 15.0);
    (workload.limits.max_queue, workload.limits.max_queue_wait) = (1000, seconds(300.0));
    workload
}

/// Six keys, two to each of three models.
fn three_models(loads: [f64; 3], room: usize, stream: Stream, minutes: f64) -> Workload {
    let keys = ["a", "b", "c", "d", "e", "f"];
    let streams = keys.iter().enumerate();
    let streams = streams.map(|(number, key)| Stream { key, model: number % 3, ..stream });
    workload(&loads, room, 1, &streams.collect::<Vec<_>>(), minutes)
}

fn run(workload: &Workload, served: Served) -> (Outcome, Waits, BTreeMap<Arc<str>, Waits>) {
    let outcome = workload.run(served, Instant::now());
    let (all, by_key) = workload.waits(&outcome);
    (outcome, all, by_key)
}

#[test]
fn nearly_everything_is_answered_where_loads_in_the_order_of_arrival_would_answer_a_tenth() {
    let workload = four_models(3.0);
    let (_, alone, _) = run(&workload, Served::Alone);
    let (_, fair, _) = run(&workload, Served::Fair);
    let (outcome, warm, by_key) = run(&workload, Served::Warm);
    assert!(alone.answered * 3 < alone.of && fair.answered * 3 < fair.of, "{alone:?} {fair:?}");
    assert_eq!((warm.answered, outcome.aborted), (warm.of, 0), "{warm:?}");
    // Every key waits about as long as any other.
    let longest = by_key.values().map(|waits| waits.p95).fold(0.0, f64::max);
    assert!(longest < 300.0 && warm.max < 320.0, "{by_key:?}");
}

#[test]
fn close_to_what_the_server_can_do_at_most_nine_in_ten_are_answered() {
    let (outcome, warm, by_key) = run(&four_models(4.5), Served::Warm);
    assert!(warm.answered * 10 > warm.of * 9, "{warm:?}");
    assert!(outcome.loads < 25, "{outcome:?}");
    for (key, waits) in by_key {
        assert!(waits.answered * 4 > waits.of * 3, "{key}: {waits:?}");
    }
}

#[test]
fn under_the_default_limits_more_is_answered_than_without_a_gateway() {
    let wide = four_models(3.0);
    let limits = Limits {
        max_concurrency: Concurrency::Fixed(4),
        max_queue: 64,
        max_queue_wait: seconds(30.0),
    };
    let workload = Workload { limits, ..wide };
    let (_, alone, _) = run(&workload, Served::Alone);
    let (_, warm, _) = run(&workload, Served::Warm);
    assert!(warm.answered > alone.answered * 3 && warm.answered * 10 > warm.of * 8, "{warm:?}");
}

#[test]
fn short_loads_and_short_answers_wait_for_seconds() {
    let stream = Stream { key: "", model: 0, per_minute: 10.0, hold: 0.5, patience: 60.0 };
    let (outcome, warm, _) = run(&three_models([1.5, 3.0, 4.5], 1, stream, 2.1), Served::Warm);
    assert_eq!((warm.answered, outcome.aborted), (warm.of, 0), "{warm:?}");
    assert!(outcome.loads <= 26 && warm.p50 < 10.0 && warm.p95 < 20.0, "{warm:?}");
    let (outcome, warm, _) = run(&three_models([1.5, 3.0, 4.5], 2, stream, 2.1), Served::Warm);
    assert_eq!(warm.answered, warm.of, "{warm:?}");
    assert!(outcome.loads <= 30 && warm.p50 < 4.0 && warm.p95 < 11.0, "{warm:?}");
}

#[test]
fn models_that_fit_beside_each_other_are_learnt() {
    let stream = Stream { key: "", model: 0, per_minute: 1.2, hold: 6.0, patience: 600.0 };
    let (_, fair, _) = run(&three_models([20.0; 3], 2, stream, 60.0), Served::Fair);
    let (_, warm, _) = run(&three_models([20.0; 3], 2, stream, 60.0), Served::Warm);
    assert!(warm.answered * 100 > warm.of * 97 && warm.p95 < 67.0, "{warm:?}");
    assert!(fair.answered < warm.answered, "{fair:?}");
    // Three fit: each is loaded once.
    let (outcome, warm, _) = run(&three_models([20.0; 3], 3, stream, 60.0), Served::Warm);
    assert_eq!((outcome.loads, warm.answered), (3, warm.of));
}

#[test]
fn clients_that_do_not_wait_for_a_load_abort_none_and_their_wishes_add_up() {
    let stream =
        |key, model, per_minute| Stream { key, model, per_minute, hold: 2.0, patience: 15.0 };
    let streams = [stream("quick", 0, 1.0), stream("slow", 1, 2.0)];
    let workload = workload(&[8.0, 45.0], 1, 1, &streams, 30.0);
    let (alone, _, keys) = run(&workload, Served::Alone);
    assert_eq!(keys["slow"].answered, 0);
    assert!(alone.aborted > 50, "{alone:?}");
    let (outcome, _, keys) = run(&workload, Served::Warm);
    assert_eq!(outcome.aborted, 0);
    assert!(keys["slow"].answered * 5 > keys["slow"].of * 2, "{keys:?}");
    assert!(keys["quick"].answered * 5 > keys["quick"].of * 2, "{keys:?}");
}

/// Six keys, two to each of three models: the two small ones fit together, the large one only
/// alone, so that two must go for it.
fn sizes(per_minute: f64) -> Workload {
    let stream = Stream { key: "", model: 0, per_minute, hold: 3.0, patience: 300.0 };
    let mut workload = three_models([8.0, 10.0, 20.0], 9, stream, 20.0);
    workload.memory = Some(48 << 30);
    for (model, size) in workload.models.iter_mut().zip([20_u64, 20, 30]) {
        model.size = size << 30;
    }
    workload.limits.max_queue_wait = seconds(120.0);
    workload
}

#[test]
fn which_models_fit_in_memory_is_learnt_from_what_is_loaded() {
    for per_minute in [1.0, 2.0, 3.0] {
        let workload = sizes(per_minute);
        let (_, alone, _) = run(&workload, Served::Alone);
        let (_, fair, _) = run(&workload, Served::Fair);
        let (outcome, warm, keys) = run(&workload, Served::Warm);
        assert_eq!((warm.answered, outcome.aborted), (warm.of, 0), "{warm:?}");
        assert!(warm.p95 < alone.p95 && warm.p95 < fair.p95, "{alone:?} {fair:?} {warm:?}");
        for (key, waits) in keys {
            assert!(waits.max < 120.0, "{key}: {waits:?}");
        }
    }
}

#[test]
fn models_that_fit_in_memory_are_loaded_once_each() {
    let mut workload = sizes(3.0);
    // Beside the small ones four fifths of 43 GiB are enough for the large one.
    workload.memory = Some(83 << 30);
    let (outcome, warm, _) = run(&workload, Served::Warm);
    assert_eq!((outcome.loads, warm.answered), (3, warm.of), "{warm:?}");
}

#[test]
fn one_model_alone_is_served_in_the_order_of_the_line() {
    let streams: Vec<Stream> = ["a", "b", "c"]
        .iter()
        .map(|key| Stream { key, model: 0, per_minute: 18.0, hold: 4.0, patience: 600.0 })
        .collect();
    let mut workload = workload(&[8.0], 1, 4, &streams, 10.0);
    // Loaded for the first request alone, so that both begin with the same line.
    if let Some(first) = workload.requests.first_mut() {
        first.at = Duration::ZERO;
        first.hold = seconds(1.0);
    }
    workload.requests.iter_mut().skip(1).for_each(|request| request.at += seconds(30.0));
    let (fair, ..) = run(&workload, Served::Fair);
    let (warm, all, _) = run(&workload, Served::Warm);
    assert_eq!((all.answered, warm.loads), (all.of, 1));
    assert_eq!(fair.begun, warm.begun);
}
