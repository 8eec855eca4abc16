//! The same faults for answers that are passed on unchanged: whatever breaks one, the client gets
//! whole frames of it, one error of its own API and an abnormal end, and success only if the end
//! marker had arrived completely.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{CLIENTS, Came, Fault, MODELS, SAMPLES, Sample, check, config, play};
use crate::client::{post_json_with, stream_with};
use crate::harness::{Gateway, spawn_gateway};
use crate::upstream::Upstream;

/// Where a client asks, what it asks, and what it is answered; `MODEL` and `ID` are replaced.
struct Case {
    path: &'static str,
    asked: &'static str,
    sample: Sample,
    is_streamed: bool,
}

const fn streamed(path: &'static str, asked: &'static str, sample: Sample) -> Case {
    Case { path, asked, sample, is_streamed: true }
}

/// A document, whose end is its end marker.
const fn whole(
    path: &'static str,
    asked: &'static str,
    backend: &'static str,
    body: &'static str,
) -> Case {
    let base = if matches!(backend.as_bytes(), b"openai") { "/v1" } else { "" };
    let sample = Sample { backend, path: base, body, marker: body };
    Case { path, asked, sample, is_streamed: false }
}

const CASES: [Case; 11] = [
    streamed(
        "/api/chat",
        r#"{"model":"MODEL","messages":[{"role":"user","content":"ID"}]}"#,
        SAMPLES[0],
    ),
    streamed(
        "/v1/chat/completions",
        r#"{"model":"MODEL","stream":true,"messages":[{"role":"user","content":"ID"}]}"#,
        SAMPLES[1],
    ),
    streamed(
        "/v1beta/models/MODEL:streamGenerateContent?alt=sse",
        r#"{"contents":[{"parts":[{"text":"ID"}]}]}"#,
        SAMPLES[2],
    ),
    streamed(
        "/v1beta/models/MODEL:streamGenerateContent",
        r#"{"contents":[{"parts":[{"text":"ID"}]}]}"#,
        Sample {
            backend: "gemini",
            path: "",
            body: "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\"}]}}]}\r\n,\r\n\
                   {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\u{e9}lo\"}]},\
                   \"finishReason\":\"STOP\"}]}\r\n]\r\n",
            marker: "\"finishReason\":\"STOP\"}]}",
        },
    ),
    streamed(
        "/v1/messages",
        r#"{"model":"MODEL","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"ID"}]}"#,
        SAMPLES[3],
    ),
    streamed(
        "/v1/responses",
        r#"{"model":"MODEL","stream":true,"input":"ID"}"#,
        Sample {
            backend: "openai",
            path: "/v1",
            body: "data: {\"type\":\"response.output_text.delta\",\"delta\":\"Hel\"}\n\n\
                   data: {\"type\":\"response.output_text.delta\",\"delta\":\"\u{e9}lo\"}\n\n\
                   data: {\"type\":\"response.completed\",\"response\":{}}\n\n",
            marker: "\"response.completed\",\"response\":{}}",
        },
    ),
    whole(
        "/api/chat",
        r#"{"model":"MODEL","stream":false,"messages":[{"role":"user","content":"ID"}]}"#,
        "ollama",
        "{\"message\":{\"content\":\"Hel\u{e9}lo\"},\"done\":true}",
    ),
    whole(
        "/v1/chat/completions",
        r#"{"model":"MODEL","messages":[{"role":"user","content":"ID"}]}"#,
        "openai",
        "{\"choices\":[{\"message\":{\"content\":\"Hel\u{e9}lo\"},\"finish_reason\":\"stop\"}]}",
    ),
    whole(
        "/v1beta/models/MODEL:generateContent",
        r#"{"contents":[{"parts":[{"text":"ID"}]}]}"#,
        "gemini",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\u{e9}lo\"}]},\"finishReason\":\"STOP\"}]}",
    ),
    whole(
        "/v1/messages",
        r#"{"model":"MODEL","max_tokens":9,"messages":[{"role":"user","content":"ID"}]}"#,
        "anthropic",
        "{\"type\":\"message\",\"content\":[{\"type\":\"text\",\"text\":\"Hel\u{e9}lo\"}],\"stop_reason\":\"end_turn\"}",
    ),
    whole(
        "/v1/responses",
        r#"{"model":"MODEL","input":"ID"}"#,
        "openai",
        "{\"object\":\"response\",\"output\":[{\"content\":[{\"type\":\"output_text\",\"text\":\"Hel\u{e9}lo\"}]}]}",
    ),
];

/// Where the text of a frame or a document is, in any of the APIs.
const TEXTS: [&str; 8] = [
    "/message/content",
    "/choices/0/delta/content",
    "/choices/0/message/content",
    "/candidates/0/content/parts/0/text",
    "/delta/text",
    "/delta",
    "/content/0/text",
    "/output/0/content/0/text",
];

fn text_of(frame: &Value) -> &str {
    TEXTS.iter().find_map(|text| frame.pointer(text)?.as_str()).unwrap_or_default()
}

/// The frames of a stream.
fn frames(path: &str, said: &str, id: &str) -> Vec<Value> {
    let parse = |frame: &str| {
        serde_json::from_str(frame).unwrap_or_else(|_| panic!("{id}: half a frame: {said:?}"))
    };
    if path.ends_with(":streamGenerateContent") {
        let list: Value = parse(said);
        return list.as_array().unwrap().clone();
    }
    let data = |line: &str| {
        let line = if path == "/api/chat" { line } else { line.strip_prefix("data:")?.trim() };
        (!line.is_empty() && line != "[DONE]").then(|| parse(line))
    };
    said.lines().filter_map(data).collect()
}

/// Requests one corrupted answer and reads the outcome.
async fn ask(gateway: String, case: &Case, id: &str, model: &str) -> Came {
    let path = case.path.replace("MODEL", model);
    let body: Value =
        serde_json::from_str(&case.asked.replace("MODEL", model).replace("ID", id)).unwrap();
    let (url, headers) = (format!("{gateway}{path}"), [("x-request-id", id)]);
    if !case.is_streamed {
        let answer = post_json_with(&url, &headers, &body).await;
        let said = answer.json();
        let is_ok = answer.status == 200;
        assert_eq!(said["error"].is_null(), is_ok, "{id}: {said}");
        assert!(is_ok || [502, 504].contains(&answer.status), "{id}: {said}");
        return Came { text: text_of(&said).to_owned(), is_ok };
    }
    let streamed = stream_with(&url, &headers, &body).await;
    let status = streamed.status;
    let pieces = streamed.rest().await;
    if status != 200 {
        assert!([502, 504].contains(&status), "{id}: {}", pieces.text());
        return Came { text: String::new(), is_ok: false };
    }
    let bytes: Vec<u8> = pieces.pieces.iter().flat_map(|(_, piece)| piece.to_vec()).collect();
    let frames = frames(&path, &String::from_utf8_lossy(&bytes), id);
    let is_ok = pieces.ended_properly;
    let is_error = |frame: &Value| !frame["error"].is_null() || frame["type"] == "response.failed";
    let errors = frames.iter().filter(|frame| is_error(frame)).count();
    assert_eq!(errors, usize::from(!is_ok), "{id}: {frames:?}");
    assert_eq!(is_error(frames.last().unwrap()), !is_ok, "{id}: {frames:?}");
    Came { text: frames.iter().map(text_of).collect(), is_ok }
}

/// Plays every fault at every byte. Returns the number of requests and of complete answers.
async fn play_all(gateway: &Gateway, case: &'static Case) -> (usize, usize) {
    let permits = Arc::new(Semaphore::new(CLIENTS));
    let mut clients = JoinSet::new();
    let mut sent = 0;
    for (number, fault) in Fault::ALL.into_iter().enumerate() {
        for at in 0..=case.sample.body.len() {
            let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
            let who = if fault == Fault::Stalls { "hasty" } else { "patient" };
            let (id, model) = (format!("{number}-{at}-c"), format!("{who}/m{}", sent % MODELS));
            let base = gateway.url("");
            sent += 1;
            clients.spawn(async move {
                let came = ask(base, case, &id, &model).await;
                check(&case.sample, fault, at, case.is_streamed, &came);
                drop(permit);
                usize::from(came.is_ok)
            });
        }
    }
    (sent, clients.join_all().await.into_iter().sum())
}

#[tokio::test]
async fn no_fault_at_any_byte_of_a_carried_answer_is_taken_for_an_end() {
    for case in &CASES {
        let upstream = Upstream::spawn(|call| play(case.sample.body, call));
        let gateway = spawn_gateway(&config(&case.sample, &upstream)).await;
        let (sent, whole) = play_all(&gateway, case).await;
        assert!(whole > 0 && whole < sent / 2, "{}: {whole} of {sent}", case.path);
        let ok = [("outcome", "ok")];
        let counted = gateway.metrics().await.sum("llm_gateway_requests_total", &ok);
        assert_eq!(counted, whole as f64, "{}", case.path);
        gateway.end(sent).await;
    }
}
