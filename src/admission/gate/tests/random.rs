//! Invariants over random histories of arrivals, ends, cancellations, changes and time.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Come { caller: u8, batch: bool, model: u8, patience: u64, again: bool, elsewhere: bool },
    End { which: usize, ended: u8 },
    Answering { which: usize },
    Cancel { which: usize },
    Expire { which: usize },
    Pass { millis: u64 },
    Wake,
    Change { slots: u32, line: u32, auto: bool },
    Drain(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let come = (0..4u8, any::<bool>(), 0..3u8, 0..40_000u64, 0..8u8, any::<bool>());
    let come = come.prop_map(|(caller, batch, model, patience, again, elsewhere)| Step::Come {
        caller,
        batch,
        model,
        patience,
        again: again == 0,
        elsewhere,
    });
    let which = 0..64usize;
    prop_oneof![
        10 => come,
        8 => (which.clone(), 0..12u8).prop_map(|(which, ended)| Step::End { which, ended }),
        1 => which.clone().prop_map(|which| Step::Answering { which }),
        2 => which.clone().prop_map(|which| Step::Cancel { which }),
        2 => which.prop_map(|which| Step::Expire { which }),
        4 => prop_oneof![0..50u64, 0..20_000u64].prop_map(|millis| Step::Pass { millis }),
        2 => Just(Step::Wake),
        1 => (1..9u32, 0..12u32, any::<bool>())
            .prop_map(|(slots, line, auto)| Step::Change { slots, line, auto }),
        1 => any::<bool>().prop_map(Step::Drain),
    ]
}

fn how(ended: u8) -> Ended {
    match ended {
        0..=4 => Ended::Success,
        5 => broken(),
        6 => congested(),
        7 => UNREACHABLE,
        8 => Ended::RateLimited { retry_after: Some(seconds(7.0)) },
        9 => Ended::RateLimited { retry_after: None },
        10 => Ended::Neutral,
        _ => Ended::Unused,
    }
}

/// The jobs as seen from outside the gate.
#[derive(Default)]
struct Book {
    waiting: HashMap<u32, (Key, Instant)>,
    /// Every job that has run, was refused or was cancelled.
    answered: HashSet<u32>,
}

/// Does one step and checks its effects.
fn act(bench: &mut Bench, book: &mut Book, step: Step) -> Result<(), TestCaseError> {
    let before: HashSet<u32> = bench.running.keys().copied().collect();
    match step {
        Step::Come { caller, batch, model, patience, again, elsewhere } => {
            let mut arrival = bench.arrival(&caller.to_string());
            arrival.share.weight = u32::from(caller);
            arrival.share.priority = if batch { Priority::Batch } else { Priority::Interactive };
            arrival.model = Arc::from(model.to_string());
            arrival.deadline = bench.now + Duration::from_millis(patience);
            let deadline = arrival.deadline;
            let job = bench.come(Arrival { again, elsewhere, ..arrival });
            if let Some(key) = bench.keys.get(&job) {
                book.waiting.insert(job, (*key, deadline));
            }
        }
        Step::End { which, ended } => {
            if let Some(job) = nth(bench.running.keys(), which) {
                bench.end(job, how(ended));
            }
        }
        Step::Answering { which } => {
            if let Some(job) = nth(bench.running.keys(), which) {
                let mut permit = bench.running.remove(&job).unwrap();
                bench.step(|gate, at, wakes| gate.answering(&mut permit, at, wakes));
                bench.running.insert(job, permit);
            }
        }
        Step::Cancel { which } => {
            if let Some(job) = nth(book.waiting.keys(), which) {
                let (key, _) = book.waiting.remove(&job).unwrap();
                prop_assert_eq!(bench.gate.cancel(key), Some(job));
                book.answered.insert(job);
            }
        }
        Step::Expire { which } => {
            if let Some(job) = nth(book.waiting.keys(), which) {
                bench.expire(job);
            }
        }
        Step::Pass { millis } => bench.now += Duration::from_millis(millis),
        Step::Wake => bench.wake(),
        Step::Change { slots, line, auto } => {
            let max_concurrency = match auto {
                true => Concurrency::Auto { min: 1, max: slots },
                false => Concurrency::Fixed(slots),
            };
            let limits = Limits { max_concurrency, ..limits(slots, line) };
            bench.step(|gate, at, wakes| gate.change(limits, at, wakes));
        }
        Step::Drain(true) => bench.gate.drain(),
        Step::Drain(false) => bench.gate.resume(),
    }
    settle(bench, book, &before)
}

/// Every answered job was answered once, and none was started too late.
fn settle(bench: &mut Bench, book: &mut Book, before: &HashSet<u32>) -> Result<(), TestCaseError> {
    let started = bench.running.keys().filter(|job| !before.contains(job));
    for job in started.copied().collect::<Vec<_>>() {
        prop_assert!(book.answered.insert(job), "{job} was told twice");
        if let Some((_, deadline)) = book.waiting.remove(&job) {
            prop_assert!(bench.now < deadline, "{job} was started after its deadline");
        }
    }
    for (job, refusal) in bench.refused.drain() {
        prop_assert!(book.answered.insert(job), "{job} was told twice");
        book.waiting.remove(&job);
        prop_assert!((seconds(1.0)..=seconds(60.0)).contains(&refusal.retry_after));
    }
    Ok(())
}

fn nth<'a>(jobs: impl Iterator<Item = &'a u32>, which: usize) -> Option<u32> {
    let mut jobs: Vec<u32> = jobs.copied().collect();
    jobs.sort_unstable();
    (!jobs.is_empty()).then(|| jobs[which % jobs.len()])
}

proptest! {
    #[test]
    fn slots_and_jobs_are_never_lost_or_duplicated(
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let mut bench = Bench::new(3, 6);
        // Breakers open at once and not for long, so that histories are full of probes.
        let policy = BreakerPolicy { failures: 1, open: seconds(1.0), max_open: seconds(4.0) };
        bench.gate.change_policies(policy, RetryPolicy::default());
        let mut book = Book::default();
        for step in steps {
            let before = bench.running.len();
            act(&mut bench, &mut book, step)?;
            let snapshot = bench.snapshot();
            prop_assert_eq!(snapshot.in_flight as usize, bench.running.len());
            prop_assert_eq!(snapshot.free, snapshot.limit.saturating_sub(snapshot.in_flight));
            prop_assert_eq!(snapshot.queued as usize, book.waiting.len());
            let by_model: u32 = snapshot.models.iter().map(|model| model.in_flight).sum();
            prop_assert_eq!(by_model, snapshot.in_flight);
            // More than the limit runs only after it was lowered, and then nothing is added.
            prop_assert!(bench.running.len() <= before.max(snapshot.limit as usize));
        }
        finish(&mut bench, &mut book)?;
    }
}

/// Lets all attempts succeed and time pass: at the end no job waits and every slot is free.
fn finish(bench: &mut Bench, book: &mut Book) -> Result<(), TestCaseError> {
    act(bench, book, Step::Wake)?;
    for _ in 0..10_000 {
        if bench.running.is_empty() && book.waiting.is_empty() {
            break;
        }
        let step = match bench.gate.next_wake(bench.now) {
            _ if !bench.running.is_empty() => Step::End { which: 0, ended: 0 },
            Some(next) => {
                prop_assert!(next > bench.now, "a wake that is due was not used");
                bench.now = next;
                Step::Wake
            }
            None => {
                let why = bench.snapshot();
                return Err(TestCaseError::fail(format!("stuck with waiting jobs: {why:?}")));
            }
        };
        act(bench, book, step)?;
    }
    let snapshot = bench.snapshot();
    prop_assert_eq!((snapshot.in_flight, snapshot.queued), (0, 0));
    prop_assert_eq!(snapshot.free, snapshot.limit);
    prop_assert_eq!(book.answered.len(), bench.jobs as usize, "everybody was told");
    // No breaker waits for the result of a probe that has ended.
    bench.pass(600.0);
    bench.gate.resume();
    for model in ["0", "1", "2"] {
        let job = bench.come(bench.of_model(model));
        prop_assert!(bench.runs(job), "{:?}", bench.reason(job));
        bench.end(job, OK);
    }
    Ok(())
}
