//! How long a test waits for an expected event.
//!
//! It owns the one deadline and the message when it passes. It is an upper bound for a broken run,
//! never a measurement: a test that checks a duration measures it itself.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

/// Far above anything that is measured, far below a stuck build.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Awaits `future`, or fails the test naming what did not happen within [`PATIENCE`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("within {PATIENCE:?} this did not happen: {what}"),
    }
}

/// Awaits the first `Some` of `probe`, which runs again after every `changed`.
pub async fn until<T>(
    what: &str,
    mut changed: watch::Receiver<()>,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    within(what, async {
        loop {
            changed.mark_unchanged();
            if let Some(found) = probe() {
                return found;
            }
            if changed.changed().await.is_err() {
                panic!("what would have told of it is gone: {what}");
            }
        }
    })
    .await
}

/// Awaits the first `Some` of a probe without notifications, such as the state of another process.
/// `what` gives the message if it never comes.
pub async fn eventually<T>(
    what: impl Fn() -> String,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let asking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(found) = ask().await {
                return found;
            }
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(found) => found,
        Err(_) => panic!("within {PATIENCE:?} this did not happen: {}", what()),
    }
}
