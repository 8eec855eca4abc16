//! Whole simulations, compared with queueing theory and with the gate's own rules.

use std::time::{Duration, Instant};

use fastrand::Rng;

use proptest::prelude::*;

use super::arrivals::{Coming, Distribution, Mix, Rate, poisson};
use super::report::{Advice, is_bearable};
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever is advised was simulated: with it the load fits, and with one less it does not.
    #[test]
    fn with_the_advice_the_load_fits_and_with_one_less_it_does_not(
        slots in 1u32..6,
        load in 0.2f64..1.6,
        (burst, clients) in (1u32..15, 1u32..4),
        (max_queue, max_wait, deadline) in (0u32..20, 1u64..40, 10u64..90),
        batch_share in prop_oneof![Just(0.0), 0.0f64..1.0],
        seed in 0u64..1000,
    ) {
        let (hold, distribution) = (Duration::from_secs(5), Distribution::Exponential);
        let mix = Mix { hold, distribution, clients, batch_share };
        let (duration, rate) = (Duration::from_secs(900), Rate(load * f64::from(slots) / 5.0));
        let coming = poisson(rate, burst, duration, mix, &mut Rng::with_seed(seed)).unwrap();
        let [max_wait, deadline] = [max_wait, deadline].map(Duration::from_secs);
        let scenario = Scenario { slots, max_queue, max_wait, deadline, coming, duration, seed };
        let report = run(&scenario);
        let fits = |report: &Report| is_bearable(report.lost(), report.requests);
        prop_assert!(!fits(&report) || report.advice.is_empty());
        for advice in &report.advice {
            let with = run(&advice.applied(&scenario));
            prop_assert!(fits(&with), "{advice:?}: {with}");
            prop_assert_eq!(advice.lost_share, with.lost_share());
            for less in one_less(advice) {
                let without = run(&less.applied(&scenario));
                prop_assert!(!fits(&without), "{advice:?}, {less:?}: {without}");
            }
        }
        let is_of_slots = |advice: &Advice| *advice == Advice { max_queue: None, max_wait: None, deadline: None, ..*advice };
        prop_assert!(!report.is_too_much() || report.advice.iter().all(is_of_slots));
    }
}

/// The same advice with each of its limits one smaller.
fn one_less(advice: &Advice) -> Vec<Advice> {
    let limits = [
        advice.slots.map(|slots| Advice { slots: Some(slots - 1), ..*advice }),
        advice.max_queue.map(|queue| Advice { max_queue: Some(queue - 1), ..*advice }),
        advice.max_wait.map(|wait| Advice { max_wait: Some(wait - 1), ..*advice }),
        advice.deadline.map(|deadline| Advice { deadline: Some(deadline - 1), ..*advice }),
    ];
    limits.into_iter().flatten().collect()
}

#[test]
fn only_what_helps_is_advised() {
    let advised = |scenario: &Scenario| {
        let report = run(scenario);
        assert!(!is_bearable(report.lost(), report.requests), "{report}");
        report.advice
    };
    let slots_alone = |advice: &[Advice]| {
        assert!(advice.iter().all(|one| one.max_queue.is_none() && one.max_wait.is_none()));
        advice.iter().find_map(|one| one.slots)
    };
    // More than the slots can do: no line is long enough, and one more slot is not enough.
    let flood =
        Scenario { max_queue: 8, max_wait: Duration::from_secs(20), ..unlimited(2, 0.9, DAY / 8) };
    let slots = slots_alone(&advised(&flood)).unwrap();
    assert!((9..14).contains(&slots), "{slots}");
    // The line is long enough and nobody reaches its end: a longer one would change nothing.
    let impatient = Scenario { max_wait: Duration::from_secs(1), ..unlimited(4, 0.3, DAY / 24) };
    let advice = advised(&impatient);
    assert!(advice.iter().all(|one| one.max_queue.is_none()), "{advice:?}");
    assert!(advice.iter().any(|one| one.max_wait.is_some()), "{advice:?}");
    // Longer than the deadline: no slots, line or patience make calls shorter.
    let hasty = Scenario { deadline: Duration::from_secs(5), ..unlimited(9, 0.3, DAY) };
    let advice = advised(&hasty);
    assert!(matches!(advice[..], [Advice { deadline: Some(_), slots: None, .. }]), "{advice:?}");
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
