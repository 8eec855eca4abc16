//! What clients saw, what providers saw, the access log and the metrics, joined by request id.
//!
//! It owns the conservation laws of the gateway: every request ends once and everywhere alike, no
//! slot is exceeded, nothing starts after its client has left or its deadline has passed, and at
//! rest nothing is held. It refuses to wait for anything but the end of what was sent.
//!
//! What a reader would get wrong: a client that resets its connection may do so before the gateway
//! has read a byte, so that such a request may be missing from the log; all others may not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Access, Gateway};
use crate::patience::eventually;
use crate::upstream::{Call, Upstream};

/// One request as its client saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The id it was sent with.
    pub id: String,
    /// When it was sent.
    pub sent: Instant,
    /// How long its client allowed.
    pub deadline: Option<Duration>,
    /// How it ended.
    pub ending: Ending,
}

/// What a client saw last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ending {
    /// An answer as long as promised.
    Whole(u16),
    /// An answer that broke off after its head.
    Broken(u16),
    /// The connection ended without an answer.
    Nothing,
    /// The client itself left, perhaps before its request was read.
    Left { at: Instant, perhaps_unread: bool },
}

/// How late a loaded machine may let us see something that happened in time.
const SLACK: Duration = Duration::from_secs(3);

/// Awaits rest, checks every law, and returns how many requests the gateway has counted.
///
/// `most` is the highest limit that any of the `upstreams` ever had.
pub async fn balance(
    gateway: &Gateway,
    upstreams: &[&Upstream],
    seen: &[Seen],
    most: usize,
) -> usize {
    let lines = access_by_id(gateway, seen).await;
    gateway.settled().await;
    for one in seen {
        match lines.get(&one.id) {
            Some(line) => check_ending(one, line),
            None => {
                let may_be_missing =
                    matches!(one.ending, Ending::Left { perhaps_unread: true, .. });
                assert!(may_be_missing, "no access line for {one:?}");
            }
        }
    }
    assert!(lines.len() <= seen.len(), "more requests were counted than sent");
    let calls: Vec<Call> = upstreams.iter().flat_map(|upstream| upstream.calls_so_far()).collect();
    check_calls(&calls, seen, &lines);
    for upstream in upstreams {
        assert!(upstream.peak() <= most, "{} calls at once, {most} allowed", upstream.peak());
    }
    check_metrics(gateway, lines.len(), calls.len()).await;
    check_rest(&gateway.providers().await);
    let bad = gateway.log_lines().into_iter().find(|line| {
        line.contains("panicked") || line.contains("code=internal") || line.contains(" ERROR ")
    });
    assert_eq!(bad, None);
    lines.len()
}

/// The access lines by request id, once all expected ones are there and no body is held.
async fn access_by_id(gateway: &Gateway, seen: &[Seen]) -> BTreeMap<String, Access> {
    let missing = std::cell::RefCell::new(Vec::new());
    eventually(
        || format!("every request ends; without an end: {:?}", missing.borrow()),
        async || {
            let lines = gateway.access_lines();
            let mut by_id = BTreeMap::new();
            for line in lines {
                let twice = by_id.insert(line.request_id.clone(), line);
                assert!(twice.is_none(), "a second end of {twice:?}");
            }
            let certain = seen
                .iter()
                .filter(|one| !matches!(one.ending, Ending::Left { perhaps_unread: true, .. }));
            *missing.borrow_mut() =
                certain.filter(|one| !by_id.contains_key(&one.id)).cloned().collect();
            let total = gateway.metrics().await.sum("llm_gateway_requests_total", &[]);
            let is_over = missing.borrow().is_empty()
                && total == by_id.len() as f64
                && gateway.providers().await["buffered_bytes"] == 0;
            is_over.then_some(by_id)
        },
    )
    .await
}

/// The client and the log agree.
fn check_ending(one: &Seen, line: &Access) {
    let logged: u16 = line.fields["status"].parse().unwrap();
    let outcome = line.outcome.as_str();
    let fits = match one.ending {
        Ending::Whole(status) => status == logged && outcomes_of(status).contains(&outcome),
        // The head may have gone out before the provider was asked, so that any failure may follow.
        Ending::Broken(status) => status == logged && !matches!(outcome, "ok" | "cancelled"),
        Ending::Nothing => false,
        // It may have been answered, or refused, in the moment in which it left.
        Ending::Left { .. } => outcome == "cancelled" || logged != 499,
    };
    assert!(fits, "the client and the log disagree: {one:?}, {line:?}");
}

fn outcomes_of(status: u16) -> &'static [&'static str] {
    match status {
        200 => &["ok"],
        429 => &["rate_limited"],
        502 => &["upstream_error"],
        503 => &["overloaded", "unavailable"],
        504 => &["timeout"],
        400..=499 | 501 => &["client_error"],
        _ => &[],
    }
}

/// No call without a request, too often, too late, or for a client that had disconnected.
fn check_calls(calls: &[Call], seen: &[Seen], lines: &BTreeMap<String, Access>) {
    let by_id: BTreeMap<&str, &Seen> = seen.iter().map(|one| (one.id.as_str(), one)).collect();
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for call in calls {
        let id = call.header("x-request-id").expect("every call carries its request's id");
        let one = by_id.get(id).unwrap_or_else(|| panic!("a call for nobody: {id}"));
        *counts.entry(id).or_default() += 1;
        if let Some(deadline) = one.deadline {
            assert!(call.arrived <= one.sent + deadline + SLACK, "called too late: {one:?}");
        }
        if let Ending::Left { at, .. } = one.ending {
            assert!(call.arrived <= at + SLACK, "called after its client had left: {one:?}");
        }
    }
    for (id, count) in counts {
        // Three, and a free one after a kept connection turned out to be closed.
        assert!(count <= 4, "{count} calls for {id}");
        let line = &lines[id];
        let attempts: u32 = line.fields["attempts"].parse().unwrap();
        let knows = line.outcome != "cancelled";
        assert!(!knows || count <= attempts, "{count} calls, but {line:?}");
    }
}

async fn check_metrics(gateway: &Gateway, requests: usize, calls: usize) {
    let metrics = gateway.metrics().await;
    let total = |name: &str| metrics.sum(&format!("llm_gateway_{name}_total"), &[]);
    let attempts = total("upstream_attempts");
    assert_eq!(total("requests"), requests as f64);
    assert!(attempts >= calls as f64, "{calls} calls arrived, {attempts} were counted");
    let allowed = requests as f64 + total("retries") + total("fallbacks");
    assert!(attempts <= allowed, "{attempts} attempts, {allowed} explained");
    let providers = gateway.providers().await;
    let sum = |field: &str| -> u64 {
        let list = providers["providers"].as_array().unwrap();
        list.iter().map(|provider| provider[field].as_u64().unwrap()).sum()
    };
    assert!(sum("granted") >= attempts as u64, "attempts without a slot");
}

/// Nothing is held.
fn check_rest(providers: &Value) {
    assert_eq!(providers["buffered_bytes"], 0);
    assert_eq!(providers["cache"]["in_flight"], 0);
    for provider in providers["providers"].as_array().unwrap() {
        assert_eq!(provider["free"], provider["limit"], "{provider}");
        for held in ["in_flight", "batch_in_flight", "queued", "retries_in_flight", "mailbox_depth"]
        {
            assert_eq!(provider[held], 0, "{held}: {provider}");
        }
        assert_eq!(provider["queued_by_caller"], serde_json::json!({}), "{provider}");
    }
}
