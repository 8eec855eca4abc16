//! The command-line options of `llm-gateway plan --agents`.
//!
//! Owns what is known of the hosts. Limits and keys' classes are options of every plan.

use std::path::PathBuf;

use super::recorded::Chosen;
use crate::sim::token_count;

/// What else could be planned: an option of agents alone says nothing there.
const OTHERS: [&str; 3] = ["arrivals", "arrivals_file", "models"];

/// The options of a plan of agents.
#[derive(Debug, Clone, clap::Args)]
pub struct AgentOptions {
    /// A file with a line per key: KEY AGENTS TURNS FIRST GROWS ANSWER PAUSE, then `common=TOKENS`
    /// and `batch`, both optional; or a gateway's log as JSON, or `-` for standard input. Compares
    /// the order of arrival, conversations that stay at their host, and the order by what is
    /// remembered
    #[arg(long, value_name = "FILE", group = "work", conflicts_with_all = ["arrivals", "arrivals_file", "burst", "hold", "distribution", "clients", "batch_share", "deadline"])]
    pub(super) agents: Vec<PathBuf>,
    /// Equal hosts, with --agents [default: 1]
    #[arg(long, value_name = "N", requires = "agents", conflicts_with_all = OTHERS, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) hosts: Option<u32>,
    /// Tokens of a prompt that a host reads in a second [default: what the log says]
    #[arg(long, value_name = "RATE", requires = "agents", conflicts_with_all = OTHERS, value_parser = rate)]
    pub(super) read: Option<f64>,
    /// Tokens that a call writes in a second [default: what the log says, else 40]
    #[arg(long, value_name = "RATE", requires = "agents", conflicts_with_all = OTHERS, value_parser = rate)]
    pub(super) write: Option<f64>,
    /// Tokens that a host remembers besides its slots, as 4000 or 64k [default: 64k]
    #[arg(long, value_name = "TOKENS", requires = "agents", conflicts_with_all = OTHERS, value_parser = token_count)]
    pub(super) prompt_cache: Option<u64>,
    /// The model of the log whose calls count [default: the one with the most tokens]
    #[arg(long, value_name = "NAME", requires = "agents", conflicts_with_all = OTHERS)]
    pub(super) model: Option<String>,
}

impl AgentOptions {
    /// Whether agents are to be planned.
    pub(in crate::plan) fn is_asked(&self) -> bool {
        !self.agents.is_empty()
    }

    /// Which calls of a log count, and how.
    pub(in crate::plan) fn chosen<'a>(
        &'a self,
        provider: Option<&'a str>,
        batch: &'a [String],
    ) -> Chosen<'a> {
        Chosen { provider, model: self.model.as_deref(), batch }
    }
}

/// Reads tokens a second.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e9).contains(rate));
    rate.ok_or_else(|| "write tokens a second, as in 900".to_owned())
}
