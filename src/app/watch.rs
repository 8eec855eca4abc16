//! Watching the configuration file, so that a change takes effect without anybody saying so.
//!
//! It looks at what the file says, twice a second, instead of asking the system for notifications: that sees every way
//! in which files are changed (written in place, renamed over, a symbolic link turned elsewhere as Kubernetes does) on
//! every kind of volume, network and container mounts included, and a file of some kilobytes costs nothing to read.
//!
//! The one thing to know: a change is used once two looks in a row have seen the same, so that a file that is still
//! being written is left alone. What was tried, good or bad, by whomever, is not tried again.

use std::path::PathBuf;
use std::time::Duration;

use actix_web::web;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{Fingerprint, fingerprint};

/// How often the file is looked at. A change takes effect after two looks.
const EVERY: Duration = Duration::from_millis(500);

/// What decides whether a look at the file leads to a reload.
struct Debounce {
    /// What the look before saw, if that was new.
    seen: Option<Fingerprint>,
}

/// Watches the file until it is dropped. `watched` says which that is, and what it was when it was last read as a
/// configuration; `reload` is given what it has come to rest as.
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
        // A slow disk must not keep anybody waiting.
        let Ok(now) = web::block(move || fingerprint(&path)).await else { continue };
        if debounce.is_settled(&now, &tried) {
            log::info!(target: "llm_gateway", "{} has changed", file.display());
            reload(now);
        }
    }
}

impl Debounce {
    /// Takes note of a look; says whether it shows a change that has come to rest.
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
    fn a_change_counts_once_it_was_seen_twice_and_differs_from_what_was_tried() {
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
        assert!(!settled(&two, &two) && !settled(&two, &two), "tried, whatever came of it");
        assert!(!settled(&gone, &two) && settled(&gone, &two), "its absence is a change too");
        assert!(!settled(&one, &two) && !settled(&two, &two) && !settled(&one, &two), "undone");
    }
}
