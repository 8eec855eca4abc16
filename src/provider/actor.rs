//! The actor that decides for one provider on one worker.
//!
//! It owns the provider's client on this thread and decides about every job: run, wait, refuse,
//! retry here or elsewhere. It never awaits and never touches body bytes; tasks on the same thread
//! do both.
//!
//! The one thing to know: a job is always in exactly one place: a message, a task, or answered.
//! Dropping a job answers it, through its `Reply`.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix::dev::SendError;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, WeakRecipient};

use super::attempt;
use super::client::{Client, Connection};
use super::details;
use super::failed::Failed;
use super::fallback;
use super::fault;
use super::fit;
use super::refusal_error::refused;
use super::resume;
use super::retry::{self, Next, Standing};
use super::station::Station;
use super::{Provider, policies};
use crate::admission::Arrival;
use crate::admission::backoff::RetryPolicy;
use crate::admission::line::Share;
use crate::admission::refusal::Refusal;
use crate::admission::slot::{Admission, RetryPermit, Slot, Ticket};
use crate::chat::{GatewayError, Listing};
use crate::job::{Candidate, Job};
use crate::telemetry::{Admitted, RequestRefused, RequestWaits, Retried};

/// How many messages may wait for a provider's actor. Its handlers take microseconds, so a full
/// mailbox means that the worker is far behind, and the answer is 503 at once.
const MAILBOX: usize = 1024;

/// The reason for handing on a job whose client has part of a broken answer.
const RESUMED: &str = "resumed";

/// Decides for one provider on one worker.
pub struct ProviderActor {
    station: Rc<Station>,
    retry: RetryPolicy,
    router: WeakRecipient<Bounce>,
}

/// A job is handed to a provider, to be answered by this model.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Dispatch {
    job: Job,
    depth: Depth,
}

/// Refreshes the provider's list of models, if that was not done lately.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Discover(pub Listing);

/// A job is handed back, with the reason.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Bounce {
    /// The job.
    pub job: Job,
    /// The answer to the client if no other candidate takes the job.
    pub error: GatewayError,
    /// Why it is handed on, as a label.
    pub reason: &'static str,
}

/// A job that was here before is to run again.
#[derive(Message)]
#[rtype(result = "()")]
struct Again(Turn);

/// An attempt ended without an answer.
#[derive(Message)]
#[rtype(result = "()")]
struct Finished {
    turn: Turn,
    failed: Failed,
}

/// A job at this provider.
pub(super) struct Turn {
    pub job: Job,
    pub connection: Connection,
    permit: Option<RetryPermit>,
    again: bool,
    /// Whether it comes again because the model did not begin: then its earlier waiting time
    /// counts.
    is_not_begun: bool,
}

impl Dispatch {
    /// `job`, to be answered by `candidate`, whose provider is `provider`.
    #[must_use]
    pub fn new(mut job: Job, candidate: Candidate, provider: &Arc<Provider>) -> Self {
        job.tried.turn_to(candidate);
        job.tried.said = None;
        job.tried.queued_here = Duration::ZERO;
        Self { job, depth: Depth::new(provider) }
    }

    /// The job of a message that a mailbox did not accept.
    #[must_use]
    pub fn into_job(self) -> Job {
        self.job
    }
}

impl ProviderActor {
    /// Starts the actor on this thread. Jobs that it cannot serve go back to `router`.
    #[must_use]
    pub fn start_for(provider: &Arc<Provider>, router: WeakRecipient<Bounce>) -> Addr<Self> {
        let client = Client::new(provider);
        let (_, retry) = policies(&provider.settings);
        let station = Rc::new(Station { provider: Arc::clone(provider), client });
        Self::create(|context| {
            // Here and not in `started`: a burst may arrive before the actor first runs.
            context.set_mailbox_capacity(MAILBOX);
            Self { station, retry, router }
        })
    }

    fn admit(&self, mut turn: Turn, address: Addr<Self>) {
        let provider = &self.station.provider;
        let request = provider.gate.has_quarantine().then(|| fault::request(&mut turn.job));
        let Some(candidate) = &turn.job.tried.candidate else {
            turn.job.fail(GatewayError::internal("a job without a candidate"));
            return;
        };
        provider.note_context(&turn.job, &candidate.model);
        let caller = &turn.job.caller;
        if turn.job.request.manages() {
            let (station, slot) = (Rc::clone(&self.station), provider.gate.beside());
            return drop(actix::spawn(manage(station, turn, slot, address)));
        }
        let admission = provider.gate.admit(Arrival {
            share: Share {
                caller: Arc::clone(&caller.name),
                weight: caller.weight,
                priority: caller.priority,
            },
            model: Arc::clone(&candidate.model),
            deadline: turn.job.deadline(provider.settings.timeouts.total),
            again: turn.again,
            elsewhere: !turn.job.candidates.is_empty(),
            waited: if turn.is_not_begun { turn.job.tried.queued_here } else { Duration::ZERO },
            request,
            most: provider.model_settings(&candidate.model).and_then(|it| it.max_concurrency),
            needs: provider.needs(&turn.job, candidate),
            is_about_model: provider.is_about_model(&turn.job.request),
            chain: provider.chain(&turn.job),
        });
        let decision = match &admission {
            Admission::Run(_) => "run",
            Admission::Wait(_) => "wait",
            Admission::Refuse(refusal) => refusal.decision(),
        };
        Admitted { provider: &provider.name, decision }.emit();
        let station = Rc::clone(&self.station);
        match admission {
            Admission::Run(slot) => drop(actix::spawn(run(station, turn, slot, address))),
            Admission::Wait(ticket) => {
                let track = turn.job.track;
                if let Some(Candidate { provider, model, .. }) = &turn.job.tried.candidate {
                    RequestWaits { track, provider, model }.emit();
                }
                turn.job.place.wait(&turn.job.tried);
                drop(actix::spawn(wait(station, turn, ticket, address, self.router.clone())));
            }
            Admission::Refuse(refusal) => {
                refuse(&self.router, provider, turn.job, &refusal);
            }
        }
    }

    /// Decides what follows a failed attempt.
    fn decide(&self, mut turn: Turn, failed: Failed, address: Addr<Self>) {
        if turn.job.request.manages() {
            // It may have begun, and nobody else has its models.
            return stop(turn.job, failed.error);
        }
        let provider = &self.station.provider;
        let Job { tried, candidates, reserve, .. } = &mut turn.job;
        fallback::narrow(&failed.failure, tried.candidate.as_ref(), candidates, reserve);
        let tried = &turn.job.tried;
        let is_midway = failed.failure.is_midway();
        let deadline = turn.job.deadline(provider.settings.timeouts.total);
        let standing = Standing {
            attempts: tried.attempts,
            here: tried.here,
            free_used: tried.free_used,
            elsewhere: if is_midway {
                turn.job.may_resume()
            } else {
                !turn.job.candidates.is_empty()
            },
            left: deadline.saturating_duration_since(Instant::now()),
            needs: Duration::ZERO,
            delivered: is_midway && turn.job.request.stream(),
        };
        let next = resume::without_prefill(&mut turn.job, &failed.failure, &standing)
            .or_else(|| fit::lowered(provider, &mut turn.job, &failed, &standing));
        let next = match next {
            Some(next) => next,
            None => retry::decide(&failed.failure, &standing, &self.retry, fastrand::f64()),
        };
        let (after, fresh, free) = match next {
            Next::Again { after, fresh, free } => (after, fresh, free),
            Next::Elsewhere if is_midway && turn.job.request.stream() => {
                return hand_on(&self.router, turn.job, failed.error, RESUMED);
            }
            Next::Line => {
                let turn = Turn { again: true, is_not_begun: true, ..turn };
                return self.admit(turn, address);
            }
            Next::Elsewhere => return bounce(&self.router, turn.job, failed.error),
            Next::Stop => return stop(turn.job, failed.error),
        };
        if free {
            turn.job.tried.free_used = true;
        } else {
            let Some(permit) = provider.gate.retry(turn.permit.take()) else {
                // The budget is used up: the original failure is the answer, unless another
                // candidate can help.
                return bounce(&self.router, turn.job, failed.error);
            };
            turn.permit = Some(permit);
        }
        Retried { provider: &provider.name, reason: failed.outcome() }.emit();
        turn.connection = if fresh { Connection::Fresh } else { Connection::Pooled };
        (turn.again, turn.is_not_begun) = (true, false);
        drop(actix::spawn(back_off(turn, after, address)));
    }
}

impl Actor for ProviderActor {
    type Context = Context<Self>;
}

impl Handler<Dispatch> for ProviderActor {
    type Result = ();

    fn handle(&mut self, message: Dispatch, context: &mut Self::Context) {
        let Dispatch { job, depth } = message;
        drop(depth);
        let (permit, again, is_not_begun) = (None, false, false);
        // What manages models is not tried again, so that it must not meet a stale connection.
        let manages = job.request.manages();
        let connection = if manages { Connection::Fresh } else { Connection::Pooled };
        let turn = Turn { job, connection, permit, again, is_not_begun };
        self.admit(turn, context.address());
    }
}

impl Handler<Discover> for ProviderActor {
    type Result = ();

    fn handle(&mut self, Discover(listing): Discover, _context: &mut Self::Context) {
        drop(actix::spawn(details::look(Rc::clone(&self.station), listing)));
    }
}

impl Handler<Again> for ProviderActor {
    type Result = ();

    fn handle(&mut self, Again(turn): Again, context: &mut Self::Context) {
        self.admit(turn, context.address());
    }
}

impl Handler<Finished> for ProviderActor {
    type Result = ();

    fn handle(&mut self, Finished { turn, failed }: Finished, context: &mut Self::Context) {
        self.decide(turn, failed, context.address());
    }
}

/// Waits for a slot and then runs, unless the deadline passes or the client disconnects first.
async fn wait(
    station: Rc<Station>,
    mut turn: Turn,
    mut ticket: Ticket,
    address: Addr<ProviderActor>,
    router: WeakRecipient<Bounce>,
) {
    let place = turn.job.place.clone();
    if turn.job.request.stream() {
        place.stand(ticket.spot());
    }
    let granted = tokio::select! {
        biased;
        // Dropping the ticket leaves the line.
        () = turn.job.reply.closed() => return,
        granted = ticket.granted_telling(|waits| place.await_load(waits)) => granted,
    };
    place.await_load(false);
    place.leave();
    turn.job.tried.queued += ticket.waited();
    turn.job.tried.queued_here += ticket.waited();
    drop(ticket);
    match granted {
        // Boxed, so that a waiting job does not hold the memory that only a running one needs.
        Ok(slot) => Box::pin(run(station, turn, slot, address)).await,
        Err(refusal) => refuse(&router, &station.provider, turn.job, &refusal),
    }
}

/// Runs one attempt and reports it, unless it was answered.
async fn run(station: Rc<Station>, turn: Turn, slot: Slot, address: Addr<ProviderActor>) {
    let Turn { job, permit, connection, again, is_not_begun } = turn;
    if let Some((job, failed)) = attempt::run(&station, job, slot, connection).await {
        let turn = Turn { job, permit, connection, again, is_not_begun };
        // Bounded by the slots: every attempt reports once.
        address.do_send(Finished { turn, failed });
    }
}

/// Runs a request that manages models, and looks at the list of models again.
async fn manage(station: Rc<Station>, turn: Turn, slot: Slot, address: Addr<ProviderActor>) {
    Box::pin(run(Rc::clone(&station), turn, slot, address)).await;
    station.provider.catalogue.outdate();
    details::look(station, Listing::Installed).await;
}

/// Waits without a slot, then sends the job again. Gives up when the client disconnects.
async fn back_off(mut turn: Turn, after: Duration, address: Addr<ProviderActor>) {
    if !after.is_zero() {
        tokio::select! {
            biased;
            () = turn.job.reply.closed() => return,
            () = actix_rt::time::sleep(after) => {}
        }
    }
    if let Err(SendError::Full(Again(turn)) | SendError::Closed(Again(turn))) =
        address.try_send(Again(turn))
    {
        turn.job.fail(GatewayError::mailbox_full());
    }
}

/// Hands a job back that the gate has refused.
fn refuse(router: &WeakRecipient<Bounce>, provider: &Provider, job: Job, refusal: &Refusal) {
    let (provider, caller, reason) = (&*provider.name, &*job.caller.name, refusal.reason.as_str());
    RequestRefused { provider, caller, reason }.emit();
    bounce(router, job, refused(provider, refusal));
}

/// Hands a job back to the router, which tries the next candidate or answers.
fn bounce(router: &WeakRecipient<Bounce>, job: Job, error: GatewayError) {
    let reason = error.kind.code();
    hand_on(router, job, error, reason);
}

/// As [`bounce`], with a reason that is not the error's own.
fn hand_on(router: &WeakRecipient<Bounce>, job: Job, error: GatewayError, reason: &'static str) {
    if job.candidates.is_empty() {
        return stop(job, error);
    }
    match router.upgrade() {
        // A job bounces at most once per candidate, so these are bounded by the jobs in flight.
        Some(router) => {
            if let Err(SendError::Full(bounce) | SendError::Closed(bounce)) =
                router.try_send(Bounce { job, error, reason })
            {
                stop(bounce.job, bounce.error);
            }
        }
        None => stop(job, error),
    }
}

/// Answers with the failure. After the gateway's own retry the caller's retry would be useless.
fn stop(job: Job, mut error: GatewayError) {
    error.spent |= job.tried.attempts > 1;
    job.fail(error);
}

/// Counts a message while it waits in a mailbox; a message lost with its actor is subtracted as
/// well.
struct Depth(Arc<Provider>);

impl Depth {
    fn new(provider: &Arc<Provider>) -> Self {
        provider.mailbox.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(provider))
    }
}

impl Drop for Depth {
    fn drop(&mut self) {
        self.0.mailbox.fetch_sub(1, Ordering::Relaxed);
    }
}
