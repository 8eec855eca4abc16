//! Why a limit refuses, with a message that says what would be right.

use std::time::Duration;

use super::terms::Meter;
use crate::chat::{EdgeReason, ErrorKind, GatewayError, Origin};

/// The most jitter added to `Retry-After`: a fifth, so that requests refused together do not return
/// together.
const SPREAD: f64 = 0.2;

/// The limit that refused, and what is missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refusal {
    /// The key has used up one of its limits.
    Spent {
        /// The limit.
        meter: Meter,
        /// How long until there is enough for this request.
        after: Duration,
    },
    /// The key already has as many running requests as it may.
    Concurrency {
        /// That number.
        most: u32,
    },
    /// The request needs more tokens than the whole budget.
    TooLarge {
        /// The limit.
        meter: Meter,
        /// The tokens it needs.
        need: u64,
        /// The amount when nothing is spent.
        most: u64,
    },
    /// Too many invalid keys came from the client's address.
    Failures {
        /// How long until another key may be tried.
        after: Duration,
    },
}

impl Refusal {
    /// The error for the caller.
    #[must_use]
    pub fn into_error(self) -> GatewayError {
        let limited = |message: String, after: Option<Duration>| {
            let error = GatewayError::new(ErrorKind::RateLimited, message).from(Origin::Gateway);
            match after {
                Some(after) => error.retry_after(after.mul_f64(1.0 + SPREAD * fastrand::f64())),
                None => error,
            }
        };
        let error = match self {
            Self::Spent { meter, after } => {
                let message = format!(
                    "this key has used its {}, there is enough for this request in {}",
                    meter.unit(),
                    told(after)
                );
                limited(message, Some(after))
            }
            Self::Concurrency { most } => {
                let message =
                    format!("this key may have {most} requests under way, wait for one to end");
                limited(message, None)
            }
            Self::TooLarge { meter, need, most } => GatewayError::invalid(format!(
                "this request may need {need} tokens, and this key has {most} {}: shorten it, or lower max_tokens",
                meter.unit()
            )),
            Self::Failures { after } => {
                let message = format!(
                    "too many invalid keys came from this address, the next may come in {}",
                    told(after)
                );
                limited(message, Some(after))
            }
        };
        error.turned_away(self.reason())
    }

    /// The reason in one word.
    #[must_use]
    pub fn reason(self) -> EdgeReason {
        match self {
            Self::Spent { meter: Meter::Requests, .. } => EdgeReason::Requests,
            Self::Spent { meter: Meter::Minute, .. } => EdgeReason::TokensPerMinute,
            Self::Spent { meter: Meter::Day, .. } => EdgeReason::TokensPerDay,
            Self::Concurrency { .. } => EdgeReason::Concurrency,
            Self::TooLarge { .. } => EdgeReason::TooLarge,
            Self::Failures { .. } => EdgeReason::Failures,
        }
    }
}

/// A duration in words, in whole seconds, rounded up.
fn told(after: Duration) -> String {
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    crate::units::format_duration(Duration::from_secs(seconds.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_when_to_retry_and_never_too_early() {
        for _ in 0..100 {
            let after = Duration::from_secs(10);
            let error = Refusal::Spent { meter: Meter::Requests, after }.into_error();
            let told = error.retry_after.unwrap();
            assert!(told >= after && told <= after * 12 / 10, "{told:?}");
            assert!(error.message.ends_with("in 10s"), "{}", error.message);
        }
        let after = Duration::from_millis(5 * 3_600_000 + 90_001);
        let error = Refusal::Spent { meter: Meter::Day, after }.into_error();
        assert!(error.message.contains("tokens per day"), "{}", error.message);
        assert!(error.message.ends_with("in 5h 1m 31s"), "{}", error.message);
        assert_eq!(error.kind, ErrorKind::RateLimited);
    }

    #[test]
    fn a_request_that_never_fits_gets_no_retry_after() {
        let refusal = Refusal::TooLarge { meter: Meter::Minute, need: 300, most: 100 };
        let error = refusal.into_error();
        assert_eq!((error.kind, error.retry_after), (ErrorKind::InvalidRequest, None));
        assert!(error.message.contains("300") && error.message.contains("100 tokens per minute"));
    }
}
