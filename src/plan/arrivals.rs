//! Generates requests: when each arrives, who sends it and how long it holds a slot.
//!
//! Requests of many independent clients form a Poisson process: the time from one to the next is
//! exponential. With bursts there are fewer moments by that factor and several requests at each, so
//! that the rate stays the same.
//!
//! What a reader would get wrong: a hold time is drawn when the request is generated, not when it
//! starts. The same seed therefore gives the same requests with any limits, and two reports differ
//! by the limits alone.

use std::str::FromStr;
use std::time::Duration;

use fastrand::Rng;

use super::files::rows;
use crate::policy::Priority;

/// A request that will arrive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coming {
    /// When it arrives, counted from the beginning.
    pub at: Duration,
    /// How long it holds a slot, unless its deadline ends it earlier.
    pub hold: Duration,
    /// The number of its caller within its class.
    pub client: u32,
    /// Its caller's class.
    pub priority: Priority,
}

/// How hold times are spread around their mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Distribution {
    /// Mostly short, some long: a memoryless guess that queueing theory has formulas for
    Exponential,
    /// All alike
    Fixed,
    /// A longer tail than exponential, as answers of very different lengths have
    Lognormal,
}

/// Requests per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(pub f64);

/// The callers, and how long their requests hold a slot.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// The mean hold time.
    pub hold: Duration,
    /// How hold times are spread.
    pub distribution: Distribution,
    /// How many callers there are of each class, 1 or more.
    pub clients: u32,
    /// The share of batch requests, 0 to 1.
    pub batch_share: f64,
}

/// The most requests in one simulation: some seconds of computing, some hundred megabytes.
pub const MOST: usize = 2_000_000;

/// The standard deviation of a log-normal hold time's logarithm: the median is 0.6 of the mean, and
/// one in twenty is longer than three times the mean.
const SIGMA: f64 = 1.0;

/// Requests at random moments for `duration`, `burst` at a time.
///
/// # Errors
///
/// Says what would be right when there would be more than [`MOST`].
pub fn poisson(
    rate: Rate,
    burst: u32,
    duration: Duration,
    mix: Mix,
    random: &mut Rng,
) -> Result<Vec<Coming>, String> {
    let expected = rate.0 * duration.as_secs_f64();
    if expected > MOST as f64 {
        return Err(format!(
            "{expected:.0} requests are too many: write a lower --arrivals or a shorter --duration, for {MOST} at most"
        ));
    }
    let mut coming = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        let gap = exponential(random) * f64::from(burst) / rate.0;
        at = at.saturating_add(seconds(gap));
        if at >= duration {
            return Ok(coming);
        }
        coming.extend((0..burst).map(|_| mix.request(at, None, random)));
    }
}

/// Reads requests from a file. Each line has a request's arrival and, optionally, how long it holds
/// a slot, both in seconds. Empty lines and text after a `#` are ignored; the order does not
/// matter.
///
/// # Errors
///
/// The number of the first wrong line and what would be right.
pub fn read(text: &str, mix: Mix, random: &mut Rng) -> Result<Vec<Coming>, String> {
    let wrong = || "write the seconds of its arrival and of its call, as in `12.5 3`".to_owned();
    let number = |word: &&str| {
        let number = word.parse::<f64>().ok().filter(|number| (0.0..=1e9).contains(number));
        number.map(seconds).ok_or_else(wrong)
    };
    let is_gap = |letter| [' ', '\t', ','].contains(&letter);
    let mut coming = rows(text, is_gap, |words| match words {
        [at] => Ok(mix.request(number(at)?, None, random)),
        [at, hold] => Ok(mix.request(number(at)?, Some(number(hold)?), random)),
        _ => Err(wrong()),
    })?;
    if coming.len() > MOST {
        return Err(format!("{} requests are too many: write {MOST} lines at most", coming.len()));
    }
    coming.sort_by_key(|one| one.at);
    Ok(coming)
}

impl Mix {
    fn request(&self, at: Duration, hold: Option<Duration>, random: &mut Rng) -> Coming {
        let is_batch = random.f64() < self.batch_share;
        let drawn = self.hold.as_secs_f64() * self.distribution.draw(random);
        Coming {
            at,
            hold: hold.unwrap_or(seconds(drawn)),
            client: random.u32(..self.clients.max(1)),
            priority: if is_batch { Priority::Batch } else { Priority::Interactive },
        }
    }
}

impl Distribution {
    /// A random number whose mean is 1.
    pub(super) fn draw(self, random: &mut Rng) -> f64 {
        match self {
            Self::Exponential => exponential(random),
            Self::Fixed => 1.0,
            Self::Lognormal => (SIGMA * normal(random) - SIGMA * SIGMA / 2.0).exp(),
        }
    }
}

impl Rate {
    /// The moment of the next arrival after `at`, where each comes by itself.
    pub(super) fn next(self, at: Duration, random: &mut Rng) -> Duration {
        at.saturating_add(seconds(exponential(random) / self.0))
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match unit.trim() {
            "s" => Some(1.0),
            "m" | "min" => Some(60.0),
            "h" => Some(3600.0),
            _ => None,
        };
        let number = number.trim().parse::<f64>().ok();
        let rate = number.zip(seconds).map(|(number, seconds)| number / seconds);
        match rate.filter(|rate| *rate > 0.0 && rate.is_finite()) {
            Some(rate) => Ok(Self(rate)),
            None => Err("write a number above 0 and its unit, as in 2/s, 90/m or 400/h".to_owned()),
        }
    }
}

/// Exponential with the mean 1.
pub(super) fn exponential(random: &mut Rng) -> f64 {
    -(1.0 - random.f64()).ln()
}

/// Normal with the mean 0 and the deviation 1, by Box and Muller (1958).
fn normal(random: &mut Rng) -> f64 {
    let radius = (2.0 * exponential(random)).sqrt();
    radius * (std::f64::consts::TAU * random.f64()).cos()
}

/// Converts seconds to a duration, at most [`LONGEST`](crate::units::LONGEST).
pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(crate::units::LONGEST).min(crate::units::LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(distribution: Distribution) -> Mix {
        Mix { hold: Duration::from_secs(10), distribution, clients: 3, batch_share: 0.25 }
    }

    fn mean(coming: &[Coming]) -> f64 {
        coming.iter().map(|one| one.hold.as_secs_f64()).sum::<f64>() / coming.len() as f64
    }

    #[test]
    fn rates_means_and_shares_are_the_requested_ones() {
        let day = Duration::from_secs(86_400);
        for (distribution, burst) in
            [(Distribution::Exponential, 1), (Distribution::Fixed, 5), (Distribution::Lognormal, 1)]
        {
            let mut random = Rng::with_seed(7);
            let coming = poisson(Rate(0.5), burst, day, mix(distribution), &mut random).unwrap();
            let count = coming.len() as f64;
            assert!((count / 43_200.0 - 1.0).abs() < 0.05, "{distribution:?}: {count}");
            assert!(
                (mean(&coming) / 10.0 - 1.0).abs() < 0.05,
                "{distribution:?}: {}",
                mean(&coming)
            );
            let batch = coming.iter().filter(|one| one.priority == Priority::Batch).count() as f64;
            assert!((batch / count / 0.25 - 1.0).abs() < 0.05, "{batch}");
            assert!(coming.iter().all(|one| one.client < 3 && one.at < day));
            assert!(coming.is_sorted_by_key(|one| one.at));
            assert_eq!(coming.chunk_by(|a, b| a.at == b.at).next().unwrap().len(), burst as usize);
        }
    }

    #[test]
    fn a_file_may_have_hold_times_and_need_not_be_sorted() {
        let text = "# seconds, hold\n3 1.5\n\n0.5\n2,4 # late\n";
        let read = read(text, mix(Distribution::Fixed), &mut Rng::with_seed(0)).unwrap();
        let times: Vec<_> =
            read.iter().map(|one| (one.at.as_secs_f64(), one.hold.as_secs_f64())).collect();
        assert_eq!(times, [(0.5, 10.0), (2.0, 4.0), (3.0, 1.5)]);
    }

    #[test]
    fn a_wrong_line_is_named_with_what_would_be_right() {
        for wrong in ["soon", "-1", "1 x", "1 2 3", "1 -2", "nan"] {
            let text = format!("0\n{wrong}\n");
            let error = read(&text, mix(Distribution::Fixed), &mut Rng::with_seed(0)).unwrap_err();
            assert!(error.starts_with("line 2: write "), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_rate_has_a_unit_and_is_above_zero() {
        let rate = |text: &str| text.parse::<Rate>().map(|rate| rate.0);
        assert_eq!(
            (rate("2"), rate("2/s"), rate("90/m"), rate("720 / h")),
            (Ok(2.0), Ok(2.0), Ok(1.5), Ok(0.2))
        );
        for wrong in ["0", "-1/s", "fast", "2/d", "", "/s", "inf"] {
            assert!(rate(wrong).unwrap_err().contains("as in 2/s"), "{wrong}");
        }
    }

    #[test]
    fn too_many_requests_are_refused_before_they_are_generated() {
        let year = Duration::from_secs(365 * 86_400);
        let mix = mix(Distribution::Fixed);
        let error = poisson(Rate(1.0), 1, year, mix, &mut Rng::with_seed(0)).unwrap_err();
        assert!(error.contains("--duration"), "{error}");
    }
}
