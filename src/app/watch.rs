//! Watches the configuration file, so that a change takes effect by itself.
//!
//! It reads the file twice a second, instead of asking the system for notifications. That detects
//! every kind of change (a write in place, a rename over it, a symbolic link pointed elsewhere as
//! Kubernetes does) on every kind of volume, network and container mounts included, and reading
//! some kilobytes costs almost nothing.
//!
//! The one thing to know: a change counts once two reads in a row have seen the same content, so
//! that a file that is still being written is ignored. A content that was already tried, valid or
//! not, by any means, is not tried again.

use std::path::PathBuf;
use std::time::Duration;

use actix_web::web;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{Fingerprint, fingerprint};

/// How often the file is read. A change takes effect after two reads.
const EVERY: Duration = Duration::from_millis(500);

/// Decides whether a read of the file leads to a reload.
struct Debounce {
    /// What the previous read saw, if that was new.
    seen: Option<Fingerprint>,
}

/// Watches the file until the future is dropped. `watched` returns the file and its fingerprint
/// when it was last tried; `reload` gets the fingerprint that two reads have seen.
///
/// # Cancellation
///
/// Safe to drop at any time.
pub async fn watch(
    watched: impl Fn() -> Option<(PathBuf, Fingerprint)>,
    reload: impl Fn(Fingerprint),
) {
    let mut debounce = Debounce { seen: None };
    let mut looks = interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some((file, tried)) = watched() else { continue };
        let path = file.clone();
        // A slow disk must not block this thread.
        let Ok(now) = web::block(move || fingerprint(&path)).await else { continue };
        if debounce.is_settled(&now, &tried) {
            log::info!(target: "llm_gateway", "{} has changed", file.display());
            reload(now);
        }
    }
}

impl Debounce {
    /// Records a read; returns whether it shows a complete change.
    fn is_settled(&mut self, now: &Fingerprint, tried: &Fingerprint) -> bool {
        let is_new = now != tried;
        let is_still = self.seen.as_ref() == Some(now);
        self.seen = (is_new && !is_still).then(|| now.clone());
        is_new && is_still
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_was_seen_twice_and_was_not_tried_yet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        let says = |text: &str| {
            std::fs::write(&path, text).unwrap();
            fingerprint(&path)
        };
        let (one, half, two) = (says("one"), says("tw"), says("two"));
        std::fs::remove_file(&path).unwrap();
        let gone = fingerprint(&path);
        let mut debounce = Debounce { seen: None };
        let mut settled = |now: &Fingerprint, tried| debounce.is_settled(now, tried);
        assert!(!settled(&one, &one) && !settled(&one, &one), "nothing changes");
        assert!(!settled(&half, &one) && !settled(&two, &one), "still being written");
        assert!(settled(&two, &one));
        assert!(!settled(&two, &two) && !settled(&two, &two), "already tried, whatever the result");
        assert!(!settled(&gone, &two) && settled(&gone, &two), "a missing file is a change too");
        assert!(!settled(&one, &two) && !settled(&two, &two) && !settled(&one, &two), "undone");
    }
}
