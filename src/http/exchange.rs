//! One request and its answer at the edge: ids, headers, errors, and the only place where the
//! outcome is counted.
//!
//! An [`Exchange`] begins with the request and ends once: with [`Exchange::end`], or by being
//! dropped, which means that the client disconnected.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use uuid::Uuid;

use super::Front;
use super::body_reader::Buffered;
use super::drain::Active;
use super::quota::Quota;
use super::request_options::traced;
use crate::chat::{Ask, EdgeReason, Endpoint, ErrorKind, GatewayError, Reason, Usage};
use crate::dialect::carried::CarryEncoder;
use crate::dialect::{AnswerHead, Dialect, Encoder, Native, dialect_at};
use crate::job::{Caller, Place, Remembered, RouteNote, Served, Stay};
use crate::telemetry::journal::Track;
use crate::telemetry::otel::{RequestSpan, Trace};
use crate::telemetry::{AnswerBegan, CacheResult, Outcome, RequestBegan, RequestEnded, Timing};

/// nginx's status for a client that disconnected before it was answered, for the log only.
const CLIENT_CLOSED: u16 = 499;
/// How the request found its provider, for clients that send `x-gateway-explain: route`.
const ROUTE: HeaderName = HeaderName::from_static("x-gateway-route");

/// The dialect in metrics and logs for a path that belongs to none.
const NO_DIALECT: &str = "none";

/// One request and its answer.
pub struct Exchange {
    /// The request's id: the client's own when it is valid.
    pub request_id: Arc<str>,
    /// The answer's id.
    pub id: Uuid,
    /// When it arrived.
    pub arrived: Instant,
    /// The client's dialect.
    pub dialect: &'static dyn Dialect,
    /// The dialect's name in metrics and logs.
    label: &'static str,
    /// The caller, once known.
    pub caller: Option<Arc<Caller>>,
    /// Who answered, once known.
    pub served: Option<Served>,
    /// The status, once sent.
    pub status: Option<u16>,
    /// When the first piece was ready.
    pub first: Option<Duration>,
    /// The provider's token counts.
    pub usage: Usage,
    /// Time spent waiting for the provider's next piece after the first.
    pub upstream: Duration,
    /// The share of the buffered bytes that its body takes.
    pub buffered: Option<Buffered>,
    /// Its job's place in a line.
    pub place: Place,
    /// Where its route is noted, if the client asks for it.
    pub route: Option<RouteNote>,
    /// Where its answer is stored, if it is, and whether in this process only.
    pub memory: Option<(Data<Front>, bool)>,
    /// The API in which it can be carried, and the form of its answer then.
    pub carried: Option<(Endpoint, u64)>,
    /// Its use of its caller's limits.
    pub quota: Quota,
    /// Its entry in the journal, once it has begun.
    track: Option<Track>,
    /// The trace that calls to providers are made in.
    pub trace: Option<Trace>,
    /// Its span, if traces are exported.
    span: RequestSpan,
    /// Keeps a stopping gateway waiting.
    active: Active,
    ended: bool,
}

impl Exchange {
    /// Begins an exchange.
    #[must_use]
    pub fn begin(dialect: &'static dyn Dialect, request: &HttpRequest, active: Active) -> Self {
        let id = Uuid::new_v4();
        let (span, trace) = traced(request);
        Self {
            request_id: own_id(request).map_or_else(|| Arc::from(id.to_string()), Arc::from),
            id,
            arrived: Instant::now(),
            dialect,
            label: dialect.name(),
            caller: None,
            served: None,
            status: None,
            first: None,
            usage: Usage::default(),
            upstream: Duration::ZERO,
            buffered: None,
            place: Place::default(),
            route: None,
            memory: None,
            carried: None,
            quota: Quota::default(),
            track: None,
            trace,
            span,
            active,
            ended: false,
        }
    }

    /// Begins an exchange for a request without a handler, in the dialect of similar paths.
    #[must_use]
    pub fn stray(request: &HttpRequest, active: Active) -> Self {
        let known = dialect_at(request.path());
        let mut exchange = Self::begin(known.unwrap_or(&Native), request, active);
        exchange.label = known.map_or(NO_DIALECT, Dialect::name);
        exchange
    }

    /// Begins an exchange of a request that is passed on, in the dialect of similar paths.
    #[must_use]
    pub fn labelled(label: &'static str, request: &HttpRequest, active: Active) -> Self {
        let dialect = dialect_at(request.path()).unwrap_or(&Native);
        let mut exchange = Self::begin(dialect, request, active);
        exchange.label = label;
        exchange
    }

    /// The request of a known caller was read and is being processed.
    pub fn begun(&mut self, ask: &Ask) -> Track {
        let Some(caller) = &self.caller else { return Track::default() };
        let began = RequestBegan {
            request_id: &self.request_id,
            caller: &caller.name,
            dialect: self.label,
            asked: ask.model(),
        };
        *self.track.insert(began.emit())
    }

    /// A piece of the answer is ready `after` the arrival; only the first one counts.
    pub fn answers(&mut self, after: Duration) {
        if self.first.is_none() {
            self.first = Some(after);
            AnswerBegan { track: self.track.unwrap_or_default(), after }.emit();
        }
    }

    /// The answer is complete: stores it if its encoder says so.
    pub fn remember(&mut self, encoder: &mut dyn Encoder) {
        if let (Some((front, is_local)), Some(caller)) = (self.memory.take(), &self.caller)
            && let Some((id, turn)) = encoder.take_turn()
        {
            front.responses.keep(&caller.name, &id, turn, is_local);
        }
    }

    /// Records who answers.
    pub fn answered(&mut self, served: Option<Served>) {
        if served.as_ref().is_some_and(|served| served.cache == Some(CacheResult::Hit)) {
            self.quota.hit();
        }
        self.served = served;
    }

    /// The encoder of the answer, with the model known to give it.
    #[must_use]
    pub fn encoder(&self, ask: &Ask) -> Box<dyn Encoder> {
        let nobody = || Arc::from("");
        let candidate = self.served.as_ref().map(|served| &served.candidate);
        let head = AnswerHead {
            id: self.id,
            created: SystemTime::now(),
            provider: candidate.map_or_else(nobody, |candidate| Arc::clone(&candidate.provider)),
            model: candidate.map_or_else(nobody, |candidate| Arc::clone(&candidate.model)),
            fell_back: self.served.as_ref().is_some_and(|served| served.fell_back),
            waited: self.served.as_ref().map_or(Duration::ZERO, |served| served.queued),
        };
        let encoder = self.dialect.encoder(ask, head);
        match self.carried {
            Some(api) => {
                Box::new(CarryEncoder::new(api, self.place.may_be_carried(), ask, encoder))
            }
            None => encoder,
        }
    }

    /// Waits until a stopping gateway must end the exchange.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any time.
    pub fn stopped(&self) -> impl Future<Output = ()> + use<> {
        self.active.stopped()
    }

    /// Ends with a failure that is the whole answer.
    #[must_use]
    pub fn fail(mut self, error: &GatewayError) -> HttpResponse {
        let served = self.served.as_ref();
        let mut response = error_response(self.dialect, error, &self.request_id, served);
        if let Some(route) = self.route() {
            response.headers_mut().insert(ROUTE, route);
        }
        for (name, value) in self.quota.headers() {
            response.headers_mut().insert(name, value);
        }
        self.status = Some(response.status().as_u16());
        self.end(Outcome::from(error.kind), Some(error));
        response
    }

    /// Ends: counts the request and writes its access line.
    pub fn end(mut self, outcome: Outcome, error: Option<&GatewayError>) {
        self.emit(outcome, error);
    }

    /// A response with the headers that every answer of this request carries.
    #[must_use]
    pub fn response(&self, status: StatusCode) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(status);
        headers(&mut response, self.dialect, &self.request_id, self.served.as_ref());
        if let Some(route) = self.route() {
            response.insert_header((ROUTE, route));
        }
        for header in self.quota.headers() {
            response.insert_header(header);
        }
        response
    }

    /// How the request found its provider, if the client asks for it and it is decided.
    fn route(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.route.as_ref()?.get()?).ok()
    }

    fn emit(&mut self, outcome: Outcome, error: Option<&GatewayError>) {
        self.ended = true;
        self.quota.bill(outcome, self.usage, self.place.was_called());
        let served = self.served.as_ref();
        // A client that disconnects before an answer leaves the provider that had its job.
        let stay = if served.is_none() { self.place.stay() } else { None };
        let candidate = served.map(|served| &served.candidate);
        let candidate = candidate.or(stay.as_ref().map(|stay| &stay.candidate));
        let queued = stay.as_ref().map_or(Duration::ZERO, Stay::queued);
        let queued = served.map_or(queued, |served| served.queued);
        let upstream = served.map_or(Duration::ZERO, |served| served.upstream) + self.upstream;
        let has_left =
            outcome == Outcome::Cancelled && stay.as_ref().is_some_and(|stay| stay.is_in_line());
        let left = has_left.then_some(Reason::Edge(EdgeReason::LeftWaiting));
        let reason = error.and_then(|error| error.reason).or(left);
        let cause = error.and_then(GatewayError::logged_cause);
        let span = std::mem::take(&mut self.span);
        let ended = RequestEnded {
            track: self.track,
            request_id: &self.request_id,
            caller: self.caller.as_ref().map(|caller| &caller.name),
            dialect: self.label,
            provider: candidate.map(|candidate| &candidate.provider),
            model: candidate.map(|candidate| &candidate.model).filter(|model| !model.is_empty()),
            attempts: served
                .map_or(stay.as_ref().map_or(0, |stay| stay.attempts), |served| served.attempts),
            is_resumed: served.is_some_and(|served| served.is_resumed),
            status: self.status.unwrap_or(CLIENT_CLOSED),
            outcome,
            code: error.map(|error| error.kind.code()),
            reason,
            cause: cause.as_deref().or(left.map(Reason::as_str)),
            timing: Timing {
                queued,
                load: self.place.load_wait().map(|load| load.min(queued)),
                upstream,
                first: self.first,
                total: self.arrived.elapsed(),
            },
            usage: self.usage,
        };
        span.end(&ended);
        ended.emit();
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if std::thread::panicking() {
            // The client is still there and gets an answer from the panic handler.
            self.status = Some(500);
            self.emit(Outcome::UpstreamError, Some(&GatewayError::internal("a handler panicked")));
        } else {
            self.emit(Outcome::Cancelled, None);
        }
    }
}

/// An error as the whole answer.
#[must_use]
pub fn error_response(
    dialect: &dyn Dialect,
    error: &GatewayError,
    request_id: &str,
    served: Option<&Served>,
) -> HttpResponse {
    let written = dialect.error(error, request_id);
    let status = StatusCode::from_u16(written.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    headers(&mut response, dialect, request_id, served);
    if let Some(after) = retry_after(error, written.status) {
        response.insert_header(("retry-after", whole_seconds(after).to_string()));
        response.insert_header(("retry-after-ms", after.as_millis().to_string()));
    }
    if error.spent {
        response.insert_header(("x-should-retry", "false"));
    }
    if let Some(reason) = error.reason {
        response.insert_header(("x-gateway-reason", reason.as_str()));
    }
    if error.kind == ErrorKind::InvalidApiKey {
        response.insert_header(("www-authenticate", "Bearer"));
    }
    if error.kind == ErrorKind::Draining {
        response.force_close();
    }
    response.content_type("application/json").body(written.body)
}

/// The error's own time, else one to two seconds, with jitter so that refused clients do not return
/// together; at most a minute, even if a quota is used up for longer, which the body says.
fn retry_after(error: &GatewayError, status: u16) -> Option<Duration> {
    if !matches!(status, 429 | 503 | 529) {
        return None;
    }
    let spread = || Duration::from_millis(fastrand::u64(1000..2000));
    let after = error.retry_after.unwrap_or_else(spread);
    Some(after.clamp(Duration::from_secs(1), Duration::from_secs(60)))
}

/// `Retry-After` has whole seconds; rounding up never says too early.
fn whole_seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}

fn headers(
    response: &mut HttpResponseBuilder,
    dialect: &dyn Dialect,
    request_id: &str,
    served: Option<&Served>,
) {
    response.insert_header(("x-request-id", request_id));
    if let Some(name) = dialect.request_id_header() {
        response.insert_header((name, request_id));
    }
    if let Some(served) = served {
        response.insert_header(("x-gateway-provider", &*served.candidate.provider));
        // A model's name is the client's text; one that is empty or no header value is left out.
        let model = HeaderValue::from_str(&served.candidate.model);
        if let Some(model) = model.ok().filter(|model| !model.is_empty()) {
            response.insert_header(("x-gateway-model", model));
        }
        response.insert_header(("x-gateway-attempts", served.attempts.to_string()));
        response.insert_header(("x-gateway-queue-ms", served.queued.as_millis().to_string()));
        if let Some(dropped) = dropped(&served.dropped) {
            response.insert_header(("x-gateway-dropped", dropped));
        }
        if let Some(Remembered { tokens, total }) = served.remembered {
            response.insert_header(("x-gateway-remembered", format!("{tokens}/{total}")));
        }
        if served.is_estimate {
            response.insert_header(("x-gateway-estimate", "true"));
        }
        if let Some(cache) = served.cache {
            response.insert_header(("x-gateway-cache", cache.as_str()));
        }
    }
}

/// The fields that the provider does not support, once each. Their names are the client's text:
/// names that are long or not plain words are left out, and so are those that would make the header
/// longer than most servers accept.
fn dropped(names: &[String]) -> Option<String> {
    const LONGEST: usize = 1024;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let mut told: Vec<&str> = Vec::new();
    let mut length = 0;
    for name in names.iter().filter(|name| !name.is_empty() && name.bytes().all(plain)) {
        length += name.len() + 2;
        if length > LONGEST {
            break;
        }
        if !told.contains(&name.as_str()) {
            told.push(name);
        }
    }
    (!told.is_empty()).then(|| told.join(", "))
}

fn own_id(request: &HttpRequest) -> Option<&str> {
    request.headers().get("x-request-id").and_then(sane)
}

/// The client's id when it is short and plain.
fn sane(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
    ((1..=128).contains(&text.len()) && text.bytes().all(plain)).then_some(text)
}

#[cfg(test)]
mod tests;
