//! One caller's failures affect no other caller, and the breaker of a really broken model still
//! opens.
//!
//! The provider answers correctly, except requests that say *offend*: each of these fails in one
//! way. Another caller uses the same model at the same time, and is never affected.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Answer, another_chat, chat, post_json_with};
use crate::crowd::{answers, key, send, snapshot};
use crate::harness::{
    Breaker, Config, Gateway, Key, Provider, Rate, Retry, Timeouts, spawn_gateway,
};
use crate::upstream::{Call, Script, Upstream, ollama, openai};

/// A kind of provider, what it does to the offending request, and what its caller reads.
struct Offence {
    backend: &'static str,
    answer: fn() -> Script,
    status: u16,
    says: &'static str,
    /// Calls that one such request costs at most.
    calls: usize,
}

fn keys() -> [Key; 2] {
    [
        Key::new("offender").rate(Rate::of(1000, 1000.0)),
        Key::new("bystander").rate(Rate::of(1000, 1000.0)),
    ]
}
fn quick(provider: Provider) -> Provider {
    provider
        .retry(Retry::default().backoff("1ms").max_backoff("2ms"))
        .slots(4)
        .max_queue(200)
        .timeouts(Timeouts::default().idle("500ms"))
}

fn is_offending(call: &Call) -> bool {
    String::from_utf8_lossy(&call.body).contains("offend")
}

fn coded(status: u16, error: &Value) -> Script {
    Script::json(status, &json!({ "error": error }))
}

fn row(
    backend: &'static str,
    answer: fn() -> Script,
    status: u16,
    says: &'static str,
    calls: usize,
) -> Offence {
    Offence { backend, answer, status, says, calls }
}

fn offences() -> Vec<Offence> {
    let all = [
        refusals_of_openai_s_kind(),
        other_refusals_of_openai_s_kind(),
        failures_of_openai_s_kind(),
        offences_of_ollama(),
        offences_of_the_clouds(),
    ];
    all.into_iter().flatten().collect()
}

fn refusals_of_openai_s_kind() -> Vec<Offence> {
    vec![
        row(
            "openai",
            || {
                coded(
                    403,
                    &json!({ "message": "input flagged", "code": 403,
            "metadata": { "reasons": ["violence"] } }),
                )
            },
            400,
            "input flagged (violence)",
            1,
        ),
        row(
            "openai",
            || {
                coded(
                    403,
                    &json!({ "message": "Project does not have access to model 'llama3.1'",
            "code": "model_not_found" }),
                )
            },
            404,
            "does not have access to model 'llama3.1'",
            1,
        ),
        row(
            "openai",
            || coded(403, &json!({ "message": "not from your country" })),
            403,
            "not from your country",
            1,
        ),
    ]
}

fn other_refusals_of_openai_s_kind() -> Vec<Offence> {
    vec![
        row(
            "openai",
            || Script::status(403).piece("<html>Forbidden</html>"),
            403,
            "does not permit",
            1,
        ),
        row(
            "openai",
            || coded(401, &json!({ "message": "no seat for this" })),
            403,
            "no seat for this",
            1,
        ),
        row(
            "openai",
            || openai::error(400, "invalid_request_error", "bad thing"),
            400,
            "bad thing",
            1,
        ),
        row("openai", || openai::error(413, "x", "much too big"), 400, "much too big", 1),
        row(
            "openai",
            || openai::error(422, "x", "cannot be processed"),
            400,
            "cannot be processed",
            1,
        ),
    ]
}

fn failures_of_openai_s_kind() -> Vec<Offence> {
    vec![
        row(
            "openai",
            || openai::error(500, "server_error", "image input is not supported - hint: mmproj"),
            400,
            "image input is not supported",
            1,
        ),
        row(
            "openai",
            || {
                openai::error(
                    500,
                    "server_error",
                    "input (5005 tokens) is too large to process. increase the physical batch size",
                )
            },
            400,
            "too large to process",
            1,
        ),
        row(
            "openai",
            || openai::error(501, "not_supported_error", "This server does not support that"),
            501,
            "This server does not support that",
            1,
        ),
        row("openai", Script::hang_up, 502, "", 2),
        row("openai", || openai::opened(&["Hal"]).cut_at(300), 502, "", 2),
    ]
}

fn offences_of_ollama() -> Vec<Offence> {
    vec![
        row(
            "ollama",
            || ollama::error(500, "option \"num_ctx\" must be of type integer"),
            400,
            "must be of type integer",
            1,
        ),
        row(
            "ollama",
            || ollama::error(501, "this model does not support embeddings"),
            501,
            "does not support embeddings",
            1,
        ),
        row(
            "ollama",
            || Script::json(401, &json!({ "error": "unauthorized", "signin_url": "https://x" })),
            404,
            "ollama signin",
            1,
        ),
        row("ollama", || ollama::error(403, "forbidden"), 403, "forbidden", 1),
        row(
            "ollama",
            || ollama::error(500, "model runner has unexpectedly stopped"),
            502,
            "unexpectedly stopped",
            3,
        ),
    ]
}

fn offences_of_the_clouds() -> Vec<Offence> {
    vec![
        row(
            "anthropic",
            || {
                Script::json(
                    403,
                    &json!({ "type": "error", "error": { "type": "permission_error",
            "message": "your prompt violates our usage policies" } }),
                )
            },
            400,
            "usage policies",
            1,
        ),
        row(
            "anthropic",
            || {
                Script::json(
                    500,
                    &json!({ "type": "error", "error": { "type": "api_error",
            "message": "images are not supported here" } }),
                )
            },
            400,
            "not supported here",
            1,
        ),
        row(
            "gemini",
            || {
                coded(
                    403,
                    &json!({ "code": 403, "status": "PERMISSION_DENIED",
            "message": "you may not use this" }),
                )
            },
            403,
            "you may not use this",
            1,
        ),
        row(
            "gemini",
            || {
                coded(
                    400,
                    &json!({ "code": 400, "status": "FAILED_PRECONDITION",
            "message": "User location is not supported" }),
                )
            },
            403,
            "location is not supported",
            1,
        ),
    ]
}

/// A provider of this kind that does well but for the offending.
fn upstream(offence: &Offence) -> Upstream {
    let answer = offence.answer;
    let well: fn(&Call) -> Script = match offence.backend {
        "ollama" => ollama::reply,
        "openai" => |_| openai::answer(&["Hel", "lo!"]),
        "anthropic" => |_| crate::upstream::anthropic::answer(&["Hel", "lo!"]),
        _ => |_| crate::upstream::gemini::answer(&["Hel", "lo!"]),
    };
    Upstream::spawn_whole(move |call| match call.method.as_str() {
        "GET" => listed(call),
        _ if is_offending(call) => answer(),
        _ => well(call),
    })
}

/// What a provider of any kind answers about itself and its models.
fn listed(question: &Call) -> Script {
    if question.path.starts_with("/api/") {
        return ollama::about_itself(question, &[]);
    }
    let model =
        json!({ "id": "llama3.1", "object": "model", "type": "model", "name": "models/llama3.1" });
    Script::json(
        200,
        &json!({ "object": "list", "data": [model], "models": [model], "has_more": false }),
    )
}

fn config_of(offence: &Offence, upstream: &Upstream) -> Config {
    Config::new()
        .keys(keys())
        .provider(quick(Provider::new("p", offence.backend, upstream.url())))
        .default_providers(["p"])
}

async fn ask(gateway: &Gateway, who: &str, body: &Value) -> Answer {
    post_json_with(&gateway.url("/v1/chat"), &key(who), body).await
}

#[tokio::test]
async fn whatever_one_caller_s_requests_meet_another_s_are_answered() {
    for (place, offence) in offences().iter().enumerate() {
        let upstream = upstream(offence);
        let gateway = spawn_gateway(config_of(offence, &upstream)).await;
        assert_eq!(ask(&gateway, "sk-bystander", &another_chat()).await.status, 200);
        for round in 0..12 {
            let offending =
                send(&gateway, &key("sk-offender"), chat(&format!("offend {place} {round}")));
            let bystander = ask(&gateway, "sk-bystander", &another_chat()).await;
            assert_eq!(bystander.status, 200, "row {place}, round {round}: {bystander:?}");
            let offending = offending.await.unwrap();
            assert_eq!(offending.status, offence.status, "row {place}: {offending:?}");
            let said = offending.text();
            assert!(said.contains(offence.says), "row {place}: {said}");
            assert!(!said.contains("credentials"), "row {place}: {said}");
        }
        let calls = upstream.calls_so_far().into_iter().filter(is_offending).count();
        assert!(calls <= 12 * offence.calls, "row {place}: {calls} calls");
        let view = snapshot(&gateway, "p").await;
        assert_eq!(view["breaker"]["state"], "closed", "row {place}");
        assert_eq!(view["models"][0]["breaker"]["state"], "closed", "row {place}");
        gateway.end(25).await;
    }
}

#[tokio::test]
async fn a_failure_repeated_to_one_request_while_others_are_answered_is_400() {
    let offence = Offence {
        backend: "openai",
        answer: || openai::error(500, "server_error", "something in here broke"),
        status: 400,
        says: "something in here broke",
        calls: 2,
    };
    let upstream = upstream(&offence);
    let gateway = spawn_gateway(config_of(&offence, &upstream)).await;
    assert_eq!(ask(&gateway, "sk-bystander", &another_chat()).await.status, 200);
    let answer = ask(&gateway, "sk-offender", &chat("offend")).await;
    assert_eq!(
        (answer.status, answer.json()["detail"].as_str()),
        (offence.status, Some(offence.says))
    );
    let calls = upstream.calls_so_far().into_iter().filter(is_offending).count();
    assert_eq!(calls, offence.calls, "no third try");
    gateway.end(2).await;
}

#[tokio::test]
async fn a_burst_of_one_caller_s_failures_opens_no_breaker_for_another() {
    let offence = Offence {
        backend: "openai",
        answer: || openai::error(500, "server_error", "something in here broke"),
        status: 400,
        says: "",
        calls: 2,
    };
    let upstream = upstream(&offence);
    let gateway = spawn_gateway(config_of(&offence, &upstream)).await;
    assert_eq!(ask(&gateway, "sk-bystander", &another_chat()).await.status, 200);
    let burst =
        |round: usize| send(&gateway, &key("sk-offender"), chat(&format!("offend {round}")));
    let burst: Vec<_> = (0..40).map(burst).collect();
    for _ in 0..20 {
        assert_eq!(ask(&gateway, "sk-bystander", &another_chat()).await.status, 200);
    }
    assert!(answers(burst).await.iter().all(|answer| [400, 502].contains(&answer.status)));
    gateway.end(61).await;
}

#[tokio::test]
async fn a_request_that_crashes_the_model_again_and_again_is_answered_at_once_and_shown() {
    let offence =
        Offence { backend: "ollama", answer: Script::hang_up, status: 502, says: "", calls: 2 };
    let upstream = upstream(&offence);
    let gateway = spawn_gateway(config_of(&offence, &upstream)).await;
    let offending = chat("offend");
    for _ in 0..2 {
        assert_eq!(ask(&gateway, "sk-offender", &offending).await.status, 502);
    }
    let chats = |call: &&Call| call.method == "POST" && !call.is_load();
    let calls_so_far = || upstream.calls_so_far().iter().filter(chats).count();
    let calls = calls_so_far();
    assert!((3..=4).contains(&calls), "{calls}");
    for _ in 0..10 {
        let answer = ask(&gateway, "sk-offender", &offending).await;
        assert_eq!((answer.status, answer.header("x-should-retry")), (502, Some("false")));
        let said = answer.text();
        assert!(
            said.contains("made `llama3.1` fail 3 times") && said.contains("closed the connection"),
            "{said}"
        );
    }
    assert_eq!(calls_so_far(), calls, "it costs nobody anything");
    // Another request of the same caller, and the same request of another one, are answered.
    assert_eq!(ask(&gateway, "sk-offender", &another_chat()).await.status, 200);
    assert_eq!(ask(&gateway, "sk-bystander", &another_chat()).await.status, 200);
    let view = snapshot(&gateway, "p").await;
    assert_eq!(view["quarantined"][0]["caller"], "offender");
    assert_eq!(view["quarantined"][0]["crashes"], 3);
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("llm_gateway_quarantined", &[("provider", "p")]), 1.0);
    let refused = metrics.sum("llm_gateway_admissions_total", &[("decision", "quarantine")]);
    assert!(refused >= 10.0, "{refused}");
    gateway.logged("a request is in quarantine").await;
    gateway.end(14).await;
}

#[tokio::test]
async fn a_model_that_reports_an_error_in_its_answer_has_not_crashed() {
    let offence = Offence {
        backend: "ollama",
        answer: || ollama::stream_head().piece(ollama::error_line("something in here broke")),
        status: 502,
        says: "",
        calls: 2,
    };
    let upstream = upstream(&offence);
    let gateway = spawn_gateway(config_of(&offence, &upstream)).await;
    assert_eq!(ask(&gateway, "sk-bystander", &another_chat()).await.status, 200);
    for _ in 0..4 {
        let answer = ask(&gateway, "sk-offender", &chat("offend")).await;
        assert!(answer.status >= 400 && answer.text().contains("something in here broke"));
    }
    let calls = upstream.calls_so_far().into_iter().filter(is_offending).count();
    assert!(calls >= 5, "it is asked each time: {calls}");
    assert_eq!(snapshot(&gateway, "p").await["quarantined"], json!([]));
    gateway.end(5).await;
}

#[tokio::test]
async fn five_different_requests_open_the_breaker_of_a_dead_model_and_refusals_say_why() {
    for failure in [|| ollama::error(500, "out of everything"), Script::reset] {
        let died = Upstream::spawn(move |call| match call.number {
            0 => ollama::reply(call),
            _ => failure(),
        });
        let config = Config::new()
            .keys(keys())
            .provider(
                quick(Provider::ollama(&died).name("p")).breaker(Breaker::default().open("60s")),
            )
            .default_providers(["p"]);
        let gateway = spawn_gateway(&config).await;
        assert_eq!(ask(&gateway, "sk-offender", &another_chat()).await.status, 200);
        for _ in 0..5 {
            let answer = ask(&gateway, "sk-offender", &another_chat()).await;
            // The last one's own second try finds it closed.
            assert!([400, 502, 503].contains(&answer.status), "{answer:?}");
        }
        let refused = ask(&gateway, "sk-bystander", &another_chat()).await;
        assert_eq!(refused.status, 503, "{refused:?}");
        let said = refused.text();
        assert!(said.contains("left alone for"), "{said}");
        assert!(
            said.contains("out of everything") || said.contains("closed the connection"),
            "{said}"
        );
        gateway.end(7).await;
    }
}

#[tokio::test]
async fn one_request_sent_again_and_again_does_not_open_a_breaker() {
    let upstream = Upstream::spawn(|call| match is_offending(call) {
        true => ollama::error(500, "broken somehow"),
        false => ollama::reply(call),
    });
    let gateway = spawn_gateway(
        Config::new()
            .keys(keys())
            .provider(quick(Provider::ollama(&upstream).name("p")))
            .default_providers(["p"]),
    )
    .await;
    for _ in 0..12 {
        assert_eq!(ask(&gateway, "sk-offender", &chat("offend")).await.status, 502);
    }
    assert_eq!(ask(&gateway, "sk-bystander", &another_chat()).await.status, 200);
    gateway.end(13).await;
}

#[tokio::test]
async fn credentials_that_are_refused_close_the_provider_whichever_kind_it_is() {
    for backend in ["openai", "anthropic", "gemini", "ollama"] {
        let upstream = Upstream::spawn_whole(|_| coded(401, &json!({ "message": "who are you?" })));
        let gateway = spawn_gateway(
            Config::new()
                .keys(keys())
                .provider(
                    quick(Provider::new("p", backend, upstream.url())).api_key("sk-wrong-and-long"),
                )
                .default_providers(["p"]),
        )
        .await;
        let first = ask(&gateway, "sk-offender", &another_chat()).await;
        assert_eq!(first.status, 502, "{backend}: {first:?}");
        assert_eq!(snapshot(&gateway, "p").await["breaker"]["state"], "auth_failed", "{backend}");
        let next = ask(&gateway, "sk-bystander", &another_chat()).await;
        assert_eq!(next.status, 503, "{backend}: {next:?}");
        assert!(next.text().contains("credentials"), "{next:?}");
        gateway.logged("it does not accept the gateway's credentials").await;
        gateway.end(2).await;
    }
}

#[tokio::test]
async fn a_model_that_still_loads_is_waited_for_in_the_line_and_serves_all_within_a_second_of_being_up()
 {
    let began = std::sync::OnceLock::new();
    let upstream = Upstream::spawn(move |call| {
        let since: &std::time::Instant = began.get_or_init(std::time::Instant::now);
        if since.elapsed() < Duration::from_millis(2500) {
            return coded(
                503,
                &json!({ "message": "Loading model", "type": "unavailable_error", "code": 503 }),
            );
        }
        let _ = call;
        openai::answer(&["up"])
    });
    let gateway = spawn_gateway(
        Config::new()
            .keys(keys())
            .provider(quick(Provider::new("p", "openai", upstream.url())))
            .default_providers(["p"]),
    )
    .await;
    let asked = std::time::Instant::now();
    let sent: Vec<_> =
        (0..8).map(|_| send(&gateway, &key("sk-offender"), another_chat())).collect();
    let answers = answers(sent).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    // One asks for all, each second.
    let calls = upstream.calls_so_far().len();
    assert!(calls <= 8 + 4 + 3, "{calls}");
    gateway.end(8).await;
}

#[tokio::test]
async fn a_model_that_never_loads_is_refused_with_the_reason_and_retry_after() {
    let upstream = Upstream::spawn(|_| {
        ollama::error(503, "server busy, please try again.  maximum pending requests exceeded")
    });
    let gateway = spawn_gateway(
        Config::new()
            .keys(keys())
            .provider(quick(Provider::ollama(&upstream).name("p")).max_queue_wait("1500ms"))
            .default_providers(["p"]),
    )
    .await;
    let answer = ask(&gateway, "sk-offender", &another_chat()).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("overloaded")));
    assert!(answer.text().contains("server busy"), "{answer:?}");
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    gateway.end(1).await;
}
