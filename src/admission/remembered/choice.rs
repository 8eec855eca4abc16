//! Which of the waiting jobs starts when a slot is free: the rule, without any state.
//!
//! The one thing to know: nobody pays for it without limit. A job is passed by only while its
//! caller has not had much less than the others, and only until it is late: it has waited longer
//! than first come, first served would have let it wait with nothing remembered, and half of that
//! again.

use crate::admission::cost::Turn;
use crate::admission::line::{Key, Lane};

/// A waiting job that could start.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its key.
    pub key: Key,
    /// Its model.
    pub lane: Lane,
    /// Its caller's virtual time: the higher, the more it has had.
    pub level: u64,
    /// Its caller's share.
    pub weight: u32,
    /// How long it has waited, in seconds.
    pub waited: f64,
    /// How long it was to wait at most when it came, had nothing been remembered, in seconds.
    pub promised: f64,
    /// How long it holds a slot if nothing of it is remembered, in seconds.
    pub cold: f64,
    /// How long it holds a slot with what is remembered.
    pub cost: f64,
}

/// How far the rule goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RememberPolicy {
    /// A job is late when it has waited this many times as long as it would have waited without the
    /// rule. Default 1.5.
    pub wait: f64,
    /// A slot stays free for a conversation for this part of the time that it takes to read it
    /// again. Default 0.6; 0: never.
    pub linger: f64,
    /// Whether the order of the line follows what is remembered. Default true; else it counts for
    /// the choice between providers alone.
    pub orders: bool,
}

/// A job starts before one that came first if it costs less than this part of that.
const CHEAPER: f64 = 0.6;
/// A job is remembered if it costs no more than this part of what it costs cold.
const REMEMBERED: f64 = 0.8;
/// A caller is passed by as long as it has had more than this many mean jobs more than another.
const AHEAD: f64 = 4.0;
/// No job is late before it has waited for as long as this many times its own slot time.
const LATE: f64 = 2.0;

impl Default for RememberPolicy {
    fn default() -> Self {
        Self { wait: 1.5, linger: 0.6, orders: true }
    }
}

impl Candidate {
    /// Whether much of it is remembered.
    pub fn is_remembered(&self) -> bool {
        self.cost <= REMEMBERED * self.cold
    }

    /// Whether it has waited longer than it ever may for the sake of others.
    pub fn is_late(&self, policy: RememberPolicy) -> bool {
        self.waited >= self.late_after(policy)
    }

    /// After how many seconds it is late.
    pub fn late_after(&self, policy: RememberPolicy) -> f64 {
        (LATE * self.cold).max(policy.wait * self.promised)
    }
}

/// Waiting jobs that are compared.
#[derive(Debug)]
pub struct Choice<'a> {
    candidates: &'a [Candidate],
    /// The one whose turn it is in the order of the line.
    first: &'a Candidate,
    /// How far a caller of weight 1 may be ahead of the one that had least, in virtual time.
    ahead: f64,
    least: u64,
    policy: RememberPolicy,
}

impl<'a> Choice<'a> {
    /// A choice among these; `None` without `first` among them. `turn` is the time of a mean job,
    /// in seconds.
    pub fn new(
        candidates: &'a [Candidate],
        first: Key,
        turn: f64,
        policy: RememberPolicy,
    ) -> Option<Self> {
        let first = candidates.iter().find(|candidate| candidate.key == first)?;
        let count = candidates.len() as f64;
        let mean = candidates.iter().map(|candidate| candidate.cold).sum::<f64>() / count;
        let ahead = AHEAD * mean / turn.max(f64::MIN_POSITIVE) * Turn::MEAN.0 as f64;
        let least = candidates.iter().map(|candidate| candidate.level).min()?;
        Some(Self { candidates, first, ahead, least, policy })
    }

    /// The job that starts: the one whose turn it is, unless another costs much less. It is not
    /// passed by for that once anybody is late.
    pub fn best(&self) -> &'a Candidate {
        let cheapest = self.eligible().min_by(|one, other| {
            one.cost.total_cmp(&other.cost).then_with(|| one.key.cmp(&other.key))
        });
        match cheapest.filter(|cheapest| cheapest.cost < CHEAPER * self.first.cost) {
            Some(cheapest) => self.late().unwrap_or(cheapest),
            None => self.first,
        }
    }

    /// The late job whose caller had least.
    pub fn late(&self) -> Option<&'a Candidate> {
        if self.first.is_late(self.policy) {
            return Some(self.first);
        }
        let late = self.eligible().filter(|candidate| candidate.is_late(self.policy));
        late.min_by_key(|candidate| (candidate.level, candidate.key))
    }

    fn eligible(&self) -> impl Iterator<Item = &'a Candidate> {
        let Self { candidates, ahead, least, .. } = *self;
        candidates.iter().filter(move |candidate| {
            let reach = (ahead / f64::from(candidate.weight.max(1))) as u64;
            candidate.level <= least.saturating_add(reach)
        })
    }
}

#[cfg(test)]
mod tests;
