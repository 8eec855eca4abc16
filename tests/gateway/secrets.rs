//! Keys, prompts and answers planted everywhere, and searched for wherever they must not be.
//!
//! What a reader would get wrong: a provider's own words about a request may help its client, so an
//! error may repeat the client's own prompt to that client, but to no other, and never in a log.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::client::{get, post_json, post_json_with, stream_with, streamed_chat};
use crate::harness::{Breaker, Config, Key, Provider, run, spawn_gateway_with};
use crate::upstream::{Call, Script, Upstream, ollama};

const KEY: &str = "sk-planted-client";
const OTHER_KEY: &str = "sk-planted-batch";
const WRONG_KEY: &str = "sk-planted-wrong";
const PROVIDER_KEY: &str = "sk-planted-provider";
const TOKEN: &str = "planted-token";
const PROMPT: &str = "planted-prompt";
const ANSWER: &str = "planted-answer";

/// Only the client and the provider may see these, and some not even they.
const PLANTED: [&str; 7] = [KEY, OTHER_KEY, WRONG_KEY, PROVIDER_KEY, TOKEN, PROMPT, ANSWER];

const CREDENTIALS: [(&str, &str); 5] = [
    ("authorization", "Bearer sk-planted-client"),
    ("x-api-key", KEY),
    ("cookie", "session=planted-token"),
    ("proxy-authorization", "Basic planted-token"),
    ("x-goog-api-key", KEY),
];

fn config(upstream: &Upstream) -> Config {
    Config::new().key(Key::new("team").key(KEY)).key(Key::new("batch").key(OTHER_KEY)).provider(
        Provider::ollama(upstream).api_key(PROVIDER_KEY).breaker(Breaker::default().failures(1000)),
    )
}

/// Answers as the prompt's first word says, with the key in every failure, and with prompt and
/// answer where it is the request that is at fault. Its answers about itself are logged.
fn indiscreet(call: &Call) -> Script {
    let body = call.json();
    let prompt = body["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
    let said = format!("{PROVIDER_KEY} may not say {prompt} but {ANSWER}");
    let itself = format!("{PROVIDER_KEY} has had enough");
    match prompt.split(' ').next().unwrap_or_default() {
        "error" => ollama::opened(&[ANSWER]).piece(ollama::error_line(&itself)),
        "cut" => ollama::opened(&[ANSWER]).closing().cut_at(160),
        "garbage" => Script::status(200).piece(format!("<html>{said}</html>")),
        "type" => {
            Script::status(200).piece(format!("{{\"message\":\"{said}\",\"done\":\"{said}\"}}\n"))
        }
        "redirect" => Script::redirect(307, &format!("http://127.0.0.1:9/{PROVIDER_KEY}")),
        status => match status.parse() {
            Ok(status @ (400..429)) => ollama::error(status, &said),
            Ok(status) => ollama::error(status, &itself),
            Err(_) => ollama::reply_with(call, &[ANSWER]),
        },
    }
}

const ORDERS: [&str; 16] = [
    "fine", "400", "401", "403", "404", "409", "413", "422", "429", "500", "503", "error", "cut",
    "garbage", "type", "redirect",
];

/// Which of the planted words a text holds, but for those it may.
fn found<'a>(text: &str, may: &[&str]) -> Vec<&'a str> {
    PLANTED.into_iter().filter(|word| text.contains(word) && !may.contains(word)).collect()
}

#[tokio::test]
async fn what_is_secret_is_in_no_log_metric_error_or_page() {
    let upstream = Upstream::spawn(indiscreet);
    let filter = ("RUST_LOG", "llm_gateway=trace,access=trace,attempt=trace,warn");
    let gateway = spawn_gateway_with(&config(&upstream), &[filter]).await;
    let mut sent = 0;
    for path in ["/v1/chat", "/v1/chat/completions", "/api/chat", "/v1/messages"] {
        let url = gateway.url(path);
        for order in ORDERS {
            for streamed in [false, true] {
                let mut body = streamed_chat(&format!("{order} {PROMPT}"));
                body["model"] = "llama3.1".into();
                body["max_tokens"] = 5.into();
                body["stream"] = streamed.into();
                let answer = stream_with(&url, &CREDENTIALS, &body).await;
                let mut text = format!("{:?}", answer.headers);
                text.push_str(&answer.rest().await.text());
                let leaked = found(&text, &[PROMPT, ANSWER]);
                assert_eq!(leaked, Vec::<&str>::new(), "{path} {order}: {text}");
                sent += 1;
            }
        }
        for wrong in wrong_bodies() {
            let answer = post_json_with(&url, &CREDENTIALS, &wrong).await;
            // An answer that can be read all the same goes to its caller.
            assert_eq!(
                found(&answer.text(), &[PROMPT, ANSWER]),
                Vec::<&str>::new(),
                "{}",
                answer.text()
            );
            sent += 1;
        }
        let answer = post_json_with(&url, &[("x-api-key", WRONG_KEY)], &wrong_bodies()[0]).await;
        assert_eq!((answer.status, found(&answer.text(), &[])), (401, vec![]), "{}", answer.text());
        sent += 1;
    }
    let mut seen = String::new();
    for page in ["/metrics", "/admin/providers", "/admin/keys", "/admin/config"] {
        writeln!(seen, "{page}: {}", get(&gateway.admin_url(page)).await.text()).unwrap();
    }
    for line in gateway.log_lines().iter().chain(&gateway.printed_lines()) {
        writeln!(seen, "log: {line}").unwrap();
    }
    let leaks: Vec<&str> = seen.lines().filter(|line| !found(line, &[]).is_empty()).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
    gateway.end(sent).await;
}

/// Requests that decoders complain about, each with the prompt where the complaint is.
fn wrong_bodies() -> Vec<Value> {
    let message = json!({ "role": "user", "content": PROMPT });
    vec![
        json!({ "messages": [{ "role": PROMPT, "content": PROMPT }], "model": "llama3.1" }),
        json!({ "messages": PROMPT, "model": "llama3.1", "max_tokens": 5 }),
        json!({ "messages": [message], "model": "llama3.1", "max_tokens": PROMPT }),
        json!({ "messages": [message], "model": [PROMPT], "max_tokens": 5 }),
        json!({ "messages": [{ "role": "user", "content": [{ "type": PROMPT }] }], "model": "llama3.1" }),
        json!([PROMPT]),
    ]
}

#[tokio::test]
async fn a_client_s_credentials_never_reach_a_provider() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway_with(&config(&upstream), &[]).await;
    for path in ["/v1/chat", "/v1/chat/completions", "/api/chat", "/v1/messages"] {
        let mut body = streamed_chat("hello");
        body["model"] = "llama3.1".into();
        body["max_tokens"] = 5.into();
        let answer = stream_with(&gateway.url(path), &CREDENTIALS, &body).await;
        assert_eq!(answer.status, 200);
        assert!(answer.rest().await.ended_properly);
    }
    for call in upstream.calls(4).await {
        let whole = format!("{}{}", call.head, String::from_utf8_lossy(&call.body));
        assert_eq!(found(&whole, &[PROVIDER_KEY]), Vec::<&str>::new(), "{whole}");
        let bearer = format!("Bearer {PROVIDER_KEY}");
        assert_eq!(call.header("authorization"), Some(bearer.as_str()), "{whole}");
    }
    gateway.end(4).await;
}

#[tokio::test]
async fn a_check_prints_no_secret() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("gateway.toml");
    let upstream = Upstream::ollama();
    let toml = config(&upstream).admin_token(TOKEN).to_string();
    std::fs::write(&file, &toml).unwrap();
    let path = file.to_str().unwrap();
    let right = run(&["check", "--print", "--config", path], &[]).await;
    assert_eq!(right.status, Some(0), "{}", right.stderr);
    // A mistake beside a secret must not show the secret.
    std::fs::write(&file, toml.replace("name = \"team\"", "nam = \"team\"")).unwrap();
    let wrong = run(&["check", "--config", path], &[]).await;
    std::fs::write(&file, toml.replace("[admin]", "[admin")).unwrap();
    let broken = run(&["check", "--config", path], &[]).await;
    std::fs::write(&file, toml.replace(&format!("\"{TOKEN}\""), &format!("[\"{TOKEN}\"]")))
        .unwrap();
    let mistyped = run(&["check", "--config", path], &[]).await;
    for printed in [right, wrong, broken, mistyped] {
        let all = format!("{}{}", printed.stdout, printed.stderr);
        assert_eq!(found(&all, &[]), Vec::<&str>::new(), "{all}");
    }
}

#[tokio::test]
async fn a_wrong_key_gets_the_same_answer_as_a_missing_one() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway_with(&config(&upstream), &[]).await;
    let url = gateway.url("/v1/chat");
    let body = streamed_chat("hello");
    let missing = post_json(&url, &body).await;
    assert_eq!(missing.status, 401);
    let almost = KEY.replace("client", "clienu");
    let bearer = format!("Bearer {KEY}x");
    for wrong in
        [("x-api-key", almost.as_str()), ("authorization", &bearer), ("authorization", "Basic x")]
    {
        let answer = post_json_with(&url, &[wrong], &body).await;
        let without_id = |answer: &crate::client::Answer| {
            let mut body = answer.json();
            body.as_object_mut().unwrap().remove("request_id");
            let names: BTreeSet<_> = answer.headers.keys().map(ToString::to_string).collect();
            (answer.status, body, names)
        };
        assert_eq!(without_id(&answer), without_id(&missing));
    }
    assert!(upstream.calls_so_far().is_empty());
    gateway.end(4).await;
}
