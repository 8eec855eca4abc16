//! The files of a workload: tables and a log, each known by what it looks like.
//!
//! Owns the reading of the files and the joining of what they say: requests of a table come beside
//! those of a log, for as long as that lasts. Refuses a second log, because lines are named by their
//! number.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::recorded::{self, Recorded, Unsaid};
use super::report::Report;
use super::table::{self, Draw};
use super::{PlannedModel, Request, Workload, log};
use crate::admission::Limits;
use crate::admission::concurrency::Concurrency;
use crate::plan::files::{named, second_log, text};
use crate::sim::name::ModelKey;

/// A workload, and what is known of the recording that it comes from.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The workload.
    pub workload: Workload,
    /// The recording, if there is one.
    pub recorded: Option<Recorded>,
}

/// The server and the limits of a workload.
#[derive(Debug, Clone, Copy)]
pub struct Server<'a> {
    /// How many models may be in memory.
    pub room: usize,
    /// The memory for them in bytes; `None` bounds only their number.
    pub memory: Option<u64>,
    /// Sizes of models in bytes, where no table says them.
    pub sizes: &'a [(String, u64)],
    /// How many calls a loaded model runs at one time.
    pub slots: u32,
    /// The gateway's limits.
    pub limits: Limits,
}

/// How long a call takes on its way between the gateway and a server nearby.
const LATENCY: Duration = Duration::from_millis(2);

impl Planned {
    /// Reads the files; `-` is the standard input.
    ///
    /// # Errors
    ///
    /// What is wrong with which file, and what would be right.
    pub fn read(
        files: &[PathBuf],
        server: Server<'_>,
        (draw, unsaid): (Draw, Unsaid<'_>),
        random: &mut Rng,
    ) -> Result<Self, String> {
        let (mut models, mut streams, mut logs) = (Vec::new(), Vec::new(), Vec::new());
        for file in files {
            let text = text(file)?;
            if log::is_log(&text) {
                logs.push((file, text));
            } else {
                streams.extend(table::read(&text, &mut models).map_err(|what| named(file, what))?);
            }
        }
        let (mut requests, mut recorded) = (Vec::new(), None);
        match &logs[..] {
            [] => {}
            [(file, text)] => {
                let read = log::read(text);
                let read =
                    read.and_then(|log| recorded::requests(log, unsaid, &mut models, random));
                let (found, came) = read.map_err(|what| named(file, what))?;
                (requests, recorded) = (came, Some(found));
            }
            [_, (second, _), ..] => {
                return Err(named(second, second_log("--models")));
            }
        }
        let duration = recorded.as_ref().map_or(draw.duration, |recorded| recorded.span);
        requests.extend(table::draw(&streams, Draw { duration, ..draw }, random)?);
        Ok(Self { workload: workload(server, models, requests)?, recorded })
    }

    /// Runs the workload under all schedules. `origin` is any instant.
    #[must_use]
    pub fn report(&self, origin: Instant) -> Report {
        Report { recorded: self.recorded.clone(), ..Report::of(&self.workload, origin) }
    }
}

fn workload(
    server: Server<'_>,
    mut models: Vec<PlannedModel>,
    mut requests: Vec<Request>,
) -> Result<Workload, String> {
    if requests.len() > table::MOST {
        let (came, most) = (requests.len(), table::MOST);
        return Err(format!("{came} requests are too many: write {most} at most"));
    }
    requests.sort_by_key(|request| request.at);
    let Server { room, memory, sizes, slots, limits } = server;
    for model in &mut models {
        let is_it = |name: &str| ModelKey::parse(name) == ModelKey::parse(&model.name);
        let said = sizes.iter().find(|(name, _)| is_it(name));
        model.size = said.map_or(model.size, |(_, size)| *size);
        if model.size == 0 && memory.is_some() {
            let name = &model.name;
            return Err(format!("the size of `{name}` is unknown: write --sizes {name}=40GiB"));
        }
    }
    let limits = Limits { max_concurrency: Concurrency::Fixed(slots), ..limits };
    Ok(Workload { models, room, memory, slots, limits, latency: LATENCY, requests })
}
