//! Limits of all requests also apply to those that are passed on: size, time, slots, lines, rates,
//! budgets.

use std::time::Duration;

use serde_json::json;

use super::{FORM, JSON, form, gateway, lister, said, transcribe};
use crate::client::raw::Raw;
use crate::client::{Answer, post_bytes, send};
use crate::harness::{Config, Gateway, Key, Rate, Server, Timeouts, spawn_gateway};
use crate::upstream::{Gate, Script, Upstream};

/// Asks for speech in the background.
fn later(gateway: &Gateway, text: &str) -> tokio::task::JoinHandle<Answer> {
    let url = gateway.url("/v1/audio/speech");
    let body = json!({"model": "m", "input": text}).to_string();
    tokio::spawn(async move { post_bytes(&url, &[], &body).await })
}

async fn counted(gateway: &Gateway, name: &str, value: f64) {
    crate::patience::eventually(
        || format!("{name} is {value}"),
        async || (gateway.metrics().await.sum(name, &[]) == value).then_some(()),
    )
    .await;
}

#[tokio::test]
async fn a_body_may_be_as_large_as_max_body_and_no_larger() {
    let upstream = Upstream::spawn(said);
    let server = Server::default().max_body("1MiB");
    let config = Config::new().server(server).provider(lister("own", &upstream));
    let gateway = spawn_gateway(config).await;
    let url = gateway.url("/v1/audio/transcriptions");
    let wide = "x".repeat(900_000);
    let fits = form(&[("model", "m"), ("prompt", &wide)]);
    assert_eq!(send("POST", &url, &[FORM], fits.clone()).await.status, 200);
    assert_eq!(upstream.calls_so_far()[0].body, fits);
    let too_large = form(&[("model", "m"), ("prompt", &(wide.clone() + &wide))]);
    assert_eq!(send("POST", &url, &[FORM], too_large).await.status, 413);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_coded_body_is_decoded_before_it_is_passed_on() {
    use std::io::Write;
    let upstream = Upstream::spawn(said);
    let gateway = gateway(&upstream).await;
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    coder.write_all(br#"{"model":"m","input":"a"}"#).unwrap();
    let headers = [JSON, ("content-encoding", "gzip")];
    let url = gateway.url("/v1/audio/speech");
    assert_eq!(send("POST", &url, &headers, coder.finish().unwrap()).await.status, 200);
    let call = upstream.calls_so_far().remove(0);
    assert_eq!(
        (&call.body[..], call.header("content-encoding")),
        (&br#"{"model":"m","input":"a"}"#[..], None)
    );
    gateway.end(1).await;
}

#[tokio::test]
async fn a_request_takes_a_slot_and_waits_in_line_for_one() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |_| Script::status(200).head_hold(&held).piece("a"));
    let gateway = spawn_gateway(lister("own", &upstream).slots(1).max_queue(1)).await;
    let first = later(&gateway, "first");
    upstream.calls(1).await;
    let second = later(&gateway, "second");
    counted(&gateway, "llm_gateway_queued", 1.0).await;
    let third = later(&gateway, "third").await.unwrap();
    assert_eq!(third.status, 503, "{}", third.text());
    assert_eq!(third.header("x-gateway-reason"), Some("queue_full"));
    assert!(third.header("retry-after").is_some());
    assert_eq!(gateway.metrics().await.sum("llm_gateway_in_flight", &[]), 1.0);
    gate.open();
    for answer in [first, second] {
        let answer = answer.await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "a"));
    }
    assert_eq!(upstream.peak(), 1);
    gateway.end(3).await;
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_slot_in_every_phase() {
    let upstream = Upstream::spawn(|call| match call.json()["input"].as_str().unwrap() {
        "silent" => Script::never(),
        "midway" => Script::status(200).chunked().piece("some").stall(),
        _ => Script::status(200).piece("all"),
    });
    let gateway = spawn_gateway(lister("own", &upstream).slots(1)).await;
    let mut number = 0;
    for leave in [Raw::fin, Raw::rst] {
        for input in ["silent", "midway"] {
            let mut client = Raw::connect(gateway.address()).await;
            let body = json!({"model": "m", "input": input});
            client.send(&crate::client::raw::post_bytes("/v1/audio/speech", &[], &body)).await;
            upstream.calls(number + 1).await;
            if input == "midway" {
                client.read_until("some").await;
            }
            leave(client);
            assert!(!upstream.left(number).await.answered);
            number += 1;
        }
    }
    // The only slot is free, and one that waits for it leaves the line.
    assert_eq!(later(&gateway, "next").await.unwrap().text(), "all");
    gateway.settled().await;
    gateway.adds_up(5).await;
    let cancelled = gateway.access_lines().iter().filter(|it| it.outcome == "cancelled").count();
    assert_eq!(cancelled, 4);
    gateway.end(5).await;
}

#[tokio::test]
async fn a_deadline_ends_a_request_wherever_it_is() {
    let upstream = Upstream::spawn(|call| match call.json()["input"].as_str().unwrap() {
        "silent" => Script::never(),
        _ => Script::status(200).chunked().piece("some").stall(),
    });
    let gateway =
        spawn_gateway(lister("own", &upstream).timeouts(Timeouts::default().idle("60s"))).await;
    let url = gateway.url("/v1/audio/speech");
    let soon = [JSON, ("x-request-timeout-ms", "300")];
    let silent = send("POST", &url, &soon, r#"{"model":"m","input":"silent"}"#).await;
    assert_eq!(silent.status, 504, "{}", silent.text());
    let begun =
        crate::client::send_stream("POST", &url, &soon, r#"{"model":"m","input":"b"}"#).await;
    assert_eq!(begun.status, 200);
    let pieces = begun.rest().await;
    assert!(!pieces.ended_properly && pieces.text() == "some", "{pieces:?}");
    for number in 0..2 {
        assert!(!upstream.left(number).await.answered);
    }
    gateway.end(2).await;
}

#[tokio::test]
async fn rates_and_budgets_of_a_key_count_what_is_passed_on() {
    let upstream = Upstream::spawn(|_| {
        Script::json(200, &json!({"results": [], "usage": {"total_tokens": 9, "prompt_tokens": 9}}))
    });
    let key = Key::new("a").tokens_per_day(1000).rate(Rate::of(3, 0.001));
    let config = Config::new().key(key).provider(lister("own", &upstream));
    let gateway = spawn_gateway(config).await;
    let url = gateway.url("/v1/rerank");
    let ask =
        async || post_bytes(&url, &[("authorization", "Bearer sk-a")], r#"{"model":"r"}"#).await;
    let left = |answer: &Answer| {
        answer.header("x-ratelimit-remaining-tokens").unwrap().parse::<u64>().unwrap()
    };
    let (first, second) = (ask().await, ask().await);
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(left(&first) - left(&second), 9);
    assert_eq!(ask().await.status, 200);
    let refused = ask().await;
    assert_eq!((refused.status, upstream.calls_so_far().len()), (429, 3));
    assert!(refused.header("retry-after").is_some());
    gateway.end(4).await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_refused() {
    let upstream = Upstream::spawn(said);
    let server = Server::default().body_timeout("200ms");
    let config = Config::new().server(server).provider(lister("own", &upstream));
    let gateway = spawn_gateway(config).await;
    let mut client = Raw::connect(gateway.address()).await;
    let head = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: a\r\n{}: {}\r\ncontent-length: 999\r\n\r\n--",
        FORM.0, FORM.1
    );
    client.send(head.as_bytes()).await;
    client.read_until(" 408 ").await;
    drop(client);
    assert_eq!(transcribe(&gateway, "m").await.status, 200);
    gateway.end(2).await;
}

#[tokio::test]
async fn many_at_once_do_not_mix_their_answers() {
    let upstream = Upstream::spawn(|call| {
        let word = call.json()["input"].as_str().unwrap().to_owned();
        Script::status(200).chunked().pieces([word.clone(), word]).paced(Duration::from_millis(1))
    });
    let gateway = spawn_gateway(lister("own", &upstream).slots(8).max_queue(200)).await;
    let asked: Vec<_> = (0..100).map(|number| later(&gateway, &format!("<{number}>"))).collect();
    for (number, answer) in asked.into_iter().enumerate() {
        assert_eq!(answer.await.unwrap().text(), format!("<{number}><{number}>"));
    }
    assert!(upstream.peak() <= 8);
    gateway.end(100).await;
}
