//! The command-line options of `llm-gateway plan`.
//!
//! It owns the options and their defaults. A limit that is not given is that of the provider, else
//! the built-in one.

use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;

use super::Scenario;
use super::agents::options::AgentOptions;
use super::agents::sources::{self, Gateway};
use super::arrivals::{self, Distribution, Mix, Rate};
use super::models::log;
use super::models::recorded::{LoadTime, Unsaid};
use super::models::sources::{Planned, Server};
use super::models::table::Draw;
use super::recording;
use crate::admission::Limits;
use crate::admission::remembered::RememberPolicy;
use crate::sim::model_size;
use crate::units::{parse_duration, parse_size};

/// What else could be planned: an option of models alone says nothing there.
const OTHERS: [&str; 3] = ["arrivals", "arrivals_file", "agents"];

/// The options of `llm-gateway plan`.
#[derive(Debug, Clone, clap::Args)]
pub struct PlanOptions {
    /// Requests per second, minute or hour on average, at random moments: 2/s, 90/m, 400/h
    #[arg(long, value_name = "RATE", required_unless_present_any = ["arrivals_file", "models", "agents"])]
    arrivals: Option<Rate>,
    /// A file with a line per request, the seconds of its arrival and, if known, of its call; or a
    /// gateway's log as JSON
    #[arg(long, value_name = "FILE", conflicts_with_all = ["arrivals", "burst", "duration"])]
    arrivals_file: Option<PathBuf>,
    /// A file with a line per key and model: KEY MODEL ARRIVALS ANSWER LOAD, then the model's SIZE
    /// and `batch`, both optional; or a gateway's log as JSON, or `-` for standard input; a table
    /// and a log are added up. Compares the server alone, the order of the line, and loads that are
    /// scheduled
    #[arg(long, value_name = "FILE", group = "work", conflicts_with_all = ["arrivals", "arrivals_file", "burst", "hold", "clients", "batch_share"])]
    models: Vec<PathBuf>,
    /// How long MODEL takes to load, or, without a name, those of which the log does not say it
    #[arg(long, value_name = "[MODEL=]TIME", requires = "models", conflicts_with_all = OTHERS)]
    load: Vec<LoadTime>,
    /// A key of the log whose requests are batch work
    #[arg(long, value_name = "KEY", conflicts_with = "arrivals")]
    batch: Vec<String>,
    /// Models that fit in memory, with --models [default: 1, with --memory as many as its size allows]
    #[arg(long, value_name = "N", requires = "models", conflicts_with_all = OTHERS, value_parser = clap::value_parser!(u32).range(1..=1000))]
    room: Option<u32>,
    /// Memory for models, whose sizes the table or --sizes says
    #[arg(long, value_name = "SIZE", requires = "models", conflicts_with_all = OTHERS, value_parser = parse_size)]
    memory: Option<u64>,
    /// Sizes of models, as in `llama3.1:70b=40GiB,mistral=4GiB`
    #[arg(long, value_name = "NAME=SIZE", requires = "memory", value_delimiter = ',', value_parser = model_size)]
    sizes: Vec<(String, u64)>,
    #[command(flatten)]
    agents: AgentOptions,
    /// Requests that arrive together
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    burst: u32,
    /// For how long requests arrive
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = some_time)]
    duration: Duration,
    /// How long a call takes on average
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time)]
    hold: Duration,
    /// How the times of calls are spread
    #[arg(long, value_name = "SHAPE", default_value = "exponential", value_enum)]
    distribution: Distribution,
    /// Callers with keys of their own, between which the line is fair
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// The share of requests with `batch` keys, 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    batch_share: f64,
    /// Calls at one time [default: max_concurrency]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    slots: Option<u32>,
    /// Requests that may wait [default: max_queue]
    #[arg(long, value_name = "N")]
    queue: Option<u32>,
    /// How long one may wait [default: max_queue_wait]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    max_wait: Option<Duration>,
    /// How long a request may take in all [default: timeouts.total]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    deadline: Option<Duration>,
    /// Take the limits of this provider from the configuration
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// Makes another run of the same kind
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Print the numbers as JSON
    #[arg(long)]
    pub json: bool,
}

impl PlanOptions {
    /// The scenario to simulate. Limits that are not given come from `limits`, and the deadline
    /// from `total`, the time that a request may take in total. An adaptive limit counts with its
    /// upper bound, to which it rises while nothing fails.
    ///
    /// # Errors
    ///
    /// When the file of arrivals is invalid or there would be too many requests, with what would be
    /// right.
    pub fn scenario(&self, limits: Limits, total: Duration) -> Result<Scenario, String> {
        let mut random = Rng::with_seed(self.seed);
        let mix = Mix {
            hold: self.hold,
            distribution: self.distribution,
            clients: self.clients,
            batch_share: self.batch_share,
        };
        let (coming, duration) = match (&self.arrivals_file, self.arrivals) {
            (Some(file), _) => {
                let text = std::fs::read_to_string(file);
                let wrong = |what: String| format!("{}: {what}", file.display());
                let text = text.map_err(|error| wrong(format!("cannot be read: {error}")))?;
                let coming = if log::is_log(&text) {
                    let provider = self.provider.as_deref();
                    recording::read(&text, provider, &self.batch, &mut random)
                } else {
                    arrivals::read(&text, mix, &mut random)
                };
                let coming = coming.map_err(wrong)?;
                let last = coming.last().map_or(Duration::ZERO, |last| last.at);
                (coming, last)
            }
            (None, rate) => {
                // clap requires one of the two.
                let rate = rate.ok_or("write --arrivals RATE or --arrivals-file FILE")?;
                let coming = arrivals::poisson(rate, self.burst, self.duration, mix, &mut random)?;
                (coming, self.duration)
            }
        };
        Ok(Scenario {
            slots: self.slots.unwrap_or(limits.max_concurrency.most()),
            max_queue: self.queue.unwrap_or(limits.max_queue),
            max_wait: self.max_wait.unwrap_or(limits.max_queue_wait),
            deadline: self.deadline.unwrap_or(total),
            coming,
            duration,
            seed: self.seed,
        })
    }

    /// The workload of several models; `None` without `--models`. Limits that are not given are
    /// those of the provider.
    ///
    /// # Errors
    ///
    /// What is wrong with a file, and what would be right.
    pub fn planned(&self, limits: Limits, total: Duration) -> Option<Result<Planned, String>> {
        if self.models.is_empty() {
            return None;
        }
        let patience = self.deadline.unwrap_or(total);
        let draw = Draw { duration: self.duration, patience, distribution: self.distribution };
        let unsaid = Unsaid {
            provider: self.provider.as_deref(),
            loads: &self.load,
            batch: &self.batch,
            patience,
        };
        let room = if self.memory.is_some() { MOST_ROOM } else { 1 };
        let server = Server {
            room: self.room.unwrap_or(room) as usize,
            memory: self.memory,
            sizes: &self.sizes,
            slots: self.slots.unwrap_or(limits.max_concurrency.most()),
            limits: self.limits(limits),
        };
        let mut random = Rng::with_seed(self.seed);
        Some(Planned::read(&self.models, server, (draw, unsaid), &mut random))
    }

    /// The agents before some hosts; `None` without `--agents`. Limits that are not given are those
    /// of the provider, and so is how far its order goes.
    ///
    /// # Errors
    ///
    /// What is wrong with a file, and what would be right.
    pub fn agents(
        &self,
        limits: Limits,
        policy: RememberPolicy,
    ) -> Option<Result<sources::Planned, String>> {
        if !self.agents.is_asked() {
            return None;
        }
        let gateway = Gateway {
            limits: self.limits(limits),
            slots: self.slots.unwrap_or(limits.max_concurrency.most()),
            policy,
            duration: self.duration,
        };
        let chosen = self.agents.chosen(self.provider.as_deref(), &self.batch);
        let mut random = Rng::with_seed(self.seed);
        Some(sources::Planned::read(&self.agents, chosen, gateway, &mut random))
    }

    /// The limits of the line, where options win.
    fn limits(&self, limits: Limits) -> Limits {
        Limits {
            max_queue: self.queue.unwrap_or(limits.max_queue),
            max_queue_wait: self.max_wait.unwrap_or(limits.max_queue_wait),
            ..limits
        }
    }
}

/// As many models as --room can say.
const MOST_ROOM: u32 = 1000;

/// Reads a duration above zero.
fn some_time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    if time.is_zero() { Err("write more than 0s".to_owned()) } else { Ok(time) }
}

/// Reads a share, 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "write a number from 0 to 1, as in 0.2".to_owned())
}
