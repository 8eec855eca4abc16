//! A workload from a recorded day: who asked for which model when, and how long each would wait.
//!
//! Owns what is concluded from a log: the times of answers that were not given, the patience of
//! clients, the time of each load.
//!
//! The one thing to know: a call's time is its own, without the line. Under `scheduling = "fair"`
//! the server's loads are a part of it, so that a day under `warm` says more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use serde::Serialize;

use super::log::{Entry, EntryEnd, Log, PassedOver};
use super::{PlannedModel, Request};
use crate::plan::report::quantile;
use crate::sim::name::ModelKey;
use crate::units::moment::format_moment;
use crate::units::parse_duration;

/// The time of a load, as an operator writes it: `llama3.1:70b=45s`, or `20s` for all others.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadTime {
    model: Option<ModelKey>,
    load: Duration,
}

impl std::str::FromStr for LoadTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((model, load)) = text.split_once('=') else {
            return Ok(Self { model: None, load: parse_duration(text)? });
        };
        let key = ModelKey::parse(model).ok_or(format!("`{model}` is no name of a model"))?;
        Ok(Self { model: Some(key), load: parse_duration(load)? })
    }
}

/// What the log does not say.
#[derive(Debug, Clone, Copy)]
pub struct Unsaid<'a> {
    /// The provider whose calls count; where there is only one, it may be left out.
    pub provider: Option<&'a str>,
    /// How long loads take, before what the log says of them.
    pub loads: &'a [LoadTime],
    /// The keys whose requests are batch work.
    pub batch: &'a [String],
    /// How long clients wait of which none is known to have left.
    pub patience: Duration,
}

/// What a recording was found to say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recorded {
    /// The provider.
    pub provider: Arc<str>,
    /// When the first request arrived.
    pub from: String,
    /// When the last one did.
    pub until: String,
    /// How many requests it has.
    pub requests: usize,
    /// Its models.
    pub models: Vec<RecordedModel>,
    /// The lines that are no request.
    pub passed_over: PassedOver,
    /// How long it is.
    #[serde(skip)]
    pub span: Duration,
}

/// A model of a recording.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordedModel {
    /// Its name.
    pub name: Arc<str>,
    /// The requests for it.
    pub requests: usize,
    /// The median of its answers' times.
    pub answer_seconds: f64,
    /// How long it takes to load.
    pub load_seconds: f64,
}

/// The requests of a log in the order of their arrival. `models` may have models of a table, whose
/// load times count; others are added.
///
/// # Errors
///
/// If the provider cannot be told, no answer has a time, or a load has none, with what to write.
pub fn requests(
    log: Log,
    unsaid: Unsaid<'_>,
    models: &mut Vec<PlannedModel>,
    random: &mut Rng,
) -> Result<(Recorded, Vec<Request>), String> {
    let provider = provider(&log, unsaid.provider)?;
    let mut passed_over = log.passed_over;
    let of = |entry: &Entry| entry.provider == provider;
    let (mut entries, others): (Vec<Entry>, Vec<Entry>) = log.entries.into_iter().partition(of);
    for other in &others {
        passed_over.note(other.line, "is at another provider".to_owned());
    }
    entries.sort_by_key(|entry| entry.at);
    let own =
        |((at, model), took): ((Arc<str>, ModelKey), _)| (at == provider).then_some((model, took));
    let loads = log.loads.into_iter().filter_map(own).collect();
    let indexes = indexes(&entries, unsaid, &loads, models)?;
    let holds = Holds::of(&entries, &indexes)?;
    let patience = patience(&entries);
    let start = entries.first().map_or(SystemTime::UNIX_EPOCH, |entry| entry.at);
    let last = entries.last().map_or(start, |entry| entry.at);
    let request = |(entry, model): (&Entry, &usize)| Request {
        at: since(start, entry.at),
        key: Arc::clone(&entry.key),
        priority: entry.priority(unsaid.batch),
        model: *model,
        hold: match entry.end {
            EntryEnd::Answered => entry.held(),
            EntryEnd::Left | EntryEnd::Refused => holds.draw(*model, random),
        },
        patience: match entry.end {
            EntryEnd::Left => entry.total,
            EntryEnd::Answered | EntryEnd::Refused => {
                patience.get(&entry.key).copied().unwrap_or(unsaid.patience)
            }
        },
    };
    let requests: Vec<Request> = entries.iter().zip(&indexes).map(request).collect();
    let recorded = Recorded {
        provider,
        from: format_moment(start),
        until: format_moment(last),
        requests: requests.len(),
        models: seen(models, &indexes, &holds),
        passed_over,
        span: since(start, last),
    };
    Ok((recorded, requests))
}

/// The provider whose calls count.
///
/// # Errors
///
/// If it is not in the log, or one of several is to be chosen.
pub(in crate::plan) fn provider(log: &Log, named: Option<&str>) -> Result<Arc<str>, String> {
    let all: BTreeSet<&Arc<str>> = log.entries.iter().map(|entry| &entry.provider).collect();
    let names = || all.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
    match (named, all.first()) {
        (Some(named), _) => all
            .iter()
            .find(|name| &****name == named)
            .map(|name| Arc::clone(name))
            .ok_or_else(|| format!("has no request at `{named}`, only at {}", names())),
        (None, Some(only)) if all.len() == 1 => Ok(Arc::clone(only)),
        (None, _) => Err(format!("has requests at {}: choose one with --provider NAME", names())),
    }
}

/// The index of each entry's model, after models that are new were added.
fn indexes(
    entries: &[Entry],
    unsaid: Unsaid<'_>,
    loads: &BTreeMap<ModelKey, Vec<Duration>>,
    models: &mut Vec<PlannedModel>,
) -> Result<Vec<usize>, String> {
    let named = |wanted: Option<&ModelKey>| {
        unsaid.loads.iter().find(|one| one.model.as_ref() == wanted).map(|one| one.load)
    };
    let index = |entry: &Entry| {
        let key = ModelKey::parse(&entry.model);
        let is_it = |one: &PlannedModel| ModelKey::parse(&one.name) == key;
        if let Some(index) = models.iter().position(is_it) {
            return Ok(index);
        }
        let load = key.as_ref().and_then(|key| {
            let logged = loads.get(key).map(|took| median(took.iter().copied()));
            named(Some(key)).or(logged).or_else(|| named(None))
        });
        let name = &entry.model;
        let load = load.ok_or_else(|| {
            format!("does not say how long `{name}` takes to load: write --load {name}=20s, or --load 20s for all such models")
        })?;
        models.push(PlannedModel { name: Arc::clone(name), load, size: 0 });
        Ok(models.len() - 1)
    };
    entries.iter().map(index).collect()
}

/// The times of answers, by model.
struct Holds {
    by_model: BTreeMap<usize, Vec<Duration>>,
    all: Vec<Duration>,
}

impl Holds {
    fn of(entries: &[Entry], models: &[usize]) -> Result<Self, String> {
        let mut by_model: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
        for (entry, model) in entries.iter().zip(models) {
            if entry.end == EntryEnd::Answered {
                by_model.entry(*model).or_default().push(entry.held());
            }
        }
        let all: Vec<Duration> = by_model.values().flatten().copied().collect();
        if all.is_empty() {
            return Err("has no request that was answered, so that it does not say how long an answer takes".to_owned());
        }
        Ok(Self { by_model, all })
    }

    /// The times that a model's answers took, else those of all answers.
    fn known(&self, model: usize) -> &[Duration] {
        self.by_model.get(&model).unwrap_or(&self.all)
    }

    /// The time of an answer that nobody had: that of another request for the same model.
    fn draw(&self, model: usize, random: &mut Rng) -> Duration {
        random.choice(self.known(model)).copied().unwrap_or_default()
    }
}

/// How long the clients of a key wait, where one of them left: as long as any was seen to.
fn patience(entries: &[Entry]) -> BTreeMap<Arc<str>, Duration> {
    let mut longest: BTreeMap<Arc<str>, (Duration, bool)> = BTreeMap::new();
    for entry in entries {
        let (time, has_left) = longest.entry(Arc::clone(&entry.key)).or_default();
        *time = (*time).max(entry.total);
        *has_left |= entry.end == EntryEnd::Left;
    }
    longest.into_iter().filter_map(|(key, (time, left))| left.then_some((key, time))).collect()
}

fn seen(models: &[PlannedModel], indexes: &[usize], holds: &Holds) -> Vec<RecordedModel> {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    indexes.iter().for_each(|index| *counts.entry(*index).or_default() += 1);
    let model = |(index, requests): (usize, usize)| {
        let model = models.get(index)?;
        Some(RecordedModel {
            name: Arc::clone(&model.name),
            requests,
            answer_seconds: median(holds.known(index).iter().copied()).as_secs_f64(),
            load_seconds: model.load.as_secs_f64(),
        })
    };
    counts.into_iter().filter_map(model).collect()
}

/// The median of some times.
fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut seconds: Vec<f64> = times.map(|time| time.as_secs_f64()).collect();
    seconds.sort_by(f64::total_cmp);
    Duration::from_secs_f64(quantile(&seconds, 0.5))
}

/// How long after the start it is.
pub(in crate::plan) fn since(start: SystemTime, at: SystemTime) -> Duration {
    at.duration_since(start).unwrap_or_default()
}

#[cfg(test)]
mod tests;
