//! What is particular to requests of Gemini's API that are passed on: the model in the path, the
//! list that grows, and what is kept in an account.

use llm_gateway::policy::OnCut;
use serde_json::Value;

use super::{answered, of_kind};
use crate::client::{post_bytes, stream_bytes};
use crate::harness::{Config, Key, Provider, Retry, Route, Target, spawn_gateway};
use crate::upstream::{Call, Script, Upstream, gemini, ollama};

const ASKED: &str = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}], "new":1}"#;

/// A gateway's configuration whose model `alias` is Gemini's `real`.
fn aliased(own: Provider) -> Config {
    Config::new().provider(own).route(Route::new("alias", [Target::new("own", "real")]))
}

fn sent(call: &Call) -> &str {
    std::str::from_utf8(&call.body).unwrap()
}

#[tokio::test]
async fn an_alias_is_replaced_wherever_a_request_names_its_model() {
    let upstream = Upstream::spawn(answered);
    let gateway = spawn_gateway(aliased(of_kind("gemini", &upstream))).await;
    for (method, body, expected) in [
        ("generateContent", ASKED, ASKED),
        (
            "generateContent",
            r#"{ "model":"models/alias" , "contents":[1.0]}"#,
            r#"{ "model":"models/real" , "contents":[1.0]}"#,
        ),
        (
            "countTokens",
            r#"{"generate_content_request":{"model":"alias","contents":[],"x":1.0}}"#,
            r#"{"generate_content_request":{"model":"models/real","contents":[],"x":1.0}}"#,
        ),
        (
            "batchEmbedContents",
            r#"{"requests": [ {"model":"models/other","x":1.0}, {"model":"models/real"} ,{"model":"models/alias"}] }"#,
            r#"{"requests": [ {"model":"models/real","x":1.0}, {"model":"models/real"} ,{"model":"models/real"}] }"#,
        ),
        ("embedContent", r#"{"content":{"x":1.0}}"#, r#"{"content":{"x":1.0}}"#),
    ] {
        let url = gateway.url(&format!("/v1beta/models/alias:{method}"));
        let answer = post_bytes(&url, &[], body).await;
        let call = upstream.calls_so_far().pop().unwrap();
        assert_eq!(sent(&call), expected, "{method}: {}", answer.text());
        assert_eq!(call.path, format!("/v1beta/models/real:{method}"));
        assert!(!answer.text().contains("m-2026"), "{}", answer.text());
        if method == "generateContent" {
            assert_eq!(answer.json()["modelVersion"], "alias");
        }
    }
    gateway.end(5).await;
}

#[tokio::test]
async fn an_alias_is_put_back_in_every_piece_of_either_form() {
    let upstream = Upstream::spawn(|call| gemini::reply(call, &["a", "b"]));
    let gateway = spawn_gateway(aliased(of_kind("gemini", &upstream))).await;
    for query in ["", "?alt=sse"] {
        let url = gateway.url(&format!("/v1beta/models/alias:streamGenerateContent{query}"));
        let pieces = stream_bytes(&url, &[], ASKED).await.rest().await;
        let text = pieces.text();
        assert!(pieces.ended_properly && !text.contains("gemini-scripted"), "{text}");
        assert_eq!(text.matches("\"alias\"").count(), 2, "{text}");
        if query.is_empty() {
            assert_eq!(serde_json::from_str::<Vec<Value>>(&text).unwrap().len(), 2);
        }
    }
    gateway.end(2).await;
}

#[tokio::test]
async fn keys_stay_here_and_of_the_query_only_the_form_of_the_answer_goes_on() {
    let upstream = Upstream::spawn(|call| gemini::reply(call, &["a", "b"]));
    let config = Config::new()
        .key(Key::new("a").key("clients"))
        .provider(of_kind("gemini", &upstream).api_key("own"));
    let gateway = spawn_gateway(config).await;
    let path = "/v1beta/models/m:streamGenerateContent";
    let query = "fields=candidates&key=clients&alt=sse&access_token=clients&quotaUser=me";
    let headers = [("x-goog-user-project", "p"), ("authorization", "Bearer clients")];
    let answer =
        stream_bytes(&gateway.url(&format!("{path}?{query}")), &headers, ASKED).await.rest().await;
    assert!(answer.ended_properly, "{}", answer.text());
    let call = upstream.calls_so_far().pop().unwrap();
    assert_eq!(call.path, format!("{path}?alt=sse"));
    assert_eq!(call.header("x-goog-api-key"), Some("own"));
    assert_eq!((call.header("x-goog-user-project"), call.header("authorization")), (None, None));
    assert!(!call.head.contains("clients"), "{}", call.head);
    for line in gateway.log_lines().iter().chain(&gateway.printed_lines()) {
        assert!(!line.contains("clients"), "{line}");
    }
    gateway.end(1).await;
}

#[tokio::test]
async fn the_operators_fields_are_filled_in_under_the_names_that_the_client_wrote() {
    let upstream = Upstream::spawn(answered);
    let fields = toml::toml! {
        generationConfig = { topK = 5, topP = 0.5 }
        labels = { a = "b" }
    };
    let provider = of_kind("gemini", &upstream).default_max_tokens(7).body(fields);
    let gateway = spawn_gateway(provider).await;
    let url = gateway.url("/v1beta/models/m:generateContent");
    for (body, expected) in [
        (
            r#"{"contents":[] , "generation_config":{"top_k":1.0} }"#,
            r#"{"contents":[] , "generation_config":{"top_k":1.0,"topP":0.5,"maxOutputTokens":7},"labels":{"a":"b"} }"#,
        ),
        (
            r#"{"generationConfig":{"max_output_tokens":9},"contents":[]}"#,
            r#"{"generationConfig":{"max_output_tokens":9,"topK":5,"topP":0.5},"contents":[],"labels":{"a":"b"}}"#,
        ),
    ] {
        post_bytes(&url, &[], body).await;
        assert_eq!(sent(&upstream.calls_so_far().pop().unwrap()), expected);
    }
    gateway.end(2).await;
}

#[tokio::test]
async fn a_list_that_breaks_off_or_fails_stays_one_with_its_error() {
    let error =
        "\r\n,\r\n{\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}";
    for end in ["", ",\r\n{\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"half", error] {
        let upstream = Upstream::spawn(move |_| gemini::listed(&["a", "b"]).piece(end));
        let gateway = spawn_gateway(of_kind("gemini", &upstream)).await;
        let url = gateway.url("/v1beta/models/m:streamGenerateContent");
        let pieces = stream_bytes(&url, &[], ASKED).await.rest().await;
        assert!(!pieces.ended_properly, "{}", pieces.text());
        let list: Vec<Value> = serde_json::from_str(&pieces.text()).unwrap();
        assert_eq!(list.len(), 3, "{}", pieces.text());
        assert!(list[2]["error"]["message"].is_string(), "{}", pieces.text());
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn another_providers_words_continue_a_stream_of_either_form() {
    for query in ["", "?alt=sse"] {
        let dies = Upstream::spawn(move |_| match query {
            "" => gemini::listed(&["Hel", "lo"]),
            _ => gemini::opened(&["Hel", "lo"]),
        });
        let other = Upstream::spawn(|call| ollama::reply_with(call, &["Hello", " there"]));
        // With a limit nobody is asked to go on where the first one ended.
        let asked = ASKED.replace("\"new\":1", r#""generationConfig":{"maxOutputTokens":50}"#);
        let route = Route::new("m", [Target::new("own", "m")]).on_cut(OnCut::Resume);
        let config = Config::new()
            .provider(of_kind("gemini", &dies))
            .provider(Provider::ollama(&other))
            .route(route.fallback([Target::new("ollama", "m")]));
        let gateway = spawn_gateway(config).await;
        let url = gateway.url(&format!("/v1beta/models/m:streamGenerateContent{query}"));
        let pieces = stream_bytes(&url, &[], &asked).await.rest().await;
        let text = pieces.text();
        assert!(pieces.ended_properly, "{text}");
        let list: Vec<Value> = match query {
            "" => serde_json::from_str(&text).unwrap(),
            _ => text
                .split_terminator("\r\n\r\n")
                .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
                .collect(),
        };
        let said = list
            .iter()
            .filter_map(|piece| piece["candidates"][0]["content"]["parts"][0]["text"].as_str());
        assert_eq!(said.collect::<String>(), "Hello there", "{text}");
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn what_is_kept_in_an_account_that_several_keys_share_is_not_there_for_any_of_them() {
    let upstream = Upstream::spawn(answered);
    let bodies = [
        r#"{"contents":[],"cachedContent":"cachedContents/of_another"}"#,
        r#"{"contents":[{"parts":[{"file_data":{"file_uri":"files/of_another"}}]}]}"#,
        r#"{"contents":[],"tools":[{"fileSearch":{"fileSearchStoreNames":["stores/of_another"]}}]}"#,
    ];
    for keys in [vec!["a"], vec!["a", "b"]] {
        let config = Config::new()
            .keys(keys.iter().map(|name| Key::new(name)))
            .provider(of_kind("gemini", &upstream));
        let gateway = spawn_gateway(config).await;
        let before = upstream.calls_so_far().len();
        for method in ["generateContent", "countTokens"] {
            for body in bodies {
                let url = gateway.url(&format!("/v1beta/models/m:{method}"));
                let answer = post_bytes(&url, &[("x-goog-api-key", "sk-a")], body).await;
                if keys.len() == 1 {
                    assert_eq!(answer.status, 200, "{body}: {}", answer.text());
                    continue;
                }
                assert_eq!(answer.status, 404, "{body}: {}", answer.text());
                let error = &answer.json()["error"];
                assert_eq!(error["status"], "NOT_FOUND");
                assert!(error["message"].as_str().unwrap().contains("of_another"), "{error}");
            }
        }
        let calls = upstream.calls_so_far().len() - before;
        assert_eq!(calls, if keys.len() == 1 { 6 } else { 0 });
        gateway.end(6).await;
    }
}

#[tokio::test]
async fn an_answer_of_another_form_than_was_asked_for_is_translated() {
    let upstream = Upstream::spawn(|call| match call.path.contains("stream") {
        true => gemini::whole(&["a", "b"]),
        false => gemini::answer(&["a", "b"]),
    });
    let gateway = spawn_gateway(of_kind("gemini", &upstream)).await;
    for method in ["generateContent", "streamGenerateContent", "streamGenerateContent?alt=sse"] {
        let url = gateway.url(&format!("/v1beta/models/m:{method}"));
        let pieces = stream_bytes(&url, &[], ASKED).await.rest().await;
        let text = pieces.text();
        assert!(pieces.ended_properly && text.contains("\"text\":\"ab\""), "{method}: {text}");
    }
    gateway.end(3).await;
}

#[tokio::test]
async fn what_only_gemini_understands_goes_nowhere_else() {
    let (own, other) = (Upstream::spawn(answered), Upstream::spawn(ollama::reply));
    let route = Route::new("both", [Target::new("ollama", "m")]);
    let config = Config::new()
        .provider(Provider::ollama(&other).models(["small"]))
        .provider(of_kind("gemini", &own).models(["m"]))
        .route(route.fallback([Target::new("own", "m")]));
    let gateway = spawn_gateway(config).await;
    let body = r#"{"contents":[{"parts":[{"text":"hi"}]}],"cachedContent":"cachedContents/a"}"#;
    let refused = post_bytes(&gateway.url("/v1beta/models/small:generateContent"), &[], body).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("cachedContent"), "{}", refused.text());
    let passed = post_bytes(&gateway.url("/v1beta/models/both:generateContent"), &[], body).await;
    assert_eq!(passed.header("x-gateway-provider"), Some("own"), "{}", passed.text());
    assert_eq!((own.calls_so_far().len(), other.calls_so_far().len()), (1, 0));
    gateway.end(2).await;
}

#[tokio::test]
async fn a_failure_before_the_first_event_of_a_list_is_retried_unseen() {
    let error = "[{\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}\r\n]";
    for first in [error, "[{\"usageMetadata\":{\"promptTokenCount\":1}}"] {
        let upstream = Upstream::spawn(move |call| match call.number {
            0 => Script::status(200).piece(first),
            _ => gemini::list(&["a", "b"]),
        });
        let retry = Retry::default().backoff("1ms").max_backoff("1ms");
        let gateway = spawn_gateway(of_kind("gemini", &upstream).retry(retry)).await;
        let url = gateway.url("/v1beta/models/m:streamGenerateContent");
        let streamed = stream_bytes(&url, &[], ASKED).await;
        assert_eq!(streamed.header("x-gateway-attempts"), Some("2"));
        let text = streamed.rest().await.text();
        assert_eq!(serde_json::from_str::<Vec<Value>>(&text).unwrap().len(), 2, "{text}");
        gateway.end(1).await;
    }
}
