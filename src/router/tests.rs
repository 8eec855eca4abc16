//! Actors that die: their jobs are answered once, and the next job finds new actors.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;
use crate::backend::Ollama;
use crate::chat::{Ask, ChatRequest, Reason};
use crate::job::{Answer, Caller, Globs};
use crate::policy::{Priority, Trust};
use crate::provider::settings::ProviderSettings;
use route::RoutedProvider;
use settings::DefaultSettings;

/// Kills the actor that handles it.
#[derive(Message)]
#[rtype(result = "()")]
struct Die;

impl Handler<Die> for ProviderActor {
    type Result = ();

    fn handle(&mut self, _: Die, _: &mut Self::Context) {
        panic!("as a defect might");
    }
}

/// Kills the actors of all providers.
#[derive(Message)]
#[rtype(result = "()")]
struct KillProviders;

impl Handler<KillProviders> for RouterActor {
    type Result = ();

    fn handle(&mut self, _: KillProviders, _: &mut Self::Context) {
        assert!(!self.providers.is_empty());
        self.providers.values().for_each(|provider| provider.do_send(Die));
    }
}

/// One provider, at an address without a listener.
fn routing() -> Arc<Routing> {
    let base_url = "http://127.0.0.1:1".to_owned();
    let retry = crate::provider::settings::RetrySettings { max_retries: 0, ..Default::default() };
    let settings = ProviderSettings { base_url, retry, ..ProviderSettings::default() }.resolved();
    let routed = RoutedProvider {
        name: Arc::from("ollama"),
        trust: Trust::Local,
        default_model: Arc::from("m"),
        models: vec!["*".to_owned()],
        naming: crate::chat::Naming::Tagged,
        passthrough: Vec::new(),
        installs_models: true,
    };
    let default = DefaultSettings { providers: vec!["ollama".to_owned()] };
    Arc::new(Routing {
        providers: vec![Provider::new("ollama", settings, &Ollama, None)],
        routes: Routes::new(vec![routed], &[], &settings::Hints::new(), &default),
    })
}

fn job() -> (Job, oneshot::Receiver<Answer>) {
    let all = Globs::new(&["*".to_owned()]);
    let caller = Caller {
        name: Arc::from("test"),
        weight: 1,
        priority: Priority::Interactive,
        policy: None,
        models: all.clone(),
        providers: all,
        manages_models: false,
    };
    let request = Arc::new(Ask::Chat(ChatRequest::default()));
    Job::new(Arc::from("1"), request, Arc::new(caller))
}

async fn error(answer: oneshot::Receiver<Answer>) -> ErrorKind {
    whole_error(answer).await.kind
}

async fn whole_error(answer: oneshot::Receiver<Answer>) -> GatewayError {
    let answer = timeout(Duration::from_secs(20), answer).await.unwrap().unwrap();
    answer.outcome.unwrap_err()
}

#[actix::test]
async fn a_provider_actor_that_died_is_started_again_for_the_next_job() {
    let routing = routing();
    let router = RouterActor::start_for(Arc::clone(&routing));
    let (first, answer) = job();
    router.do_send(Submit(first));
    assert_eq!(error(answer).await, ErrorKind::BadUpstream, "nobody listens there");
    router.send(KillProviders).await.unwrap();
    for _ in 0..3 {
        let (next, answer) = job();
        router.do_send(Submit(next));
        assert_eq!(error(answer).await, ErrorKind::BadUpstream, "it was tried");
    }
    let gate = routing.providers[0].gate.snapshot();
    assert_eq!((gate.granted, gate.free), (4, gate.limit));
    let metrics = String::from_utf8(crate::telemetry::metrics::render()).unwrap();
    assert!(metrics.contains("llm_gateway_restarts_total{actor=\"provider\"}"), "{metrics}");
}

#[actix::test]
async fn the_first_burst_of_a_new_router_fits_into_its_mailbox() {
    let router = RouterActor::start_for(routing());
    let jobs: Vec<_> = (0..MAILBOX).map(|_| job()).collect();
    for (job, answer) in jobs {
        assert!(router.try_send(Submit(job)).is_ok());
        drop(answer);
    }
}

#[actix::test]
async fn what_a_full_mailbox_does_not_take_is_refused_with_its_reason() {
    let router = RouterActor::start_for(routing());
    let (jobs, answers): (Vec<_>, Vec<_>) = (0..3 * MAILBOX).map(|_| job()).unzip();
    // The router hands them all over before the provider's actor takes one.
    jobs.into_iter().for_each(|job| router.do_send(Submit(job)));
    let mut full = 0;
    for answer in answers {
        let error = whole_error(answer).await;
        if error.reason == Some(Reason::Edge(EdgeReason::MailboxFull)) {
            assert_eq!(error.logged_cause().as_deref(), Some("mailbox_full"));
            full += 1;
        }
    }
    assert!(full > 0, "the mailbox took them all");
}

#[actix::test]
async fn a_job_in_the_mailbox_of_a_dying_actor_is_answered_once() {
    let router = RouterActor::start_for(routing());
    let (first, answer) = job();
    router.do_send(Submit(first));
    error(answer).await;
    // Both are in the router's mailbox, and the second is then behind the killer in the provider's.
    router.do_send(KillProviders);
    let (caught, answer) = job();
    router.do_send(Submit(caught));
    let kind = error(answer).await;
    assert!([ErrorKind::Internal, ErrorKind::BadUpstream].contains(&kind), "{kind:?}");
}
