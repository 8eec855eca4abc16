//! The request headers that every dialect understands: deadline, priority, data policy,
//! explanation, trace.
//!
//! It refuses an invalid option if ignoring it would matter.

use std::num::IntErrorKind;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderValue;

use crate::chat::{ErrorKind, GatewayError, Origin};
use crate::job::Caller;
use crate::policy::Priority;
use crate::telemetry::otel::{RequestSpan, Trace};

/// The options in a request's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestOptions {
    /// How long the client waits, queueing included.
    pub timeout: Option<Duration>,
    /// Its priority, if it names one.
    priority: Option<Priority>,
    /// Whether its content must stay on local providers.
    pub local: bool,
    /// Whether the client wants to know how the request found its provider.
    pub explain: bool,
}

impl RequestOptions {
    /// Reads `x-request-timeout-ms`, `x-gateway-priority`, `x-gateway-data-policy` and
    /// `x-gateway-explain`.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for an invalid value: a policy that is not understood must not be ignored.
    pub fn read(request: &HttpRequest) -> Result<Self, GatewayError> {
        let header = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes);
        let timeout = header("x-request-timeout-ms").map(timeout).transpose()?;
        let local = match header("x-gateway-data-policy") {
            None => false,
            Some(b"local") => true,
            Some(_) => {
                let message = "x-gateway-data-policy: the only policy is `local`";
                return Err(GatewayError::invalid(message));
            }
        };
        let priority = header("x-gateway-priority").map(priority).transpose()?;
        // An unknown value does no harm here, so it is not refused.
        let explain = header("x-gateway-explain") == Some(b"route");
        Ok(Self { timeout, priority, local, explain })
    }

    /// The caller with the priority of this request, which is never above that of its key.
    pub fn ranked(&self, caller: Arc<Caller>) -> Arc<Caller> {
        match self.priority {
            Some(priority) if priority < caller.priority => {
                Arc::new(Caller { priority, ..Caller::clone(&caller) })
            }
            Some(_) | None => caller,
        }
    }
}

/// The span of a request, and the trace for its calls.
pub fn traced(request: &HttpRequest) -> (RequestSpan, Option<Trace>) {
    let parent = request.headers().get("traceparent").and_then(|parent| {
        let states = request.headers().get_all("tracestate");
        Trace::read(parent.to_str().ok()?, states.filter_map(|state| state.to_str().ok()))
    });
    let route = || request.match_pattern().unwrap_or_else(|| "unknown".to_owned());
    RequestSpan::begin(request.method().as_str(), route, parent)
}

fn priority(value: &[u8]) -> Result<Priority, GatewayError> {
    match value {
        b"interactive" => Ok(Priority::Interactive),
        b"batch" => Ok(Priority::Batch),
        _ => {
            let message = "x-gateway-priority: write `interactive` or `batch`";
            Err(GatewayError::invalid(message))
        }
    }
}

fn timeout(value: &[u8]) -> Result<Duration, GatewayError> {
    // A day is longer than any deadline here, and can be added to any clock.
    const LONGEST: u64 = 86_400_000;
    let millis = match std::str::from_utf8(value).unwrap_or_default().trim().parse::<u64>() {
        Ok(millis) => Some(millis),
        // A number beyond any clock still means a long time.
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Some(u64::MAX),
        Err(_) => None,
    };
    match millis {
        Some(millis @ 1..) => Ok(Duration::from_millis(millis.min(LONGEST))),
        Some(0) | None => {
            let message = "x-request-timeout-ms: a positive whole number of milliseconds is wanted";
            Err(GatewayError::new(ErrorKind::InvalidRequest, message).from(Origin::Client))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_positive_number_of_milliseconds() {
        assert_eq!(timeout(b"250").unwrap(), Duration::from_millis(250));
        for long in [&b"99999999999"[..], b"99999999999999999999999"] {
            assert_eq!(timeout(long).unwrap(), Duration::from_secs(86_400));
        }
        for wrong in [&b"0"[..], b"-1", b"1.5", b"soon", b"\xff", b""] {
            assert_eq!(timeout(wrong).unwrap_err().kind, ErrorKind::InvalidRequest);
        }
    }
}
