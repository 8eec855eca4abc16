//! Requests that are passed on unchanged, and their answers.

mod answers;
mod bounds;
mod endings;
mod gemini;
mod promises;
mod ways;

use serde_json::json;

use crate::client::{post_bytes, post_json, stream_bytes};
use crate::harness::{Config, Names, Provider, Route, Target, spawn_gateway};
use crate::upstream::{Call, Script, Upstream, ollama};

/// Bodies with everything that no gateway knows or would write itself, by their path.
const BODIES: [(&str, &str); 16] = [
    (
        "/v1/chat/completions",
        "{ \"z_new\" : {\"b\":1.0e+2,\"a\":[ ]},\n\t\"model\":\"m\",\"stream\":false , \"seed\":12345678901234567890123, \"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"caf\\u00e9 \\/\"},{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AAAA\",\"format\":\"wav\"}},{\"type\":\"video_url\",\"video_url\":{\"url\":\"data:,\"}},{\"type\":\"hologram\",\"x\":null}],\"role\":\"user\",\"new\":1}],\"temperature\":0.10}\n",
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","messages":[{"role":"narrator","content":"x"}],"tools":[{"type":"custom","custom":{"name":"f"}}],"stop":["1","2","3","4","5","6"],"n":3,"logit_bias":{"1":-100},"response_format":{"type":"json_object","schema":{"type":"object"}},"audio":{"voice":"a"},"modalities":["text","audio"]}"#,
    ),
    (
        "/v1/chat/completions",
        r#"{"model":"m","messages":[],"max_tokens":-1,"user":"u","nested":{"k":[[]]}}"#,
    ),
    (
        "/v1/completions",
        r#"{"model":"m","prompt":"<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>","max_tokens":32,"top_k":4,"echo":true}"#,
    ),
    ("/v1/completions", r#"{"model":"m","prompt":[[1,2,3],[4]],"n":2,"best_of":3}"#),
    (
        "/v1/embeddings",
        r#"{"input":[[15339,1917]],"model":"m","encoding_format":"base64","x":1e3}"#,
    ),
    (
        "/v1/messages",
        r#"{"model":"m","max_tokens":9,"thinking":{"type":"adaptive","display":"omitted"},"output_config":{"effort":"high"},"context_management":{"edits":[]},"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":8},{"name":"f","input_schema":{"type":"object"},"defer_loading":true}],"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERg=="}},{"type":"tool_reference","tool_name":"x"}]}]},{"role":"system","content":[{"type":"text","text":"late","cache_control":{"type":"ephemeral","ttl":"1h"}}]}]}"#,
    ),
    (
        "/v1/messages/count_tokens",
        r#"{ "model":"m", "messages":[{"role":"user","content":[{"type":"fresh","x":1.50}]}]}"#,
    ),
    (
        "/api/chat",
        r#"{"model":"m","stream":false,"messages":[{"role":"thinker","content":"a","new":true}],"options":{"num_ctx":8192,"mirostat":2},"keep_alive":-1,"think":"xhigh"}"#,
    ),
    (
        "/api/generate",
        r#"{"model":"m","stream":false,"raw":true,"prompt":"<|fim|>","suffix":"}","context":[1,2,3],"template":"{{ .Prompt }}","images":["AAAA"]}"#,
    ),
    ("/api/embed", r#"{"model":"m","input":["a"],"options":{"num_ctx":4},"later":[1.0]}"#),
    (
        "/v1beta/models/m:generateContent",
        "{ \"contents\" : [{\"parts\":[{\"text\":\"caf\\u00e9 \\/\"},{\"hologram\":{\"x\":null}},{\"fileData\":{\"fileUri\":\"files/a\",\"mime_type\":\"video/mp4\"},\"videoMetadata\":{\"fps\":1.50}},{\"inline_data\":{\"mimeType\":\"model/new\",\"data\":\"AAAA\"}}],\"role\":\"narrator\"}],\n\t\"cachedContent\":\"cachedContents/a\", \"tools\":[{\"googleSearch\":{}},{\"fileSearch\":{\"fileSearchStoreNames\":[\"s\"]}},{\"tomorrow\":{\"a\":1e2}}],\"toolConfig\":{\"retrievalConfig\":{\"languageCode\":\"en\"}},\"generation_config\":{\"candidateCount\":3,\"topK\":12345678901234567890123,\"speechConfig\":{}},\"safetySettings\":[],\"serviceTier\":\"flex\"}\n",
    ),
    (
        "/v1beta/models/m:generateContent",
        r#"{"contents":[{"role":"user","parts":[{"functionResponse":{"id":"c","name":"f","response":{"fileUri":1.0},"parts":[{"inlineData":{"mimeType":"image/png","data":"AA"}}],"willContinue":true}}]},{"role":"model","parts":[{"functionCall":{"name":"f","args":{"a":1.0}},"thoughtSignature":"c2ln"},{"executableCode":{"language":"PYTHON","code":"1"}}]}],"model":"models/m"}"#,
    ),
    (
        "/v1beta/models/m:countTokens",
        r#"{"generateContentRequest":{"model":"models/m","contents":[{"parts":[{"text":"a","new":1.0}]}]}}"#,
    ),
    (
        "/v1beta/models/m:embedContent",
        r#"{"content":{"parts":[{"text":"a"},{"inlineData":{"mimeType":"image/png","data":"AA"}}]},"taskType":"NEW","title":"t"}"#,
    ),
    (
        "/v1beta/models/m:batchEmbedContents",
        r#"{"requests":[{"model":"models/m","content":{"parts":[{"text":"a"}]},"taskType":"A"},{"model":"m","content":{"parts":[{"text":"b"}]},"taskType":"B"}]}"#,
    ),
];

/// One answer for each path, each with things that no gateway knows or would write so itself.
fn answer_at(path: &str) -> &'static str {
    match path {
        "/v1/chat/completions" => {
            "{ \"id\":\"c\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"caf\\u00e9\",\"annotations\":[{\"new\":1.0e2}]},\"finish_reason\":\"stop\"},{\"index\":1}],\n \"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"big\":12345678901234567890123},\"model\":\"m-2026\"}\n"
        }
        "/v1/completions" => {
            r#"{"choices":[{"text":" b","finish_reason":"stop","index":0,"logprobs":null}],"usage":{"prompt_tokens":3,"completion_tokens":1}, "new":{}}"#
        }
        "/v1/embeddings" => {
            r#"{"data":[{"embedding":"AAAAPw==","index":0,"new":1}],"usage":{"prompt_tokens":3}}"#
        }
        "/v1/messages" => {
            r#"{"type":"message","id":"msg_1","role":"assistant","content":[{"type":"server_tool_use","id":"s","name":"web_search","input":{}},{"type":"brand_new","x":[1.0]},{"type":"text","text":"hi","citations":[{"a":1}]}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":1,"server_tool_use":{"web_search_requests":1}},"container":null}"#
        }
        "/v1/messages/count_tokens" => r#"{ "input_tokens": 3, "new": 1.0 }"#,
        "/api/chat" => {
            r#"{"model":"m","created_at":"2026-01-01T00:00:00.1Z","message":{"role":"assistant","content":"hi","new":1},"done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":1,"load_duration":5,"prompt_eval_duration":500000000,"eval_duration":7}"#
        }
        "/api/generate" => {
            r#"{"model":"m","response":"x","done":true,"done_reason":"stop","context":[1,2,3,4],"prompt_eval_count":3,"eval_count":1}"#
        }
        "/api/embed" => r#"{"model":"m","embeddings":[[0.10,1e-3]],"prompt_eval_count":3,"new":1}"#,
        path if path.ends_with(":generateContent") => {
            "{\n  \"candidates\" : [{\"content\":{\"parts\":[{\"text\":\"caf\\u00e9\",\"partMetadata\":{}},{\"hologram\":1.0}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"groundingMetadata\":{\"x\":[1e2]}},{\"index\":1,\"content\":{},\"finishReason\":\"MAX_TOKENS\"}],\n \"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2,\"big\":12345678901234567890123},\"modelVersion\":\"m-2026\"}\n"
        }
        path if path.ends_with(":countTokens") => r#"{ "totalTokens": 3, "new": 1.0 }"#,
        path if path.ends_with(":embedContent") => {
            r#"{"embedding":{"values":[0.10,1e-3],"shape":[2]},"usageMetadata":{"promptTokenCount":3}}"#
        }
        path if path.ends_with(":batchEmbedContents") => {
            r#"{"embeddings":[{"values":[0.10]},{"values":[1e-3],"new":1}],"usageMetadata":{"promptTokenCount":3}}"#
        }
        path => panic!("nobody asks at {path}"),
    }
}

fn answered(call: &Call) -> Script {
    let path = call.path.split('?').next().unwrap();
    Script::status(200).header("content-type", "application/json").piece(answer_at(path))
}

/// The provider `own`, which speaks this API, or with `responses` also OpenAI's newer one.
fn of_kind(kind: &str, upstream: &Upstream) -> Provider {
    match kind {
        "openai" => Provider::openai("own", upstream),
        "responses" => Provider::openai("own", upstream).apis(["responses"]),
        kind => Provider::new("own", kind, upstream.url()),
    }
}

/// The kind of provider that speaks the API of this path.
fn kind_of(path: &str) -> &'static str {
    match path {
        path if path.starts_with("/v1/messages") => "anthropic",
        path if path.starts_with("/v1beta/") => "gemini",
        path if path.starts_with("/v1/") => "openai",
        _ => "ollama",
    }
}

#[tokio::test]
async fn any_request_arrives_as_it_was_sent_and_any_answer_comes_back_as_it_was_given() {
    let upstream = Upstream::spawn(answered);
    for (path, body) in BODIES {
        let kind = kind_of(path);
        let url = if kind == "openai" { format!("{}/v1", upstream.url()) } else { upstream.url() };
        let provider = Provider::new(kind, kind, &url);
        // What decides how a model is loaded is the operator's otherwise.
        let provider = match kind {
            "ollama" => provider.model_settings(toml::toml! { m = { pin = false } }),
            _ => provider.models(["m"]),
        };
        let gateway = spawn_gateway(provider).await;
        let answer = post_bytes(&gateway.url(path), &[], body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.text(), answer_at(path), "{path}");
        assert_eq!(answer.header("x-gateway-dropped"), None, "{path}");
        let call = upstream.calls_so_far().pop().unwrap();
        assert_eq!(call.path, path);
        assert_eq!(std::str::from_utf8(&call.body).unwrap(), body, "{path}");
        gateway.settled().await;
        let tokens = gateway.metrics().await;
        let prompt = tokens.sum("llm_gateway_tokens_total", &[("kind", "prompt")]);
        let is_counted = path != "/v1/messages/count_tokens" && !path.ends_with(":countTokens");
        assert_eq!(prompt, if is_counted { 3.0 } else { 0.0 }, "{path}");
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn an_alias_is_the_only_thing_that_changes_on_either_way() {
    let upstream = Upstream::spawn(answered);
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::openai("openai", &upstream))
            .route(Route::new("alias", [Target::new("openai", "real")])),
    )
    .await;
    let body = "{ \"model\" : \"al\\u0069as\", \"messages\":[] ,\"n\":1.0}";
    let answer = post_bytes(&gateway.url("/v1/chat/completions"), &[], body).await;
    let expected = answer_at("/v1/chat/completions").replace("m-2026", "alias");
    assert_eq!(answer.text(), expected);
    let call = upstream.calls_so_far().pop().unwrap();
    assert_eq!(call.body, body.replace("al\\u0069as", "real"));
    gateway.end(1).await;
}

#[tokio::test]
async fn known_headers_and_the_query_are_passed_on_and_credentials_never() {
    let upstream = Upstream::spawn(answered);
    let gateway =
        spawn_gateway(Provider::new("anthropic", "anthropic", upstream.url()).api_key("own")).await;
    let headers = [
        ("anthropic-beta", "context-management-2025-06-27,new-1"),
        ("anthropic-version", "2027-01-01"),
        ("x-api-key", "clients"),
        ("cookie", "a=b"),
        ("openai-organization", "org"),
    ];
    let body = r#"{"model":"m","max_tokens":9,"messages":[],"context_management":{}}"#;
    let url = gateway.url("/v1/messages?beta=true&key=clients");
    let answer = post_bytes(&url, &headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let call = upstream.calls_so_far().pop().unwrap();
    assert_eq!(call.path, "/v1/messages?beta=true");
    assert_eq!(call.header("anthropic-beta"), Some("context-management-2025-06-27,new-1"));
    assert_eq!(call.header("anthropic-version"), Some("2027-01-01"));
    assert_eq!(call.header("x-api-key"), Some("own"));
    assert_eq!((call.header("cookie"), call.header("openai-organization")), (None, None));
    assert!(!call.head.contains("clients"), "{}", call.head);
    gateway.end(1).await;
}

#[tokio::test]
async fn what_the_operator_adds_is_spliced_in_and_what_is_there_stays() {
    let upstream = Upstream::spawn(answered);
    let provider = Provider::openai("openai", &upstream)
        .default_max_tokens(7)
        .body(toml::toml! { top_k = 5 user = "no" chat = { a = 1, b = 2 } });
    let gateway = spawn_gateway(provider).await;
    let body = "{\"model\":\"m\", \"chat\": {\"b\": 1.0},\n\"messages\":[], \"user\":\"me\" }";
    post_bytes(&gateway.url("/v1/chat/completions"), &[], body).await;
    let call = upstream.calls_so_far().pop().unwrap();
    let expected = "{\"model\":\"m\", \"chat\": {\"b\": 1.0,\"a\":1},\n\"messages\":[], \
                    \"user\":\"me\",\"max_tokens\":7,\"top_k\":5 }";
    assert_eq!(call.body, expected);
    gateway.end(1).await;
}

#[tokio::test]
async fn what_cannot_be_translated_is_refused_only_where_it_must_be() {
    let (own, other) = (Upstream::spawn(answered), Upstream::spawn(ollama::reply));
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::ollama(&other).models(["small"]))
            .provider(Provider::openai("openai", &own).models(["m"]))
            .route(
                Route::new("both", [Target::new("ollama", "m")])
                    .fallback([Target::new("openai", "m")]),
            ),
    )
    .await;
    let ask = |model: &str| json!({ "model": model, "messages": [{ "role": "user", "content": 7 }], "x": 1 });
    let url = gateway.url("/v1/chat/completions");
    let refused = post_json(&url, &ask("small")).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("messages"), "{}", refused.text());
    let passed = post_json(&url, &ask("both")).await;
    assert_eq!(passed.status, 200, "{}", passed.text());
    assert_eq!(passed.header("x-gateway-provider"), Some("openai"));
    assert_eq!((own.calls_so_far().len(), other.calls_so_far().len()), (1, 0));
    gateway.end(2).await;
}

#[tokio::test]
async fn a_model_that_is_named_twice_is_never_passed_on() {
    let upstream = Upstream::spawn(answered);
    let gateway = spawn_gateway(Provider::ollama(&upstream).models(["m"])).await;
    for body in [
        r#"{"model":"m","model":"secret","messages":[{"role":"user","content":"a"}]}"#,
        r#"{"model":"m","Model":"secret","messages":[{"role":"user","content":"a"}]}"#,
        r#"{"model":"m","MODE\u004c":"secret","raw":true,"messages":7}"#,
    ] {
        post_bytes(&gateway.url("/api/chat"), &[], body).await;
    }
    for call in upstream.calls_so_far() {
        assert!(!String::from_utf8_lossy(&call.body).contains("secret"), "{:?}", call.body);
    }
    gateway.end(3).await;
}

#[tokio::test]
async fn a_provider_may_say_which_apis_it_speaks() {
    let upstream = Upstream::spawn(answered);
    let url = format!("{}/v1", upstream.url());
    let gateway = spawn_gateway(
        Config::new()
            .provider(
                Provider::new("more", "openai", &url).models(["m"]).apis(["messages", "responses"]),
            )
            .provider(Provider::new("none", "openai", &url).models(["n"]).apis(Names::none())),
    )
    .await;
    let body = r#"{"model":"m","max_tokens":9,"messages":[],"new":1.0}"#;
    let answer = post_bytes(&gateway.url("/v1/messages"), &[], body).await;
    assert_eq!(answer.text(), answer_at("/v1/messages"));
    assert_eq!(upstream.calls_so_far().pop().unwrap().body, body);
    let body = r#"{"model":"n","messages":[{"role":"user","content":"a"}],"top_k":1}"#;
    let answer = post_bytes(&gateway.url("/v1/chat/completions"), &[], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.calls_so_far().pop().unwrap().json()["stream"], true);
    gateway.end(2).await;
}

#[tokio::test]
async fn chat_completions_at_an_ollama_are_translated() {
    let upstream = Upstream::spawn(ollama::reply);
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let body = r#"{"model":"m","messages":[{"role":"user","content":"a"}],"stream":true}"#;
    let url = gateway.url("/v1/chat/completions");
    let pieces = stream_bytes(&url, &[], body).await.rest().await;
    assert!(pieces.ended_properly && pieces.text().contains("[DONE]"), "{}", pieces.text());
    assert_eq!(upstream.calls_so_far().pop().unwrap().path, "/api/chat");
    gateway.end(1).await;
}
