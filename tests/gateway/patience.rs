//! How long a test waits for something that ought to happen.
//!
//! It owns the one deadline and the message when it passes. It is an upper bound for a broken run,
//! never a measure: a test that cares about time measures it itself.

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

/// Awaits the first `Some` that `probe` finds, looking again whenever `changed` says so.
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
