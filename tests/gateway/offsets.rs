//! Every backend's answer, corrupted at every byte: whatever breaks it, the client gets what came
//! before, one error and an abnormal end, and success only if the end marker had arrived
//! completely.
//!
//! The answers are short, so that each byte of each can be played over sockets; `tests/golden` does
//! the same to every recorded answer without them. The corrupting byte is 0xFF, which no UTF-8 text
//! contains. It can still hit ignored bytes, such as the name of an unknown field: then the answer
//! may be complete, but only the original one.

mod carried;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::{chat, post_json_with, stream_with, streamed_chat};
use crate::harness::{Breaker, Config, Gateway, Provider, Timeouts, spawn_gateway};
use crate::upstream::{Call, Script, Upstream};

/// The text of the short answers.
const TEXT: &str = "Hel\u{e9}lo";

/// Clients at one time.
const CLIENTS: usize = 128;

/// A breaker is kept for each model; with so many of them none sees twenty failures a minute.
const MODELS: usize = 240;

/// A backend, the path of its providers' addresses, its short answer, and what ends the end marker.
#[derive(Clone, Copy)]
struct Sample {
    backend: &'static str,
    path: &'static str,
    body: &'static str,
    marker: &'static str,
}

const SAMPLES: [Sample; 4] = [
    Sample {
        backend: "ollama",
        path: "",
        body: "{\"message\":{\"content\":\"Hel\"}}\n{\"message\":{\"content\":\"\u{e9}lo\"},\"done\":true}\n",
        marker: "\"done\":true}",
    },
    Sample {
        backend: "openai",
        path: "/v1",
        body: "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n\
               data: {\"choices\":[{\"delta\":{\"content\":\"\u{e9}lo\"},\"finish_reason\":\"stop\"}]}\n\n\
               data: [DONE]\n\n",
        marker: "\"finish_reason\":\"stop\"}]}",
    },
    Sample {
        backend: "gemini",
        path: "",
        body: "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\"}]}}]}\r\n\r\n\
               data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\u{e9}lo\"}]},\
               \"finishReason\":\"STOP\"}]}\r\n\r\n",
        marker: "\"finishReason\":\"STOP\"}]}",
    },
    Sample {
        backend: "anthropic",
        path: "",
        body: "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n\
               data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
               data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hel\"}}\n\n\
               data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\u{e9}lo\"}}\n\n\
               data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n\
               event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        marker: "data: {\"type\":\"message_stop\"}",
    },
];

/// What happens to an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The connection ends.
    Cut,
    /// The body ends, as if it were whole.
    Ends,
    /// Nothing more is sent.
    Stalls,
    /// A byte is put in that no text contains.
    Corrupt,
}

/// The outcome.
#[derive(Debug)]
struct Came {
    text: String,
    is_ok: bool,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Cut, Self::Ends, Self::Stalls, Self::Corrupt];

    fn script(self, body: &'static str, at: usize) -> Script {
        let (before, after) = body.as_bytes().split_at(at);
        let script = Script::status(200).header("content-type", "text/plain").chunked();
        match self {
            Self::Cut => script.piece(body).cut_at(at as u64),
            Self::Ends => script.piece(before.to_vec()),
            Self::Stalls => script.piece(before.to_vec()).stall(),
            Self::Corrupt => script.piece([before, b"\xff", after].concat()),
        }
    }
}

/// The request's id: the fault and its place. It also distinguishes the requests.
fn play(body: &'static str, call: &Call) -> Script {
    let id = call.header("x-request-id").unwrap();
    let mut words = id.split('-');
    let (fault, at) = (words.next().unwrap(), words.next().unwrap());
    let fault = Fault::ALL[fault.parse::<usize>().unwrap()];
    fault.script(body, at.parse().unwrap())
}

/// Two providers of the sample's backend: one that is given time, and one whose stalls are noticed
/// soon.
fn config(sample: &Sample, upstream: &Upstream) -> Config {
    let named = |name: &str| {
        let url = format!("{}{}", upstream.url(), sample.path);
        let provider = Provider::new(name, sample.backend, url)
            .slots(CLIENTS)
            .no_retries()
            .breaker(Breaker::default().failures(1000))
            .models(["*"]);
        match sample.backend {
            "openai" => provider.apis(["chat", "responses"]),
            _ => provider,
        }
    };
    let soon = Timeouts::default().first_event("400ms").idle("400ms").whole("400ms");
    Config::new().provider(named("patient")).provider(named("hasty").timeouts(soon))
}

/// Requests one corrupted answer and reads the outcome.
async fn ask(url: &str, id: &str, model: &str, is_streamed: bool) -> Came {
    // Each is another request, since one that makes a model fail again and again is not tried any
    // more.
    let mut body = if is_streamed { streamed_chat(id) } else { chat(id) };
    body["model"] = model.into();
    let headers = [("x-request-id", id)];
    if !is_streamed {
        let answer = post_json_with(url, &headers, &body).await;
        let said = answer.json();
        return match answer.status {
            200 => Came { text: said["content"].as_str().unwrap().to_owned(), is_ok: true },
            _ => {
                check_code(&said, id);
                Came { text: String::new(), is_ok: false }
            }
        };
    }
    let streamed = stream_with(url, &headers, &body).await;
    let status = streamed.status;
    let pieces = streamed.rest().await;
    if status != 200 {
        check_code(&serde_json::from_str(&pieces.text()).unwrap(), id);
        return Came { text: String::new(), is_ok: false };
    }
    let (mut text, mut errors, mut ends) = (String::new(), 0, 0);
    for (name, data) in pieces.events() {
        assert_eq!(errors + ends, 0, "{id}: something follows the end: {}", pieces.text());
        match (name.as_str(), serde_json::from_str::<Value>(&data)) {
            ("error", Ok(said)) => {
                check_code(&said, id);
                errors += 1;
            }
            (_, Ok(said)) => text.push_str(said["delta"].as_str().unwrap_or_default()),
            (_, Err(_)) => {
                assert_eq!(data, "[DONE]", "{id}");
                ends += 1;
            }
        }
    }
    assert_eq!(errors + ends, 1, "{id}: {}", pieces.text());
    assert_eq!(pieces.ended_properly, ends == 1, "{id}: {}", pieces.text());
    Came { text, is_ok: ends == 1 }
}

#[track_caller]
fn check_code(said: &Value, id: &str) {
    assert!([json!("bad_upstream"), json!("timeout")].contains(&said["code"]), "{id}: {said}");
}

/// Checks the outcome of a fault at this place.
fn check(sample: &Sample, fault: Fault, at: usize, is_streamed: bool, came: &Came) {
    let what = format!("{} {fault:?} at {at}, streamed {is_streamed}: {came:?}", sample.backend);
    let marker = sample.body.find(sample.marker).unwrap() + sample.marker.len();
    let is_whole = at >= marker;
    // Between the two a last piece is begun, such as OpenAI's `[DONE]`, which makes it a matter of
    // taste.
    let is_clear = at == marker || at == sample.body.len();
    assert!(TEXT.starts_with(&came.text), "{what}");
    if came.is_ok {
        assert!(is_whole || fault == Fault::Corrupt, "{what}");
        assert_eq!(came.text, TEXT, "{what}");
    } else {
        // The gateway may wait for a provider that stalls after the marker: the counts come later.
        let must_end = is_clear && matches!(fault, Fault::Cut | Fault::Ends);
        assert!(!is_whole || !must_end, "{what}");
    }
}

/// Plays every fault at every byte. Returns the number of requests and of complete answers.
async fn play_all(gateway: &Gateway, sample: &'static Sample) -> (usize, usize) {
    let permits = Arc::new(Semaphore::new(CLIENTS));
    let mut clients = JoinSet::new();
    let mut sent = 0;
    for (number, fault) in Fault::ALL.into_iter().enumerate() {
        for at in 0..=sample.body.len() {
            for is_streamed in [true, false] {
                let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
                let who = if fault == Fault::Stalls { "hasty" } else { "patient" };
                let (id, model) =
                    (format!("{number}-{at}-{is_streamed}"), format!("{who}/m{}", sent % MODELS));
                let url = gateway.url("/v1/chat");
                sent += 1;
                clients.spawn(async move {
                    let came = ask(&url, &id, &model, is_streamed).await;
                    check(sample, fault, at, is_streamed, &came);
                    drop(permit);
                    usize::from(came.is_ok)
                });
            }
        }
    }
    (sent, clients.join_all().await.into_iter().sum())
}

#[tokio::test]
async fn no_fault_at_any_byte_is_taken_for_an_end() {
    for sample in &SAMPLES {
        let upstream = Upstream::spawn(|call| play(sample.body, call));
        let gateway = spawn_gateway(&config(sample, &upstream)).await;
        let (sent, whole) = play_all(&gateway, sample).await;
        assert!(whole > 0 && whole < sent / 2, "{}: {whole} of {sent}", sample.backend);
        let ok = [("outcome", "ok")];
        let counted = gateway.metrics().await.sum("llm_gateway_requests_total", &ok);
        assert_eq!(counted, whole as f64, "{}", sample.backend);
        gateway.end(sent).await;
    }
}
