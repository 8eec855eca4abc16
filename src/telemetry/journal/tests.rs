//! The journal without a gateway.

use super::*;
use crate::chat::{Reason, Usage};
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
        reason: Reason::all().find(|reason| cause.split(':').next() == Some(reason.as_str())),
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
    assert_eq!((journal.live().len(), journal.changes(0).requests.len()), (LIVE, WAITING));
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
    assert_eq!(
        (usage.in_flight, usage.requests, usage.failed),
        (0, LIVE as u64 + 50, LIVE as u64 + 50)
    );
    assert_eq!(
        (usage.prompt_tokens, usage.completion_tokens),
        (3 * (LIVE as u64 + 50), 5 * (LIVE as u64 + 50))
    );
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

#[test]
fn a_flood_hides_neither_those_under_way_nor_those_that_were_served() {
    let journal = Journal::default();
    let (provider, model) = (shared("ollama"), shared("llama3.1"));
    let waits: Vec<Track> = (0..400).map(|number| begin(&journal, &number.to_string())).collect();
    for track in &waits {
        journal.update(*track, |entry| entry.waits(&provider, &model));
    }
    // The last to come runs, as one with a weight may.
    let runs = waits[399];
    journal.update(runs, |entry| entry.called((&provider, &model), 1, Duration::ZERO));
    let served = begin(&journal, "served");
    journal.update(served, |entry| entry.called((&provider, &model), 1, Duration::ZERO));
    end(&journal, Some(served), "served", Outcome::Ok, "");
    for _ in 0..1_000 {
        end(&journal, None, "refused", Outcome::Overloaded, "queue_full");
    }
    let told = journal.changes(0).requests;
    let in_phase = |phase| told.iter().filter(|entry| entry.phase == phase).count();
    assert_eq!((in_phase(Phase::Wait), in_phase(Phase::Call)), (WAITING, 1));
    assert!(told.iter().any(|entry| &*entry.request_id == "served"));
    assert_eq!(in_phase(Phase::End), REFUSED + 1);
    assert_eq!(journal.live().len(), 400);
    let running = BTreeMap::from([((provider, shared("team")), 1)]);
    assert_eq!(journal.running(), running);
}

#[test]
fn who_was_turned_away_is_counted_and_how_soon_answers_began() {
    let journal = Journal::default();
    for _ in 0..3 {
        end(&journal, None, "a", Outcome::RateLimited, "over_share");
    }
    end(&journal, None, "b", Outcome::Overloaded, "queue_full: the model loads");
    end(&journal, None, "c", Outcome::Ok, "");
    let view = journal.tally();
    let mut away: Vec<_> =
        view.turned_away.iter().map(|(cell, count)| (cell.reason, &*cell.caller, *count)).collect();
    away.sort_unstable();
    assert_eq!(away, [("over_share", "team", 3), ("queue_full", "team", 1)]);
}

#[test]
fn steps_tell_what_became_of_a_request() {
    let journal = Journal::default();
    let (provider, model) = (shared("ollama"), shared("llama3.1"));
    let track = begin(&journal, "a");
    journal.update(track, |entry| entry.waits(&provider, &model));
    journal.update(track, |entry| entry.called((&provider, &model), 1, Duration::ZERO));
    journal.update(track, |entry| entry.failed("reset by peer"));
    journal.update(track, |entry| entry.called((&shared("spare"), &model), 2, Duration::ZERO));
    journal.update(track, |entry| entry.answers(Duration::from_millis(90)));
    let entry = journal.changes(0).requests.remove(0);
    let kinds: Vec<StepKind> = entry.steps.iter().map(|step| step.phase).collect();
    let expected =
        [StepKind::Wait, StepKind::Call, StepKind::Failed, StepKind::Call, StepKind::First];
    assert_eq!(kinds, expected);
    assert_eq!(entry.steps[2].cause.as_deref(), Some("reset by peer"));
    assert_eq!(entry.steps[3].provider.as_deref(), Some("spare"));
}

#[test]
fn notes_tell_what_was_done_and_are_bounded() {
    let journal = Journal::default();
    journal.configured(&[]);
    journal.configured(&["max_queue: below 0".to_owned()]);
    journal.noted(NoteKind::Drain, Some(&shared("ollama")), "");
    let notes = journal.changes(0).notes;
    let kinds: Vec<_> = notes.iter().map(|note| (note.kind, &*note.text)).collect();
    let refused = (NoteKind::Refused, "max_queue: below 0");
    assert_eq!(kinds, [(NoteKind::Start, ""), refused, (NoteKind::Drain, "")]);
    for _ in 0..NOTES {
        journal.noted(NoteKind::Resume, None, &"x".repeat(1_000));
    }
    let notes = journal.changes(0).notes;
    assert!(notes.len() == NOTES && notes.iter().all(|note| note.text.len() == LONGEST));
}
