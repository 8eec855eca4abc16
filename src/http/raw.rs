//! Requests that are passed on without being decoded: at the paths that providers list, and to
//! manage models.
//!
//! It owns which parts of a request are passed on and how the answer is returned: status and listed
//! headers, then the bytes as they arrive. It refuses requests for the same reasons as chats, in
//! the same words. The router decides where a request goes; everything behind that is the same as
//! for a chat.
//!
//! The one thing to know: the gateway knows no end mark of such an answer, so that one which breaks
//! off ends with a broken connection.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt;
use tokio::sync::oneshot;

use super::Front;
use super::body::AnswerBody;
use super::body_reader::{self, Bounds, Buffered};
use super::carry;
use super::drain::draining;
use super::exchange::Exchange;
use super::request_options::RequestOptions;
use super::shard;
use super::submit::Order;
use crate::chat::{
    Ask, CleanPath, ErrorKind, GatewayError, Lane, Method, Origin, RawHead, RawRequest,
};
use crate::dialect::raw::{PassedOn, named};
use crate::job::{Answer, Caller, RouteNote, UploadSender};

/// Headers of a request that go along, beside its content type. Credentials never do.
const HEADERS: [&str; 4] = ["accept", "anthropic-beta", "anthropic-version", "openai-beta"];
/// The name in metrics and logs.
const LABEL: &str = "raw";

/// A body that is passed on while it arrives.
pub(super) struct Feed {
    /// Where it arrives.
    pub payload: Payload,
    /// Where it goes.
    pub sender: UploadSender,
    /// The longest pause between two pieces.
    pub pause: Duration,
}

/// The path of a request that a provider lists.
pub(super) fn listed(request: &HttpRequest, front: &Front) -> Option<CleanPath> {
    let path = CleanPath::read(request.path())?;
    front.routing().routes.list(&path).then_some(path)
}

/// Passes a request on.
///
/// # Cancellation
///
/// Dropping the future, as actix does when the client disconnects, ends the job wherever it is.
pub(super) async fn pass_on(
    (method, path): (Method, CleanPath),
    request: HttpRequest,
    payload: Payload,
    front: Data<Front>,
) -> HttpResponse {
    let mut exchange = Exchange::labelled(LABEL, &request, front.drain.enter());
    let mut buffered = Buffered::new(&front.budget);
    let read = submit(&mut exchange, (method, path), &request, payload, &front, &mut buffered);
    match read.await {
        Ok((ask, answer)) => {
            exchange.buffered = Some(buffered);
            answer_with(exchange, ask, answer, None, &front).await
        }
        Err(error) => exchange.fail(&error),
    }
}

/// Reads the request and hands it to the router.
async fn submit(
    exchange: &mut Exchange,
    (method, path): (Method, CleanPath),
    request: &HttpRequest,
    mut payload: Payload,
    front: &Data<Front>,
    buffered: &mut Buffered,
) -> Result<(Arc<Ask>, oneshot::Receiver<Answer>), GatewayError> {
    let (caller, options) = enter(exchange, request, front).await?;
    let settings = front.settings.load();
    let bounds = Bounds { size: settings.max_body, time: settings.body_timeout };
    let body = body_reader::read(request.headers(), &mut payload, bounds, buffered).await?.freeze();
    let headers = headers(request.headers())?;
    let kind = headers.iter().find(|(name, _)| *name == CONTENT_TYPE.as_str());
    let kind = kind.map(|(_, kind)| kind.as_str());
    let query = carry::without_credentials(request.query_string());
    let found = named(kind, &query, &body)?;
    let raw = RawRequest {
        lane: Lane::Listed,
        method,
        path,
        query,
        model: found.model,
        model_at: found.at,
        headers,
        boundary: found.boundary,
        body,
    };
    let ask = Arc::new(Ask::Raw(raw));
    exchange.quota.reserve(&ask).await?;
    let (carry, upload) = (None, None);
    let order = Order { ask: Arc::clone(&ask), carry, upload, caller, options, is_local: false };
    let (job, answer) = order.into_job(exchange);
    shard::enter(job, front);
    Ok((ask, answer))
}

/// Lets a request in: its key, its use of limits, what its headers say.
pub(super) async fn enter(
    exchange: &mut Exchange,
    request: &HttpRequest,
    front: &Front,
) -> Result<(Arc<Caller>, RequestOptions), GatewayError> {
    if front.drain.has_begun() {
        return Err(draining());
    }
    let known = front.identify(request)?;
    exchange.caller = Some(Arc::clone(&known.caller));
    exchange.quota.enter(&known).await?;
    let options = RequestOptions::read(request)?;
    exchange.route = options.explain.then(RouteNote::default);
    Ok((known.caller, options))
}

/// The headers that go along.
///
/// # Errors
///
/// `InvalidRequest` for two content types: two readers could choose different ones.
pub(super) fn headers(headers: &HeaderMap) -> Result<Vec<(&'static str, String)>, GatewayError> {
    let said = |name: &str| {
        let values = headers.get_all(name).filter_map(|value: &HeaderValue| value.to_str().ok());
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut along = Vec::new();
    if headers.contains_key(CONTENT_TYPE) {
        let [kind] = said(CONTENT_TYPE.as_str())
            .try_into()
            .or(Err(GatewayError::invalid("content-type: write it once, in plain letters")))?;
        along.push(("content-type", kind));
    }
    for name in HEADERS {
        let values = said(name);
        if !values.is_empty() {
            along.push((name, values.join(", ")));
        }
    }
    Ok(along)
}

/// Waits for the answer, feeding the body meanwhile if it is not held, and sends it as it comes.
pub(super) async fn answer_with(
    mut exchange: Exchange,
    ask: Arc<Ask>,
    answer: oneshot::Receiver<Answer>,
    feed: Option<Feed>,
    front: &Front,
) -> HttpResponse {
    let feeding = async {
        let Some(feed) = feed else { return std::future::pending().await };
        match feed.run().await {
            Ok(()) => std::future::pending().await,
            Err(error) => error,
        }
    };
    let answered = tokio::select! {
        answered = answer => answered,
        () = exchange.stopped() => return exchange.fail(&draining()),
        error = feeding => return exchange.fail(&error),
    };
    let Ok(Answer { served, outcome }) = answered else {
        return exchange.fail(&GatewayError::internal("a reply was dropped"));
    };
    let head = served.as_ref().and_then(|served| served.head.clone());
    exchange.answered(served);
    let (events, head) = match (outcome, head) {
        (Ok(events), Some(head)) => (events, head),
        (Ok(_), None) => return exchange.fail(&GatewayError::internal("an answer without a head")),
        (Err(error), _) => return exchange.fail(&error),
    };
    let status = StatusCode::from_u16(head.status).unwrap_or(StatusCode::OK);
    exchange.status = Some(head.status);
    let mut response = exchange.response(status);
    for (name, value) in &head.headers {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            response.insert_header((*name, value));
        }
    }
    // The provider's pages must not become the gateway's, and nginx would hold pieces back.
    response.insert_header(("x-content-type-options", "nosniff"));
    response.insert_header(("x-accel-buffering", "no"));
    let encoder = Box::new(PassedOn { is_lines: is_lines(&head) });
    let heartbeat = front.settings.load().heartbeat_after;
    response.body(AnswerBody::streaming(exchange, encoder, events, ask, heartbeat))
}

impl Feed {
    /// Passes the body on until its end. Returns early, without an error, when nobody wants more.
    async fn run(mut self) -> Result<(), GatewayError> {
        loop {
            let piece = tokio::time::timeout(self.pause, self.payload.next()).await;
            match piece {
                Ok(Some(Ok(piece))) => {
                    if !self.sender.piece(piece).await {
                        return Ok(());
                    }
                }
                Ok(Some(Err(error))) => {
                    return Err(GatewayError::invalid("the body is broken").because(error));
                }
                Ok(None) => {
                    self.sender.end().await;
                    return Ok(());
                }
                Err(_) => {
                    let message = "the body did not arrive in time";
                    let error = GatewayError::new(ErrorKind::BodyTimeout, message);
                    return Err(error.from(Origin::Client));
                }
            }
        }
    }
}

/// Whether an answer is one of lines of JSON.
fn is_lines(head: &RawHead) -> bool {
    let mut kinds = head.headers.iter().filter(|(name, _)| *name == "content-type");
    kinds.any(|(_, kind)| kind.starts_with(b"application/x-ndjson"))
}
