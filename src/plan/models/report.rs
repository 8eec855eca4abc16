//! A workload under three schedules, side by side: a table for people, JSON for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::recorded::Recorded;
use super::{Served, Waits, Workload};
use crate::units::format_size;

/// What came of a workload under each schedule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Models that may be in memory; absent if only its size bounds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<usize>,
    /// The memory for models in bytes, if it bounds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Calls that a loaded model runs at one time.
    pub slots: u32,
    /// How many requests arrived.
    pub requests: usize,
    /// What the recording says from which they come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
    /// Each schedule.
    pub schedules: Vec<Schedule>,
}

/// One schedule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Schedule {
    /// `alone`: the server without a gateway; `fair`: the order of the gateway's line; `warm`: by
    /// what is loaded.
    pub served: &'static str,
    /// Loads that were completed.
    pub loads: u64,
    /// Loads that were begun and given up.
    pub aborted_loads: u64,
    /// The waits of all requests, in seconds.
    pub wait_seconds: Waits,
    /// The same by key.
    pub by_key: BTreeMap<Arc<str>, Waits>,
}

impl Report {
    /// Runs the workload under all schedules. `origin` is any instant.
    #[must_use]
    pub fn of(workload: &Workload, origin: Instant) -> Self {
        let schedule = |(served, name)| {
            let outcome = workload.run(served, origin);
            let (wait_seconds, by_key) = workload.waits(&outcome);
            let (loads, aborted_loads) = (outcome.loads, outcome.aborted);
            Schedule { served: name, loads, aborted_loads, wait_seconds, by_key }
        };
        let bounds = workload.memory.is_none() || workload.room < workload.models.len();
        let all = [(Served::Alone, "alone"), (Served::Fair, "fair"), (Served::Warm, "warm")];
        Self {
            room: bounds.then_some(workload.room),
            memory: workload.memory,
            slots: workload.slots,
            requests: workload.requests.len(),
            recorded: None,
            schedules: all.map(schedule).into(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { room, memory, slots, requests, .. } = self;
        let room = room.map(|room| format!("room for {room}, "));
        let memory = memory.map(|memory| format!("{} of memory, ", format_size(memory)));
        let (room, memory) = (room.unwrap_or_default(), memory.unwrap_or_default());
        if let Some(recorded) = &self.recorded {
            write!(formatter, "{recorded}")?;
        }
        writeln!(formatter, "{requests} requests, {room}{memory}{slots} slots per model\n")?;
        writeln!(
            formatter,
            "{:<16}{:>12}{:>8}{:>9}{:>9}{:>9}{:>9}",
            "", "answered", "loads", "aborted", "p50", "p95", "longest"
        )?;
        for schedule in &self.schedules {
            let loads = format!("{:>8}{:>9}", schedule.loads, schedule.aborted_loads);
            row(formatter, schedule.served, &loads, schedule.wait_seconds)?;
            for (key, waits) in &schedule.by_key {
                row(formatter, &format!("  {key}"), &" ".repeat(17), *waits)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { provider, from, until, requests, .. } = self;
        writeln!(formatter, "{requests} recorded at `{provider}`, {from} to {until}\n")?;
        writeln!(formatter, "{:<24}{:>9}{:>9}{:>9}", "", "requests", "answer", "load")?;
        for model in &self.models {
            let times =
                [model.answer_seconds, model.load_seconds].map(|time| format!("{time:.1} s"));
            let [answer, load] = times;
            let (name, requests) = (&model.name, model.requests);
            writeln!(formatter, "{name:<24}{requests:>9}{answer:>9}{load:>9}")?;
        }
        for why in self.passed_over.said() {
            writeln!(formatter, "passed over: {why}")?;
        }
        writeln!(formatter)
    }
}

fn row(formatter: &mut fmt::Formatter<'_>, name: &str, loads: &str, waits: Waits) -> fmt::Result {
    let answered = format!("{} of {}", waits.answered, waits.of);
    let time = |seconds: f64| format!("{seconds:.1} s");
    let times = [waits.p50, waits.p95, waits.max].map(|seconds| format!("{:>9}", time(seconds)));
    writeln!(formatter, "{name:<16}{answered:>12}{loads}{}", times.concat())
}
