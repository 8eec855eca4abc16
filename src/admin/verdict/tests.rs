//! Verdicts on gateways that do not exist.

use super::*;

fn provider(name: &str) -> SeenProvider {
    SeenProvider {
        name: Arc::from(name),
        fault: None,
        is_draining: false,
        limit: 2,
        in_flight: 0,
        queued: 0,
        max_queue: 64,
        oldest_wait_ms: 0,
        predicted_wait_ms: 0,
        ok: 0,
        failed: 0,
    }
}

fn cell(reason: &'static str, caller: &str, provider: Option<&str>) -> TurnedAway {
    let (caller, provider) = (Arc::from(caller), provider.map(Arc::from));
    TurnedAway { reason, caller, provider, is_trouble: true }
}

fn seen(providers: Vec<SeenProvider>) -> Seen<'static> {
    Seen { providers, seconds: 10, ..Seen::default() }
}

#[track_caller]
fn says(seen: &Seen<'_>, state: State, words: &str) {
    let verdict = judge(seen);
    assert_eq!((verdict.state, verdict.words.as_str()), (state, words));
}

#[test]
fn without_trouble_the_load_decides() {
    let mut one = provider("ollama");
    says(&seen(vec![one.clone()]), State::Idle, "Idle: nothing under way");
    one.in_flight = 1;
    says(&seen(vec![one.clone()]), State::Working, "Working: 1 request under way");
    one.in_flight = 2;
    let busy = "Busy: every slot of `ollama` is in use, 2 requests under way";
    says(&seen(vec![one.clone(), provider("other")]), State::Busy, busy);
    one.queued = 5;
    one.oldest_wait_ms = 12_400;
    one.predicted_wait_ms = 185_000;
    let waiting = "Waiting: 5 requests wait for `ollama`, the oldest for 12 s; \
                   a newcomer would wait 3 min 05 s";
    says(&seen(vec![provider("other"), one]), State::Waiting, waiting);
    says(&seen(Vec::new()), State::Idle, "Idle: nothing under way");
}

#[test]
fn a_flood_is_told_with_its_provider_its_key_and_its_reason() {
    let full = SeenProvider { in_flight: 2, queued: 64, ..provider("ollama") };
    let nightly = cell("over_share", "nightly", Some("ollama"));
    let (team, elsewhere) =
        (cell("queue_full", "team", Some("ollama")), cell("requests", "x", None));
    let mut flood = seen(vec![full.clone(), provider("spare")]);
    flood.turned_away = BTreeMap::from([(&nightly, 800), (&team, 100), (&elsewhere, 20)]);
    let words = "Refusing: `ollama` is full, 92 a second turned away, mostly key `nightly`: \
                 its share of the line";
    says(&flood, State::Refusing, words);
    assert_eq!(judge(&flood).provider.as_deref(), Some("ollama"));
    // A few are an incident only while a line is full.
    flood.turned_away = BTreeMap::from([(&nightly, 3)]);
    let words = "Refusing: `ollama` is full, 3 turned away in 10 s, mostly key `nightly`: \
                 its share of the line";
    says(&flood, State::Refusing, words);
    let mut few = seen(vec![provider("ollama")]);
    few.turned_away = BTreeMap::from([(&nightly, 3)]);
    says(&few, State::Idle, "Idle: nothing under way");
    few.turned_away = BTreeMap::from([(&elsewhere, 40)]);
    let words = "Refusing: 4 a second turned away, mostly key `x`: its requests of the minute";
    says(&few, State::Refusing, words);
}

#[test]
fn a_broken_provider_is_told_unless_others_turn_away_for_want_of_room() {
    let dead = SeenProvider { fault: Some(Fault::LeftAlone(20_000)), ..provider("spare") };
    let mut broken = seen(vec![provider("ollama"), dead.clone()]);
    let words = "Broken: `spare` kept failing and is tried again in 20 s; 1 other works";
    says(&broken, State::Broken, words);
    let refused = cell("breaker_open", "team", Some("spare"));
    broken.turned_away = BTreeMap::from([(&refused, 40)]);
    let words = "Broken: `spare` kept failing and is tried again in 20 s, 4 a second turned away; \
                 1 other works";
    says(&broken, State::Broken, words);
    let full = cell("queue_full", "team", Some("ollama"));
    broken.turned_away = BTreeMap::from([(&refused, 40), (&full, 50)]);
    assert_eq!(judge(&broken).state, State::Refusing);
    let fails = SeenProvider { fault: Some(Fault::Fails), failed: 9, ok: 1, ..provider("ollama") };
    let words = "Broken: `ollama` fails, 9 of 10 requests, and so does 1 other provider; \
                 no provider works";
    says(&seen(vec![fails, dead]), State::Broken, words);
    let refused = SeenProvider { fault: Some(Fault::Key), ..provider("cloud") };
    let words = "Broken: `cloud` does not accept the gateway's key; 2 others work";
    says(&seen(vec![refused, provider("a"), provider("b")]), State::Broken, words);
}

#[test]
fn draining_is_told_for_the_gateway_for_all_providers_and_aside_for_one() {
    let drained = SeenProvider { is_draining: true, in_flight: 1, ..provider("ollama") };
    let mut all = seen(vec![drained.clone()]);
    says(&all, State::Draining, "Draining: no provider takes new work, 1 request under way");
    all.is_draining = true;
    says(&all, State::Draining, "Draining: the gateway stops, 1 request under way");
    let one = seen(vec![drained, provider("other")]);
    says(&one, State::Working, "Working: 1 request under way; `ollama` is being drained");
    let cell = cell("draining", "-", Some("ollama"));
    all.is_draining = false;
    all.turned_away = BTreeMap::from([(&cell, 20)]);
    let words = "Draining: no provider takes new work, 1 request under way, 2 a second turned away";
    says(&all, State::Draining, words);
    all.providers.push(provider("other"));
    let words = "Refusing: `ollama` is being drained, 2 a second turned away, \
                 mostly without a key: it takes no new work";
    says(&all, State::Refusing, words);
}

#[test]
fn a_reason_without_words_of_its_own_is_told_by_its_word() {
    assert_eq!(reason_words("no_provider_for_policy"), "no provider for policy");
    assert_eq!(time(999), "999 ms");
}
