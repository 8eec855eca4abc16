//! What a caller may, and what of it is measured.

use std::time::Duration;

use super::bucket::Rate;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is measured of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meter {
    /// Its requests.
    Requests,
    /// Its tokens by the minute: `tokens_per_minute`.
    Minute,
    /// Its tokens by the day: `tokens_per_day`.
    Day,
}

/// Meters that are taken from together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The one of requests.
    Requests,
    /// Both of tokens.
    Tokens,
}

/// What a caller may; by default everything.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Terms {
    /// Requests.
    pub rate: Option<Rate>,
    /// Tokens of prompts and answers, as they flow in over a minute.
    pub per_minute: Option<Rate>,
    /// And over a day.
    pub per_day: Option<Rate>,
    /// Requests under way at one time.
    pub max_concurrency: Option<u32>,
}

impl Meter {
    /// What it counts, and how often.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Minute => "tokens per minute",
            Self::Day => "tokens per day",
        }
    }
}

impl Kind {
    /// The meter that stands for the kind.
    #[must_use]
    pub fn first(self) -> Meter {
        match self {
            Self::Requests => Meter::Requests,
            Self::Tokens => Meter::Minute,
        }
    }

    fn meters(self) -> &'static [Meter] {
        match self {
            Self::Requests => &[Meter::Requests],
            Self::Tokens => &[Meter::Minute, Meter::Day],
        }
    }
}

impl Terms {
    /// These terms with budgets of tokens; 0 is no limit.
    #[must_use]
    pub fn with_tokens(self, per_minute: u64, per_day: u64) -> Self {
        let budget = |tokens, time| (tokens > 0).then(|| Rate::within(tokens, time));
        Self { per_minute: budget(per_minute, MINUTE), per_day: budget(per_day, DAY), ..self }
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }

    /// Whether tokens are.
    #[must_use]
    pub fn has_budget(&self) -> bool {
        self.per_minute.is_some() || self.per_day.is_some()
    }

    /// The meters of this kind that are limited, and how.
    pub fn rates(self, kind: Kind) -> impl Iterator<Item = (Meter, Rate)> {
        kind.meters().iter().filter_map(move |meter| Some((*meter, self.rate(*meter)?)))
    }

    /// How the meter is limited, if it is.
    #[must_use]
    pub fn rate(&self, meter: Meter) -> Option<Rate> {
        match meter {
            Meter::Requests => self.rate,
            Meter::Minute => self.per_minute,
            Meter::Day => self.per_day,
        }
    }
}
