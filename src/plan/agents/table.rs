//! A table of agents: a line for each key, in a file.
//!
//! Owns the columns and their messages, and how much the turns of a key differ from each other.
//! Refuses a line that says less or more, or other units.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::{Agent, MOST, Step};
use crate::plan::arrivals::{Rate, seconds};
use crate::plan::files::rows;
use crate::policy::Priority;
use crate::sim::token_count;
use crate::units::parse_duration;

/// The columns of a line.
const COLUMNS: &str =
    "KEY AGENTS TURNS FIRST GROWS ANSWER PAUSE, as in `alice 8 12 9000 1500 100 2s`";
/// Agents that begin at once begin within this time.
const START: f64 = 5.0;

/// One line: the agents of a key.
#[derive(Debug)]
pub struct Row {
    key: Arc<str>,
    priority: Priority,
    agents: Count,
    turns: u32,
    first: u32,
    grows: u32,
    answer: u32,
    pause: Duration,
    common: Option<u32>,
}

/// How many agents there are.
#[derive(Debug, Clone, Copy)]
enum Count {
    /// So many, from the start.
    Now(u32),
    /// They begin at this rate.
    Over(Rate),
}

/// Reads the table.
///
/// # Errors
///
/// The number of the first wrong line and what would be right.
pub fn read(text: &str) -> Result<Vec<Row>, String> {
    let rows = rows(text, char::is_whitespace, row)?;
    if rows.is_empty() {
        return Err(format!("has no line: write {COLUMNS}"));
    }
    Ok(rows)
}

/// Draws the agents of a table; those that have a rate begin within `duration`. All that a line
/// says of tokens and pauses is a mean: an agent and a turn have half to one and a half of it.
///
/// # Errors
///
/// That there would be more turns than `MOST`.
pub fn draw(rows: &[Row], duration: Duration, random: &mut Rng) -> Result<Vec<Agent>, String> {
    let (mut agents, mut turns) = (Vec::new(), 0);
    for (number, row) in rows.iter().enumerate() {
        let mut begin = |at: Duration, random: &mut Rng| {
            turns += row.turns as usize;
            agents.push(row.agent(number, at, random));
            match turns {
                ..=MOST => Ok(()),
                _ => Err(format!(
                    "more than {MOST} turns are too many: write fewer agents or a shorter --duration"
                )),
            }
        };
        match row.agents {
            Count::Now(count) => {
                for _ in 0..count {
                    begin(seconds(START * random.f64()), random)?;
                }
            }
            Count::Over(rate) => {
                let mut at = rate.next(Duration::ZERO, random);
                while at < duration {
                    begin(at, random)?;
                    at = rate.next(at, random);
                }
            }
        }
    }
    Ok(agents)
}

impl Row {
    fn agent(&self, number: usize, at: Duration, random: &mut Rng) -> Agent {
        let step = |turn| {
            let begins = if turn == 0 { about(self.first, random) } else { 0 };
            Step {
                grows: begins.saturating_add(about(self.grows, random)),
                answer: about(self.answer, random),
                is_repeated: true,
                pause: self.pause.mul_f64(0.5 + random.f64()),
            }
        };
        Agent {
            key: Arc::clone(&self.key),
            weight: 1,
            priority: self.priority,
            at,
            common: self.common.map(|tokens| (number as u64, tokens)),
            steps: (0..self.turns).map(step).collect(),
        }
    }
}

fn about(mean: u32, random: &mut Rng) -> u32 {
    (f64::from(mean) * (0.5 + random.f64())).round() as u32
}

fn row(words: &[&str]) -> Result<Row, String> {
    let [key, agents, turns, first, grows, answer, pause, more @ ..] = words else {
        return Err(format!("write {COLUMNS}"));
    };
    let (mut common, mut priority) = (None, Priority::Interactive);
    for word in more {
        match *word {
            "interactive" => priority = Priority::Interactive,
            "batch" => priority = Priority::Batch,
            other => {
                let value = other.strip_prefix("common=").ok_or_else(|| {
                    format!("`{other}` is neither batch nor interactive nor common=TOKENS")
                })?;
                common = Some(tokens("common", value)?);
            }
        }
    }
    Ok(Row {
        key: Arc::from(*key),
        priority,
        agents: count(agents)?,
        turns: whole("TURNS", turns, 10_000)?,
        first: tokens("FIRST", first)?,
        grows: tokens("GROWS", grows)?,
        answer: tokens("ANSWER", answer)?,
        pause: parse_duration(pause).map_err(|what| format!("PAUSE: {what}"))?,
        common,
    })
}

fn count(text: &str) -> Result<Count, String> {
    if text.contains('/') {
        return text.parse().map(Count::Over).map_err(|what| format!("AGENTS: {what}"));
    }
    whole("AGENTS", text, 10_000).map(Count::Now)
}

fn whole(column: &str, text: &str, most: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("{column}: write a number from 1 to {most}, not `{text}`"))
}

fn tokens(column: &str, text: &str) -> Result<u32, String> {
    let tokens = token_count(text).map_err(|what| format!("{column}: {what}"))?;
    let fits = u32::try_from(tokens).ok().filter(|tokens| *tokens <= 10_000_000);
    fits.ok_or_else(|| format!("{column}: write at most 10000000 tokens"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agents(text: &str) -> Result<Vec<Agent>, String> {
        draw(&read(text)?, Duration::from_secs(3600), &mut Rng::with_seed(1))
    }

    #[test]
    fn a_line_becomes_agents_that_begin_at_once_or_over_the_hour() {
        let text = "# key agents turns first grows answer pause\n\
            team 8 12 8k 1500 100 2s common=6000\n\nnight 30/h 3 4000 500 50 10s batch # cron\n";
        let agents = agents(text).unwrap();
        let (team, night): (Vec<_>, Vec<_>) = agents.iter().partition(|it| &*it.key == "team");
        assert_eq!(team.len(), 8);
        assert!((15..=50).contains(&night.len()), "{}", night.len());
        assert!(team.iter().all(|it| it.at < Duration::from_secs(5) && it.steps.len() == 12));
        assert!(team.iter().all(|it| it.common == Some((0, 6_000))));
        assert!(night.iter().all(|it| it.priority == Priority::Batch && it.common.is_none()));
        assert!(night.iter().any(|it| it.at > Duration::from_secs(1_800)));
        let grows = |it: &&Agent| it.steps.iter().skip(1).map(|step| step.grows).sum::<u32>();
        let mean = team.iter().map(grows).sum::<u32>() / (8 * 11);
        assert!((1_400..1_600).contains(&mean), "{mean}");
        assert!(team.iter().all(|it| it.steps[0].grows >= 4_096 + 750));
    }

    #[test]
    fn a_wrong_line_is_named_with_its_column_and_what_would_be_right() {
        for (text, says) in [
            ("a 8 12 8k 1500 100", "line 1: write KEY AGENTS TURNS"),
            ("\na 0 12 8k 1500 100 2s", "line 2: AGENTS: write a number from 1"),
            ("a 8/d 12 8k 1500 100 2s", "line 1: AGENTS: write a number above 0 and its unit"),
            (
                "a 8 many 8k 1500 100 2s",
                "line 1: TURNS: write a number from 1 to 10000, not `many`",
            ),
            ("a 8 12 8x 1500 100 2s", "line 1: FIRST: write a number of tokens"),
            ("a 8 12 8k -1 100 2s", "line 1: GROWS: write a number of tokens"),
            ("a 8 12 8k 1500 99m 2s", "line 1: ANSWER: write at most"),
            ("a 8 12 8k 1500 100 2", "line 1: PAUSE: write a unit"),
            ("a 8 12 8k 1500 100 2s night", "line 1: `night` is neither"),
            ("a 8 12 8k 1500 100 2s common=x", "line 1: common: write a number of tokens"),
            ("# nothing", "has no line"),
            ("a 1000/s 10 8k 1500 100 2s", "are too many"),
        ] {
            let error = agents(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
