//! Chooses providers: the actor that hands jobs to them and, when jobs come back, passes them to
//! the next candidate.
//!
//! Each worker runs one [`RouterActor`], which owns the addresses of the worker's provider actors.
//! The rules are in [`route`], pure; all workers share one [`Routing`] per configuration.
//!
//! The one thing to know: the router never waits for a provider. A job leaves it by `try_send` and
//! comes back as a [`Bounce`] with the reason, or not at all because it was answered. Only the
//! first request that must choose between several equals is held, by a task, until these have
//! listed their models.

pub mod model_list;
mod present;
pub mod route;
pub mod settings;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::dev::SendError;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};

use crate::chat::estimate::prompt_tokens;
use crate::chat::{Ask, EdgeReason, ErrorKind, GatewayError, Lane, Listing, Origin};
use crate::job::{Candidate, Job};
use crate::policy::OnCut;
use crate::provider::way::Way;
use crate::provider::{Bounce, Discover, Dispatch, Provider, ProviderActor};
use crate::telemetry::{ActorKind, FellBack, Restarted};
use present::Present;
use route::explanation::Explanation;
use route::{Asked, Routes, Wants};

/// How many messages may wait for a worker's router. Its handlers take microseconds.
const MAILBOX: usize = 1024;

/// How long the very first choice between equals waits for their lists.
const HEARING: Duration = Duration::from_secs(1);

/// The providers and rules of one configuration, shared by all workers.
#[derive(Debug)]
pub struct Routing {
    /// In the file's order.
    pub providers: Vec<Arc<Provider>>,
    /// The rules.
    pub routes: Routes,
}

impl Routing {
    /// The provider with this name.
    #[must_use]
    pub fn provider(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.iter().find(|provider| *provider.name == *name)
    }
}

/// Hands jobs to providers on one worker.
pub struct RouterActor {
    routing: Arc<Routing>,
    providers: HashMap<Arc<str>, Addr<ProviderActor>>,
}

/// A job enters.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Submit(pub Job);

/// A job comes again after the lists of its providers arrived or timed out.
#[derive(Message)]
#[rtype(result = "()")]
struct Heard(Job);

/// Refreshes the lists of models of these providers.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Browse {
    /// Which list.
    pub listing: Listing,
    /// The providers whose lists are not fresh.
    pub providers: Vec<Arc<Provider>>,
}

/// The configuration changed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reconfigure(pub Arc<Routing>);

impl RouterActor {
    /// Starts the router and its provider actors on this thread.
    #[must_use]
    pub fn start_for(routing: Arc<Routing>) -> Addr<Self> {
        Self::create(|context| {
            // Here and not in `started`: until then the mailbox would have actix's own 16 places,
            // too few for a burst that arrives before the actor first runs.
            context.set_mailbox_capacity(MAILBOX);
            Self { routing, providers: HashMap::new() }
        })
    }

    /// Finds the candidates. If the choice is between providers whose lists were never read, it
    /// waits a moment for the lists, if it `may_wait`.
    fn route(&mut self, mut job: Job, may_wait: bool, context: &Context<Self>) {
        let asked = Asked {
            model: job.request.model(),
            hint: job.request.hint(),
            policy: job.policy,
            caller: &job.caller,
            wants: wants(&job.request),
        };
        let present = Present::new(&self.routing, &job);
        let draw = &mut |below| fastrand::u32(..below);
        let routes = &self.routing.routes;
        let (plan, explanation) = if job.route.is_some() {
            let (plan, explanation) = routes.explain(asked, draw, &present);
            (plan, Some(explanation))
        } else {
            (routes.plan(asked, draw, &present), None)
        };
        let unheard = present.unheard();
        self.look_at(&unheard, Listing::Installed, context);
        let is_new =
            |provider: &Arc<Provider>| !provider.catalogue.list(Listing::Installed).was_looked_at();
        if may_wait && unheard.iter().any(is_new) {
            drop(actix::spawn(hear(job, unheard, context.address())));
            return;
        }
        match plan {
            Ok(plan) => {
                job.policy = plan.policy;
                (job.candidates, job.reserve) = (plan.candidates, plan.reserve);
                // Without a route there is no permission to join two answers. An answer that is not
                // streamed is never joined: if it breaks off it is asked for elsewhere like any
                // other failure.
                let joined = if job.request.stream() { OnCut::Error } else { OnCut::Resume };
                job.on_cut = plan.on_cut.unwrap_or(joined);
                self.begin(job, explanation, context);
            }
            Err(error) => {
                tell(&job, explanation.as_ref());
                job.fail(error);
            }
        }
    }

    /// Refreshes the lists of these providers.
    fn look_at(&mut self, providers: &[Arc<Provider>], listing: Listing, context: &Context<Self>) {
        for provider in providers {
            // A full mailbox costs one look; a request that waits for it continues with the last
            // list.
            drop(self.provider_actor(provider, context).try_send(Discover(listing)));
        }
    }

    /// Hands the job to the first candidate whose API can answer it.
    fn begin(
        &mut self,
        mut job: Job,
        mut explanation: Option<Explanation>,
        context: &Context<Self>,
    ) {
        if let Ask::CountTokens(chat) = &*job.request {
            // Only the provider that would answer the chat can count its tokens.
            let counts =
                job.candidates.front().is_some_and(|first| self.lacks(first, &job).is_none());
            if !counts {
                let tokens = prompt_tokens(chat);
                return job.estimate(tokens);
            }
        }
        let mut lacking = None;
        let candidates = std::mem::take(&mut job.candidates);
        job.candidates = candidates
            .into_iter()
            .filter(|candidate| {
                let lacks = self.lacks(candidate, &job);
                if let (Some(what), Some(explanation)) = (lacks, &mut explanation) {
                    explanation.unable(candidate, what);
                }
                lacking = lacks.map(|what| (candidate.provider.clone(), what)).or(lacking.take());
                lacks.is_none()
            })
            .collect();
        self.note_ways(&job, explanation.as_mut());
        let reserve = std::mem::take(&mut job.reserve).into_iter();
        job.reserve = reserve.filter(|candidate| self.lacks(candidate, &job).is_none()).collect();
        tell(&job, explanation.as_ref());
        match lacking {
            Some((provider, what)) if job.candidates.is_empty() => {
                let reason = match &*job.request {
                    Ask::Show(_) => EdgeReason::ModelNotFound,
                    Ask::Chat(_) | Ask::Embed(_) | Ask::CountTokens(_) | Ask::Raw(_) => {
                        EdgeReason::NotSupported
                    }
                };
                let error = match &*job.request {
                    // No candidate speaks the client's API, and the request cannot be translated.
                    _ if job.refusal().is_some() => {
                        job.refusal().cloned().unwrap_or_else(|| GatewayError::invalid(what))
                    }
                    // Ollama's clients try several names and understand this.
                    Ask::Show(show) => GatewayError::new(
                        ErrorKind::ModelNotFound,
                        format!("model '{}' not found at any Ollama", show.model),
                    )
                    .from(Origin::Client),
                    Ask::Chat(_) | Ask::Embed(_) | Ask::CountTokens(_) | Ask::Raw(_) => {
                        GatewayError::invalid(format!(
                            "provider `{provider}` has no {what}, name another's model"
                        ))
                    }
                };
                job.fail(error.turned_away(reason));
            }
            Some(_) | None => self.dispatch(job, None, context),
        }
    }

    /// Records how the job would be sent to each candidate, if it could be carried.
    fn note_ways(&self, job: &Job, mut explanation: Option<&mut Explanation>) {
        let is_told = job.carry.is_some() || job.request.raw().is_some();
        for candidate in job.candidates.iter().filter(|_| is_told) {
            let Some(provider) = self.routing.provider(&candidate.provider) else { continue };
            let way = provider.way(job);
            if matches!(way, Way::Carried(_)) {
                job.place.carry();
            }
            if let Some(explanation) = &mut explanation {
                explanation.goes(&candidate.provider, way.told());
            }
        }
    }

    /// The feature of this job that the candidate's API cannot express.
    fn lacks(&self, candidate: &Candidate, job: &Job) -> Option<&'static str> {
        self.routing.provider(&candidate.provider)?.lacks(job)
    }

    /// Hands the job to its next candidate. `last` is the previous candidate's reason for not
    /// taking it, with its label.
    fn dispatch(
        &mut self,
        mut job: Job,
        mut last: Option<(GatewayError, &'static str)>,
        context: &Context<Self>,
    ) {
        while let Some(candidate) = job.candidates.pop_front() {
            if let (Some((_, reason)), Some(tried)) = (&last, &job.tried.candidate) {
                FellBack { provider: &tried.provider, reason }.emit();
            }
            match self.hand_over(job, candidate, context) {
                None => return,
                Some((back, error)) => {
                    job = back;
                    let reason = error.kind.code();
                    last = Some((error, reason));
                }
            }
        }
        let gone = || {
            GatewayError::new(ErrorKind::ModelNotFound, "no provider serves this model")
                .turned_away(EdgeReason::ModelNotFound)
        };
        job.fail(last.map_or_else(gone, |(error, _)| error));
    }

    /// Tries to put the job into the provider's mailbox; an actor that has died is started again,
    /// once.
    fn hand_over(
        &mut self,
        job: Job,
        candidate: Candidate,
        context: &Context<Self>,
    ) -> Option<(Job, GatewayError)> {
        let Some(provider) = self.routing.provider(&candidate.provider).cloned() else {
            let message = format!("provider `{}` was removed", candidate.provider);
            let error = GatewayError::new(ErrorKind::ProviderUnavailable, message);
            return Some((job, error.turned_away(EdgeReason::ProviderRemoved)));
        };
        let mut dispatch = Dispatch::new(job, candidate, &provider);
        for _ in 0..2 {
            let address = self.provider_actor(&provider, context);
            dispatch = match address.try_send(dispatch) {
                Ok(()) => return None,
                Err(SendError::Full(dispatch)) => {
                    let message = format!("provider `{}`: its mailbox is full", provider.name);
                    let error = GatewayError::new(ErrorKind::Overloaded, message)
                        .turned_away(EdgeReason::MailboxFull);
                    return Some((dispatch.into_job(), error));
                }
                Err(SendError::Closed(dispatch)) => {
                    let name = Some(&*provider.name);
                    Restarted { actor: ActorKind::Provider, provider: name }.emit();
                    self.providers.remove(&provider.name);
                    dispatch
                }
            };
        }
        let error = GatewayError::internal("a provider's actor cannot be started");
        Some((dispatch.into_job(), error))
    }

    /// The provider's actor on this worker, started when there is none.
    fn provider_actor(
        &mut self,
        provider: &Arc<Provider>,
        context: &Context<Self>,
    ) -> &Addr<ProviderActor> {
        self.providers.entry(Arc::clone(&provider.name)).or_insert_with(|| {
            let router = context.address().downgrade().recipient();
            ProviderActor::start_for(provider, router)
        })
    }
}

impl Actor for RouterActor {
    type Context = Context<Self>;
}

impl Handler<Submit> for RouterActor {
    type Result = ();

    fn handle(&mut self, Submit(job): Submit, context: &mut Self::Context) {
        self.route(job, true, context);
    }
}

impl Handler<Heard> for RouterActor {
    type Result = ();

    fn handle(&mut self, Heard(job): Heard, context: &mut Self::Context) {
        self.route(job, false, context);
    }
}

impl Handler<Browse> for RouterActor {
    type Result = ();

    fn handle(&mut self, Browse { listing, providers }: Browse, context: &mut Self::Context) {
        self.look_at(&providers, listing, context);
    }
}

impl Handler<Bounce> for RouterActor {
    type Result = ();

    fn handle(&mut self, bounce: Bounce, context: &mut Self::Context) {
        let Bounce { job, error, reason } = bounce;
        self.dispatch(job, Some((error, reason)), context);
    }
}

impl Handler<Reconfigure> for RouterActor {
    type Result = ();

    fn handle(&mut self, Reconfigure(routing): Reconfigure, _context: &mut Self::Context) {
        // Actors hold their provider's settings. Those of unchanged providers stay; the others end
        // with their last task, and new ones are started when needed.
        self.providers.retain(|name, _| {
            let before = self.routing.provider(name);
            let after = routing.provider(name);
            matches!((before, after), (Some(before), Some(after)) if Arc::ptr_eq(before, after))
        });
        self.routing = routing;
    }
}

/// Waits a short time for the first lists of these providers, and then sends the job to the router.
async fn hear(mut job: Job, providers: Vec<Arc<Provider>>, router: Addr<RouterActor>) {
    let asked = Instant::now();
    let lists = async {
        for provider in &providers {
            provider.catalogue.list(Listing::Installed).fresh(asked).await;
        }
    };
    tokio::select! {
        biased;
        () = job.reply.closed() => return,
        () = lists => {}
        () = tokio::time::sleep(HEARING) => {}
    }
    if let Err(SendError::Full(Heard(job)) | SendError::Closed(Heard(job))) =
        router.try_send(Heard(job))
    {
        job.fail(GatewayError::mailbox_full());
    }
}

/// What a request wants of a provider.
fn wants(ask: &Ask) -> Wants<'_> {
    let Some(raw) = ask.raw() else { return Wants::Model };
    match &raw.lane {
        Lane::Listed => Wants::Path(&raw.path),
        Lane::Management { provider, models } => {
            Wants::Management { provider: provider.as_deref(), models }
        }
    }
}

/// Notes the route of a job whose client wants to know it.
fn tell(job: &Job, explanation: Option<&Explanation>) {
    if let (Some(note), Some(explanation)) = (&job.route, explanation) {
        note.set(explanation.told());
    }
}

#[cfg(test)]
mod tests;
