//! A steady load of seven tenths with a fault in twenty, and the memory and descriptors of the
//! process under it.
//!
//! Requests arrive at random and do not wait for each other, as those of many independent clients
//! do. The process reports its own memory and descriptors; late in the run they must be what they
//! were early on. `LLM_GATEWAY_SOAK_SECONDS` says how long it lasts (default 4): the longer, the
//! smaller the leak that it can detect.
//!
//! What a reader would get wrong: the first quarter is ignored, since buffers, metrics and the
//! allocator's reserves come with the first requests of each kind and stay, which is no leak. And
//! the test compares minima, not averages: a burst of long answers holds much for a moment, and a
//! leak raises the use even in quiet moments.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::JoinSet;

use super::{FAULTS, Wish, number, play, send, tally};
use crate::harness::{Config, Gateway, Provider, Retry, Server, Timeouts, spawn_gateway};
use crate::ledger::{Ending, Seen, balance};
use crate::upstream::{Call, Script, Upstream, ollama};

/// Calls at once, at the provider that has the load and at the one that helps out.
const SLOTS: usize = 8;
/// How long an ordinary call takes, on average.
const HOLD: Duration = Duration::from_millis(80);
/// Arrivals per second that keep seven tenths of the slots busy: 8 ÷ 80 ms × 0.7.
const ARRIVALS: f64 = 70.0;
/// What memory may grow by from the second quarter to the last.
const MEMORY: f64 = 6.0 * 1024.0 * 1024.0;
/// The same for descriptors.
const DESCRIPTORS: f64 = 20.0;

/// What the process reports of itself.
struct Sample {
    memory: f64,
    /// Those that are not explained by requests that run or wait.
    descriptors: f64,
    /// The part of the loaded provider's slots that are held.
    load: f64,
}

#[tokio::test]
async fn at_seven_tenths_with_faults_memory_and_descriptors_stay_flat() {
    let seconds = number("LLM_GATEWAY_SOAK_SECONDS").unwrap_or(4);
    let seed = number("LLM_GATEWAY_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("steady: LLM_GATEWAY_SOAK_SEED={seed}, {seconds} s");
    let upstreams = [Upstream::spawn(work), Upstream::spawn(work)];
    let gateway = spawn_gateway(config(&upstreams)).await;
    let until = Instant::now() + Duration::from_secs(seconds);
    let arriving = arrivals(gateway.address(), Rng::with_seed(seed), until);
    let (seen, samples) = tokio::join!(arriving, samples(&gateway, seconds, until));

    let sent = balance(&gateway, &[&upstreams[0], &upstreams[1]], &seen, SLOTS).await;
    let memory: Vec<f64> = samples.iter().map(|sample| sample.memory).collect();
    let descriptors: Vec<f64> = samples.iter().map(|sample| sample.descriptors).collect();
    let load = samples.iter().map(|sample| sample.load).sum::<f64>() / samples.len() as f64;
    println!("steady: {} sent, {sent} counted, by ending: {:?}", seen.len(), tally(&seen));
    println!(
        "steady: {} looks, {:.0} % of the slots held; quiet moments of the second quarter and the last: {:.1} and {:.1} MiB, {} and {} descriptors",
        samples.len(),
        load * 100.0,
        floor(quarter(&memory, 1)) / 1024.0 / 1024.0,
        floor(quarter(&memory, 3)) / 1024.0 / 1024.0,
        floor(quarter(&descriptors, 1)),
        floor(quarter(&descriptors, 3)),
    );
    assert!(growth(&memory) <= MEMORY, "memory grows: {memory:?}");
    assert!(growth(&descriptors) <= DESCRIPTORS, "descriptors grow: {descriptors:?}");
    let answered = seen.iter().filter(|one| one.ending == Ending::Whole(200)).count();
    assert!(answered * 2 > seen.len(), "{answered} of {} were answered", seen.len());
    gateway.end(sent).await;
}

#[test]
fn a_leak_grows_and_a_flat_noise_does_not() {
    let noise = |at: usize| f64::from(u32::try_from(at * 7 % 5).unwrap());
    let flat: Vec<f64> = (0..40).map(|at| 100.0 + noise(at)).collect();
    assert!(growth(&flat).abs() <= 2.0, "{}", growth(&flat));
    // Growth at the start that stays is none either.
    let warm: Vec<f64> = (0..40).map(|at| if at < 8 { 20.0 } else { 100.0 + noise(at) }).collect();
    assert!(growth(&warm).abs() <= 2.0, "{}", growth(&warm));
    let leak: Vec<f64> = (0..40).map(|at| 100.0 + noise(at) + 0.5 * at as f64).collect();
    assert!(growth(&leak) >= 8.0, "{}", growth(&leak));
}

fn config(upstreams: &[Upstream; 2]) -> Config {
    let timeouts = Timeouts::default().connect("2s").first_event("1s").idle("1s").total("10s");
    let named = |name: &str, upstream: &Upstream| {
        Provider::ollama(upstream)
            .name(name)
            .slots(SLOTS)
            .timeouts(timeouts.clone())
            .retry(Retry::default().max_retries(2).backoff("20ms").max_backoff("100ms"))
    };
    let [one, two] = upstreams;
    Config::new()
        .server(Server::default().workers(2))
        .providers([named("one", one), named("two", two)])
        .default_providers(["one", "two"])
}

/// An answer that takes its time, or the fault that the prompt orders.
fn work(call: &Call) -> Script {
    if call.json()["messages"][0]["content"] != "fine" {
        return play(call);
    }
    // From a quarter of the average to seven quarters of it, evenly, in an order that looks like
    // none.
    let share = u32::try_from(call.number * 37 % 101).unwrap();
    ollama::reply(call).head_pause(HOLD / 4 + HOLD * 3 * share / 200)
}

/// Sends requests at random moments until the time is over, and awaits the end of each.
async fn arrivals(address: SocketAddr, mut dice: Rng, until: Instant) -> Vec<Seen> {
    let mut clients = JoinSet::new();
    let mut next = Instant::now();
    while next < until {
        tokio::time::sleep_until(next.into()).await;
        let (id, mut own) = (format!("steady-{}", clients.len()), dice.fork());
        clients.spawn(async move {
            let faulty = own.u32(..20) == 0;
            let order = if faulty { own.choice(FAULTS).unwrap() } else { "fine" };
            let leaves = own.u32(..100) == 0;
            send(address, id, Wish { order, deadline: None, leaves }, &mut own).await
        });
        next += Duration::from_secs_f64(-(1.0 - dice.f64()).ln() / ARRIVALS);
    }
    clients.join_all().await
}

async fn samples(gateway: &Gateway, seconds: u64, until: Instant) -> Vec<Sample> {
    let every = Duration::from_secs(seconds) / 200;
    let mut ticks = tokio::time::interval(every.max(Duration::from_millis(50)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut samples = Vec::new();
    while Instant::now() < until {
        ticks.tick().await;
        let metrics = gateway.metrics().await;
        let of = |name: &str| metrics.sum(name, &[("provider", "one")]);
        // A client's connection each, and for a call one more.
        let explained = metrics.sum("llm_gateway_queued", &[])
            + 2.0 * metrics.sum("llm_gateway_in_flight", &[]);
        samples.push(Sample {
            memory: metrics.sum("process_resident_memory_bytes", &[]),
            descriptors: metrics.sum("process_open_fds", &[]) - explained,
            load: of("llm_gateway_in_flight") / of("llm_gateway_max_concurrency"),
        });
    }
    samples
}

/// How much more there is in the last quarter than in the second.
fn growth(values: &[f64]) -> f64 {
    floor(quarter(values, 3)) - floor(quarter(values, 1))
}

fn quarter(values: &[f64], number: usize) -> &[f64] {
    let length = values.len() / 4;
    assert!(length > 0, "{} samples are too few", values.len());
    &values[number * length..(number + 1) * length]
}

/// What is held even in quiet moments: nine samples in ten are above it.
fn floor(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 10]
}
