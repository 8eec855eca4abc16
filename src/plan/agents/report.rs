//! Agents in three orders, side by side: a table for people, JSON for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::recorded::Recorded;
use super::{Agents, Ordered, Outcome, Summary, Turn, Waits};

/// What came of the agents' work in each order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// How many hosts there were.
    pub hosts: usize,
    /// Calls that each ran at one time.
    pub slots: u32,
    /// Tokens of a prompt that each read in a second.
    pub read: f64,
    /// Tokens that a call wrote in a second.
    pub write: f64,
    /// Tokens that each remembered besides its slots.
    pub prompt_cache: u64,
    /// How many agents there were.
    pub agents: usize,
    /// The turns of all of them.
    pub turns: usize,
    /// What the recording says from which they come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
    /// Each order.
    pub orders: Vec<Order>,
}

/// One order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Order {
    /// `arrival`: the line alone; `prefix`: the same, and a conversation stays at its host;
    /// `remembered`: by what the hosts remember.
    pub order: &'static str,
    /// The outcome in numbers, times in seconds.
    #[serde(flatten)]
    pub summary: Summary,
    /// The waits by key.
    pub by_key: BTreeMap<Arc<str>, Waits>,
}

impl Report {
    /// Runs the work in each order. `origin` is any instant.
    #[must_use]
    pub fn of(agents: &Agents, origin: Instant) -> Self {
        let order = |(ordered, order)| {
            let outcome = agents.run(ordered, origin);
            Order { order, summary: outcome.summary(), by_key: by_key(agents, &outcome) }
        };
        let orders = [
            (Ordered::Arrival, "arrival"),
            (Ordered::Prefix, "prefix"),
            (Ordered::Remembered, "remembered"),
        ];
        let host = agents.hosts.first();
        Self {
            hosts: agents.hosts.len(),
            slots: host.map_or(0, |host| host.slots),
            read: host.map_or(0.0, |host| host.read),
            write: host.map_or(0.0, |host| host.write),
            prompt_cache: host.map_or(0, |host| host.cache),
            agents: agents.agents.len(),
            turns: agents.agents.iter().map(|agent| agent.steps.len()).sum(),
            recorded: None,
            orders: orders.map(order).into(),
        }
    }
}

fn by_key(agents: &Agents, outcome: &Outcome) -> BTreeMap<Arc<str>, Waits> {
    let mut turns: BTreeMap<Arc<str>, Vec<&Turn>> = BTreeMap::new();
    for turn in &outcome.turns {
        if let Some(agent) = agents.agents.get(turn.agent) {
            turns.entry(Arc::clone(&agent.key)).or_default().push(turn);
        }
    }
    turns.into_iter().map(|(key, turns)| (key, Waits::of(turns))).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hosts, slots, read, write, prompt_cache, agents, turns, .. } = self;
        if let Some(recorded) = &self.recorded {
            write!(formatter, "{recorded}")?;
        }
        writeln!(formatter, "{agents} agents, {turns} turns")?;
        writeln!(
            formatter,
            "{hosts} hosts of {slots} slots that read {read:.0} tokens/s, write {write:.0} and remember {prompt_cache} besides their slots\n"
        )?;
        let columns = ["answered", "mean", "p50", "p95", "longest", "whole", "read", "reused"];
        let columns = columns.map(|column| format!("{column:>11}"));
        writeln!(formatter, "{:<16}{}", "", columns.concat())?;
        for Order { order, summary, by_key } in &self.orders {
            let Summary { answered, mean_wait, p50, p95, max, whole, .. } = *summary;
            let waits = Waits { answered, mean: mean_wait, p50, p95, max };
            let share = format!("{:.1} %", 100.0 * summary.reused);
            let (whole, tokens) = (time(whole), summary.read_tokens);
            row(formatter, order, waits, &format!("{whole:>11}{tokens:>11}{share:>11}"))?;
            for (key, waits) in by_key {
                row(formatter, &format!("  {key}"), *waits, "")?;
            }
        }
        for Order { order, summary, .. } in self.orders.iter().filter(|it| it.summary.refused > 0) {
            let refused = summary.refused;
            write!(formatter, "\n{order}: {refused} times a turn was refused and asked again")?;
        }
        let is_refused = self.orders.iter().any(|order| order.summary.refused > 0);
        if is_refused { writeln!(formatter) } else { Ok(()) }
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { provider, model, from, until, calls, conversations, turns, .. } = self;
        writeln!(formatter, "{calls} recorded at `{provider}` for `{model}`, {from} to {until}")?;
        writeln!(
            formatter,
            "inferred from prompts that grow: {conversations} conversations with {turns} turns, {} calls alone",
            calls - turns
        )?;
        if let Some(reused) = self.reused {
            let percent = 100.0 * reused;
            writeln!(formatter, "the servers had {percent:.1} % of all tokens in their caches")?;
        }
        for why in self.passed_over.said() {
            writeln!(formatter, "passed over: {why}")?;
        }
        writeln!(formatter)
    }
}

fn row(formatter: &mut fmt::Formatter<'_>, name: &str, waits: Waits, more: &str) -> fmt::Result {
    let Waits { answered, mean, p50, p95, max } = waits;
    let times = [mean, p50, p95, max].map(|seconds| format!("{:>11}", time(seconds)));
    writeln!(formatter, "{name:<16}{answered:>11}{}{more}", times.concat())
}

fn time(seconds: f64) -> String {
    format!("{seconds:.1} s")
}
