//! The answers of requests that share a call, and which of them continue without it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::cache::call::Call;
use crate::chat::{Ask, ChatRequest};
use crate::job::{Caller, Continuation, Globs, Place, Reply, Tried};
use crate::policy::{OnCut, Priority};
use crate::telemetry::journal::Track;

/// A job of this caller, and the receiver of its answer.
fn job(caller: &str, deadline: Option<Duration>) -> (Job, oneshot::Receiver<Answer>) {
    let (reply, answer) = Reply::new();
    let everything = Globs::new(&["*".to_owned()]);
    let caller = Caller {
        name: Arc::from(caller),
        weight: 1,
        priority: Priority::Interactive,
        policy: None,
        models: everything.clone(),
        providers: everything,
    };
    let candidate =
        Candidate { provider: Arc::from("p"), model: Arc::from("m"), context: None, part: None };
    let job = Job {
        request_id: Arc::from("1"),
        id: uuid::Uuid::new_v4(),
        request: Arc::new(Ask::Chat(ChatRequest::default())),
        carry: None,
        caller: Arc::new(caller),
        policy: None,
        arrived: Instant::now(),
        deadline: deadline.map(|deadline| Instant::now() + deadline),
        candidates: VecDeque::from([candidate]),
        reserve: VecDeque::new(),
        on_cut: OnCut::default(),
        tried: Tried::default(),
        continuation: Continuation::default(),
        place: Place::default(),
        route: None,
        track: Track::default(),
        trace: None,
        reply,
    };
    (job, answer)
}

fn nobody(_: Job) {
    panic!("this one does not go on alone");
}

fn refused(error: &GatewayError) -> Head {
    Head { served: None, outcome: Err(error.clone()) }
}

#[tokio::test]
async fn a_limit_of_the_leaders_key_does_not_apply_to_others() {
    let (writer, first) = Call::begin(&Arc::from("a"), 1000);
    let (same, other) = (writer.call().join().unwrap(), writer.call().join().unwrap());
    let error = GatewayError::new(ErrorKind::RateLimited, "pushed out");
    writer.begin(refused(&error));
    for reader in [first.unwrap(), same] {
        let (job, answer) = job("a", None);
        follow(reader, job, None, nobody).await;
        assert_eq!(answer.await.unwrap().outcome.unwrap_err(), error);
    }
    let (job, answer) = job("b", None);
    let alone = std::cell::Cell::new(false);
    follow(other, job, None, |job| {
        alone.set(true);
        job.fail(GatewayError::invalid("asked alone"));
    })
    .await;
    assert!(alone.get());
    assert_eq!(answer.await.unwrap().outcome.unwrap_err().message, "asked alone");
}

#[tokio::test]
async fn a_limit_of_the_provider_applies_to_all_readers() {
    let (writer, _first) = Call::begin(&Arc::from("a"), 1000);
    let other = writer.call().join().unwrap();
    let after = Duration::from_secs(30);
    let error = GatewayError::upstream(ErrorKind::RateLimited, "slow down").retry_after(after);
    writer.begin(refused(&error));
    let (job, answer) = job("b", None);
    follow(other, job, Some(CacheResult::Shared), nobody).await;
    let told = answer.await.unwrap().outcome.unwrap_err();
    assert_eq!((told.kind, &told.message), (error.kind, &error.message));
    let told = told.retry_after.unwrap();
    assert!(told >= after.mul_f64(0.8) && told <= after.mul_f64(1.2), "{told:?}");
}

#[test]
fn the_longest_retry_after_can_be_spread() {
    for _ in 0..100 {
        let error = GatewayError::upstream(ErrorKind::RateLimited, "not in this life");
        let told = at_another_time(error.retry_after(Duration::MAX)).retry_after.unwrap();
        assert!(told > Duration::MAX / 2, "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_before_the_answer_names_the_provider() {
    let (writer, first) = Call::begin(&Arc::from("a"), 1000);
    let (job, answer) = job("a", Some(Duration::from_millis(50)));
    follow(first.unwrap(), job, Some(CacheResult::Miss), nobody).await;
    let Answer { served, outcome } = answer.await.unwrap();
    assert_eq!(outcome.unwrap_err().kind, ErrorKind::Timeout);
    let served = served.unwrap();
    assert_eq!((&*served.candidate.provider, served.cache), ("p", Some(CacheResult::Miss)));
    writer.abandoned().await;
}
