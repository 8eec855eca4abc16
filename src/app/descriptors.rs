//! The limit of file descriptors of the process: every client and every call to a provider takes
//! one.
//!
//! The one thing to know: systems often set the soft limit to 1,024 for programs that use `select`,
//! and the hard limit far above it. A program that does not use `select` is expected to raise the
//! soft limit to the hard one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. If that fails the gateway still works, with fewer clients
/// at once.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        log::warn!("the limit of descriptors stays at {current:?}: {error}");
    }
}
