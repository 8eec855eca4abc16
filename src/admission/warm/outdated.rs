//! Models that have to be loaded again, because what they are to be loaded with has changed.
//!
//! The one thing to know: a server does that by itself as soon as a call differs, and admits no
//! calls meanwhile. So the model counts as not loaded from the moment on that a request needs it
//! otherwise; its calls end, and then the gateway loads it.

use super::{Phase, Warm};
use crate::admission::line::Lane;

impl Warm {
    /// What this lane's model is to be loaded with has changed. Returns whether it is loaded, or
    /// being loaded, with what it was to have before.
    pub fn outdate(&mut self, lane: Lane) -> bool {
        if !self.is_known() {
            return false;
        }
        let swap = self.swap.as_ref().filter(|swap| swap.target == lane);
        if swap.is_some_and(|swap| matches!(swap.phase, Phase::Load { .. })) {
            return true;
        }
        let Some(runner) = self.runners.get_mut(&lane) else { return false };
        if runner.is_loaded() {
            runner.outdate();
        }
        runner.is_outdated
    }
}
