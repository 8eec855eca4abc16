//! The journal without a gateway.

use super::*;
use crate::chat::Usage;
use crate::telemetry::Timing;

fn shared(text: &str) -> Arc<str> {
    Arc::from(text)
}

fn begin(journal: &Journal, id: &str) -> Track {
    let (request_id, caller) = (shared(id), shared("team"));
    let asked = Some("llama3.1");
    journal.began(&RequestBegan {
        request_id: &request_id,
        caller: &caller,
        dialect: "native",
        asked,
    })
}

fn end(journal: &Journal, track: Option<Track>, id: &str, outcome: Outcome, cause: &str) {
    let (request_id, caller) = (shared(id), shared("team"));
    let usage = Usage { prompt: Some(3), completion: Some(5), ..Usage::default() };
    let ended = RequestEnded {
        track,
        request_id: &request_id,
        caller: Some(&caller),
        dialect: "native",
        provider: None,
        model: None,
        attempts: 0,
        is_resumed: false,
        status: 200,
        outcome,
        code: None,
        cause: Some(cause),
        timing: Timing::default(),
        usage,
    };
    journal.ended(track, &ended);
}

#[test]
fn a_request_is_seen_from_its_beginning_to_its_end() {
    let journal = Journal::default();
    let track = begin(&journal, "a");
    let begun = journal.changes(0);
    assert_eq!(begun.requests[0].phase, Phase::Begin);
    assert_eq!(begun.requests[0].asked.as_deref(), Some("llama3.1"));
    let (provider, model) = (shared("ollama"), shared("llama3.1:8b"));
    journal.update(track, |entry| entry.waits(&provider, &model));
    let waited = Duration::from_millis(40);
    journal.update(track, |entry| entry.called((&provider, &model), 1, waited));
    journal.update(track, |entry| entry.answers(Duration::from_millis(90)));
    let changed = journal.changes(begun.version);
    assert_eq!(changed.requests.len(), 1, "each request once, in its present state");
    let entry = &changed.requests[0];
    assert_eq!((entry.phase, entry.queue_ms, entry.first_ms), (Phase::First, Some(40), Some(90)));
    end(&journal, Some(track), "a", Outcome::Ok, "");
    let over = journal.changes(changed.version);
    assert_eq!((over.requests[0].phase, over.requests[0].outcome), (Phase::End, Some("ok")));
    assert_eq!(over.requests[0].number, entry.number);
    assert!(journal.changes(over.version).requests.is_empty());
}

#[test]
fn a_late_update_does_not_change_another_request() {
    let journal = Journal::default();
    let first = begin(&journal, "first");
    end(&journal, Some(first), "first", Outcome::Cancelled, "");
    let second = begin(&journal, "second");
    assert_ne!(first, second);
    journal.update(first, |entry| entry.answers(Duration::ZERO));
    let changes = journal.changes(0);
    let second = changes.requests.iter().find(|entry| &*entry.request_id == "second").unwrap();
    assert_eq!(second.phase, Phase::Begin);
}

#[test]
fn everything_is_bounded() {
    let journal = Journal::default();
    let tracks: Vec<Track> =
        (0..LIVE + 50).map(|number| begin(&journal, &number.to_string())).collect();
    assert_eq!(journal.changes(0).requests.len(), LIVE);
    assert_eq!(journal.callers()[0].1.in_flight, (LIVE + 50) as u64);
    for (number, track) in tracks.into_iter().enumerate() {
        let cause = format!("cause {number} {}", "x".repeat(1_000));
        end(&journal, Some(track), &number.to_string(), Outcome::UpstreamError, &cause);
    }
    let changes = journal.changes(0);
    assert_eq!((changes.requests.len(), changes.failures.len()), (RECENT, FAILURES));
    let longest = changes.failures.iter().map(|failure| failure.message.as_ref().unwrap().len());
    assert!(longest.max().unwrap() <= LONGEST);
    let usage = journal.callers()[0].1;
    assert_eq!((usage.in_flight, usage.requests, usage.failed), (0, 306, 306));
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (3 * 306, 5 * 306));
    let track = begin(&journal, "later");
    assert_ne!(track, Track::default(), "places are reused");
}

#[test]
fn a_flood_of_one_failure_does_not_displace_the_others() {
    let journal = Journal::default();
    end(&journal, None, "a", Outcome::Timeout, "slow");
    for _ in 0..1_000 {
        end(&journal, None, "b", Outcome::Overloaded, "full");
    }
    end(&journal, None, "c", Outcome::ClientError, "its own fault");
    journal.failed(FailureKind::Breaker, Some("ollama"), "left alone");
    let failures = journal.changes(0).failures;
    let seen: Vec<_> =
        failures.iter().map(|failure| (failure.message.as_deref(), failure.count)).collect();
    assert_eq!(seen, [(Some("left alone"), 1), (Some("full"), 1_000), (Some("slow"), 1)]);
}

#[test]
fn totals_are_by_outcome() {
    let journal = Journal::default();
    end(&journal, None, "a", Outcome::Ok, "");
    let before = journal.totals();
    end(&journal, None, "b", Outcome::Ok, "");
    end(&journal, None, "c", Outcome::Cancelled, "");
    let more: Vec<_> = journal.totals().since(&before).by_outcome().collect();
    assert_eq!(more.iter().map(|(_, count)| count).sum::<u64>(), 2);
    assert!(more.contains(&(Outcome::Cancelled, 1)));
}

#[test]
fn a_long_text_is_clipped_between_characters() {
    assert_eq!(clipped("short"), "short");
    let long = "ä".repeat(150);
    assert_eq!(clipped(&long), "ä".repeat(100));
    let long = Arc::from(long);
    assert_eq!(kept(&long).len(), LONGEST);
}
