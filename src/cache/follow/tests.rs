//! The answers of requests that share a call, and which of them continue without it.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::cache::call::Call;
use crate::chat::{Ask, ChatRequest};
use crate::job::{Caller, Globs};
use crate::policy::Priority;

/// A job of this caller, and the receiver of its answer.
fn job(caller: &str, deadline: Option<Duration>) -> (Job, oneshot::Receiver<Answer>) {
    let everything = Globs::new(&["*".to_owned()]);
    let caller = Caller {
        name: Arc::from(caller),
        weight: 1,
        priority: Priority::Interactive,
        policy: None,
        models: everything.clone(),
        providers: everything,
        manages_models: false,
    };
    let candidate =
        Candidate { provider: Arc::from("p"), model: Arc::from("m"), context: None, part: None };
    let request = Arc::new(Ask::Chat(ChatRequest::default()));
    let (mut job, answer) = Job::new(Arc::from("1"), request, Arc::new(caller));
    job.deadline = deadline.map(|deadline| Instant::now() + deadline);
    job.candidates.push_back(candidate);
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
