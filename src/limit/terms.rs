//! A caller's terms, and the meters for them.

use std::time::Duration;

use super::bucket::Rate;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A limit that is metered for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meter {
    /// Its requests.
    Requests,
    /// Its tokens per minute: `tokens_per_minute`.
    Minute,
    /// Its tokens per day: `tokens_per_day`.
    Day,
}

/// Meters that are taken from together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The meter of requests.
    Requests,
    /// Both meters of tokens.
    Tokens,
}

/// A caller's limits; by default none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Terms {
    /// Requests.
    pub rate: Option<Rate>,
    /// Tokens of prompts and answers, refilled over a minute.
    pub per_minute: Option<Rate>,
    /// The same, refilled over a day.
    pub per_day: Option<Rate>,
    /// Requests that run at one time.
    pub max_concurrency: Option<u32>,
}

impl Meter {
    /// The meter's unit and period.
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
    /// The first meter of the kind.
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
    /// These terms with token budgets; 0 is no limit.
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

    /// Whether tokens are limited.
    #[must_use]
    pub fn has_budget(&self) -> bool {
        self.per_minute.is_some() || self.per_day.is_some()
    }

    /// The limited meters of this kind with their rates.
    pub fn rates(self, kind: Kind) -> impl Iterator<Item = (Meter, Rate)> {
        kind.meters().iter().filter_map(move |meter| Some((*meter, self.rate(*meter)?)))
    }

    /// The meter's rate, if it is limited.
    #[must_use]
    pub fn rate(&self, meter: Meter) -> Option<Rate> {
        match meter {
            Meter::Requests => self.rate,
            Meter::Minute => self.per_minute,
            Meter::Day => self.per_day,
        }
    }
}
