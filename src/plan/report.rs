//! The result of a simulation: numbers for people and for programs, and a verdict in plain words.
//!
//! It owns the arithmetic and the wording. It refuses false precision: times are shown to three
//! digits, shares to a tenth of a percent.
//!
//! What a reader would get wrong: waits are those of admitted requests only. Refused requests,
//! whether they waited or not, count among the refusals.

mod advised;
mod verdict;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Scenario;
use super::simulation::{Fate, Ran};
use crate::chat::RefusalReason;
use crate::policy::Priority;
use crate::units::format_duration;

pub use advised::Advice;

/// The result of a simulation. Times are in seconds, shares from 0 to 1; in JSON the names say so.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Calls at one time.
    pub slots: u32,
    /// Requests that may wait.
    pub max_queue: u32,
    /// How long a request may wait.
    #[serde(rename = "max_wait_seconds")]
    pub max_wait: f64,
    /// How long a request may take in total.
    #[serde(rename = "deadline_seconds")]
    pub deadline: f64,
    /// How long requests arrived.
    #[serde(rename = "duration_seconds")]
    pub duration: f64,
    /// The seed of all random numbers.
    pub seed: u64,
    /// How many arrived.
    pub requests: usize,
    /// How many arrived per second.
    #[serde(rename = "rate_per_second")]
    pub rate: f64,
    /// How long a call holds its slot on average.
    #[serde(rename = "hold_seconds")]
    pub hold: f64,
    /// The slots that all requests together would keep busy on average: rate × hold, by Little's
    /// law.
    #[serde(rename = "offered_slots")]
    pub offered: f64,
    /// The share of all slots that was busy while requests arrived.
    #[serde(rename = "busy_share")]
    pub busy: f64,
    /// How many were answered.
    pub served: usize,
    /// How many were admitted and cut off by their deadline.
    pub cut_off: usize,
    /// How many were never admitted, by reason.
    pub refused: BTreeMap<RefusalReason, usize>,
    /// The waits of the admitted requests.
    #[serde(rename = "wait_seconds")]
    pub wait: Waits,
    /// The waits of interactive requests; only if there are batch requests too.
    #[serde(rename = "interactive_wait_seconds", skip_serializing_if = "Option::is_none")]
    pub interactive_wait: Option<Waits>,
    /// The waits of batch requests, if there are any.
    #[serde(rename = "batch_wait_seconds", skip_serializing_if = "Option::is_none")]
    pub batch_wait: Option<Waits>,
    /// The most requests that ever waited at once.
    pub longest_line: u64,
    /// With what the load would fit, each by itself; empty if it fits, or if nothing helps.
    pub advice: Vec<Advice>,
    /// What the numbers mean.
    pub verdict: String,
}

/// How long requests waited before they were admitted, in seconds; all 0 when none was admitted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Waits {
    /// The average.
    pub mean: f64,
    /// Half waited no longer.
    pub p50: f64,
    /// Nineteen in twenty waited no longer.
    pub p95: f64,
    /// Ninety-nine in a hundred waited no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Report {
    /// Counts the outcomes of the scenario's requests.
    #[must_use]
    pub fn new(scenario: &Scenario, ran: &Ran) -> Self {
        let requests = scenario.coming.len();
        let duration = scenario.duration.as_secs_f64();
        let held: f64 = scenario.coming.iter().map(|one| one.hold.as_secs_f64()).sum();
        let (rate, hold) = (ratio(requests as f64, duration), ratio(held, requests as f64));
        let has_batch = scenario.coming.iter().any(|one| one.priority == Priority::Batch);
        let of = |priority| has_batch.then(|| Waits::of(waits(scenario, ran, Some(priority))));
        let mut report = Self {
            slots: scenario.slots,
            max_queue: scenario.max_queue,
            max_wait: scenario.max_wait.as_secs_f64(),
            deadline: scenario.deadline.as_secs_f64(),
            duration,
            seed: scenario.seed,
            requests,
            rate,
            hold,
            offered: rate * hold,
            busy: ratio(busy(scenario, ran), duration * f64::from(scenario.slots)),
            served: 0,
            cut_off: 0,
            refused: BTreeMap::new(),
            wait: Waits::of(waits(scenario, ran, None)),
            interactive_wait: of(Priority::Interactive),
            batch_wait: of(Priority::Batch),
            longest_line: ran.longest_line,
            advice: Vec::new(),
            verdict: String::new(),
        };
        for fate in &ran.fates {
            match fate {
                Fate::Served { .. } => report.served += 1,
                Fate::CutOff { .. } => report.cut_off += 1,
                Fate::Refused(reason) => *report.refused.entry(*reason).or_default() += 1,
            }
        }
        report
    }

    /// The report with what would help, and its verdict.
    #[must_use]
    pub fn advised(mut self, advice: Vec<Advice>) -> Self {
        self.advice = advice;
        self.verdict = verdict::verdict(&self);
        self
    }

    /// How many were refused or cut off.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.refusals() + self.cut_off
    }

    /// The share of them, 0 to 1.
    #[must_use]
    pub fn lost_share(&self) -> f64 {
        self.share(self.lost())
    }

    /// Whether all requests together need as many slots as there are, so that no line would do.
    #[must_use]
    pub fn is_too_much(&self) -> bool {
        self.offered >= f64::from(self.slots)
    }

    /// How many were never admitted.
    #[must_use]
    pub fn refusals(&self) -> usize {
        self.refused.values().sum()
    }

    /// The share of all requests.
    fn share(&self, count: usize) -> f64 {
        ratio(count as f64, self.requests as f64)
    }
}

impl Waits {
    fn of(mut waits: Vec<f64>) -> Self {
        waits.sort_by(f64::total_cmp);
        let at = |share| quantile(&waits, share);
        Self {
            mean: ratio(waits.iter().sum(), waits.len() as f64),
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slots, max_queue, requests, longest_line, .. } = self;
        let whole = |seconds: f64| format_duration(Duration::from_secs_f64(seconds));
        writeln!(
            formatter,
            "limits   {slots} slots, a line of {max_queue}, at most {} in line, {} in all",
            whole(self.max_wait),
            whole(self.deadline)
        )?;
        writeln!(
            formatter,
            "load     {requests} requests in {}, {} each: {} slots busy if all were served\n",
            whole(self.duration.round()),
            time(self.hold),
            digits(self.offered)
        )?;
        let mut row = |name: &str, count: usize, of: &str| {
            let percent = 100.0 * self.share(count);
            let line = format!("{name:<10} {count:>9}  {percent:>5.1} %  {of}");
            writeln!(formatter, "{}", line.trim_end())
        };
        row("served", self.served, "")?;
        row("refused", self.refusals(), &self.reasons())?;
        row("cut off", self.cut_off, "")?;
        let columns = ["mean", "p50", "p95", "p99", "max"].map(|name| format!("{name:>10}"));
        writeln!(formatter, "\n{:<12}{}", "wait", columns.concat())?;
        let classes = [("interactive", self.interactive_wait), ("batch", self.batch_wait)];
        let split = classes.iter().filter_map(|(name, waits)| Some((*name, (*waits)?)));
        for (name, waits) in std::iter::once(("all", self.wait)).chain(split) {
            let Waits { mean, p50, p95, p99, max } = waits;
            let times = [mean, p50, p95, p99, max].map(|wait| format!("{:>10}", time(wait)));
            writeln!(formatter, "{name:<12}{}", times.concat())?;
        }
        writeln!(formatter, "\nslots busy   {:.1} %", 100.0 * self.busy)?;
        writeln!(formatter, "longest line {longest_line}\n")?;
        writeln!(formatter, "{}", self.verdict)
    }
}

impl Report {
    /// The refusals by reason, the most frequent first.
    fn reasons(&self) -> String {
        let mut reasons: Vec<_> = self.refused.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let words = reasons.iter().map(|(reason, count)| format!("{} {count}", reason.as_str()));
        words.collect::<Vec<_>>().join(", ")
    }
}

/// Whether so few of the requests are lost that the setup counts as working: under one in a hundred.
#[must_use]
pub fn is_bearable(lost: usize, requests: usize) -> bool {
    lost == 0 || lost * 100 < requests
}

/// The smallest of the sorted values that at least this share did not exceed; 0 if there are none.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The waits of the admitted requests, of one class or of all.
fn waits(scenario: &Scenario, ran: &Ran, priority: Option<Priority>) -> Vec<f64> {
    let both = scenario.coming.iter().zip(&ran.fates);
    let of_class = both.filter(|(one, _)| priority.is_none_or(|class| one.priority == class));
    of_class.filter_map(|(_, fate)| waited(fate)).map(|wait| wait.as_secs_f64()).collect()
}

fn waited(fate: &Fate) -> Option<Duration> {
    match fate {
        Fate::Served { waited } | Fate::CutOff { waited } => Some(*waited),
        Fate::Refused(_) => None,
    }
}

/// The seconds that all calls together held slots while requests arrived.
fn busy(scenario: &Scenario, ran: &Ran) -> f64 {
    let both = scenario.coming.iter().zip(&ran.fates);
    let held = both.filter_map(|(one, fate)| {
        let start = (one.at + waited(fate)?).min(scenario.duration);
        let end = (start + one.hold).min(one.at + scenario.deadline).min(scenario.duration);
        Some(end.saturating_sub(start).as_secs_f64())
    });
    held.sum()
}

/// Writes a time with three digits and a unit.
fn time(seconds: f64) -> String {
    match seconds {
        0.0 => "0 s".to_owned(),
        ..0.9995 => format!("{:.0} ms", seconds * 1000.0),
        ..120.0 => format!("{} s", digits(seconds)),
        ..7200.0 => format!("{} min", digits(seconds / 60.0)),
        _ => format!("{} h", digits(seconds / 3600.0)),
    }
}

/// Writes a number with three digits.
fn digits(number: f64) -> String {
    match number {
        ..9.995 => format!("{number:.2}"),
        ..99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
