//! How many attempts may run at once: a fixed number, or an adaptive one between two bounds.
//!
//! Owns the present limit. The adaptive one is additive increase, multiplicative decrease (as in
//! TCP, RFC 5681) on explicit congestion only: 429, 503, 529, no first event in time. It ignores
//! latency: the duration of a model call follows the length of its answer, so latency gradients
//! (Netflix's Gradient2, Envoy's) would shrink the limit for long answers.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

/// What the operator allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// Exactly this many; 0 counts as 1.
    Fixed(u32),
    /// Adaptive, beginning at `min`.
    Auto {
        /// Never fewer; 0 counts as 1.
        min: u32,
        /// Never more; at least `min`.
        max: u32,
    },
}

/// The bounds of an adaptive limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
}

/// The present limit.
#[derive(Clone, Debug)]
pub struct SlotLimit {
    allowed: Concurrency,
    present: f64,
    last_cut: Option<Instant>,
}

/// The factor by which congestion cuts the limit.
const CUT: f64 = 0.7;

/// Congestion within this time after a cut counts as the same congestion.
const CUT_EVERY: Duration = Duration::from_secs(1);

impl SlotLimit {
    /// Begins at the fixed number, or at the lower bound.
    pub fn new(allowed: Concurrency) -> Self {
        let mut limit = Self { allowed, present: 1.0, last_cut: None };
        limit.change(allowed);
        limit
    }

    /// Takes another rule at once; the present adaptive limit is kept within the new bounds.
    pub fn change(&mut self, allowed: Concurrency) {
        self.allowed = allowed;
        let (min, max) = allowed.bounds();
        self.present = self.present.clamp(f64::from(min), f64::from(max));
    }

    /// How many may run at once: at least 1.
    pub fn get(&self) -> u32 {
        self.present as u32
    }

    /// An attempt succeeded while `in_flight` (itself included) were running.
    pub fn succeed(&mut self, in_flight: u32) {
        // A limit that is not used says nothing about whether more would be possible.
        if u64::from(in_flight) * 2 >= u64::from(self.get()) {
            let (_, max) = self.allowed.bounds();
            self.present = (self.present + 1.0 / self.present).min(f64::from(max));
        }
    }

    /// The provider signalled congestion.
    pub fn congested(&mut self, now: Instant) {
        if self.last_cut.is_none_or(|last| now.saturating_duration_since(last) >= CUT_EVERY) {
            let (min, _) = self.allowed.bounds();
            self.present = (self.present * CUT).max(f64::from(min));
            self.last_cut = Some(now);
        }
    }
}

impl Concurrency {
    /// The bounds, unless the limit is fixed.
    pub fn auto(self) -> Option<Bounds> {
        match self {
            Self::Fixed(_) => None,
            Self::Auto { .. } => {
                let (min, max) = self.bounds();
                Some(Bounds { min, max })
            }
        }
    }

    /// The upper bound: the most that may ever run at once.
    pub fn most(self) -> u32 {
        self.bounds().1
    }

    fn bounds(self) -> (u32, u32) {
        match self {
            Self::Fixed(limit) => (limit.max(1), limit.max(1)),
            Self::Auto { min, max } => (min.max(1), max.max(min).max(1)),
        }
    }
}

/// As in the configuration: the number, or `"auto"`.
impl Serialize for Concurrency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(limit) => serializer.serialize_u32(*limit),
            Self::Auto { .. } => serializer.serialize_str("auto"),
        }
    }
}

impl fmt::Display for Concurrency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(limit) => write!(formatter, "{limit}"),
            Self::Auto { min, max } => write!(formatter, "auto ({min} to {max})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_limit_never_moves() {
        let mut limit = SlotLimit::new(Concurrency::Fixed(8));
        limit.congested(Instant::now());
        limit.succeed(8);
        assert_eq!(limit.get(), 8);
        limit.change(Concurrency::Fixed(0));
        assert_eq!(limit.get(), 1);
    }

    #[test]
    fn an_adaptive_limit_grows_by_one_per_round_and_falls_by_three_tenths() {
        let start = Instant::now();
        let mut limit = SlotLimit::new(Concurrency::Auto { min: 2, max: 20 });
        assert_eq!(limit.get(), 2);
        for round in 2..20 {
            for _ in 0..=round {
                limit.succeed(round);
            }
        }
        assert!((19..=20).contains(&limit.get()));
        for _ in 0..40 {
            limit.succeed(20);
        }
        assert_eq!(limit.get(), 20);
        limit.congested(start);
        limit.congested(start + Duration::from_millis(999));
        assert_eq!(limit.get(), 14);
        for second in 1..20 {
            limit.congested(start + Duration::from_secs(second));
        }
        assert_eq!(limit.get(), 2);
    }

    #[test]
    fn an_unused_limit_does_not_grow() {
        let mut limit = SlotLimit::new(Concurrency::Auto { min: 4, max: 20 });
        for _ in 0..100 {
            limit.succeed(1);
        }
        assert_eq!(limit.get(), 4);
    }
}
