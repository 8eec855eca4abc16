//! Whether this process runs in a container, where `localhost` is the container itself.
//!
//! It only chooses between hints: nothing else may depend on it, since a container need not say that
//! it is one.

use std::path::Path;
use std::sync::LazyLock;

/// What Docker, and what Podman and CRI-O put into a container.
const MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];
/// What Kubernetes sets in each of its containers.
const KUBERNETES: &str = "KUBERNETES_SERVICE_HOST";

/// Whether this process runs in a container, as far as it says so.
pub(super) fn is_around() -> bool {
    static IS_AROUND: LazyLock<bool> = LazyLock::new(|| {
        MARKS.iter().any(|mark| Path::new(mark).exists()) || std::env::var_os(KUBERNETES).is_some()
    });
    *IS_AROUND
}
