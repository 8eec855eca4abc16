//! A provider that replaces another when the configuration changes.

use std::time::Duration;

use super::*;
use crate::admission::breaker::BreakerState;
use crate::admission::line::Share;
use crate::admission::slot::{Admission, Slot};
use crate::admission::{Arrival, Ended, Transition};
use crate::backend::Ollama;
use crate::policy::Priority;
use settings::AutoConcurrency;
use std::time::Instant;

fn settings() -> ProviderSettings {
    ProviderSettings::default().resolved()
}

fn provider() -> Arc<Provider> {
    Provider::new("ollama", settings(), &Ollama, None)
}

fn changed_to(before: &Provider, settings: ProviderSettings) -> Arc<Provider> {
    Provider::new("ollama", settings, &Ollama, Some(before))
}

fn started(provider: &Provider) -> Slot {
    let share = Share { caller: Arc::from("a"), weight: 1, priority: Priority::Interactive };
    let deadline = Instant::now() + Duration::from_secs(600);
    let model = Arc::from("m");
    match provider.gate.admit(Arrival::new(share, model, deadline)) {
        Admission::Run(slot) => slot,
        other => panic!("{other:?}"),
    }
}

#[test]
fn auto_begins_at_its_lower_bound_and_is_shown_with_both() {
    let auto_concurrency = AutoConcurrency { min: 2, max: 6 };
    let max_concurrency = MaxConcurrency::Auto;
    let settings = ProviderSettings { max_concurrency, auto_concurrency, ..settings() };
    let provider = Provider::new("ollama", settings, &Ollama, None);
    let status = serde_json::to_value(provider.status()).unwrap();
    assert_eq!((&status["limit"], &status["max_concurrency"]), (&2.into(), &"auto".into()));
    assert_eq!(status["auto_concurrency"], serde_json::json!({"min": 2, "max": 6}));
}

#[test]
fn a_limit_set_at_run_time_stays_until_its_setting_changes() {
    let before = provider();
    let turned = Limits { max_concurrency: Concurrency::Fixed(9), ..before.gate.limits() };
    before.gate.change(turned);
    let after = changed_to(&before, ProviderSettings { max_queue: 7, ..settings() });
    assert_eq!(after.gate.limits(), Limits { max_queue: 7, ..turned });
    let max_concurrency = MaxConcurrency::Fixed(3);
    let settings = ProviderSettings { max_concurrency, max_queue: 7, ..settings() };
    let last = changed_to(&after, settings);
    assert_eq!(last.gate.limits().max_concurrency, Concurrency::Fixed(3));
}

#[test]
fn slots_counts_and_the_last_error_outlive_a_change() {
    let before = provider();
    let slot = started(&before);
    before.counts.attempts.fetch_add(1, Ordering::Relaxed);
    before.failed("it broke");
    let after = changed_to(&before, ProviderSettings { max_queue: 7, ..settings() });
    before.counts.attempts.fetch_add(1, Ordering::Relaxed);
    let status = after.status();
    assert_eq!((status.gate.in_flight, status.attempts), (1, 2));
    assert_eq!(status.last_error.unwrap().message, "it broke");
    drop(slot);
    assert_eq!(after.status().gate.in_flight, 0);
}

#[test]
fn another_address_or_other_credentials_close_the_breaker() {
    let before = provider();
    assert_eq!(started(&before).ended(Ended::AuthFailed), Transition::Opened, "at once");
    let state = |provider: &Provider| provider.status().gate.breaker.state;
    let same = changed_to(&before, ProviderSettings { max_queue: 7, ..settings() });
    assert_eq!(state(&same), BreakerState::AuthFailed);
    let api_key = Secret::new("another");
    let mended = changed_to(&same, ProviderSettings { api_key, ..settings() });
    assert_eq!(state(&mended), BreakerState::Closed);
    let slots = [(); 4].map(|()| started(&mended));
    assert_eq!(mended.status().gate.in_flight, 4, "with all its slots at once");
    drop(slots);
}
