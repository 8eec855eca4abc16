//! The error for a caller whose request a gate refuses.

use crate::admission::refusal::Refusal;
use crate::chat::{ErrorKind, GatewayError, RefusalReason};

/// The error for a caller whose request the gate refuses.
pub(super) fn refused(provider: &str, refusal: &Refusal) -> GatewayError {
    let seconds = refusal.expected.as_secs_f64().ceil().max(1.0);
    let left_alone = || format!("left alone for {seconds} s more");
    let (kind, why) = match refusal.reason {
        RefusalReason::QueueFull => (ErrorKind::Overloaded, "its line is full".to_owned()),
        RefusalReason::PredictedWait => {
            (ErrorKind::Overloaded, "the wait would be too long".to_owned())
        }
        RefusalReason::WaitedTooLong => (
            ErrorKind::Overloaded,
            "its turn did not come within the longest wait allowed".to_owned(),
        ),
        RefusalReason::OverShare => (
            ErrorKind::RateLimited,
            "others wait, and this key already holds half of its line".to_owned(),
        ),
        RefusalReason::PushedOut => (
            ErrorKind::RateLimited,
            "the place in its line went to a key that has fewer requests there".to_owned(),
        ),
        RefusalReason::DeadlinePassed => {
            (ErrorKind::Timeout, "the deadline passed in its line".to_owned())
        }
        RefusalReason::BreakerOpen => {
            (ErrorKind::ProviderUnavailable, format!("it kept failing and is {}", left_alone()))
        }
        RefusalReason::CoolingDown => {
            (ErrorKind::ProviderUnavailable, format!("it asked to be {}", left_alone()))
        }
        RefusalReason::AuthFailed => (
            ErrorKind::ProviderUnavailable,
            "it does not accept the gateway's credentials".to_owned(),
        ),
        RefusalReason::Quarantined => {
            (ErrorKind::BadUpstream, format!("this request is not tried again for {seconds} s"))
        }
        RefusalReason::Draining => (ErrorKind::Draining, "it is being drained".to_owned()),
    };
    let why = match &refusal.waiting {
        Some(waiting) => format!("{why}: {waiting}"),
        None => why,
    };
    let why = match &refusal.cause {
        Some(cause) if refusal.reason != RefusalReason::AuthFailed => format!("{why}: {cause}"),
        Some(_) | None => why,
    };
    let mut error = GatewayError::new(kind, format!("provider `{provider}`: {why}"));
    error = error.refused_as(refusal.reason);
    error.cause = refusal.cause.as_deref().map(Box::from);
    error.spent = refusal.reason == RefusalReason::Quarantined;
    if kind == ErrorKind::Timeout { error } else { error.retry_after(refusal.retry_after) }
}
