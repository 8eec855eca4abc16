//! Defects: code that panics in the middle of an attempt costs one answer and nothing else.
//!
//! The gateway has no switch that makes it panic, so these tests use its parts within the test's
//! own process, with a backend that panics at a chosen place.

use std::sync::Arc;

use llm_gateway::backend::{
    Backend, DecodeError, Decoder, Ollama, Rejection, Target, UpstreamRequest,
};
use llm_gateway::chat::{
    Api, Ask, ChatEvent, ChatRequest, ErrorKind, GatewayError, Listing, Message, Model, Role,
};
use llm_gateway::job::{Answer, Caller, Globs, Job};
use llm_gateway::policy::{Priority, Trust};
use llm_gateway::provider::Provider;
use llm_gateway::provider::settings::{MaxConcurrency, ProviderSettings};
use llm_gateway::router::route::{RoutedProvider, Routes};
use llm_gateway::router::settings::{DefaultSettings, Hints};
use llm_gateway::router::{RouterActor, Routing, Submit};
use tokio::sync::oneshot;

use crate::patience::{eventually, within};
use crate::upstream::{Upstream, ollama};

/// Where a request makes the backend panic, as its text says.
const STEPS: [&str; 6] = ["encode", "decoder", "first piece", "later piece", "end", "rejection"];

/// Ollama's API, by a backend that panics where the request says.
struct Panicking;

/// The state of reading an answer, which ends in a panic.
struct PanickingDecoder {
    inner: Box<dyn Decoder>,
    step: String,
    pieces: usize,
}

/// The request's text, one word.
fn step(ask: &Ask) -> String {
    ask.model().unwrap_or_default().to_owned()
}

fn panic_at(here: &str, step: &str) {
    assert!(here != step, "as a defect might");
}

impl Backend for Panicking {
    fn api(&self) -> Api {
        Ollama.api()
    }

    fn unsupported(&self, ask: &Ask) -> Option<&'static str> {
        Ollama.unsupported(ask)
    }

    fn listing(&self, listing: Listing, api_key: Option<&str>) -> Option<UpstreamRequest> {
        Ollama.listing(listing, api_key)
    }

    fn read_listing(&self, body: &[u8]) -> Result<Vec<Model>, DecodeError> {
        Ollama.read_listing(body)
    }

    fn encode(&self, ask: &Ask, target: Target<'_>) -> Result<UpstreamRequest, GatewayError> {
        panic_at("encode", &step(ask));
        Ollama.encode(ask, target)
    }

    fn decoder(&self, ask: &Ask, seed: u64) -> Box<dyn Decoder> {
        let step = step(ask);
        panic_at("decoder", &step);
        Box::new(PanickingDecoder { inner: Ollama.decoder(ask, seed), step, pieces: 0 })
    }

    fn rejection(&self, status: u16, body: &[u8], model: &str) -> Rejection {
        panic_at("rejection", model);
        Ollama.rejection(status, body, model)
    }

    fn unreachable_hint(&self) -> &'static str {
        Ollama.unreachable_hint()
    }
}

impl Decoder for PanickingDecoder {
    fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        self.pieces += 1;
        panic_at(if self.pieces == 1 { "first piece" } else { "later piece" }, &self.step);
        self.inner.feed(bytes, events)
    }

    fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        panic_at("end", &self.step);
        self.inner.finish(events)
    }
}

/// One provider with two slots, spoken to by the panicking backend.
fn routing(upstream: &Upstream) -> Arc<Routing> {
    let settings = ProviderSettings {
        base_url: upstream.url(),
        max_concurrency: MaxConcurrency::Fixed(2),
        ..ProviderSettings::default()
    };
    let routed = RoutedProvider {
        name: Arc::from("ollama"),
        trust: Trust::Local,
        default_model: Arc::from("llama3.1"),
        models: vec!["*".to_owned()],
        naming: llm_gateway::chat::Naming::Tagged,
        passthrough: Vec::new(),
        installs_models: true,
    };
    let default = DefaultSettings { providers: vec!["ollama".to_owned()] };
    Arc::new(Routing {
        providers: vec![Provider::new("ollama", settings.resolved(), &Panicking, None)],
        routes: Routes::new(vec![routed], &[], &Hints::new(), &default),
    })
}

fn job(model: &str) -> (Job, oneshot::Receiver<Answer>) {
    let all = Globs::new(&["*".to_owned()]);
    let request = ChatRequest {
        model: Some(model.to_owned()),
        messages: vec![Message::text(Role::User, "hi")],
        stream: true,
        ..ChatRequest::default()
    };
    let caller = Caller {
        name: Arc::from("test"),
        weight: 1,
        priority: Priority::Interactive,
        policy: None,
        models: all.clone(),
        providers: all,
        manages_models: false,
    };
    Job::new(Arc::from(model), Arc::new(Ask::Chat(request)), Arc::new(caller))
}

/// How a job ends: `Ok` with the number of its events, or why not.
async fn ended(answer: oneshot::Receiver<Answer>) -> Result<usize, ErrorKind> {
    let answer = within("an answer", answer).await.expect("every job is answered");
    let mut events = answer.outcome.map_err(|error| error.kind)?;
    let mut count = 0;
    while let Some(event) = within("the next event", events.recv()).await {
        count += 1;
        if matches!(event, ChatEvent::Done(_)) {
            return Ok(count);
        }
    }
    let then = within("what follows the events", events.then()).await.expect("it is said");
    Err(then.outcome.expect_err("nobody else is asked").kind)
}

/// Streams with the end by itself, cut where the end is to be looked for, or refuses.
fn upstream() -> Upstream {
    Upstream::spawn(|call| match call.json()["model"].as_str() {
        Some("rejection") => ollama::error(500, "x"),
        Some("end") => ollama::opened(&["a"]),
        _ => ollama::answer(&["a", "b", "c"]).paced(std::time::Duration::from_millis(5)),
    })
}

#[actix::test]
async fn a_panic_anywhere_in_an_attempt_costs_one_answer_and_no_slot() {
    let upstream = upstream();
    let routing = routing(&upstream);
    let router = RouterActor::start_for(Arc::clone(&routing));
    for _ in 0..5 {
        for step in STEPS {
            let (job, answer) = job(step);
            router.try_send(Submit(job)).unwrap();
            assert_eq!(ended(answer).await, Err(ErrorKind::Internal), "a panic in: {step}");
            let (next, answer) = self::job("llama3.1");
            router.try_send(Submit(next)).unwrap();
            assert_eq!(ended(answer).await, Ok(4), "after a panic in: {step}");
        }
    }
    all_free(&routing).await;
}

#[actix::test]
async fn panics_among_sixty_jobs_delay_no_other() {
    let upstream = upstream();
    let routing = routing(&upstream);
    let router = RouterActor::start_for(Arc::clone(&routing));
    let models = STEPS.into_iter().chain(["llama3.1"; 4]).cycle().take(60);
    let sent: Vec<_> = models
        .map(|model| {
            let (job, answer) = job(model);
            router.try_send(Submit(job)).unwrap();
            (model, answer)
        })
        .collect();
    for (model, answer) in sent {
        let expected = if STEPS.contains(&model) { Err(ErrorKind::Internal) } else { Ok(4) };
        assert_eq!(ended(answer).await, expected, "{model}");
        // Asked of the gate: a call that was given up counts at the upstream until its connection's
        // end is noticed.
        assert!(routing.providers[0].gate.snapshot().in_flight <= 2);
    }
    all_free(&routing).await;
}

async fn all_free(routing: &Routing) {
    let gate = &routing.providers[0].gate;
    eventually(
        || format!("every slot is free: {:?}", gate.snapshot()),
        async || {
            let now = gate.snapshot();
            (now.free == now.limit && now.queued == 0 && now.in_flight == 0).then_some(())
        },
    )
    .await;
}
