//! Every reason for which the gateway turns a request away, provoked over HTTP and found with the
//! same word in the answer, the access line, the metrics, and the console's requests and errors.

use std::time::Duration;

use llm_gateway::chat::{EdgeReason, Reason, RefusalReason};
use llm_gateway::policy::{Priority, Trust};
use serde_json::{Value, json};

use crate::client::raw::{Raw, post_bytes};
use crate::client::{
    Answer, another_chat, chat, get, open, post_json, post_json_with, streamed_chat,
};
use crate::crowd::{answers, chat_with, key, press, send, send_many, waiting};
use crate::harness::{
    Auth, Breaker, Config, Gateway, Key, Provider, Rate, Route, Server, Signal, Target,
    spawn_gateway,
};
use crate::patience::eventually;
use crate::upstream::{Gate, Upstream, ollama};

/// A gateway that has turned a request away.
struct Turned {
    gateway: Gateway,
    /// What the client was answered, unless it left.
    answer: Option<Answer>,
    /// The provider that it came to; `none` if it came to none.
    provider: &'static str,
    /// What must live as long as the gateway.
    _others: Vec<Upstream>,
}

/// How a reason comes to be. A new reason has no case, so that this does not compile.
async fn provoke(reason: Reason) -> Option<Turned> {
    let turned = match reason {
        Reason::Gate(RefusalReason::QueueFull) => full(&|ollama| ollama.max_queue(0), &[]).await,
        Reason::Gate(RefusalReason::PredictedWait) => predicted().await,
        Reason::Gate(RefusalReason::OverShare) => shares(true).await,
        Reason::Gate(RefusalReason::PushedOut) => shares(false).await,
        Reason::Gate(RefusalReason::WaitedTooLong) => {
            full(&|ollama| ollama.max_queue_wait("200ms"), &[]).await
        }
        Reason::Gate(RefusalReason::DeadlinePassed) => {
            full(&|ollama| ollama, &[("x-request-timeout-ms", "300")]).await
        }
        Reason::Gate(RefusalReason::BreakerOpen) => after(3, 500, "cuda error").await,
        Reason::Gate(RefusalReason::CoolingDown) => after(1, 429, "slow down").await,
        Reason::Gate(RefusalReason::AuthFailed) => after(1, 401, "who are you?").await,
        Reason::Gate(RefusalReason::Quarantined) => quarantined().await,
        Reason::Gate(RefusalReason::Draining) => drained().await,
        Reason::Edge(EdgeReason::InvalidApiKey) => keyed(Key::new("a"), "sk-other", 1).await,
        Reason::Edge(EdgeReason::Failures) => guessed().await,
        Reason::Edge(EdgeReason::ForeignOrigin) => foreign().await,
        Reason::Edge(EdgeReason::NotAllowed) => {
            keyed(Key::new("a").models(["another"]), "sk-a", 1).await
        }
        Reason::Edge(EdgeReason::Requests) => {
            keyed(Key::new("a").rate(Rate::of(1, 0.001)), "sk-a", 2).await
        }
        Reason::Edge(EdgeReason::TokensPerMinute) => {
            keyed(Key::new("a").tokens_per_minute(16), "sk-a", 2).await
        }
        Reason::Edge(EdgeReason::TokensPerDay) => {
            keyed(Key::new("a").tokens_per_day(16), "sk-a", 2).await
        }
        Reason::Edge(EdgeReason::Concurrency) => concurrent().await,
        Reason::Edge(EdgeReason::TooLarge) => {
            keyed(Key::new("a").tokens_per_day(1), "sk-a", 1).await
        }
        Reason::Edge(EdgeReason::ModelNotFound) => missing().await,
        Reason::Edge(EdgeReason::UnknownHint) => asked(hinted("unheard"), &[]).await,
        Reason::Edge(EdgeReason::NotSupported) => unsupported().await,
        Reason::Edge(EdgeReason::NoProviderForPolicy) => {
            asked(chat("hi"), &[("x-gateway-data-policy", "local")]).await
        }
        Reason::Edge(EdgeReason::ProviderRemoved) => removed().await,
        Reason::Edge(EdgeReason::BodiesFull) => bodies().await,
        // It takes a thousand messages at one instant: see `router::tests`.
        Reason::Edge(EdgeReason::MailboxFull) => return None,
        Reason::Edge(EdgeReason::Stopping) => stopping().await,
        Reason::Edge(EdgeReason::LeftWaiting) => left().await,
    };
    Some(turned)
}

#[tokio::test]
async fn each_reason_has_the_same_word_in_the_answer_the_log_the_metrics_and_the_feed() {
    let mut seen = 0;
    for reason in Reason::all() {
        let Some(turned) = provoke(reason).await else { continue };
        let word = reason.as_str();
        if let Some(answer) = &turned.answer {
            assert_eq!(answer.header("x-gateway-reason"), Some(word), "{}", answer.text());
        }
        has_everywhere(&turned, word).await;
        turned.gateway.kill().await;
        seen += 1;
    }
    assert_eq!(seen + 1, Reason::all().count());
}

/// The word is in the log, in the metrics and in the feed.
async fn has_everywhere(turned: &Turned, word: &str) {
    let gateway = &turned.gateway;
    let line = eventually(
        || format!("an access line with {word}, of {:#?}", gateway.access_lines()),
        async || gateway.access_lines().into_iter().find(|line| line.fields["reason"] == word),
    )
    .await;
    let cause = line.fields["cause"].trim_end_matches(':');
    assert_eq!(cause, word, "{line:?}");
    let labels = [("provider", turned.provider), ("reason", word)];
    let metrics = gateway.metrics().await;
    assert!(metrics.sum("llm_gateway_refusals_total", &labels) >= 1.0, "{word}: {labels:?}");
    let all = metrics.sum("llm_gateway_refusals_total", &[("reason", word)]);
    let lines = gateway.access_lines();
    let told = lines.iter().filter(|line| line.fields["reason"] == word).count();
    assert_eq!(all as usize, told, "{word}: as many in the metrics as in the log");
    let mut console = open(&gateway.admin_url("/admin/events"), &[]).await;
    let snapshot = console.until("\n\n").await;
    let (_, snapshot) = snapshot.split_once("\ndata: ").unwrap();
    let snapshot: Value = serde_json::from_str(snapshot.split("\n\n").next().unwrap()).unwrap();
    for list in ["requests", "errors"] {
        let rows = snapshot[list].as_array().unwrap();
        assert!(rows.iter().any(|row| row["reason"] == word), "{word} in {list}: {rows:#?}");
    }
}

fn turned(
    gateway: Gateway,
    answer: impl Into<Option<Answer>>,
    provider: &'static str,
    upstream: Upstream,
) -> Turned {
    Turned { gateway, answer: answer.into(), provider, _others: vec![upstream] }
}

/// An upstream whose answers wait at a gate that nobody opens.
fn held() -> Upstream {
    let gate = Gate::closed();
    Upstream::spawn(move |call| ollama::reply(call).head_hold(&gate))
}

fn chat_of(model: &str) -> Value {
    let mut chat = chat("hi");
    chat["model"] = model.into();
    chat
}

fn hinted(hint: &str) -> Value {
    let mut chat = chat("hi");
    chat["model_hint"] = hint.into();
    chat
}

/// The only slot is taken when another request comes.
async fn full(limits: &dyn Fn(Provider) -> Provider, headers: &[(&str, &str)]) -> Turned {
    let upstream = held();
    let gateway = spawn_gateway(limits(Provider::ollama(&upstream).slots(1))).await;
    drop(send(&gateway, &[], chat("first")));
    upstream.busy(1).await;
    let answer = post_json_with(&gateway.url("/v1/chat"), headers, &chat("second")).await;
    turned(gateway, answer, "ollama", upstream)
}

/// By what was measured, the line takes longer than the request may.
async fn predicted() -> Turned {
    let gate = Gate::closed();
    let upstream = Upstream::spawn(move |call| {
        let measured = ollama::reply(call).head_pause(Duration::from_millis(100));
        if call.number < 24 { measured } else { measured.head_hold(&gate) }
    });
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(2)).await;
    answers(send_many(&gateway, &[], "measured", 24)).await;
    drop(send_many(&gateway, &[], "backlog", 22));
    waiting(&gateway, "ollama", 20).await;
    let headers = [("x-request-timeout-ms", "500")];
    let answer = post_json_with(&gateway.url("/v1/chat"), &headers, &chat("hurried")).await;
    turned(gateway, answer, "ollama", upstream)
}

/// A key has half of the line while others wait, or all of it when another key comes.
async fn shares(has_company: bool) -> Turned {
    let upstream = held();
    let provider = Provider::ollama(&upstream).slots(1).max_queue(2);
    let keys = [Key::new("many"), Key::new("few").priority(Priority::Interactive)];
    let gateway = spawn_gateway(Config::new().keys(keys).provider(provider)).await;
    drop(send(&gateway, &key("sk-many"), chat("runs")));
    upstream.busy(1).await;
    let url = gateway.url("/v1/chat");
    if has_company {
        drop(send(&gateway, &key("sk-few"), chat("waits")));
        waiting(&gateway, "ollama", 1).await;
        drop(send(&gateway, &key("sk-many"), chat("waits")));
        waiting(&gateway, "ollama", 2).await;
        let answer = post_json_with(&url, &key("sk-many"), &chat("more")).await;
        return turned(gateway, answer, "ollama", upstream);
    }
    drop(send(&gateway, &key("sk-many"), chat("waits")));
    waiting(&gateway, "ollama", 1).await;
    let pushed_out = send(&gateway, &key("sk-many"), chat("newest"));
    waiting(&gateway, "ollama", 2).await;
    drop(send(&gateway, &key("sk-few"), chat("newcomer")));
    turned(gateway, pushed_out.await.unwrap(), "ollama", upstream)
}

/// So many requests were answered like this before.
async fn after(failures: usize, status: u16, message: &'static str) -> Turned {
    let upstream = Upstream::spawn_whole(move |_| {
        let error = ollama::error(status, message);
        if status == 429 { error.header("retry-after", "60") } else { error }
    });
    let provider = Provider::ollama(&upstream)
        .api_key("wrong")
        .no_retries()
        .max_queue_wait("1s")
        .breaker(Breaker::default().failures(3).open("60s"));
    let gateway = spawn_gateway(provider).await;
    for _ in 0..failures {
        let failed = post_json(&gateway.url("/v1/chat"), &another_chat()).await;
        assert_eq!(failed.header("x-gateway-reason"), None, "{}", failed.text());
    }
    let answer = post_json(&gateway.url("/v1/chat"), &another_chat()).await;
    turned(gateway, answer, "ollama", upstream)
}

/// The same request has made the model fail three times.
async fn quarantined() -> Turned {
    let upstream = Upstream::spawn(|_| crate::upstream::Script::hang_up());
    let provider =
        Provider::ollama(&upstream).no_retries().breaker(Breaker::default().failures(1000));
    let gateway = spawn_gateway(provider).await;
    let url = gateway.url("/v1/chat");
    for _ in 0..3 {
        assert_eq!(post_json(&url, &chat("killer")).await.status, 502);
    }
    let answer = post_json(&url, &chat("killer")).await;
    turned(gateway, answer, "ollama", upstream)
}

async fn drained() -> Turned {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    assert_eq!(press(&gateway, "providers/ollama/drain").await.status, 200);
    let answer = post_json(&gateway.url("/v1/chat"), &chat("hi")).await;
    turned(gateway, answer, "ollama", upstream)
}

/// The last of so many requests of this key, one after the other.
async fn keyed(settings: Key, secret: &str, count: usize) -> Turned {
    let upstream = Upstream::ollama();
    let config = Config::new().key(settings).provider(Provider::ollama(&upstream));
    let gateway = spawn_gateway(config).await;
    let url = gateway.url("/v1/chat");
    for _ in 1..count {
        assert_eq!(post_json_with(&url, &key(secret), &chat("hi")).await.status, 200);
    }
    let answer = post_json_with(&url, &key(secret), &chat("hi")).await;
    turned(gateway, answer, "none", upstream)
}

async fn guessed() -> Turned {
    let upstream = Upstream::ollama();
    let config = Config::new()
        .auth(Auth::default().failures(Rate::of(1, 0.01)))
        .key(Key::new("a"))
        .provider(Provider::ollama(&upstream));
    let gateway = spawn_gateway(config).await;
    let url = gateway.url("/v1/chat");
    assert_eq!(post_json_with(&url, &key("sk-b"), &chat("hi")).await.status, 401);
    let answer = post_json_with(&url, &key("sk-c"), &chat("hi")).await;
    turned(gateway, answer, "none", upstream)
}

async fn foreign() -> Turned {
    asked(chat("hi"), &[("origin", "https://elsewhere.example")]).await
}

async fn concurrent() -> Turned {
    let upstream = held();
    let config =
        Config::new().key(Key::new("a").max_concurrency(1)).provider(Provider::ollama(&upstream));
    let gateway = spawn_gateway(config).await;
    drop(send(&gateway, &key("sk-a"), chat("first")));
    upstream.busy(1).await;
    let answer = post_json_with(&gateway.url("/v1/chat"), &key("sk-a"), &chat("second")).await;
    turned(gateway, answer, "none", upstream)
}

/// This request at a gateway whose only provider is a cloud's.
async fn asked(body: Value, headers: &[(&str, &str)]) -> Turned {
    let upstream = Upstream::ollama();
    let provider = Provider::ollama(&upstream).trust(Trust::Cloud);
    let gateway = spawn_gateway(provider).await;
    let answer = post_json_with(&gateway.url("/v1/chat"), headers, &body).await;
    turned(gateway, answer, "none", upstream)
}

async fn missing() -> Turned {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let answer = get(&gateway.url("/v1/models/nothing")).await;
    turned(gateway, answer, "none", upstream)
}

/// Anthropic's API has no embeddings.
async fn unsupported() -> Turned {
    let upstream = Upstream::ollama();
    let provider = Provider::new("claude", "anthropic", upstream.url()).api_key("sk-x");
    let gateway = spawn_gateway(provider).await;
    let body = json!({"model": "claude/m", "input": "hi"});
    let answer = post_json(&gateway.url("/v1/embeddings"), &body).await;
    turned(gateway, answer, "none", upstream)
}

/// The fallback is removed while the first provider still answers.
async fn removed() -> Turned {
    let gate = Gate::closed();
    let held = gate.clone();
    let first = Upstream::spawn(move |_| ollama::error(500, "broken").head_hold(&held));
    let second = Upstream::ollama();
    let stays = Provider::ollama(&first).no_retries();
    let route = |targets: Vec<Target>, fallback: Vec<Target>| {
        Route::new("llama3.1", targets).fallback(fallback)
    };
    let one = || vec![Target::new("ollama", "llama3.1")];
    let both = Config::new()
        .provider(stays.clone())
        .provider(Provider::ollama(&second).name("spare"))
        .route(route(one(), vec![Target::new("spare", "llama3.1")]));
    let gateway = spawn_gateway(both).await;
    let sent = send(&gateway, &[], chat_of("llama3.1"));
    first.busy(1).await;
    gateway.write_config(Config::new().provider(stays).route(route(one(), Vec::new())));
    assert_eq!(press(&gateway, "reload").await.status, 200);
    gate.open();
    turned(gateway, sent.await.unwrap(), "ollama", first)
}

async fn bodies() -> Turned {
    let upstream = held();
    let server = Server::default().max_body("1MiB").max_buffered("1MiB");
    let config = Config::new().server(server).provider(Provider::ollama(&upstream));
    let gateway = spawn_gateway(config).await;
    let large = chat(&"x".repeat(700 * 1024));
    drop(send(&gateway, &[], large.clone()));
    upstream.busy(1).await;
    let answer = post_json(&gateway.url("/v1/chat"), &large).await;
    turned(gateway, answer, "none", upstream)
}

/// A connection that was open before is told so.
async fn stopping() -> Turned {
    let upstream = held();
    let gateway = spawn_gateway(Config::new().provider(Provider::ollama(&upstream))).await;
    drop(send(&gateway, &[], chat("runs")));
    upstream.busy(1).await;
    let mut late = Raw::connect(gateway.address()).await;
    gateway.signal(Signal::Term);
    let unready = async || (get(&gateway.url("/readyz")).await.status != 200).then_some(());
    eventually(|| "the gateway stops".to_owned(), unready).await;
    late.send(&post_bytes("/v1/chat", &[], &chat("late"))).await;
    let told = late.read_answer().await;
    assert!(told.contains("x-gateway-reason: stopping\r\n"), "{told}");
    turned(gateway, None, "none", upstream)
}

/// A client leaves the line; it is counted where and for as long as it waited.
async fn left() -> Turned {
    let upstream = held();
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(1)).await;
    drop(send(&gateway, &[], chat_with("ollama", "runs")));
    upstream.busy(1).await;
    let mut leaves = Raw::connect(gateway.address()).await;
    leaves.send(&post_bytes("/v1/chat", &[], &streamed_chat("leaves"))).await;
    waiting(&gateway, "ollama", 1).await;
    leaves.fin();
    waiting(&gateway, "ollama", 0).await;
    let line = eventually(
        || "the line of the one that left".to_owned(),
        async || gateway.access_lines().pop(),
    )
    .await;
    let fields = ["provider", "model", "outcome"].map(|name| line.fields[name].as_str());
    assert_eq!(fields, ["ollama", "llama3.1", "cancelled"]);
    let waited: f64 = line.fields["queue_ms"].parse().unwrap();
    assert!(waited > 0.0, "{line:?}");
    let metrics = gateway.metrics().await;
    let queued = metrics.sum("llm_gateway_queue_wait_seconds_sum", &[("provider", "ollama")]);
    assert!(queued > 0.0 && queued * 1_000.0 < waited + 1.0, "{queued} s, {waited} ms");
    turned(gateway, None, "ollama", upstream)
}
