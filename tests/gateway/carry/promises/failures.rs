//! Deadlines, retries, other providers and lines, for answers that are carried.

use std::time::Duration;

use super::{
    APIS, Api, ask, asked, begun, behind, check_refused, failed, forms, healthy, own, replied,
};
use crate::client::{post_json, stream_with};
use crate::crowd::{answers, waiting};
use crate::harness::{Config, Route, Target, spawn_gateway};
use crate::upstream::{Gate, Script, Upstream};

/// The status of an overload in this API.
fn overloaded(api: Api) -> u16 {
    if api.kind == "anthropic" { 529 } else { 503 }
}

#[tokio::test]
async fn a_deadline_before_the_first_piece_is_504_and_the_call_is_closed() {
    for (api, is_streamed) in forms() {
        let upstream = Upstream::spawn(|_| Script::never());
        let gateway = spawn_gateway(own(api, &upstream)).await;
        let deadline = [("x-request-timeout-ms", "400")];
        let answer = ask(&gateway, api, &deadline, &asked(api, "hi", is_streamed)).await;
        assert_eq!(answer.status, 504, "{api:?}: {}", answer.text());
        assert!(answer.text().contains("before provider `own` answered"), "{}", answer.text());
        assert_eq!(answer.header("x-gateway-attempts"), Some("1"), "{api:?}");
        assert!(answer.took >= Duration::from_millis(400), "{:?}", answer.took);
        assert!(!upstream.left(0).await.answered);
        assert_eq!(upstream.calls_so_far().len(), 1);
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn a_deadline_midway_ends_a_stream_with_an_error_and_the_call_is_closed() {
    for api in APIS {
        let upstream = Upstream::spawn(move |_| begun(api.kind).stall());
        let gateway = spawn_gateway(own(api, &upstream)).await;
        let (url, deadline) = (gateway.url(api.path), [("x-request-timeout-ms", "1500")]);
        let pieces = stream_with(&url, &deadline, &asked(api, "hi", true)).await.rest().await;
        let text = pieces.text();
        assert!(!pieces.ended_properly && text.contains("Hel"), "{api:?}: {text}");
        let last = text.trim_end().lines().last().unwrap();
        assert!(last.contains("\"error\"") && last.contains("deadline"), "{api:?}: {last}");
        assert!(!upstream.left(0).await.answered);
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn a_short_time_that_a_provider_asks_for_is_waited_out_and_the_same_bytes_sent_again() {
    for (number, (api, is_streamed)) in forms().enumerate() {
        let status = [503, 429][number / 2 % 2];
        let upstream = Upstream::spawn(move |call| match call.number {
            0 => failed(api.kind, status).header("retry-after", "1"),
            _ => replied(api.kind, call),
        });
        let gateway = spawn_gateway(own(api, &upstream)).await;
        let answer = ask(&gateway, api, &[], &asked(api, "hi", is_streamed)).await;
        assert_eq!(answer.status, 200, "{api:?}: {}", answer.text());
        assert_eq!(answer.header("x-gateway-attempts"), Some("2"), "{api:?}");
        let calls = upstream.calls_so_far();
        assert!(calls[1].arrived - calls[0].arrived >= Duration::from_millis(990), "{api:?}");
        assert_eq!(calls[0].body, calls[1].body, "{api:?}");
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn tries_are_as_many_as_are_promised_and_the_last_answer_is_told() {
    for (api, is_streamed) in forms() {
        // Status, the time that is asked for, attempts, and what the client reads.
        let cases = [
            (503, None, 3, overloaded(api)),
            (500, None, 3, 502),
            (429, None, 2, 429),
            (429, Some("30"), 1, 429),
            (400, None, 1, 400),
        ];
        for (status, after, attempts, read) in cases {
            let upstream = Upstream::spawn(move |_| match after {
                Some(after) => failed(api.kind, status).header("retry-after", after),
                None => failed(api.kind, status),
            });
            let gateway = spawn_gateway(own(api, &upstream)).await;
            let answer = ask(&gateway, api, &[], &asked(api, "hi", is_streamed)).await;
            let about = format!("{api:?}, {status}: {}", answer.text());
            assert_eq!(answer.status, read, "{about}");
            assert_eq!(upstream.calls_so_far().len(), attempts, "{about}");
            let comes_back = [429, 503].contains(&status);
            assert_eq!(answer.header("retry-after").is_some(), comes_back, "{about}");
            if let Some(after) = after {
                assert_eq!(answer.header("retry-after"), Some(after), "{about}");
            }
            gateway.end(1).await;
        }
    }
}

#[tokio::test]
async fn a_provider_that_fails_is_replaced_by_another_that_is_sent_the_same_bytes() {
    for (api, is_streamed) in forms() {
        let (fails, works) = (Upstream::spawn(move |_| failed(api.kind, 500)), healthy(api));
        let config = Config::new()
            .provider(own(api, &fails))
            .provider(own(api, &works).name("other"))
            .route(
                Route::new("m", [Target::new("own", "m")]).fallback([Target::new("other", "m")]),
            );
        let gateway = spawn_gateway(config).await;
        let answer = ask(&gateway, api, &[], &asked(api, "hi", is_streamed)).await;
        assert_eq!(answer.status, 200, "{api:?}: {}", answer.text());
        assert_eq!(answer.header("x-gateway-provider"), Some("other"), "{api:?}");
        let (tried, calls) = (fails.calls_so_far(), works.calls_so_far());
        assert!((1..=2).contains(&tried.len()) && calls.len() == 1, "{api:?}: {}", tried.len());
        assert_eq!(tried[0].body, calls[0].body, "{api:?}");
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn whoever_is_turned_away_at_a_line_reads_why_and_nothing_is_sent() {
    for (api, is_streamed) in forms() {
        for (longest, reason) in [("200ms", "waited_too_long"), ("60s", "queue_full")] {
            let gate = Gate::closed();
            let upstream = behind(api, &gate);
            let provider = own(api, &upstream).slots(1).max_queue(1).max_queue_wait(longest);
            let gateway = spawn_gateway(provider).await;
            let url = gateway.url(api.path);
            let send = |content| {
                let (url, body) = (url.clone(), asked(api, content, is_streamed));
                tokio::spawn(async move { post_json(&url, &body).await })
            };
            let mut sent = vec![send("runs")];
            upstream.calls(1).await;
            if reason == "queue_full" {
                let own = [("x-request-timeout-ms", "200"), ("cache-control", "no-store")];
                let hasty = ask(&gateway, api, &own, &asked(api, "hasty", is_streamed)).await;
                check_refused(&hasty, 504, "deadline_passed");
                // Others might share its call, which then has no deadline of its own.
                let hasty = ask(&gateway, api, &own[..1], &asked(api, "hasty", is_streamed)).await;
                assert_eq!(hasty.status, 504, "{api:?}: {}", hasty.text());
                assert!(hasty.text().contains("`own`: the deadline passed in its line"));
                // Its call leaves the line a moment after its client is answered.
                waiting(&gateway, "own", 0).await;
                sent.push(send("waits"));
                waiting(&gateway, "own", 1).await;
            }
            let away = send("turned away").await.unwrap();
            check_refused(&away, overloaded(api), reason);
            gate.open();
            let count = sent.len();
            assert!(answers(sent).await.iter().all(|answer| answer.status == 200), "{api:?}");
            assert_eq!(upstream.calls_so_far().len(), count, "{api:?}");
            gateway.end(if count == 1 { 2 } else { 5 }).await;
        }
    }
}
