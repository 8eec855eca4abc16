//! Buckets in Redis that several gateways share.
//!
//! It owns the script and the link to it. It refuses nothing by itself, and it never fails a
//! request: without an answer the caller continues with its own count.
//!
//! The one thing to know: the script may run after its caller stopped waiting. It therefore gets a
//! deadline by the clock of Redis, whose offset is known from earlier answers.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::bucket::Rate;
use super::terms::Meter;
use crate::redis::{Link, Script, Unavailable};

static BUCKETS: Script = Script::new(include_str!("buckets.lua"));

/// Amounts are counted in thousandths.
const PARTS: f64 = 1000.0;
/// The clock offset before the first answer.
const UNKNOWN: i64 = i64::MIN;

/// The link to the buckets.
#[derive(Debug)]
pub struct Shared {
    link: Link,
    /// How many microseconds the clock of Redis is ahead of this machine's.
    ahead: AtomicI64,
}

/// The answer of the buckets.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// The amount taken; `None` when there was too little and nothing was taken.
    pub amount: Option<f64>,
    /// The present spent amount of each meter.
    pub spent: Vec<(Meter, f64)>,
}

impl Shared {
    /// The buckets behind this link.
    #[must_use]
    pub fn new(link: Link) -> Self {
        Self { link, ahead: AtomicI64::new(UNKNOWN) }
    }

    /// The last known number of gateways.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.link.replicas()
    }

    /// Takes at least `need` and up to `want` from all of these meters or from none.
    ///
    /// # Errors
    ///
    /// When there is no answer. Then nothing was taken, except in the rare case that the answer was
    /// lost.
    pub async fn take(
        &self,
        caller: &str,
        rates: &[(Meter, Rate)],
        need: f64,
        want: f64,
    ) -> Result<Drawn, Unavailable> {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let timeout = i64::try_from(self.link.timeout().as_micros()).unwrap_or(i64::MAX);
        let latest = match ahead {
            UNKNOWN => 0,
            ahead => here().saturating_add(ahead).saturating_add(timeout),
        };
        let numbers = [parts(need), parts(want), latest.to_string()];
        self.run(caller, rates, "take", numbers).await
    }

    /// Spends more of these meters; a negative amount is put back. Returns the spent amounts.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn spend(
        &self,
        caller: &str,
        rates: &[(Meter, Rate)],
        amount: f64,
    ) -> Result<Drawn, Unavailable> {
        let numbers = [parts(0.0), parts(amount), "0".to_owned()];
        self.run(caller, rates, "spend", numbers).await
    }

    async fn run(
        &self,
        caller: &str,
        rates: &[(Meter, Rate)],
        act: &'static str,
        numbers: [String; 3],
    ) -> Result<Drawn, Unavailable> {
        // In braces, so that a Redis cluster would keep a caller's buckets together.
        let key = |meter: Meter| self.link.key("limit", &format!("{{{caller}}}:{}", word(meter)));
        let keys = rates.iter().map(|(meter, _)| key(*meter)).collect();
        let mut arguments = vec![Bytes::from_static(act.as_bytes())];
        arguments.extend(numbers.map(Bytes::from));
        for (_, rate) in rates {
            arguments.push(Bytes::from(parts(rate.capacity)));
            arguments.push(Bytes::from((rate.per_second * PARTS).to_string()));
        }
        let asked = here();
        let answer = self.link.run(&BUCKETS, keys, arguments).await?;
        let numbers = answer.integers().ok_or(Unavailable::Failed)?;
        let [taken, there, spent @ ..] = numbers.as_slice() else {
            return Err(Unavailable::Failed);
        };
        // Redis read its clock some time after it was asked.
        self.ahead.store(there.saturating_sub(asked), Ordering::Relaxed);
        match taken {
            -2 => return Err(Unavailable::Late),
            _ if spent.len() != rates.len() => return Err(Unavailable::Failed),
            _ => {}
        }
        let spent = rates.iter().zip(spent).map(|((meter, _), spent)| (*meter, whole(*spent)));
        let amount = (*taken != -1).then(|| whole(*taken));
        Ok(Drawn { amount, spent: spent.collect() })
    }
}

fn word(meter: Meter) -> &'static str {
    match meter {
        Meter::Requests => "requests",
        Meter::Minute => "minute",
        Meter::Day => "day",
    }
}

/// Thousandths, as text.
fn parts(amount: f64) -> String {
    format!("{:.0}", amount * PARTS)
}

#[expect(clippy::cast_precision_loss, reason = "no budget has 2^53 thousandths")]
fn whole(parts: i64) -> f64 {
    parts as f64 / PARTS
}

/// This machine's clock, in microseconds.
fn here() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}
