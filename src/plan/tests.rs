//! Whole simulations, compared with queueing theory and with the gate's own rules.

use std::time::{Duration, Instant};

use fastrand::Rng;

use super::arrivals::{Coming, Distribution, Mix, Rate, poisson};
use super::*;
use crate::chat::RefusalReason;
use crate::policy::Priority;

const DAY: Duration = Duration::from_secs(86_400);

/// Requests at this rate for this long, each of which holds a slot for ten seconds on average, with
/// limits that no request reaches.
fn unlimited(slots: u32, rate: f64, duration: Duration) -> Scenario {
    let hold = Duration::from_secs(10);
    let mix = Mix { hold, distribution: Distribution::Exponential, clients: 1, batch_share: 0.0 };
    let coming = poisson(Rate(rate), 1, duration, mix, &mut Rng::with_seed(11)).unwrap();
    Scenario {
        slots,
        max_queue: u32::MAX,
        max_wait: DAY,
        deadline: DAY,
        coming,
        duration,
        seed: 11,
    }
}

fn run(scenario: &Scenario) -> Report {
    scenario.run(Instant::now())
}

/// The mean wait for one of `servers` with a rate of `1 / hold` each, by Erlang's C formula (1917).
fn erlang_c(servers: u32, rate: f64, hold: f64) -> f64 {
    let offered = rate * hold;
    // Erlang's B formula by its recurrence, then C from B.
    let blocked = (1..=servers)
        .fold(1.0, |blocked, server| offered * blocked / (f64::from(server) + offered * blocked));
    let servers = f64::from(servers);
    let waits = blocked / (1.0 - offered / servers * (1.0 - blocked));
    waits * hold / (servers - offered)
}

#[test]
fn random_arrivals_and_calls_wait_as_erlangs_formula_predicts() {
    // First a textbook value: with one server the wait is ρ/(1-ρ) of the hold time.
    assert!((erlang_c(1, 0.05, 10.0) - 10.0).abs() < 1e-9);
    for (slots, rate) in [(1, 0.05), (4, 0.28), (8, 0.6)] {
        let report = run(&unlimited(slots, rate, Duration::from_secs_f64(60_000.0 / rate)));
        let expected = erlang_c(slots, rate, 10.0);
        let off = report.wait.mean / expected - 1.0;
        assert!(off.abs() < 0.05, "{slots} slots: {} s, {expected} s expected", report.wait.mean);
        let load = rate * 10.0 / f64::from(slots);
        assert!((report.busy / load - 1.0).abs() < 0.03, "{slots} slots: busy {}", report.busy);
        assert_eq!((report.served, report.refusals()), (report.requests, 0));
    }
}

#[test]
fn the_same_seed_gives_the_same_report_and_another_a_different_one() {
    let scenario = Scenario { max_queue: 5, ..unlimited(4, 0.5, Duration::from_secs(3600)) };
    assert_eq!(run(&scenario), run(&scenario.clone()));
    let mut other = unlimited(4, 0.5, Duration::from_secs(3600));
    other.coming.truncate(10);
    assert_ne!(run(&scenario), run(&other));
}

#[test]
fn excess_load_is_refused_and_the_verdict_says_so() {
    let scenario = Scenario {
        max_queue: 8,
        max_wait: Duration::from_secs(30),
        deadline: Duration::from_secs(60),
        ..unlimited(2, 0.4, Duration::from_secs(3600))
    };
    let report = run(&scenario);
    let all = report.served + report.cut_off + report.refusals();
    assert_eq!(all, report.requests, "{report:?}");
    assert!(report.refusals() * 10 > report.requests * 3, "{report:?}");
    assert!(report.refused.contains_key(&RefusalReason::PredictedWait), "{report:?}");
    assert!(report.longest_line <= 8 && report.wait.max <= 30.0, "{report:?}");
    assert!(report.busy > 0.9 && report.busy <= 1.0, "{report:?}");
    assert!(
        report.verdict.starts_with("Too much: 4.") || report.verdict.starts_with("Too much: 3.")
    );
    assert!(report.to_string().contains("predicted_wait "), "{report}");
}

#[test]
fn a_burst_fills_the_line_and_the_rest_is_refused() {
    let one = Coming {
        at: Duration::from_secs(1),
        hold: Duration::from_secs(5),
        client: 0,
        priority: Priority::Interactive,
    };
    let scenario = Scenario {
        max_queue: 3,
        max_wait: Duration::from_secs(8),
        deadline: Duration::from_secs(9),
        duration: Duration::from_secs(10),
        coming: vec![one; 6],
        ..unlimited(1, 0.1, Duration::from_secs(1))
    };
    // One runs, one is admitted after 5 s and cut off 1 s before its end, two give up after 8 s,
    // and two find the line full.
    let report = run(&scenario);
    assert_eq!((report.served, report.cut_off, report.longest_line), (1, 1, 3), "{report:?}");
    let refused: Vec<_> = report.refused.iter().map(|(reason, count)| (*reason, *count)).collect();
    assert_eq!(refused, [(RefusalReason::QueueFull, 2), (RefusalReason::WaitedTooLong, 2)]);
    assert_eq!((report.wait.p50, report.wait.max, report.wait.mean), (0.0, 5.0, 2.5));
    assert_eq!(report.busy, 0.9);
    assert!(report.verdict.contains("Too much"), "{}", report.verdict);
}

#[test]
fn batch_gives_way_to_interactive() {
    let mut scenario = unlimited(4, 0.36, 4 * Duration::from_secs(3600));
    for (number, one) in scenario.coming.iter_mut().enumerate() {
        one.priority = if number % 2 == 0 { Priority::Batch } else { Priority::Interactive };
    }
    let report = run(&scenario);
    let (interactive, batch) = (report.interactive_wait.unwrap(), report.batch_wait.unwrap());
    assert!(batch.mean > interactive.mean * 1.2, "{interactive:?} {batch:?}");
}

#[test]
fn every_verdict_names_what_would_help() {
    let base = run(&unlimited(4, 0.1, Duration::from_secs(3600)));
    assert!(base.verdict.starts_with("Fits: "), "{}", base.verdict);
    let busy = run(&unlimited(4, 0.36, Duration::from_secs(36_000)));
    assert!(busy.verdict.starts_with("Works without reserve: "), "{}", busy.verdict);
    let impatient = Scenario {
        max_wait: Duration::from_secs(1),
        ..unlimited(4, 0.3, Duration::from_secs(3600))
    };
    assert!(run(&impatient).verdict.contains("--max-wait"), "{}", run(&impatient).verdict);
    let short = Scenario { max_queue: 0, ..unlimited(4, 0.3, Duration::from_secs(3600)) };
    assert!(run(&short).verdict.contains("--queue"), "{}", run(&short).verdict);
    let hasty = Scenario { deadline: Duration::from_secs(5), ..unlimited(9, 0.3, DAY) };
    assert!(run(&hasty).verdict.contains("--deadline"), "{}", run(&hasty).verdict);
    let nothing = Scenario { coming: Vec::new(), ..hasty };
    assert!(run(&nothing).verdict.starts_with("Nothing arrives"));
}
