//! How often and how soon a failed attempt is retried, and the longest pause that a provider may
//! ask for.
//!
//! Owns the policy and its arithmetic, with the random number as an argument. The provider decides
//! whether an attempt is retried at all; the gate uses the same steps for cooldowns.

use std::time::Duration;

/// The longest pause, whatever was asked for or configured: a nonsensical date must not close a
/// model for good.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// How often and how soon to try again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Further attempts at one provider; more than 2 count as 2. Default 2.
    pub max_retries: u32,
    /// The longest first backoff. Default 500 ms.
    pub backoff: Duration,
    /// The longest backoff, after doubling. Default 8 s.
    pub max_backoff: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 2,
            backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(8),
        }
    }
}

/// How far [`spread`] goes to either side: a fifth, so that clients with the same time do not
/// return together.
const SPREAD: f64 = 0.2;

/// A time spread by ± 20 %; `unit` is a random number from 0 to 1, and 0.5 changes nothing.
pub fn spread(time: Duration, unit: f64) -> Duration {
    time.mul_f64(1.0 - SPREAD + 2.0 * SPREAD * unit.clamp(0.0, 1.0))
}

impl RetryPolicy {
    /// The longest backoff after `retries` retries: `min(max_backoff, backoff × 2^retries)`.
    pub fn step(&self, retries: u32) -> Duration {
        self.backoff.saturating_mul(1 << retries.min(20)).min(self.max_backoff)
    }

    /// Full jitter: a random time up to [`RetryPolicy::step`], with `unit` from 0 to 1.
    ///
    /// Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    pub fn backoff(&self, retries: u32, unit: f64) -> Duration {
        self.step(retries).mul_f64(unit.clamp(0.0, 1.0))
    }
}
