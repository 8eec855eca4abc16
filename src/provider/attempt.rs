//! One exchange with a provider for one job: send, classify the head, pump events.
//!
//! It owns the connection from connect to last byte, and the attempt's slot. It never decides what
//! follows a failure; it reports the failure to the actor.
//!
//! The one thing to know: this is the commit point. Before the first event arrives the job can
//! still go elsewhere; with it the job is answered. An answer that breaks off afterwards goes back
//! to the actor with the job, whose client still needs the rest: from another provider or as an
//! error event, never as a silent end.

mod prepare;
mod pump;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::Provider;
use super::client::{Body, BodyError, Call, Connection, Head};
use super::credentials::{self, Credentials};
use super::failed::Failed;
use super::fault;
use super::fit;
use super::pins::is_unload;
use super::remembering;
use super::retry::Failure;
use super::retry_after::retry_after;
use super::station::Station;
use crate::admission::evidence::Fault;
use crate::admission::slot::Slot;
use crate::admission::{Ended, Transition};
use crate::backend::{DecodeError, Decoder};
use crate::chat::{ChatEvent, ErrorKind, GatewayError, RawHead, Usage};
use crate::job::{EVENTS, Job};
use crate::telemetry::otel::{CallSpan, Calling};
use crate::telemetry::{
    AttemptEnded, AttemptOutcome, BreakerClosed, BreakerOpened, CallBegan, CallsTakeTurns,
    RequestQuarantined, UpstreamCancelled,
};

use prepare::{can_think, prepare};
use pump::{Bounds, Pump};

/// How much of a rejection's body is read.
const MAX_REJECTION: usize = 64 * 1024;
/// A call whose model was ready spends less than this on loading it.
const A_LOAD: Duration = Duration::from_secs(1);
/// How long a rejection's body may take; the status alone says enough.
const REJECTION_TIME: Duration = Duration::from_secs(5);

/// Runs one attempt. Returns the job with the failure when it was not answered completely.
///
/// # Cancellation
///
/// Dropping it closes the connection, frees the slot and answers the job, or the rest of it, with
/// `internal`.
pub(super) async fn run(
    station: &Station,
    mut job: Job,
    mut slot: Slot,
    connection: Connection,
) -> Option<(Job, Failed)> {
    let provider = &*station.provider;
    let thinks = can_think(station, &mut job).await;
    let (mut call, model) = match prepare(provider, &mut job, thinks) {
        Ok(prepared) => prepared,
        // Nothing was sent, so no attempt is counted.
        Err(failed) => return Some((job, failed)),
    };
    job.tried.dropped = fit::applied(&mut call.request, &job.tried);
    job.tried.remembered = remembering::remembered(&slot);
    job.tried.attempts += 1;
    job.tried.is_resumed |= job.tried.cut.is_some();
    job.place.call(&job.tried);
    provider.counts.attempts.fetch_add(1, Ordering::Relaxed);
    CallBegan {
        track: job.track,
        provider: &provider.name,
        model: &model,
        attempts: job.tried.attempts,
        queued: job.tried.queued,
    }
    .emit();
    // The free call after a stale connection is the only one made on a fresh connection, and is not
    // counted here.
    job.tried.here += u32::from(connection == Connection::Pooled || !job.tried.free_used);
    let mut span = span(provider, &job, &model);
    call.request.headers.extend(span.headers());
    let ended = exchange(station, &mut job, &mut slot, &mut span, (call, &model), connection).await;
    let failed = match ended {
        Ok(Answered { usage, first }) => {
            // Everything is counted before the slot is seen to be free.
            provider.count_tokens(&model, usage);
            slot.count(remembering::counts(usage, first));
            attempt_ended(provider, &job, AttemptOutcome::Ok, None);
            span.end(AttemptOutcome::Ok, usage);
            shifted(provider, slot.ended(Ended::Success), AttemptOutcome::Ok);
            if is_unload(&job.request) || has_loaded(usage) {
                provider.surprised.notify_one();
            }
            job.complete();
            return None;
        }
        Err(failed) => failed,
    };
    let (failed, shift) = blame(provider, &model, &mut job, slot, failed);
    let (outcome, cause) = (failed.outcome(), failed.logged(&job.request));
    attempt_ended(provider, &job, outcome, Some(&cause));
    span.end(outcome, Usage::default());
    shifted(provider, shift, outcome);
    if failed.failure == Failure::ClientGone {
        return None;
    }
    if outcome != AttemptOutcome::Cancelled {
        provider.failed(&cause);
    }
    if failed.failure.is_midway() && job.request.stream() {
        job.tried.cut.get_or_insert_with(|| failed.error.clone());
    }
    Some((job, failed))
}

/// Whether the server loaded the model for this call, so that it was not what it was believed to
/// have loaded.
fn has_loaded(usage: Usage) -> bool {
    let load = usage.durations.map_or(0, |durations| durations.load);
    Duration::from_nanos(load) > A_LOAD
}

fn attempt_ended(provider: &Provider, job: &Job, outcome: AttemptOutcome, cause: Option<&str>) {
    provider.counts.failures.fetch_add(u64::from(outcome.is_failure()), Ordering::Relaxed);
    let (track, request_id) = (job.track, &*job.request_id);
    AttemptEnded { track, provider: &provider.name, request_id, outcome, cause }.emit();
}

/// Ends a failed attempt at the gate, which decides whose fault it was.
fn blame(
    provider: &Provider,
    model: &str,
    job: &mut Job,
    slot: Slot,
    failed: Failed,
) -> (Failed, Transition) {
    let said = failed.telling_words().map(fault::words);
    let before = std::mem::replace(&mut job.tried.said, said);
    let repeated = said.is_some() && said == before;
    if failed.failure == Failure::NotBegun {
        // The model did not begin, so this is not one of the few calls that a request may cost.
        job.tried.attempts = job.tried.attempts.saturating_sub(1);
        job.tried.here = job.tried.here.saturating_sub(1);
    }
    let ended = failed.failure.ended(|| Fault { request: fault::request(job), said, repeated });
    let cause = match ended {
        Ended::Neutral | Ended::Success | Ended::Unused => None,
        Ended::Unreachable
        | Ended::Failed { .. }
        | Ended::AuthFailed
        | Ended::AuthDoubted
        | Ended::NotBegun
        | Ended::RateLimited { .. } => Some(failed.cause(&provider.name, &job.request)),
    };
    match slot.ended_because(ended, cause.map(Arc::from)) {
        Transition::Blameless => (failed.of_request(), Transition::Blameless),
        Transition::Quarantined => {
            let (provider, caller) = (&provider.name, &job.caller.name);
            RequestQuarantined { provider, model, caller }.emit();
            (failed, Transition::Quarantined)
        }
        shift => (failed, shift),
    }
}

/// The span of a call about to be made for the job.
fn span(provider: &Provider, job: &Job, model: &str) -> CallSpan {
    let calling = Calling {
        ask: &job.request,
        system: provider.settings.backend.system(),
        provider: &provider.name,
        model,
        model_label: provider.model_label(model),
        base_url: provider.settings.base_url(),
        attempt: job.tried.attempts,
    };
    CallSpan::begin(job.trace.as_ref(), calling)
}

/// Sends the call, answers the job with the first event, and carries the others.
async fn exchange(
    station: &Station,
    job: &mut Job,
    slot: &mut Slot,
    span: &mut CallSpan,
    (call, model): (Call, &str),
    connection: Connection,
) -> Result<Answered, Failed> {
    let provider = &*station.provider;
    if slot.load_failed() {
        // The load was this attempt.
        return Err(provider.load_failure(model));
    }
    let started = Instant::now();
    let deadline = job.deadline(provider.settings.timeouts.total);
    let (decoder, first) = provider.reading(job, model);
    let (due, late) = provider.first(first);
    let opening = Opening { station, model, deadline, due: started + due, late };
    let silence = provider.silence(job);
    let opened = tokio::select! {
        biased;
        left = async { job.reply.closed().await; Instant::now() } => {
            // The call was dropped before this line, and its connection with it.
            UpstreamCancelled { after: left.elapsed() }.emit();
            Err(Failed::client_gone())
        }
        opened = opening.open(call, decoder, &job.request_id, connection) => opened,
    };
    job.tried.upstream += started.elapsed();
    let answering = opened?;
    span.answering();
    shifted(provider, slot.answering(), AttemptOutcome::Ok);
    let first = started.elapsed();
    provider.counts.first_event(first);
    let is_whole = answering.events.iter().any(|event| event.done().is_some());
    let first = Some(first).filter(|_| !is_whole);
    let (sender, events) = mpsc::channel(EVENTS);
    job.tried.head.clone_from(&answering.head);
    job.answer(events);
    let bounds = Bounds { deadline, silence, changes_models: job.request.manages() };
    let pump = Pump::new(provider, bounds, sender, &mut job.continuation);
    pump.run(answering).await.map(|usage| Answered { usage, first })
}

/// Reports what the end of an attempt did to a breaker.
fn shifted(provider: &Provider, shift: Transition, outcome: AttemptOutcome) {
    match shift {
        // The caller of `end` reports a quarantine, since it knows the request.
        Transition::None | Transition::Blameless | Transition::Quarantined => {}
        Transition::Opened => BreakerOpened { provider: &provider.name, outcome }.emit(),
        Transition::Closed => BreakerClosed { provider: &provider.name }.emit(),
        Transition::Crowded(crowded) => {
            let times = f64::from(crowded.hundredths) / 100.0;
            CallsTakeTurns { provider: &provider.name, calls: crowded.calls, times }.emit();
        }
    }
}

/// A complete answer.
struct Answered {
    usage: Usage,
    /// How long its first event took; `None` if everything came at once.
    first: Option<Duration>,
}

/// An attempt before its first event.
struct Opening<'a> {
    station: &'a Station,
    model: &'a str,
    deadline: Instant,
    /// When the first event must have arrived.
    due: Instant,
    /// The message for a provider that is too slow.
    late: &'static str,
}

/// An answer whose first events have arrived.
struct Answering {
    body: Body,
    decoder: Box<dyn Decoder>,
    events: Vec<ChatEvent>,
    /// The error right after these events in the same piece.
    broken: Option<DecodeError>,
    /// Its head, if it is passed on as it came.
    head: Option<Arc<RawHead>>,
}

impl Opening<'_> {
    /// Sends the call and waits for the first event.
    async fn open(
        &self,
        call: Call,
        mut decoder: Box<dyn Decoder>,
        request_id: &str,
        connection: Connection,
    ) -> Result<Answering, Failed> {
        let provider = &self.station.provider;
        let sent = self.station.client.send(call, request_id, connection);
        let head = self.in_time(sent).await?;
        let head = head.map_err(|error| error.into_failed(provider))?;
        if !(200..300).contains(&head.status) {
            return Err(self.rejected(head).await);
        }
        if let Some(why) = head.body.unreadable() {
            let message =
                format!("the answer of provider `{}` cannot be read: {why}", provider.name);
            let error = GatewayError::upstream(ErrorKind::BadUpstream, message);
            return Err(Failed::new(Failure::DiedBeforeFirstEvent, error));
        }
        let (mut body, head) = (head.body, head.kept.map(Arc::new));
        if let Some(head) = &head {
            decoder.head(head);
        }
        let (mut events, mut broken) = (Vec::new(), None);
        while events.is_empty() {
            let piece = self.in_time(body.next()).await?;
            match decode(&mut *decoder, piece, &mut events) {
                Ok(()) => {}
                Err(error) if events.is_empty() => {
                    let failure = Failure::DiedBeforeFirstEvent;
                    return Err(Failed::undecodable(provider, failure, error));
                }
                // Complete events are delivered, however the bytes were split into pieces.
                Err(error) => broken = Some(error),
            }
        }
        Ok(Answering { body, decoder, events, broken, head })
    }

    /// Waits for `step`, but not past the time for the first event or the deadline.
    async fn in_time<T>(&self, step: impl Future<Output = T>) -> Result<T, Failed> {
        let provider = &self.station.provider;
        let due = self.due;
        match timeout_at(due.min(self.deadline).into(), step).await {
            Ok(done) => Ok(done),
            Err(_) if self.deadline <= due => Err(Failed::deadline(&provider.name)),
            Err(_) => {
                let message = format!("provider `{}` {}", provider.name, self.late);
                let error = GatewayError::upstream(ErrorKind::Timeout, message);
                Err(Failed::new(Failure::FirstEventTimeout, error))
            }
        }
    }

    /// Reads the failure behind a status outside 2xx.
    async fn rejected(&self, head: Head) -> Failed {
        let provider = &self.station.provider;
        let mut body = head.body;
        let mut said = Vec::new();
        let reading = async {
            while let Some(Ok(piece)) = body.next().await {
                said.extend_from_slice(&piece);
                if said.len() >= MAX_REJECTION {
                    break;
                }
            }
        };
        // The status decides; a body that does not arrive in time is left unread.
        drop(self.in_time(tokio::time::timeout(REJECTION_TIME, reading)).await);
        let mut rejection = provider.backend.rejection(head.status, &said, self.model);
        let asked = retry_after(
            head.retry_after.as_deref(),
            head.retry_after_ms.as_deref(),
            SystemTime::now(),
        );
        rejection.retry_after = rejection.retry_after.or(asked);
        let failure = match head.should_retry {
            Some(false) => Failure::DoNotRetry,
            Some(true) | None => Failure::of_status(head.status, rejection.retry_after),
        };
        let failed = Failed::rejected(provider, failure, rejection);
        if failed.failure != Failure::AuthDoubted {
            return failed;
        }
        match self.in_time(credentials::check(self.station)).await {
            Ok(Credentials::Refused) => failed.of_credentials(&provider.name),
            Ok(Credentials::Accepted) => failed.forbidden(&provider.name),
            Ok(Credentials::Unknown) => failed,
            Err(late) => late,
        }
    }
}

/// Feeds one piece or the end to the decoder.
fn decode(
    decoder: &mut dyn Decoder,
    piece: Option<Result<bytes::Bytes, BodyError>>,
    events: &mut Vec<ChatEvent>,
) -> Result<(), DecodeError> {
    match piece {
        Some(Ok(piece)) => decoder.feed(&piece, events),
        // To most a transport error and a plain end are the same: the decoder knows whether the
        // answer was complete.
        end @ (Some(Err(_)) | None) => {
            let had = events.len();
            if end.is_some() {
                decoder.broken(events)?
            } else {
                decoder.finish(events)?
            }
            // No events and no error would loop for ever.
            if events.len() == had { Err(DecodeError::Cut) } else { Ok(()) }
        }
    }
}
