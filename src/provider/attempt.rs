//! One exchange with a provider for one job: send, classify the head, pump events.
//!
//! It owns the connection from connect to last byte and the slot that goes with it. It never decides what follows
//! a failure; it reports what failed, before the first event to the actor, after it to the client's stream.
//!
//! The one thing to know: this is the commit point. Until the first event is in hand the job can still go
//! elsewhere; with it the job is answered, and from then on a failure is an error event, never a silent end.

mod client;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::timeout_at;
use uuid::Uuid;

use super::Provider;
use super::actor::Lane;
use super::discovery;
use super::gate::Ended;
use super::refused::Failed;
use super::retry::Failure;
use super::retry_after::retry_after;
use super::slot::Slot;
use crate::backend::{DecodeError, Decoder, Target, UpstreamRequest};
use crate::chat::{Ask, ChatEvent, ErrorKind, GatewayError, Usage};
use crate::job::{EVENTS, Job};
use crate::telemetry::{AttemptEnded, AttemptOutcome, BreakerOpened, UpstreamCancelled};

use client::{Body, Head};
pub(super) use client::{Client, Connection};

/// How much of a refusal's body is read.
const MAX_REJECTION: usize = 64 * 1024;
/// How long a refusal's body may take; the status alone says enough.
const REJECTION_TIME: Duration = Duration::from_secs(5);
/// How long the end of the body may lag behind the end of the answer before the connection is given up.
const END_TIME: Duration = Duration::from_millis(250);

/// Runs one attempt. Gives the job back with the reason when it could not be answered.
///
/// # Cancellation
///
/// Dropping it closes the connection, frees the slot and, before the first event, answers the job `internal`.
pub(super) async fn run(
    lane: &Lane,
    mut job: Job,
    mut slot: Slot,
    connection: Connection,
) -> Option<(Job, Failed)> {
    let provider = &*lane.provider;
    let thinks = what_is_known(lane, &mut job).await;
    let (mut call, model) = match prepare(provider, &job, thinks) {
        Ok(prepared) => prepared,
        // Nothing was sent, so no attempt is counted.
        Err(failed) => return Some((job, failed)),
    };
    job.tried.dropped = std::mem::take(&mut call.dropped);
    job.tried.attempts += 1;
    provider.counts.attempts.fetch_add(1, Ordering::Relaxed);
    // The free call after a stale connection, and only that one, is made on a fresh one and not counted here.
    job.tried.here += u32::from(connection == Connection::Pooled || !job.tried.free_used);
    let started = Instant::now();
    let deadline = job.deadline(provider.settings.timeouts.total);
    let exchange =
        Exchange { lane, request: &job.request, id: job.id, model: &model, deadline, started };
    let opened = tokio::select! {
        biased;
        left = async { job.reply.closed().await; Instant::now() } => {
            // The call was dropped before this line, and its connection with it.
            UpstreamCancelled { after: left.elapsed() }.emit();
            Err(Failed::client_gone())
        }
        opened = exchange.open(call, &job.request_id, connection) => opened,
    };
    job.tried.upstream += started.elapsed();
    let request_id = Arc::clone(&job.request_id);
    let ended = |outcome: AttemptOutcome, cause: Option<&str>| {
        AttemptEnded { provider: &provider.name, request_id: &request_id, outcome, cause }.emit();
    };
    match opened {
        Ok(answering) => {
            slot.answering();
            // One place more than for events: a failure must not wait for a reader that is behind.
            let (sender, events) = mpsc::channel(EVENTS + 1);
            let last_place = sender.clone().try_reserve_owned().ok();
            job.answer(events);
            let pump = Pump { provider, model: &model, deadline, sender, last_place };
            let (outcome, how, cause) = pump.run(answering).await;
            let opened = slot.ended(how);
            ended(outcome, cause.as_deref());
            if opened {
                BreakerOpened { provider: &provider.name, outcome }.emit();
            }
            None
        }
        Err(failed) => {
            let opened = slot.ended(failed.failure.ended());
            let cause = failed.logged();
            ended(failed.outcome(), Some(&cause));
            if opened {
                BreakerOpened { provider: &provider.name, outcome: failed.outcome() }.emit();
            }
            if failed.failure == Failure::ClientGone {
                return None;
            }
            provider.failed(&cause);
            Some((job, failed))
        }
    }
}

/// Whether the model can think, where that decides how it is asked. Waits no longer than the client and the
/// deadline allow, about which `prepare` has the last word.
async fn what_is_known(lane: &Lane, job: &mut Job) -> Option<bool> {
    let deadline = job.deadline(lane.provider.settings.timeouts.total);
    let candidate = job.tried.candidate.as_ref()?;
    if !job.may_go_to(lane.provider.trust) {
        return None;
    }
    let asked = discovery::thinks(lane, &job.request, &candidate.model);
    tokio::select! {
        biased;
        () = job.reply.closed() => None,
        known = timeout_at(deadline.into(), asked) => known.ok().flatten(),
    }
}

/// The call to be made, unless the job may not go to this provider or the provider's API cannot express it.
fn prepare(
    provider: &Provider,
    job: &Job,
    thinks: Option<bool>,
) -> Result<(UpstreamRequest, Arc<str>), Failed> {
    let Some(candidate) = &job.tried.candidate else {
        let error = GatewayError::internal("an attempt without a candidate");
        return Err(Failed::new(Failure::LocalResource, error));
    };
    // A turn that came at the very moment the client left, or the deadline passed, is not used.
    if job.reply.is_closed() {
        return Err(Failed::client_gone());
    }
    if job.deadline(provider.settings.timeouts.total) <= Instant::now() {
        return Err(Failed::deadline(&provider.name));
    }
    // The router has filtered by policy already. This is the last place before bytes are written.
    if !job.may_go_to(provider.trust) {
        let error = GatewayError::no_provider_for_policy();
        return Err(Failed::new(Failure::LocalResource, error));
    }
    let target = Target { model: &candidate.model, api_key: provider.api_key(), thinks };
    let call = provider.backend.encode(&job.request, target);
    let call = call.map_err(|error| Failed::new(Failure::Rejected, error))?;
    Ok((call, Arc::clone(&candidate.model)))
}

/// An attempt before its first event.
struct Exchange<'a> {
    lane: &'a Lane,
    request: &'a Ask,
    id: Uuid,
    model: &'a str,
    deadline: Instant,
    started: Instant,
}

/// An answer whose first events are in hand.
struct Answering {
    body: Body,
    decoder: Box<dyn Decoder>,
    events: Vec<ChatEvent>,
}

impl Exchange<'_> {
    /// Sends the call and waits for the first event.
    async fn open(
        &self,
        call: UpstreamRequest,
        request_id: &str,
        connection: Connection,
    ) -> Result<Answering, Failed> {
        let provider = &self.lane.provider;
        let sent = self.lane.client.send(call, request_id, connection);
        let head = self.in_time(sent).await?;
        let head = head.map_err(|error| error.into_failed(provider))?;
        if !(200..300).contains(&head.status) {
            return Err(self.rejected(head).await);
        }
        let seed = u64::from_le_bytes(*self.id.as_bytes().first_chunk().unwrap_or(&[0; 8]));
        let mut decoder = provider.backend.decoder(self.request, seed);
        let mut body = head.body;
        let mut events = Vec::new();
        while events.is_empty() {
            let piece = self.in_time(body.next()).await?;
            decode(&mut *decoder, piece, &mut events).map_err(|error| {
                Failed::undecodable(provider, Failure::DiedBeforeFirstEvent, error)
            })?;
        }
        Ok(Answering { body, decoder, events })
    }

    /// Waits for `step` until the first event is due or the deadline passes.
    async fn in_time<T>(&self, step: impl Future<Output = T>) -> Result<T, Failed> {
        let provider = &self.lane.provider;
        let due = self.started + provider.settings.first_event();
        match timeout_at(due.min(self.deadline).into(), step).await {
            Ok(done) => Ok(done),
            Err(_) if self.deadline <= due => Err(Failed::deadline(&provider.name)),
            Err(_) => {
                let message =
                    format!("provider `{}` did not begin to answer in time", provider.name);
                let error = GatewayError::upstream(ErrorKind::Timeout, message);
                Err(Failed::new(Failure::FirstEventTimeout, error))
            }
        }
    }

    /// Reads what a status outside 2xx means.
    async fn rejected(&self, head: Head) -> Failed {
        let provider = &self.lane.provider;
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
        // The status is what counts; a body that does not come in time is left unread.
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
        Failed::rejected(provider, failure, rejection)
    }
}

/// Feeds one piece, or the end, to the decoder.
fn decode(
    decoder: &mut dyn Decoder,
    piece: Option<Result<bytes::Bytes, client::BodyError>>,
    events: &mut Vec<ChatEvent>,
) -> Result<(), DecodeError> {
    match piece {
        Some(Ok(piece)) => decoder.feed(&piece, events),
        // The transport's word that a body is broken and its silence about it count the same: the decoder knows
        // whether the answer was whole.
        Some(Err(_)) | None => {
            let had = events.len();
            decoder.finish(events)?;
            // Nothing at all, and yet no error, would loop for ever.
            if events.len() == had { Err(DecodeError::Cut) } else { Ok(()) }
        }
    }
}

/// The way of an answer's events to the client.
struct Pump<'a> {
    provider: &'a Provider,
    model: &'a str,
    deadline: Instant,
    sender: mpsc::Sender<Piece>,
    /// Kept for the failure, should there be one.
    last_place: Option<mpsc::OwnedPermit<Piece>>,
}

/// What the channel of an answer carries.
type Piece = Result<ChatEvent, GatewayError>;

/// Why a pump stopped before the end.
enum Stopped {
    /// When that was noticed.
    ClientLeft(Instant),
    Failed(GatewayError),
}

impl Pump<'_> {
    /// Carries events until the answer ends. Says how the attempt is counted, what it means for the gate, and why
    /// it failed.
    async fn run(mut self, answering: Answering) -> (AttemptOutcome, Ended, Option<String>) {
        match self.carry(answering).await {
            Ok(usage) => {
                self.provider.count_tokens(self.model, usage);
                (AttemptOutcome::Ok, Ended::Success, None)
            }
            Err(Stopped::ClientLeft(left)) => {
                // The body was dropped with `carry`, and its connection with it.
                UpstreamCancelled { after: left.elapsed() }.emit();
                (AttemptOutcome::Cancelled, Ended::Neutral, None)
            }
            Err(Stopped::Failed(error)) => {
                let cause = error.to_string();
                self.provider.failed(&cause);
                let (outcome, ended) = match error.kind {
                    ErrorKind::Timeout if Instant::now() >= self.deadline => {
                        (AttemptOutcome::Timeout, Ended::Neutral)
                    }
                    ErrorKind::Timeout => (AttemptOutcome::Timeout, Failure::Cut.ended()),
                    _ => (AttemptOutcome::Broken, Failure::Cut.ended()),
                };
                if let Some(place) = self.last_place.take() {
                    place.send(Err(error));
                }
                (outcome, ended, Some(cause))
            }
        }
    }

    async fn carry(&self, answering: Answering) -> Result<Usage, Stopped> {
        let Answering { mut body, mut decoder, mut events } = answering;
        loop {
            for event in events.drain(..) {
                let usage = event.done().map(|completion| completion.usage);
                self.deliver(event).await?;
                if let Some(usage) = usage {
                    body.end(END_TIME).await;
                    return Ok(usage);
                }
            }
            let piece = self.next_piece(&mut body).await?;
            let decoded = decode(&mut *decoder, piece, &mut events);
            if let Err(error) = decoded {
                // What came whole before the failure is still delivered.
                for event in events.drain(..) {
                    self.deliver(event).await?;
                }
                let failed = Failed::undecodable(self.provider, Failure::Cut, error);
                let mut error = failed.error;
                error.kind = ErrorKind::BadUpstream;
                return Err(Stopped::Failed(error));
            }
        }
    }

    /// Hands one event to the client, however slowly it reads, until the deadline.
    async fn deliver(&self, event: ChatEvent) -> Result<(), Stopped> {
        match timeout_at(self.deadline.into(), self.sender.send(Ok(event))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Stopped::ClientLeft(Instant::now())),
            Err(_) => Err(Stopped::Failed(Failed::deadline(&self.provider.name).error)),
        }
    }

    /// The next piece of the body, unless the provider stalls, the deadline passes or the client leaves.
    async fn next_piece(
        &self,
        body: &mut Body,
    ) -> Result<Option<Result<bytes::Bytes, client::BodyError>>, Stopped> {
        let due = Instant::now() + self.provider.settings.idle();
        tokio::select! {
            biased;
            () = self.sender.closed() => Err(Stopped::ClientLeft(Instant::now())),
            piece = timeout_at(due.min(self.deadline).into(), body.next()) => match piece {
                Ok(piece) => Ok(piece),
                Err(_) if self.deadline <= due => {
                    Err(Stopped::Failed(Failed::deadline(&self.provider.name).error))
                }
                Err(_) => {
                    let message = format!("provider `{}` stalled", self.provider.name);
                    Err(Stopped::Failed(GatewayError::upstream(ErrorKind::Timeout, message)))
                }
            },
        }
    }
}
