//! Answers that are broken before their first event: 502 in the envelope of the dialect, for
//! streamed and unstreamed requests, without a word of what the provider sent.

use super::{
    BOTH, at, chat_with, check_error, check_error_at, model_of, once, quick, streamed_with,
};
use crate::client::post_json;
use crate::harness::spawn_gateway;
use crate::upstream::{Script, Upstream, ollama};

/// Every kind of broken beginning; each contains `PLANTED` where it contains anything.
type Case = (&'static str, fn() -> Script);

const CASES: [Case; 15] = [
    ("hang-up", Script::hang_up),
    ("reset", Script::reset),
    ("no-http", || Script::raw("SSH-2.0-PLANTED\r\n")),
    ("half-head", || Script::raw("HTTP/1.1 200 OK\r\ncontent-le")),
    ("head-only", || ollama::stream_head().cut_at(0)),
    ("head-reset", || ollama::stream_head().reset_at(0)),
    ("nothing", || ollama::stream_head()),
    ("half-line", || ollama::stream_head().piece(ollama::line("PLANTED")).cut_at(20)),
    ("bad-json", || ollama::stream_head().piece("{\"message\": PLANTED}\n")),
    ("bad-utf8", || {
        ollama::stream_head().piece(&b"{\"message\":{\"content\":\"PLANTED\xff\"}}\n"[..])
    }),
    ("bad-shape", || ollama::stream_head().piece("{\"message\":7,\"PLANTED\":1}\n")),
    ("other-api", || ollama::stream_head().piece("{\"choices\":[{\"text\":\"PLANTED\"}]}\n")),
    ("html", || html("<html><body>PLANTED</body></html>\n")),
    ("empty", || Script::status(200)),
    ("text", || Script::status(200).header("content-type", "text/plain").piece("PLANTED\n")),
];

fn html(page: &'static str) -> Script {
    Script::status(200).header("content-type", "text/html; charset=utf-8").piece(page)
}

fn play(model: &str) -> Script {
    let (_, script) = CASES.iter().find(|(name, _)| *name == model).unwrap();
    script()
}

#[tokio::test]
async fn an_answer_that_is_broken_from_the_start_is_502_and_is_not_echoed() {
    let upstream = Upstream::spawn(|call| play(&model_of(call)));
    let gateway = spawn_gateway(once(upstream.url())).await;
    let mut sent = 0;
    for path in BOTH {
        for (name, _) in CASES {
            for chat in [chat_with(name), streamed_with(name)] {
                // Where answers are carried, JSON that nobody knows is the beginning of one.
                let is_unknown = ["bad-shape", "other-api"].contains(&name);
                if is_unknown && path == "/api/chat" && chat["stream"] == true {
                    continue;
                }
                let answer = post_json(&gateway.url(path), &at(path, chat)).await;
                let said = check_error_at(path, &answer, 502, "bad_upstream");
                assert!(!answer.text().contains("PLANTED"), "{path} {name}: {said}");
                assert_eq!(answer.header("content-type"), Some("application/json"), "{name}");
                sent += 1;
            }
        }
    }
    assert!(!gateway.log_lines().iter().any(|line| line.contains("PLANTED")));
    assert_eq!(sent, 4 * CASES.len() - 2);
    gateway.end(sent).await;
}

#[tokio::test]
async fn an_error_object_in_place_of_an_answer_is_502() {
    let upstream = Upstream::spawn(|_| {
        ollama::stream_head().piece(ollama::error_line("an error was encountered while running"))
    });
    let gateway = spawn_gateway(once(upstream.url())).await;
    for chat in [chat_with("llama3.1"), streamed_with("llama3.1")] {
        let answer = post_json(&gateway.url("/v1/chat"), &chat).await;
        check_error(&answer, 502, "bad_upstream");
    }
    gateway.end(2).await;
}

#[tokio::test]
async fn an_answer_that_dies_before_its_first_event_is_tried_once_more() {
    let upstream = Upstream::spawn(|call| match (model_of(call).as_str(), call.number) {
        ("recovers", 0) => ollama::stream_head().cut_at(0),
        ("recovers", _) => ollama::reply(call),
        _ => ollama::stream_head().cut_at(0),
    });
    let gateway = spawn_gateway(quick(upstream.url())).await;
    let answer = post_json(&gateway.url("/v1/chat"), &chat_with("recovers")).await;
    assert_eq!((answer.status, answer.header("x-gateway-attempts")), (200, Some("2")));
    let answer = post_json(&gateway.url("/v1/chat"), &chat_with("stays-broken")).await;
    check_error(&answer, 502, "bad_upstream");
    assert_eq!(answer.header("x-gateway-attempts"), Some("2"));
    assert_eq!(upstream.calls_so_far().len(), 4);
    gateway.end(2).await;
}
