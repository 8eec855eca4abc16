//! Changes the limits of a provider while it works, and drains and resumes it.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Path};
use serde_json::{Value, json};

use super::Admin;
use super::operator::Operator;
use crate::admission::Limits;
use crate::admission::concurrency::Concurrency;
use crate::chat::GatewayError;
use crate::provider::Provider;
use crate::provider::settings::AUTO;
use crate::telemetry::journal::{JOURNAL, NoteKind};
use crate::wire::fields::Fields;
use crate::wire::json::read_object;

/// The largest limit; a larger number would be a mistake.
const MOST: i64 = 100_000;
/// The longest wait in milliseconds: a day.
const LONGEST_WAIT: i64 = 86_400_000;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/admin/providers/{name}", web::patch().to(change))
        .route("/admin/providers/{name}/drain", web::post().to(drain))
        .route("/admin/providers/{name}/resume", web::post().to(resume));
}

async fn change(
    admin: Data<Admin>,
    operator: Operator,
    name: Path<String>,
    body: Bytes,
) -> HttpResponse {
    let Some(provider) = admin.front.routing().provider(&name).cloned() else {
        return unknown(&name);
    };
    match limits(provider.gate.limits(), provider.configured_limits(), provider.auto(), &body) {
        Ok(limits) => {
            let before = provider.gate.limits();
            provider.gate.change(limits);
            let difference = difference(before, limits);
            JOURNAL.noted(NoteKind::Limits, Some(&provider.name), &difference);
            operator.did(&format!("provider `{name}`: {difference}"));
            HttpResponse::Ok().json(provider.status())
        }
        Err(error) => HttpResponse::UnprocessableEntity().json(json!({"detail": error.message})),
    }
}

/// The limits with the changes in `body`, which apply all or not at all. A `null` means the limit
/// that is `configured`, and `auto` is the meaning of that word for this provider.
fn limits(
    mut limits: Limits,
    configured: Limits,
    auto: Concurrency,
    body: &[u8],
) -> Result<Limits, GatewayError> {
    let mut body = read_object(body)?;
    let mut fields = Fields::new();
    let mut goes_back = |name: &str| {
        let is_null = body.get(name).is_some_and(Value::is_null);
        is_null && body.remove(name).is_some()
    };
    if goes_back("max_concurrency") {
        limits.max_concurrency = configured.max_concurrency;
    }
    if goes_back("max_queue") {
        limits.max_queue = configured.max_queue;
    }
    if goes_back("max_queue_wait_ms") {
        limits.max_queue_wait = configured.max_queue_wait;
    }
    if body.get("max_concurrency").is_some_and(|word| word == AUTO) {
        body.remove("max_concurrency");
        limits.max_concurrency = auto;
    } else if let Some(most) = fields.integer(&mut body, "max_concurrency", 1, MOST) {
        limits.max_concurrency = Concurrency::Fixed(u32::try_from(most).unwrap_or(u32::MAX));
    }
    if let Some(most) = fields.integer(&mut body, "max_queue", 0, MOST) {
        limits.max_queue = u32::try_from(most).unwrap_or(u32::MAX);
    }
    if let Some(longest) = fields.integer(&mut body, "max_queue_wait_ms", 0, LONGEST_WAIT) {
        limits.max_queue_wait = Duration::from_millis(u64::try_from(longest).unwrap_or(0));
    }
    for key in body.keys() {
        let known = "max_concurrency, max_queue and max_queue_wait_ms can be changed";
        fields.problem(key, "extra_forbidden", known);
    }
    fields.finish()?;
    Ok(limits)
}

/// What a change makes of which limit, in words.
fn difference(before: Limits, after: Limits) -> String {
    let slots = |limits: Limits| match limits.max_concurrency {
        Concurrency::Fixed(most) => most.to_string(),
        Concurrency::Auto { .. } => AUTO.to_owned(),
    };
    let wait = |limits: Limits| format!("{} s", limits.max_queue_wait.as_secs_f64());
    let changes = [
        ("slots", slots(before), slots(after)),
        ("places in line", before.max_queue.to_string(), after.max_queue.to_string()),
        ("max wait", wait(before), wait(after)),
    ];
    let changed = changes.into_iter().filter(|(_, before, after)| before != after);
    let words: Vec<_> =
        changed.map(|(what, before, after)| format!("{what} {before} → {after}")).collect();
    if words.is_empty() { "nothing changed".to_owned() } else { words.join(", ") }
}

async fn drain(admin: Data<Admin>, operator: Operator, name: Path<String>) -> HttpResponse {
    with(&admin, &name, |provider| {
        provider.gate.drain();
        JOURNAL.noted(NoteKind::Drain, Some(&provider.name), "");
        operator.did(&format!("provider `{name}` is drained: it takes no new work"));
    })
}

async fn resume(admin: Data<Admin>, operator: Operator, name: Path<String>) -> HttpResponse {
    with(&admin, &name, |provider| {
        provider.gate.resume();
        JOURNAL.noted(NoteKind::Resume, Some(&provider.name), "");
        operator.did(&format!("provider `{name}` takes work again"));
    })
}

fn with(admin: &Admin, name: &str, act: impl FnOnce(&Arc<Provider>)) -> HttpResponse {
    match admin.front.routing().provider(name) {
        Some(provider) => {
            act(provider);
            HttpResponse::Ok().json(provider.status())
        }
        None => unknown(name),
    }
}

pub(super) fn unknown(name: &str) -> HttpResponse {
    HttpResponse::NotFound().json(json!({"detail": format!("no provider is named `{name}`")}))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND_OUT: Concurrency = Concurrency::Auto { min: 2, max: 6 };
    const CONFIGURED: Limits = Limits {
        max_concurrency: Concurrency::Fixed(2),
        max_queue: 8,
        max_queue_wait: Duration::from_secs(5),
    };

    fn limits(before: Limits, body: &[u8]) -> Result<Limits, GatewayError> {
        super::limits(before, CONFIGURED, FOUND_OUT, body)
    }

    fn before() -> Limits {
        Limits {
            max_concurrency: Concurrency::Fixed(4),
            max_queue: 64,
            max_queue_wait: Duration::from_secs(30),
        }
    }

    #[test]
    fn limits_that_are_not_named_stay() {
        let after = limits(before(), br#"{"max_concurrency": 8}"#).unwrap();
        assert_eq!(after, Limits { max_concurrency: Concurrency::Fixed(8), ..before() });
        let after = limits(before(), br#"{"max_queue": 0, "max_queue_wait_ms": 250}"#).unwrap();
        assert_eq!((after.max_queue, after.max_queue_wait), (0, Duration::from_millis(250)));
    }

    #[test]
    fn null_means_what_is_configured() {
        let body = br#"{"max_concurrency": null, "max_queue": null, "max_queue_wait_ms": null}"#;
        assert_eq!(limits(before(), body).unwrap(), CONFIGURED);
        let after = limits(before(), br#"{"max_queue": null}"#).unwrap();
        assert_eq!(after, Limits { max_queue: 8, ..before() });
    }

    #[test]
    fn a_change_is_told_by_what_differs() {
        let slots = Limits { max_concurrency: FOUND_OUT, ..before() };
        assert_eq!(difference(before(), slots), "slots 4 → auto");
        let wait = Duration::from_millis(12_500);
        let line = Limits { max_queue: 9, max_queue_wait: wait, ..before() };
        assert_eq!(difference(before(), line), "places in line 64 → 9, max wait 30 s → 12.5 s");
        assert_eq!(difference(before(), before()), "nothing changed");
    }

    #[test]
    fn the_word_auto_means_the_configured_bounds() {
        let after = limits(before(), br#"{"max_concurrency": "auto"}"#).unwrap();
        assert_eq!(after, Limits { max_concurrency: FOUND_OUT, ..before() });
        let back = limits(after, br#"{"max_concurrency": 4, "max_queue": 64}"#).unwrap();
        assert_eq!(back, before());
    }

    #[test]
    fn an_invalid_change_is_refused_as_a_whole() {
        for body in [
            &br#"{"max_concurrency": 0}"#[..],
            br#"{"max_concurrency": 8, "max_queue": -1}"#,
            br#"{"max_concurency": 8}"#,
            br#"{"max_concurrency": "8"}"#,
            br#"{"max_concurrency": "auto", "max_queue": -1}"#,
            b"[]",
            b"",
        ] {
            assert!(limits(before(), body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }
}
