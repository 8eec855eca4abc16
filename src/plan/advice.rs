//! What would make a load fit: the fewest slots, the shortest line, the least patience and the
//! earliest deadline with which less than one request in a hundred is lost.
//!
//! It owns the search. It advises only what was simulated and helped, each by itself; a line and
//! patience together only where neither is enough. Where all requests together need more slots than
//! there are, a line only delays their refusal, and more slots alone are tried.
//!
//! The one thing to know: a value is found between one that fails and one that fits, until they
//! differ by one. With the advice the load fits, and with one less it does not; no formula is
//! involved.

use std::time::Instant;

use super::Scenario;
use super::report::{Advice, Report, is_bearable};
use super::simulation::Simulation;

/// The longest deadline that is advised.
const DAY: u64 = 86_400;
/// The most slots that a provider may have.
const MOST_SLOTS: u64 = 100_000;

/// What would help, each by itself; nothing where the load fits, or where nothing helps.
#[must_use]
pub fn advice(scenario: &Scenario, report: &Report, origin: Instant) -> Vec<Advice> {
    if is_bearable(report.lost(), report.requests) {
        return Vec::new();
    }
    let search = Search { scenario, origin };
    let none = Advice::default();
    let slots = search.least(Knob::Slots, none);
    if report.is_too_much() {
        return slots.into_iter().collect();
    }
    let (queue, wait) = (search.least(Knob::Queue, none), search.least(Knob::Wait, none));
    // Neither alone: as much patience as helps, then a line for it.
    let both = || {
        let endless = search.most(Knob::Queue);
        let wait = search.least(Knob::Wait, Knob::Queue.set(none, endless))?;
        let both = search.least(Knob::Queue, Advice { max_queue: None, ..wait })?;
        Some(search.lowered(both))
    };
    let both = if queue.is_none() && wait.is_none() { both() } else { None };
    let deadline = search.least(Knob::Deadline, none);
    [slots, queue, wait, both, deadline].into_iter().flatten().collect()
}

/// A limit that may change.
#[derive(Debug, Clone, Copy)]
enum Knob {
    Slots,
    Queue,
    Wait,
    Deadline,
}

impl Knob {
    fn set(self, advice: Advice, value: u64) -> Advice {
        let narrow = u32::try_from(value).unwrap_or(u32::MAX);
        match self {
            Self::Slots => Advice { slots: Some(narrow), ..advice },
            Self::Queue => Advice { max_queue: Some(narrow), ..advice },
            Self::Wait => Advice { max_wait: Some(value), ..advice },
            Self::Deadline => Advice { deadline: Some(value), ..advice },
        }
    }
}

/// A search around one scenario.
struct Search<'a> {
    scenario: &'a Scenario,
    origin: Instant,
}

impl Search<'_> {
    /// The least value of a limit above the present one with which the load fits, beside other
    /// changes; `None` if there is none.
    fn least(&self, knob: Knob, beside: Advice) -> Option<Advice> {
        let fits = |value| self.fits(knob.set(beside, value));
        let value = between(self.now(knob), self.most(knob), fits)?;
        Some(self.told(knob.set(beside, value)))
    }

    /// The same with less patience, or with a shorter line, as long as the load fits: the patience
    /// was found beside another line.
    fn lowered(&self, mut found: Advice) -> Advice {
        loop {
            let wait = found.max_wait.map(|wait| Advice { max_wait: wait.checked_sub(1), ..found });
            let queue =
                found.max_queue.map(|queue| Advice { max_queue: queue.checked_sub(1), ..found });
            match [wait, queue].into_iter().flatten().find(|less| self.fits(*less)) {
                Some(less) => found = less,
                None => return self.told(found),
            }
        }
    }

    fn fits(&self, advice: Advice) -> bool {
        let trial = advice.applied(self.scenario);
        let bearable = trial.coming.len().saturating_sub(1) / 100;
        Simulation::new(&trial, self.origin).loses_at_most(bearable)
    }

    /// With what comes of it.
    fn told(&self, found: Advice) -> Advice {
        let trial = found.applied(self.scenario);
        let report = Report::new(&trial, &Simulation::new(&trial, self.origin).run());
        Advice { lost_share: report.lost_share(), wait_p95_seconds: report.wait.p95, ..found }
    }

    fn now(&self, knob: Knob) -> u64 {
        match knob {
            Knob::Slots => self.scenario.slots.into(),
            Knob::Queue => self.scenario.max_queue.into(),
            Knob::Wait => self.scenario.max_wait.as_secs(),
            Knob::Deadline => self.scenario.deadline.as_secs(),
        }
    }

    /// More than this cannot make a difference, or is nothing to advise.
    fn most(&self, knob: Knob) -> u64 {
        let requests = self.scenario.coming.len() as u64;
        match knob {
            Knob::Slots => requests.min(MOST_SLOTS),
            Knob::Queue => requests,
            Knob::Wait => self.scenario.deadline.as_secs(),
            Knob::Deadline => DAY,
        }
    }
}

/// The least value above `low`, which does not fit, up to `most`: it fits and the one below it does
/// not. `None` if none of those that were tried fits, `most` among them.
fn between(mut low: u64, most: u64, fits: impl Fn(u64) -> bool) -> Option<u64> {
    let mut step = 1;
    let mut high = loop {
        let tried = low.saturating_add(step).min(most);
        if tried <= low {
            return None;
        }
        if fits(tried) {
            break tried;
        }
        (low, step) = (tried, step * 2);
    };
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}
