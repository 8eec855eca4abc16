//! The only handler of all requests that providers answer, mostly chats, for every dialect.

use std::sync::Arc;
use std::time::Instant;

use actix_rt::time::sleep;
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tokio::sync::oneshot;

use super::Front;
use super::body::AnswerBody;
use super::body_reader::{self, Bounds, Buffered};
use super::caching;
use super::carry;
use super::drain::draining;
use super::exchange::Exchange;
use super::models;
use super::request_options::RequestOptions;
use super::submit::Order;
use crate::backend::MAX_PIECE;
use crate::chat::{Ask, ErrorKind, GatewayError, Origin};
use crate::dialect::{Dialect, Encoder};
use crate::job::{Answer, EventStream, RouteNote};
use crate::telemetry::Outcome;
use crate::wire::coding::NAMES;

/// Answers a request in `dialect`.
///
/// # Cancellation
///
/// Dropping the future, as actix does when the client disconnects, ends the job wherever it is.
pub async fn chat(
    dialect: &'static dyn Dialect,
    request: HttpRequest,
    payload: Payload,
    front: Data<Front>,
) -> HttpResponse {
    let mut exchange = Exchange::begin(dialect, &request, front.drain.enter());
    let mut buffered = Buffered::new(&front.budget);
    let submitted = submit(&mut exchange, &request, payload, &front, &mut buffered).await;
    let (ask, answer) = match submitted {
        Ok(submitted) => submitted,
        Err(error) => {
            let is_uncodable = body_reader::codings(request.headers()).is_err();
            let mut response = exchange.fail(&error);
            // Tells an unknown coding apart from a wrong content type (RFC 9110 12.5.3).
            if is_uncodable && response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
                response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(NAMES));
            }
            return response;
        }
    };
    exchange.buffered = Some(buffered);
    answer_with(exchange, ask, answer, &request, &front).await
}

/// Reads the request and hands it to the router.
async fn submit(
    exchange: &mut Exchange,
    request: &HttpRequest,
    mut payload: Payload,
    front: &Data<Front>,
    buffered: &mut Buffered,
) -> Result<(Arc<Ask>, oneshot::Receiver<Answer>), GatewayError> {
    if front.drain.has_begun() {
        return Err(draining());
    }
    let known = front.identify(request)?;
    let caller = Arc::clone(&known.caller);
    exchange.caller = Some(Arc::clone(&caller));
    exchange.quota.enter(&known).await?;
    let options = RequestOptions::read(request)?;
    exchange.route = options.explain.then(RouteNote::default);
    let control = caching::cache_control(request.headers())?;
    if !exchange.dialect.ignores_content_type() {
        check_content_type(request)?;
    }
    let settings = front.settings.load();
    let bounds = Bounds { size: settings.max_body, time: settings.body_timeout };
    let body = body_reader::read(request.headers(), &mut payload, bounds, buffered).await?;
    let recalled =
        front.responses.recall(&caller.name, exchange.dialect.referenced_ids(&body)).await;
    let (body, are_several) = (body.freeze(), front.callers.load().are_several());
    let (mut ask, carry) =
        carry::read(exchange.dialect, request, body, &recalled.turns, are_several)?;
    ask.set_reasoning_field(settings.reasoning_field);
    let keeps = remembers(&mut ask, front);
    let ask = Arc::new(ask);
    exchange.carried = carry.as_ref().map(|carry| (carry.endpoint, carry.form));
    exchange.quota.reserve(&ask).await?;
    // A request that continues a local-only response stays local.
    let is_local = recalled.is_local;
    let order = Order { ask: Arc::clone(&ask), carry, upload: None, caller, options, is_local };
    let (job, answer) = order.into_job(exchange);
    if keeps {
        exchange.memory = Some((front.clone(), caching::stays_local(&job, front)));
    }
    caching::enter(job, control, front);
    Ok((ask, answer))
}

/// Whether the answer is to be stored; never when responses are not stored.
fn remembers(ask: &mut Ask, front: &Front) -> bool {
    let Ask::Chat(chat) = ask else { return false };
    chat.shape.input = chat.shape.input.take().filter(|_| front.responses.is_on());
    chat.shape.input.is_some()
}

/// Waits for the answer and sends it in the requested form. A streamed request whose dialect allows
/// heartbeats gets its headers early when the answer takes long.
async fn answer_with(
    mut exchange: Exchange,
    request: Arc<Ask>,
    mut answer: oneshot::Receiver<Answer>,
    asked: &HttpRequest,
    front: &Front,
) -> HttpResponse {
    let heartbeat = front.settings.load().heartbeat_after;
    let early = request.stream() && exchange.dialect.has_heartbeat();
    let answered = tokio::select! {
        answered = &mut answer => answered,
        () = exchange.stopped() => return exchange.fail(&draining()),
        () = sleep(heartbeat), if early => {
            let encoder = exchange.encoder(&request);
            exchange.status = Some(200);
            let mut response = streamed(&exchange, encoder.content_type());
            let body = AnswerBody::waiting(exchange, encoder, answer, request, heartbeat);
            return response.body(body);
        }
    };
    let Ok(Answer { served, outcome }) = answered else {
        return exchange.fail(&GatewayError::internal("a reply was dropped"));
    };
    exchange.answered(served);
    let events = match outcome {
        Ok(events) => events,
        Err(error) => return models::unanswered(exchange, &request, &error, asked, front).await,
    };
    let encoder = exchange.encoder(&request);
    if request.stream() {
        exchange.status = Some(200);
        let mut response = streamed(&exchange, encoder.content_type());
        response.body(AnswerBody::streaming(exchange, encoder, events, request, heartbeat))
    } else {
        whole(exchange, encoder, events, &request).await
    }
}

fn streamed(exchange: &Exchange, content_type: &str) -> actix_web::HttpResponseBuilder {
    let mut response = exchange.response(StatusCode::OK);
    response
        .content_type(content_type)
        .insert_header(("cache-control", "no-cache"))
        // nginx would hold pieces back to fill its buffer.
        .insert_header(("x-accel-buffering", "no"));
    response
}

/// Collects the events of a unary answer. When they break off, the next answer begins anew, since
/// the client has received nothing; a failure midway is the whole answer.
async fn whole(
    mut exchange: Exchange,
    mut encoder: Box<dyn Encoder>,
    mut events: EventStream,
    request: &Ask,
) -> HttpResponse {
    let mut out = Vec::new();
    let (mut held, mut covered) = (0usize, 0u32);
    let mut stopped = std::pin::pin!(exchange.stopped());
    loop {
        let waiting = Instant::now();
        let event = tokio::select! {
            event = events.recv() => event,
            () = &mut stopped => return exchange.fail(&draining()),
        };
        let Some(event) = event else {
            let answered = tokio::select! {
                answered = events.then() => answered,
                () = &mut stopped => return exchange.fail(&draining()),
            };
            let Ok(Answer { served, outcome }) = answered else {
                return exchange.fail(&GatewayError::internal("an attempt vanished"));
            };
            exchange.served = served;
            events = match outcome {
                Ok(events) => events,
                Err(error) => return exchange.fail(&error),
            };
            (encoder, held, covered) = (exchange.encoder(request), 0, 0);
            out.clear();
            continue;
        };
        exchange.upstream += waiting.elapsed();
        let at = exchange.arrived.elapsed();
        exchange.answers(at);
        exchange.quota.note(&event);
        // What was carried and what is said of it is the same answer.
        let is_covered = covered > 0;
        covered = event.covers().unwrap_or(covered.saturating_sub(1));
        if !is_covered {
            held = held.saturating_add(event.size());
        }
        if held > MAX_PIECE {
            let message = "the answer is larger than can be held, ask for a stream";
            let error = GatewayError::upstream(ErrorKind::BadUpstream, message);
            return exchange.fail(&error);
        }
        let done = event.done().map(|completion| completion.usage);
        if let Err(error) = encoder.event(event, at, &mut out) {
            return exchange.fail(&error);
        }
        if let Some(usage) = done {
            exchange.usage = usage;
            exchange.remember(&mut *encoder);
            exchange.status = Some(200);
            let mut response = exchange.response(StatusCode::OK);
            response.content_type(encoder.content_type());
            exchange.end(Outcome::Ok, None);
            return response.body(out);
        }
    }
}

fn check_content_type(request: &HttpRequest) -> Result<(), GatewayError> {
    let Some(value) = request.headers().get(CONTENT_TYPE) else { return Ok(()) };
    let essence =
        value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let json = essence.eq_ignore_ascii_case(b"application/json")
        || essence.to_ascii_lowercase().ends_with(b"+json");
    if json {
        return Ok(());
    }
    let message = "the content type must be application/json";
    Err(GatewayError::new(ErrorKind::UnsupportedMediaType, message).from(Origin::Client))
}
