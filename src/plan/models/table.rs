//! A workload's table: a line for each key and model, in a file.
//!
//! Owns the columns and their messages. Refuses a line that says less or more, or other units.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::{PlannedModel, Request};
use crate::plan::arrivals::{Distribution, Rate, seconds};
use crate::plan::files::rows;
use crate::policy::Priority;
use crate::sim::name::ModelKey;
use crate::units::{parse_duration, parse_size};

/// The most requests of a workload.
pub const MOST: usize = 200_000;

/// The columns of a line.
const COLUMNS: &str = "KEY MODEL ARRIVALS ANSWER LOAD, as in `alice llama3.1:70b 6/m 8s 45s`";

/// How the requests of a table are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// For how long they arrive.
    pub duration: Duration,
    /// How long a client waits.
    pub patience: Duration,
    /// How the times of answers are spread.
    pub distribution: Distribution,
}

/// One line: requests of a key for a model.
#[derive(Debug)]
pub struct Stream {
    key: Arc<str>,
    priority: Priority,
    model: usize,
    rate: Rate,
    answer: Duration,
}

/// Reads the table, and adds its models to `models`. After the columns a line may say the model's
/// size, and `batch` for batch work.
///
/// # Errors
///
/// The number of the first wrong line and what would be right.
pub fn read(text: &str, models: &mut Vec<PlannedModel>) -> Result<Vec<Stream>, String> {
    let streams = rows(text, char::is_whitespace, |words| stream(words, models))?;
    if streams.is_empty() {
        return Err(format!("has no line: write {COLUMNS}"));
    }
    Ok(streams)
}

/// Draws the requests of a table, in the order of their arrival.
///
/// # Errors
///
/// That there would be more than [`MOST`].
pub fn draw(streams: &[Stream], draw: Draw, random: &mut Rng) -> Result<Vec<Request>, String> {
    let mut requests = Vec::new();
    for stream in streams {
        let mut at = Duration::ZERO;
        loop {
            at = stream.rate.next(at, random);
            if at >= draw.duration {
                break;
            }
            let answer = stream.answer.as_secs_f64() * draw.distribution.draw(random);
            requests.push(Request {
                at,
                key: Arc::clone(&stream.key),
                priority: stream.priority,
                model: stream.model,
                hold: seconds(answer),
                patience: draw.patience,
            });
            if requests.len() > MOST {
                return Err(format!(
                    "more than {MOST} requests are too many: write lower rates or a shorter --duration"
                ));
            }
        }
    }
    requests.sort_by_key(|request| request.at);
    Ok(requests)
}

fn stream(words: &[&str], models: &mut Vec<PlannedModel>) -> Result<Stream, String> {
    let [key, model, rate, answer, load, more @ ..] = words else {
        return Err(format!("write {COLUMNS}"));
    };
    let (mut size, mut priority) = (None, Priority::Interactive);
    for word in more {
        match *word {
            "interactive" => priority = Priority::Interactive,
            "batch" => priority = Priority::Batch,
            other => {
                let read = parse_size(other).ok().filter(|_| size.is_none());
                let wrong = || format!("`{other}` is neither batch nor interactive nor a size");
                size = Some(read.ok_or_else(wrong)?);
            }
        }
    }
    if ModelKey::parse(model).is_none() {
        return Err(format!("`{model}` is no name of a model"));
    }
    let load = parse_duration(load)?;
    let known = models.iter().position(|one| *one.name == **model);
    let index = match known {
        Some(index) => index,
        None => {
            models.push(PlannedModel { name: Arc::from(*model), load, size: 0 });
            models.len() - 1
        }
    };
    let planned = models.get_mut(index).ok_or("no such model")?;
    if planned.load != load {
        return Err(format!("`{model}` takes another time to load in an earlier line"));
    }
    match (planned.size, size) {
        (0, Some(size)) => planned.size = size,
        (said, Some(size)) if said != size => {
            return Err(format!("`{model}` has another size in an earlier line"));
        }
        (_, Some(_) | None) => {}
    }
    let (rate, answer) = (rate.parse()?, parse_duration(answer)?);
    Ok(Stream { key: Arc::from(*key), priority, model: index, rate, answer })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Vec<PlannedModel>, Vec<Request>), String> {
        let draw = Draw {
            duration: Duration::from_secs(3600),
            patience: Duration::from_secs(60),
            distribution: Distribution::Fixed,
        };
        let mut models = Vec::new();
        let streams = super::read(text, &mut models)?;
        Ok((models, super::draw(&streams, draw, &mut Rng::with_seed(1))?))
    }

    #[test]
    fn lines_become_requests_at_their_rates() {
        let text = "# key model arrivals answer load\na m 60/m 2s 8s\n\nb n 30/m 4s 20s 4GiB batch # night\n";
        let (models, requests) = read(text).unwrap();
        assert_eq!(models.iter().map(|one| one.load.as_secs()).collect::<Vec<_>>(), [8, 20]);
        assert_eq!(models.iter().map(|one| one.size).collect::<Vec<_>>(), [0, 4 << 30]);
        let of = |key: &str| requests.iter().filter(|one| &*one.key == key).count() as f64;
        assert!((of("a") / 3600.0 - 1.0).abs() < 0.1 && (of("b") / 1800.0 - 1.0).abs() < 0.1);
        assert!(requests.is_sorted_by_key(|request| request.at));
        let night = requests.iter().find(|one| &*one.key == "b").unwrap();
        assert_eq!((night.priority, night.hold), (Priority::Batch, Duration::from_secs(4)));
    }

    #[test]
    fn a_wrong_line_is_named_with_what_would_be_right() {
        for (text, says) in [
            ("a m 1/s 2s", "line 1: write KEY MODEL"),
            ("\na m 1 2s 8s x", "line 2: `x` is neither"),
            ("a m 1/s 2s 8s 4GiB 5GiB", "line 1: `5GiB` is neither"),
            ("a m 1/s 2s 8s 4GiB\nb m 1/s 2s 8s 5GiB", "line 2: `m` has another size"),
            ("a m often 2s 8s", "line 1: write a number above 0"),
            ("a m 1/s soon 8s", "line 1: "),
            ("a m 1/s 2s 8s\nb m 1/s 2s 9s", "line 2: `m` takes another time"),
            ("# nothing", "has no line"),
            ("a m 1000/s 2s 8s", "are too many"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
