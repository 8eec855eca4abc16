//! Whether a request is carried or translated, how clients learn that, and what holds for both.

use std::time::Duration;

use llm_gateway::policy::{OnCut, Trust};
use serde_json::json;

use super::{answered, of_kind};
use crate::client::{post_bytes, post_json, post_json_with, stream_bytes};
use crate::harness::{
    Cache, Config, Key, Provider, Route, Server, Target, Timeouts, spawn_gateway,
};
use crate::upstream::{Call, Gate, Script, Upstream, anthropic, ollama, openai};

#[tokio::test]
async fn the_way_is_explained_for_every_candidate_with_its_reason() {
    let upstream = Upstream::spawn(answered);
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::openai("own", &upstream))
            .provider(Provider::openai("first", &upstream).system("first"))
            .provider(Provider::ollama(&upstream))
            .route(
                Route::new("m", [Target::new("first", "m")])
                    .fallback([Target::new("own", "m"), Target::new("ollama", "m")]),
            ),
    )
    .await;
    let url = gateway.url("/v1/chat/completions");
    let explain = [("x-gateway-explain", "route")];
    let told = async |roles: &[&str]| {
        let message = |role: &&str| json!({ "role": role, "content": "a" });
        let messages: Vec<_> = roles.iter().map(message).collect();
        let body = json!({ "model": "m", "messages": messages, "new": 1 });
        let answer = post_json_with(&url, &explain, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("x-gateway-route").unwrap().to_owned()
    };
    let plain = told(&["system", "user"]).await;
    let ways = "way=first/m carried, own/m carried, ollama/m translated (apis)";
    assert!(plain.ends_with(ways), "{plain}");
    assert_eq!(upstream.calls_so_far()[0].json()["messages"][0]["role"], "system");
    let late = told(&["system", "user", "system"]).await;
    let ways = "way=first/m translated (system), own/m carried, ollama/m translated (apis)";
    assert!(late.ends_with(ways), "{late}");
    let sent = upstream.calls_so_far()[1].json();
    let roles = sent["messages"].as_array().unwrap().iter().map(|message| &message["role"]);
    assert_eq!(roles.filter(|role| *role == "system").count(), 1, "{sent}");
    gateway.end(2).await;
}

#[tokio::test]
async fn a_whole_answer_may_take_timeouts_whole_and_is_then_requested_elsewhere() {
    let slow = Upstream::spawn(|_| Script::never());
    let other = Upstream::spawn(|call| ollama::reply_with(call, &["hi"]));
    let gateway = spawn_gateway(
        Config::new()
            .provider(
                Provider::openai("slow", &slow)
                    .timeouts(Timeouts::default().first_event("30s").whole("200ms"))
                    .no_retries(),
            )
            .provider(Provider::ollama(&other))
            .route(
                Route::new("m", [Target::new("slow", "m")]).fallback([Target::new("ollama", "m")]),
            ),
    )
    .await;
    let url = gateway.url("/v1/chat/completions");
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "a" }] });
    let answer = post_json(&url, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-gateway-provider"), Some("ollama"));
    let mut direct = body.clone();
    direct["model"] = "slow/m".into();
    let answer = post_json(&url, &direct).await;
    assert_eq!(answer.status, 504);
    assert!(answer.text().contains("did not finish a whole answer in time"), "{}", answer.text());
    gateway.end(2).await;
}

#[tokio::test]
async fn a_whole_answer_is_not_bound_by_the_wait_for_a_first_piece() {
    let late = Upstream::spawn(|_| openai::whole(&["hi"]).head_pause(Duration::from_millis(400)));
    let gateway = spawn_gateway(
        Provider::openai("own", &late)
            .timeouts(Timeouts::default().first_event("100ms").whole("20s"))
            .no_retries(),
    )
    .await;
    let url = gateway.url("/v1/chat/completions");
    let ask = |stream: bool| json!({ "model": "m", "messages": [], "stream": stream });
    assert_eq!(post_json(&url, &ask(false)).await.status, 200);
    let streamed = post_json(&url, &ask(true)).await;
    assert!(streamed.text().contains("did not begin to answer in time"), "{}", streamed.text());
    gateway.end(2).await;
}

/// Streams of which the gateway knows nothing but how they end: path, provider, request, its
/// pieces, their end.
const UNKNOWN: [(&str, &str, &str, &str, &str); 5] = [
    (
        "/v1/chat/completions",
        "openai",
        r#"{"model":"m","messages":[],"stream":true}"#,
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"hologram\":1.0}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    ),
    (
        "/v1/messages",
        "anthropic",
        r#"{"model":"m","max_tokens":9,"messages":[],"stream":true}"#,
        "event: tomorrow\ndata: {\"type\":\"tomorrow\",\"x\":1.0}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ),
    (
        "/v1/responses",
        "responses",
        r#"{"model":"m","input":"a","stream":true}"#,
        "event: response.tomorrow\ndata: {\"type\":\"response.tomorrow\",\"delta\":\"x\"}\n\n",
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{}}\n\n",
    ),
    (
        "/api/chat",
        "ollama",
        r#"{"model":"m","messages":[{"role":"user","content":"a"}]}"#,
        "{\"message\":{\"hologram\":1.0}}\n",
        "{\"model\":\"m\",\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\"}\n",
    ),
    (
        "/v1beta/models/m:streamGenerateContent?alt=sse",
        "gemini",
        r#"{"contents":[{"parts":[{"text":"a"}]}]}"#,
        "data: {\"candidates\": [{\"content\": {\"parts\": [{\"hologram\": 1.0}]}}]}\r\n\r\n",
        "data: {\"candidates\": [{\"finishReason\": \"STOP\"}]}\r\n\r\n",
    ),
];

#[tokio::test]
async fn a_stream_that_is_not_understood_is_not_held_back() {
    for (path, kind, body, piece, end) in UNKNOWN {
        let gate = Gate::closed();
        let held = gate.clone();
        let upstream = Upstream::spawn(move |_| {
            let script = Script::status(200).header("content-type", "text/event-stream").chunked();
            script.piece(piece).hold(&held).piece(piece).piece(end)
        });
        let gateway = spawn_gateway(of_kind(kind, &upstream)).await;
        let mut streamed = stream_bytes(&gateway.url(path), &[], body).await;
        assert_eq!(streamed.status, 200, "{path}");
        let first = streamed.until(piece.trim_end()).await;
        gate.open();
        let pieces = streamed.rest().await;
        assert!(pieces.ended_properly, "{path}: {}", pieces.text());
        assert_eq!(first + &pieces.text(), format!("{piece}{piece}{end}"), "{path}");
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_not_understood_cannot_be_continued() {
    let text = "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n";
    let (path, _, body, unknown, _) = UNKNOWN[0];
    let dies = Upstream::spawn(move |_| Script::status(200).chunked().piece(unknown).piece(text));
    let other = Upstream::spawn(|call| ollama::reply_with(call, &["Hello"]));
    let gateway = spawn_gateway(
        Config::new().provider(of_kind("openai", &dies)).provider(Provider::ollama(&other)).route(
            Route::new("m", [Target::new("own", "m")])
                .fallback([Target::new("ollama", "m")])
                .on_cut(OnCut::Resume),
        ),
    )
    .await;
    let body = body.replace("[]", r#"[{"role":"user","content":"a"}]"#);
    let pieces = stream_bytes(&gateway.url(path), &[], &body).await.rest().await;
    assert!(!pieces.ended_properly, "{}", pieces.text());
    assert!(pieces.text().contains("hologram") && pieces.text().contains("\"error\""));
    assert_eq!(other.calls_so_far().len(), 0);
    gateway.end(1).await;
}

#[tokio::test]
async fn heartbeats_never_begin_an_answer_that_begins_by_itself() {
    let created = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n";
    let cases = [
        (
            UNKNOWN[1].0,
            "anthropic",
            UNKNOWN[1].2,
            vec![anthropic_whole()],
            "event: ping",
            "message_start\"",
        ),
        (
            UNKNOWN[2].0,
            "responses",
            UNKNOWN[2].2,
            vec![created.to_owned(), UNKNOWN[2].3.to_owned(), UNKNOWN[2].4.to_owned()],
            "keepalive",
            "response.created\"",
        ),
        // Translated: the heartbeat begins the answer, which then continues.
        (
            UNKNOWN[1].0,
            "ollama",
            r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"}],"stream":true}"#,
            vec![String::from_utf8_lossy(&ollama::line("a")).into_owned(), UNKNOWN[3].4.to_owned()],
            "event: ping",
            "message_start\"",
        ),
    ];
    for (path, kind, body, pieces, sign, begin) in cases {
        let gate = Gate::closed();
        let held = gate.clone();
        let upstream = Upstream::spawn(move |_| {
            Script::status(200).chunked().pieces(pieces.clone()).head_hold(&held)
        });
        let gateway = spawn_gateway(
            Config::new()
                .server(Server::default().heartbeat_after("50ms"))
                .provider(of_kind(kind, &upstream)),
        )
        .await;
        let mut streamed = stream_bytes(&gateway.url(path), &[], body).await;
        let mut text = streamed.until(sign).await;
        gate.open();
        let rest = streamed.rest().await;
        assert!(rest.ended_properly, "{path}: {}", rest.text());
        text.push_str(&rest.text());
        assert_eq!(text.matches(&format!("\"type\":\"{begin}")).count(), 1, "{kind}: {text}");
        gateway.end(1).await;
    }
}

fn anthropic_whole() -> String {
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n";
    format!("{start}{}{}", UNKNOWN[1].3, UNKNOWN[1].4)
}

#[tokio::test]
async fn the_billing_line_is_sent_only_to_anthropic_unless_the_operator_says_otherwise() {
    let bill = "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli; cch=fa690;";
    let body = format!(
        r#"{{"model":"m", "max_tokens":9,"system":[{{"type":"text","text":"{bill}"}}, {{"type":"text","text":"You","cache_control":{{"type":"ephemeral"}}}}],"messages":[]}}"#
    );
    let without = body.replace(&format!(r#"{{"type":"text","text":"{bill}"}},"#), "");
    let name = Some("x-anthropic-billing-header");
    let upstream = Upstream::spawn(answered);
    for (kind, trust, drops, expected, dropped) in [
        ("anthropic", Trust::Cloud, true, &body, None),
        ("anthropic", Trust::Local, true, &without, name),
        ("anthropic", Trust::Local, false, &body, None),
        ("openai", Trust::Cloud, true, &without, name),
        ("openai", Trust::Local, false, &body, None),
    ] {
        let provider = of_kind(kind, &upstream).trust(trust).drop_volatile(drops);
        let gateway = spawn_gateway(provider.apis(["messages"])).await;
        let answer = post_bytes(&gateway.url("/v1/messages"), &[], &body).await;
        let case = format!("{kind} {trust:?} {drops}");
        assert_eq!(answer.header("x-gateway-dropped"), dropped, "{case}");
        let sent = upstream.calls_so_far().pop().unwrap().body;
        assert_eq!(String::from_utf8(sent.to_vec()).unwrap(), *expected, "{case}");
        gateway.end(1).await;
    }
}

/// A response that the provider stores.
fn stored(_: &Call) -> Script {
    let whole = r#"{"object":"response","id":"resp_2","status":"completed","output":[]}"#;
    Script::status(200).header("content-type", "application/json").piece(whole)
}

#[tokio::test]
async fn a_turn_that_only_the_provider_knows_is_carried_to_it() {
    let own = Upstream::spawn(stored);
    let other = Upstream::spawn(|_| anthropic::answer(&["a"]));
    let gateway = spawn_gateway(
        Config::new()
            .provider(of_kind("responses", &own).models(["m"]))
            .provider(Provider::new("claude", "anthropic", other.url()).models(["n"])),
    )
    .await;
    let url = gateway.url("/v1/responses");
    let ask = |model: &str| {
        format!(r#"{{"model":"{model}","previous_response_id":"resp_1", "input":"b"}}"#)
    };
    let answer = post_bytes(&url, &[], &ask("m")).await;
    assert_eq!((answer.status, answer.json()["id"].clone()), (200, json!("resp_2")));
    assert_eq!(own.calls_so_far().pop().unwrap().body, ask("m"));
    let unknown = post_bytes(&url, &[], &ask("n")).await;
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    assert_eq!(other.calls_so_far().len(), 0);
    gateway.end(2).await;
}

#[tokio::test]
async fn where_several_callers_share_an_account_none_goes_on_from_what_may_be_another_s() {
    let upstream = Upstream::spawn(answered);
    let bodies = [
        r#"{"model":"m","previous_response_id":"resp_of_another","input":"b"}"#,
        r#"{"model":"m","conversation":"conv_of_another","input":"b"}"#,
        r#"{"model":"m","conversation":{"id":"conv_of_another"},"input":"b"}"#,
        r#"{"model":"m","input":[{"type":"item_reference","id":"msg_of_another"}]}"#,
        r#"{"model":"m","input":[{"id":"msg_of_another"}],"tools":[{"type":"new"}]}"#,
    ];
    let config = Config::new()
        .keys([Key::new("a"), Key::new("b")])
        .provider(of_kind("responses", &upstream));
    let gateway = spawn_gateway(config).await;
    for body in bodies {
        let answer =
            post_bytes(&gateway.url("/v1/responses"), &[("x-api-key", "sk-a")], body).await;
        assert_eq!(answer.status, 404, "{body}: {}", answer.text());
        assert!(answer.text().contains("_of_another"), "{}", answer.text());
    }
    assert_eq!(upstream.calls_so_far().len(), 0);
    gateway.end(bodies.len()).await;
}

#[tokio::test]
async fn what_a_provider_would_fall_back_to_by_itself_stays_within_the_scope_of_the_key() {
    let upstream = Upstream::spawn(answered);
    let gateway = spawn_gateway(
        Config::new()
            .key(Key::new("narrow").models(["m"]))
            .key(Key::new("all"))
            .provider(of_kind("openai", &upstream)),
    )
    .await;
    let url = gateway.url("/v1/chat/completions");
    let body = r#"{"model":"m","messages":[],"models":["dear"],"fallbacks":["dear"]}"#;
    let narrow = post_bytes(&url, &[("x-api-key", "sk-narrow")], body).await;
    assert_eq!(narrow.header("x-gateway-dropped"), Some("models, fallbacks"));
    let all = post_bytes(&url, &[("x-api-key", "sk-all")], body).await;
    assert_eq!((narrow.status, all.status, all.header("x-gateway-dropped")), (200, 200, None));
    let sent = upstream.calls_so_far();
    assert_eq!(sent[0].body, r#"{"model":"m","messages":[]}"#);
    assert_eq!(sent[1].body, body);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_turn_of_a_conversation_that_the_provider_keeps_is_never_answered_from_the_cache() {
    let upstream = Upstream::spawn(stored);
    let gateway = spawn_gateway(
        Config::new().cache(Cache::default().ttl("1m")).provider(of_kind("responses", &upstream)),
    )
    .await;
    let url = gateway.url("/v1/responses");
    for (body, calls) in [
        (r#"{"model":"m","conversation":"conv_1","input":"b","temperature":0}"#, 2),
        (r#"{"model":"m","background":true,"input":"b","temperature":0}"#, 4),
    ] {
        for _ in 0..2 {
            assert_eq!(post_bytes(&url, &[], body).await.status, 200);
        }
        assert_eq!(upstream.calls_so_far().len(), calls, "{body}");
    }
    gateway.end(4).await;
}

#[tokio::test]
async fn a_key_that_is_written_twice_anywhere_is_never_passed_on() {
    let upstream = Upstream::spawn(answered);
    for (path, kind, body) in [
        ("/v1/chat/completions", "openai", r#"{"model":"m","messages":[],"n":1,"n":2}"#),
        ("/v1/messages", "anthropic", r#"{"model":"m","max_tokens":1,"messages":[{"a":1,"a":2}]}"#),
        ("/api/chat", "ollama", r#"{"model":"m","messages":[],"options":{"x":{"y":1,"y":2}}}"#),
    ] {
        let gateway = spawn_gateway(of_kind(kind, &upstream)).await;
        let answer = post_bytes(&gateway.url(path), &[], body).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        gateway.end(1).await;
    }
    assert_eq!(upstream.calls_so_far().len(), 0);
}
