//! Every recorded answer of every provider, through a real socket in its recorded slices, to the
//! clients of every API.
//!
//! One gateway has a provider for each recording, at a path of its own, so that all are replayed
//! side by side. Recorded failures get a provider for each request: what one request does to a
//! breaker must not answer the next.

mod said;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::client::{Answer, post_json};
use crate::harness::{Config, Gateway, Names, Provider, Server, spawn_gateway};
use crate::upstream::Upstream;
use crate::upstream::fixture::Fixture;
use said::{Api, Said};

/// How many requests run at one time.
const AT_ONCE: usize = 24;

/// One question for one recording.
struct Question {
    fixture: Arc<Fixture>,
    api: Api,
    is_streamed: bool,
    provider: String,
}

fn fixtures() -> Vec<Arc<Fixture>> {
    let backends = ["anthropic", "gemini", "ollama", "openai"];
    backends.into_iter().flat_map(Fixture::all_of).map(Arc::new).collect()
}

fn questions(fixtures: &[Arc<Fixture>], kind: &str) -> Vec<Question> {
    let mut questions = Vec::new();
    for fixture in fixtures.iter().filter(|fixture| fixture.expected["kind"] == kind) {
        for (api, is_streamed) in Api::ALL.into_iter().flat_map(|api| [(api, false), (api, true)]) {
            let number = questions.len();
            let provider = match kind {
                "ok" => fixture.name.replace('/', "-"),
                _ => format!("{}-{number}", fixture.name.replace('/', "-")),
            };
            questions.push(Question { fixture: Arc::clone(fixture), api, is_streamed, provider });
        }
    }
    questions
}

/// Replays by path: every request below `/BACKEND/CASE` is answered as recorded there.
fn replaying(fixtures: &[Arc<Fixture>]) -> Upstream {
    let by_name: HashMap<String, Arc<Fixture>> =
        fixtures.iter().map(|fixture| (fixture.name.clone(), Arc::clone(fixture))).collect();
    Upstream::spawn(move |call| {
        let name: Vec<&str> = call.path.split('/').skip(1).take(2).collect();
        by_name[&name.join("/")].script()
    })
}

async fn gateway(
    upstream: &Upstream,
    questions: &[Question],
    with: impl Fn(Provider) -> Provider,
) -> Gateway {
    let mut providers: Vec<Provider> = Vec::new();
    for Question { fixture, provider: name, .. } in questions {
        let (backend, _) = fixture.name.split_once('/').unwrap();
        let version = if backend == "openai" { "/v1" } else { "" };
        let url = format!("{}/{}{version}", upstream.url(), fixture.name);
        let provider = Provider::new(name, backend, url).slots(32).max_queue_wait("2s");
        if providers.last().is_none_or(|last| last.key() != name) {
            providers.push(with(provider.no_retries()));
        }
    }
    let config = Config::new()
        .server(Server::default().workers(1))
        .providers(providers)
        .default_providers([&questions[0].provider]);
    spawn_gateway(config).await
}

/// Sends every request and checks every answer.
async fn ask_all(gateway: &Gateway, questions: &[Question], check: impl Fn(&Question, &Said)) {
    let asked = questions.iter().map(async |question| {
        let thinks = question.fixture.expected["reasoning"].is_string();
        let model = format!("{}/tiny-chat", question.provider);
        let body = question.api.body(&model, question.is_streamed, thinks);
        let url = gateway.url(question.api.path());
        (question, Said::read(question.api, question.is_streamed, &url, &body).await)
    });
    let mut answers = stream::iter(asked).buffer_unordered(AT_ONCE);
    while let Some((question, said)) = answers.next().await {
        check(question, &said);
    }
}

/// The words for the end in this API.
fn finish(question: &Question) -> String {
    let finish = &question.fixture.expected["finish_by_dialect"];
    let word = |dialect: &str| finish[dialect].as_str().unwrap().to_owned();
    match question.api {
        Api::Native | Api::Chat | Api::Responses => word("openai"),
        // It has no calls of tools, so that no client waits for one.
        Api::Completions => word("openai").replace("tool_calls", "stop"),
        Api::Messages => word("anthropic"),
        Api::OllamaChat | Api::OllamaGenerate => word("ollama"),
    }
}

fn check_answer(question: &Question, said: &Said) {
    let Question { fixture, api, is_streamed, .. } = question;
    let (name, expected) = (&fixture.name, &fixture.expected);
    let place = format!("{name} through {api:?}, streamed: {is_streamed}: {said:?}");
    assert_eq!((said.status, said.error.as_deref()), (200, None), "{place}");
    assert!(said.ended_properly, "{place}");
    // A refusal is ordinary text to a client.
    let text = [&expected["text"], &expected["refusal"]];
    let text: String = text.iter().filter_map(|text| text.as_str()).collect();
    assert_eq!(said.text, text, "{place}");
    assert_eq!(said.finish.as_deref(), Some(finish(question).as_str()), "{place}");
    let usage = &expected["usage"];
    assert_eq!(said.usage, (usage["input"].as_u64(), usage["output"].as_u64()), "{place}");
    if api.shows_reasoning() {
        assert_eq!(said.reasoning, expected["reasoning"].as_str().unwrap_or_default(), "{place}");
    }
    if !api.has_calls() {
        return assert!(said.calls.is_empty(), "{place}");
    }
    let calls = expected["tool_calls"].as_array().unwrap();
    assert_eq!(said.calls.len(), calls.len(), "{place}");
    for (call, (id, called, arguments)) in calls.iter().zip(&said.calls) {
        assert_eq!((&call["name"], &call["arguments"]), (&json!(called), arguments), "{place}");
        match call["id"].as_str() {
            Some(given) => assert_eq!(id, given, "{place}"),
            None => assert!(!id.is_empty(), "{place}"),
        }
    }
}

fn check_failure(question: &Question, said: &Said) {
    let Question { fixture, api, is_streamed, .. } = question;
    let (name, expected) = (&fixture.name, &fixture.expected);
    let place = format!("{name} through {api:?}, streamed: {is_streamed}: {said:?}");
    let error = said.error.as_deref().unwrap_or_else(|| panic!("no error: {place}"));
    let is_midway = expected["mid_stream"] == true;
    if is_midway && *is_streamed {
        assert_eq!(said.status, 200, "{place}");
        assert_eq!(said.text, expected["partial_text"].as_str().unwrap(), "{place}");
        assert!(said.finish.is_none() && !said.ended_properly, "{place}");
        return;
    }
    let status = u64::from(said.status);
    assert_eq!(Some(api.status(status)), expected["client_status"].as_u64(), "{place}");
    if matches!(status, 429 | 503 | 529) {
        let wait: u64 = said.retry_after.as_deref().unwrap_or_default().parse().unwrap();
        assert!((1..=60).contains(&wait), "{place}");
    }
    if !is_midway {
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = one_line(expected["message_contains"].as_str().unwrap());
        assert!(one_line(error).contains(&words), "{place}");
    }
}

#[tokio::test]
async fn every_recorded_answer_means_the_same_through_every_api() {
    let fixtures = fixtures();
    let upstream = replaying(&fixtures);
    let questions = questions(&fixtures, "ok");
    assert!(questions.len() >= 28 * 14, "only {}", questions.len());
    // What is carried has the meaning that it had.
    let gateway = gateway(&upstream, &questions, |provider| provider.apis(Names::none())).await;
    ask_all(&gateway, &questions, check_answer).await;
    gateway.end(questions.len()).await;
}

#[tokio::test]
async fn every_recorded_failure_is_a_failure_in_every_api() {
    let fixtures = fixtures();
    let upstream = replaying(&fixtures);
    let questions = questions(&fixtures, "error");
    assert!(questions.len() >= 12 * 14, "only {}", questions.len());
    let gateway = gateway(&upstream, &questions, |provider| provider).await;
    ask_all(&gateway, &questions, check_failure).await;
    gateway.end(questions.len()).await;
}

#[tokio::test]
async fn recorded_vectors_arrive_in_both_apis_that_have_them() {
    let fixture = Arc::new(Fixture::load("openai/embeddings-base64"));
    let upstream = replaying(&[Arc::clone(&fixture)]);
    let url = format!("{}/{}/v1", upstream.url(), fixture.name);
    let gateway = spawn_gateway(Provider::new("cloud", "openai", &url)).await;
    let body = json!({ "model": "m", "input": ["a", "b"] });
    let answered = async |path: &str| -> Answer {
        let answer = post_json(&gateway.url(path), &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer
    };
    let data = answered("/v1/embeddings").await.json();
    let vectors: Vec<&Value> =
        data["data"].as_array().unwrap().iter().map(|entry| &entry["embedding"]).collect();
    assert_eq!(json!(vectors), fixture.expected["vectors"]);
    assert_eq!(data["usage"]["prompt_tokens"], fixture.expected["usage"]["input"]);
    let embedded = answered("/api/embed").await.json();
    assert_eq!(embedded["embeddings"], fixture.expected["vectors"]);
    gateway.end(2).await;
}
