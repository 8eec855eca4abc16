//! The number of descriptors that the process may open: every client and every call to a provider takes one.
//!
//! The one thing to know: common defaults leave the soft limit at 1,024 for programs that use `select`, and the
//! hard limit far above it. A program that does not is expected to raise the first to the second.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. Without that the gateway works all the same, with fewer clients at once.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        log::warn!("the limit of descriptors stays at {current:?}: {error}");
    }
}
