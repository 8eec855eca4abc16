//! What it costs to have a model answer at this server: for the choice among equal servers.
//!
//! Decides nothing here. The more it costs to bring a model, the rather its requests go where it is
//! loaded already, so that models settle on servers by themselves.
//!
//! The one thing to know: this is more than a wait. A load keeps a server from its other models,
//! and what has to go for it must be loaded again: that counts too, so that of two servers with
//! about the same wait the one that need not load is chosen.

use std::time::{Duration, Instant};

use super::Warm;
use super::rule::Foreseen;
use crate::admission::line::{Lane, Line};

impl Warm {
    /// What it costs, beside the line, to have a newcomer's model answer here; zero where it is
    /// loaded and stays. `lane` is `None` for a model that was never asked for here.
    ///
    /// `hold` is how long its calls hold their slots, and `unknown` the guess for a load where none
    /// was ever seen.
    pub fn placement<T>(
        &self,
        lane: Option<Lane>,
        line: &Line<T>,
        (hold, unknown): (Duration, Duration),
        now: Instant,
    ) -> Duration {
        if !self.is_known() {
            return Duration::ZERO;
        }
        // The lane of all others is no model's, so it can stand for one that has no lane yet.
        let lane = lane.unwrap_or_default();
        let runner = self.runners.get(&lane);
        if runner.is_some_and(|runner| runner.is_exempt(now)) {
            return Duration::ZERO;
        }
        let load = |lane: Lane| match self.load(lane) {
            Duration::ZERO => unknown,
            load => load,
        };
        let swap = self.swap.as_ref();
        let elsewhere = self.swap_elsewhere(now).and_then(|(target, _)| target);
        let is_coming = swap.is_some_and(|swap| swap.target == lane)
            || elsewhere == Some(lane)
            || runner.is_some_and(|runner| !runner.is_loaded() && runner.is_wanted());
        if is_coming {
            let guess = load(lane).saturating_sub(self.load(lane));
            return self.soonest(lane, line, now) + guess + hold;
        }
        if runner.is_some_and(|runner| runner.is_loaded()) {
            let target = swap.filter(|swap| swap.leaving.contains(&lane)).map(|swap| swap.target);
            let leaves =
                target.or(elsewhere).filter(|_| target.is_some() || self.peers.hold_back(lane));
            // It is loaded again after the model for which it goes.
            return leaves.map_or(Duration::ZERO, |target| load(target) + load(lane) + hold);
        }
        let Foreseen { when, leaving, .. } = self.foresee(lane, line, now);
        let wait = when.saturating_duration_since(now).max(self.swap_left(now));
        let again: Duration = leaving.into_iter().map(load).sum();
        wait + load(lane) + again + hold
    }
}
