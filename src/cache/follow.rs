//! The tasks around a shared call: one writes the answer into it, and one for each request reads
//! it.
//!
//! It owns deadlines and the relay to the client's event channel. It never decides whether a
//! request may share.
//!
//! The one thing to know: the call has no client's deadline, since other clients may wait longer;
//! each request's own deadline applies here. When the last has passed no reader is left, which ends
//! the call.

use std::time::{Duration, Instant};

use actix_rt::time::sleep_until;
use tokio::sync::{mpsc, oneshot};

use super::call::{Head, Piece, Reader, Writer};
use super::entry::Entry;
use super::keep::Keeper;
use crate::chat::{ChatEvent, ErrorKind, GatewayError, Origin};
use crate::job::{Answer, Candidate, EVENTS, EventStream, Job, RoutePart, Served, Tried};
use crate::telemetry::CacheResult;

/// Writes an answer into a call until it ends or no reader is left, and keeps it if it is worth
/// keeping. The answer comes from a store, or from `job`, which is then passed to `submit`.
///
/// # Cancellation
///
/// Dropping it ends the upstream call, and every reader with `internal`.
pub async fn lead(
    writer: Writer,
    keeper: Keeper,
    (job, answer): (Job, oneshot::Receiver<Answer>),
    submit: impl FnOnce(Job),
) {
    let carried = async {
        if let Some((candidate, entry)) = keeper.find().await {
            return carry_kept(&writer, candidate, &entry).await;
        }
        if keeper.stores.is_some() {
            CacheResult::Miss.emit();
        }
        let is_streamed = job.request.stream();
        submit(job);
        carry_all(&writer, keeper, is_streamed, answer).await;
    };
    tokio::select! {
        biased;
        // The carried answer is dropped before this returns, which cancels its upstream call.
        () = writer.abandoned() => {}
        () = carried => {}
    }
}

async fn carry_kept(writer: &Writer, candidate: Candidate, entry: &Entry) {
    CacheResult::Hit.emit();
    let tried = Tried {
        fell_back: candidate.part == Some(RoutePart::Fallback),
        candidate: Some(candidate),
        dropped: entry.dropped.clone(),
        cache: Some(CacheResult::Hit),
        ..Tried::default()
    };
    writer.begin(Head { served: tried.served(), outcome: Ok(()) });
    for event in entry.events() {
        writer.room().await;
        writer.append(event);
    }
}

/// Writes an answer and, if it breaks off, the answer that continues it.
async fn carry_all(
    writer: &Writer,
    mut keeper: Keeper,
    is_streamed: bool,
    mut answer: oneshot::Receiver<Answer>,
) {
    let mut has_begun = false;
    loop {
        let Ok(Answer { served, outcome }) = answer.await else {
            return writer.fail(GatewayError::internal("a reply was dropped"));
        };
        let mut events = match outcome {
            Ok(events) => events,
            Err(error) if has_begun => {
                writer.goes_on(served, false);
                return writer.fail(error);
            }
            Err(error) => return writer.begin(Head { served, outcome: Err(error) }),
        };
        if !has_begun {
            writer.begin(Head { served: served.clone(), outcome: Ok(()) });
        } else if is_streamed {
            writer.goes_on(served.clone(), false);
            // Two models may have answered, and neither would have given this answer.
            keeper.stores = None;
        } else {
            writer.goes_on(served.clone(), true);
        }
        has_begun = true;
        while let Some(event) = next_wanted(writer, &mut events).await {
            if event.done().is_some() {
                // Before any reader sees the end, so that a repeated request finds the answer.
                keeper.keep(writer, served.as_ref(), &event);
                return writer.append(event);
            }
            writer.append(event);
        }
        answer = events.then();
    }
}

/// The next event, once a reader wants it.
async fn next_wanted(writer: &Writer, events: &mut EventStream) -> Option<ChatEvent> {
    writer.room().await;
    events.recv().await
}

/// Answers `job` from a call. `again` takes the job of a request that must continue without the
/// call.
///
/// # Cancellation
///
/// Dropping it answers `internal`, or cuts the answer.
pub async fn follow(
    mut reader: Reader,
    mut job: Job,
    own: Option<CacheResult>,
    again: impl FnOnce(Job),
) {
    let deadline = job.deadline;
    let head = tokio::select! {
        biased;
        () = job.reply.closed() => return,
        head = reader.head() => head,
        () = passed(deadline) => return give_up(job, &reader, own),
    };
    let served = head.served.map(|served| seen_by(&reader, served, own));
    match head.outcome {
        Err(error) if is_limit_of_leader(&reader, &job, &error) => {
            drop(reader);
            again(job);
        }
        Err(error) => {
            let error = if reader.joined().is_some() { at_another_time(error) } else { error };
            job.fail_as(served, error);
        }
        Ok(()) => {
            let sender = begin(&mut job, served);
            Relay { reader, job, own, sender, has_given: false }.run().await;
        }
    }
}

/// Answers a job whose deadline passed before its answer began. Only the request that began the
/// call knows where the call stands; for one that joined it, those were not its own waits and
/// calls.
fn give_up(mut job: Job, reader: &Reader, own: Option<CacheResult>) {
    job.tried.cache = own;
    let stay = job.place.stay().filter(|_| reader.joined().is_none());
    let Some(stay) = stay else {
        job.tried.candidate = job.candidates.pop_front();
        return job.fail(too_late());
    };
    let provider = &stay.candidate.provider;
    let message = match stay.since {
        Some(_) => format!("provider `{provider}`: the deadline passed in its line"),
        None => format!("the deadline passed before provider `{provider}` answered"),
    };
    job.tried.attempts = stay.attempts;
    job.tried.queued = stay.queued();
    job.tried.candidate = Some(stay.candidate);
    job.fail(GatewayError::new(ErrorKind::Timeout, message));
}

/// Answers `job` with stored events.
pub async fn replay(mut job: Job, events: impl Iterator<Item = ChatEvent>) {
    let (sender, receiver) = mpsc::channel(EVENTS);
    job.answer(receiver);
    for event in events {
        // An error means that the client has disconnected.
        if sender.send(event).await.is_err() {
            return;
        }
    }
    job.complete();
}

/// The relay from a call to one client.
struct Relay {
    reader: Reader,
    job: Job,
    own: Option<CacheResult>,
    sender: mpsc::Sender<ChatEvent>,
    /// Whether the client has received anything.
    has_given: bool,
}

impl Relay {
    /// Relays events until the end, the deadline or the client's disconnect.
    async fn run(mut self) {
        let deadline = self.job.deadline;
        let carried = tokio::select! {
            biased;
            () = passed(deadline) => Err(too_late()),
            carried = self.carry() => carried,
        };
        match carried {
            Ok(true) => self.job.complete(),
            // The client has disconnected.
            Ok(false) => {}
            Err(error) => {
                let served = self.served();
                self.job.fail_as(served, error);
            }
        }
    }

    /// Returns whether the client has the whole answer, as opposed to having disconnected.
    async fn carry(&mut self) -> Result<bool, GatewayError> {
        loop {
            let piece = tokio::select! {
                biased;
                () = self.sender.closed() => return Ok(false),
                piece = self.reader.next() => piece?,
            };
            match piece {
                Piece::Anew => self.begin_anew()?,
                Piece::Event(event) => {
                    let is_last = event.done().is_some();
                    if is_last && self.job.request.stream() {
                        self.name_resuming_provider();
                    }
                    self.has_given = true;
                    if self.sender.send(event).await.is_err() || is_last {
                        return Ok(is_last);
                    }
                }
            }
        }
    }

    /// Another answer starts from its beginning, which is possible only if the client has received
    /// nothing.
    fn begin_anew(&mut self) -> Result<(), GatewayError> {
        if self.has_given && self.job.request.stream() {
            let message = "the answer broke off, and another one is on its way: ask again";
            return Err(GatewayError::upstream(ErrorKind::BadUpstream, message));
        }
        let served = self.served();
        self.sender = begin(&mut self.job, served);
        Ok(())
    }

    /// Before the end of an answer that another provider continued, names that provider to the
    /// client's side.
    fn name_resuming_provider(&mut self) {
        let served = self.served();
        if served.as_ref().is_some_and(|served| served.is_resumed) {
            self.sender = begin(&mut self.job, served);
        }
    }

    fn served(&self) -> Option<Served> {
        self.reader.served().map(|served| seen_by(&self.reader, served, self.own))
    }
}

/// Answers the job with a stream whose events are still to come.
fn begin(job: &mut Job, served: Option<Served>) -> mpsc::Sender<ChatEvent> {
    let (sender, events) = mpsc::channel(EVENTS);
    job.answer_as(served, events);
    sender
}

/// Who answered, for this reader's client: the calls and waiting times are those of the request
/// that began the call.
fn seen_by(reader: &Reader, served: Served, own: Option<CacheResult>) -> Served {
    let cache = served.cache.or(own);
    match reader.joined() {
        None => Served { cache, ..served },
        Some(joined) => Served {
            attempts: 0,
            queued: Duration::ZERO,
            upstream: joined.elapsed(),
            cache: own,
            ..served
        },
    }
}

/// Whether the call failed because of a limit of the caller that began it, which does not apply to
/// this request.
fn is_limit_of_leader(reader: &Reader, job: &Job, error: &GatewayError) -> bool {
    let is_callers_limit = error.kind == ErrorKind::RateLimited && error.origin != Origin::Provider;
    reader.joined().is_some() && is_callers_limit && *job.caller.name != *reader.leader()
}

/// The same failure with its own jitter in `Retry-After`, so that clients that shared it do not
/// return together.
fn at_another_time(mut error: GatewayError) -> GatewayError {
    let spread = 0.8 + 0.4 * fastrand::f64();
    error.retry_after = error.retry_after.map(|after| {
        // A provider may ask for the longest duration there is, which cannot be multiplied.
        Duration::try_from_secs_f64(after.as_secs_f64() * spread).unwrap_or(after)
    });
    error
}

fn too_late() -> GatewayError {
    GatewayError::new(ErrorKind::Timeout, "the deadline passed before the answer was complete")
}

/// Waits until the deadline, for ever without one.
async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
