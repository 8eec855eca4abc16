//! The files of a plan of agents: tables and a log, each known by what it looks like.
//!
//! Owns the reading of the files, and what the hosts are said to be like. Agents of a table come
//! beside those of a log, for as long as that lasts. Refuses a second log, because lines are named by
//! their number.

use std::time::{Duration, Instant};

use fastrand::Rng;

use super::options::AgentOptions;
use super::recorded::{self, Chosen, Recorded};
use super::report::Report;
use super::{Agents, Host, MOST, table};
use crate::admission::Limits;
use crate::admission::remembered::RememberPolicy;
use crate::plan::files::{named, second_log, text};
use crate::plan::models::log;

/// Tokens that a call writes in a second, where nothing says it.
const WRITE: f64 = 40.0;
/// Tokens that a host remembers, where nothing says it: as many of a model with 8 billion parameters
/// have room in the 8 GiB that llama-server takes for them.
const PROMPT_CACHE: u64 = 64 << 10;

/// Agents before hosts, and what is known of the recording that they come from.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The agents and the hosts.
    pub agents: Agents,
    /// The recording, if there is one.
    pub recorded: Option<Recorded>,
}

/// What is known of the hosts and of the gateway before them.
#[derive(Debug, Clone, Copy)]
pub struct Gateway {
    /// The gateway's limits at each host.
    pub limits: Limits,
    /// How many calls a host runs at one time.
    pub slots: u32,
    /// How far the order by what is remembered goes.
    pub policy: RememberPolicy,
    /// For how long agents of a table begin that have a rate.
    pub duration: Duration,
}

impl Planned {
    /// Reads the files; `-` is the standard input.
    ///
    /// # Errors
    ///
    /// What is wrong with which file, and what would be right.
    pub fn read(
        options: &AgentOptions,
        chosen: Chosen<'_>,
        gateway: Gateway,
        random: &mut Rng,
    ) -> Result<Self, String> {
        let (mut rows, mut found) = (Vec::new(), None);
        for file in &options.agents {
            let text = text(file)?;
            if !log::is_log(&text) {
                rows.extend(table::read(&text).map_err(|what| named(file, what))?);
            } else if found.is_none() {
                let log = log::read(&text);
                let read = log.and_then(|log| recorded::agents(log, chosen));
                found = Some(read.map_err(|what| named(file, what))?);
            } else {
                return Err(named(file, second_log("--agents")));
            }
        }
        let (recorded, mut agents) =
            found.map_or((None, Vec::new()), |(recorded, agents)| (Some(recorded), agents));
        if recorded.is_none() && options.model.is_some() {
            return Err("--model says nothing without a log".to_owned());
        }
        let duration = recorded.as_ref().map_or(gateway.duration, |recorded| recorded.span);
        agents.extend(table::draw(&rows, duration, random)?);
        let turns: usize = agents.iter().map(|agent| agent.steps.len()).sum();
        if turns > MOST {
            return Err(format!("{turns} turns are too many: write {MOST} at most"));
        }
        let host = host(options, gateway.slots, recorded.as_ref())?;
        let agents = Agents {
            hosts: vec![host; options.hosts.unwrap_or(1) as usize],
            agents,
            max_queue: gateway.limits.max_queue,
            max_wait: gateway.limits.max_queue_wait,
            policy: gateway.policy,
            counts: recorded.as_ref().is_none_or(|recorded| recorded.reused.is_some()),
        };
        Ok(Self { agents, recorded })
    }

    /// Runs the work in each order. `origin` is any instant.
    #[must_use]
    pub fn report(&self, origin: Instant) -> Report {
        Report { recorded: self.recorded.clone(), ..Report::of(&self.agents, origin) }
    }
}

fn host(options: &AgentOptions, slots: u32, recorded: Option<&Recorded>) -> Result<Host, String> {
    let read = options.read.or(recorded.and_then(|recorded| recorded.read));
    let read = read.ok_or(match recorded {
        None => "write --read RATE: the tokens of a prompt that a host reads in a second",
        Some(_) => {
            "the log does not say how fast a prompt is read, since its answers have no cached_tokens: write --read RATE, such as the read_rate of GET /admin/providers"
        }
    })?;
    let write = options.write.or(recorded.and_then(|recorded| recorded.write));
    Ok(Host {
        slots,
        read,
        write: write.unwrap_or(WRITE),
        cache: options.prompt_cache.unwrap_or(PROMPT_CACHE),
    })
}
