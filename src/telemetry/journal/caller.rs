//! A key's usage since the start of the process.

use serde::Serialize;

use crate::telemetry::{Outcome, RequestEnded};

/// The counts of one key. All but `in_flight` only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CallerUsage {
    /// Requests under way.
    pub in_flight: u64,
    /// Requests that ended.
    pub requests: u64,
    /// How many of them were answered completely.
    pub ok: u64,
    /// How many of them were refused because of load, an unavailable provider or a limit.
    pub refused: u64,
    /// How many of them failed otherwise.
    pub failed: u64,
    /// How many of them were given up by their clients before a provider was called.
    pub left: u64,
    /// Prompt tokens as counted by providers.
    pub prompt_tokens: u64,
    /// Completion tokens as counted by providers.
    pub completion_tokens: u64,
}

impl CallerUsage {
    /// Counts a request that ended; `began` if it was counted as under way.
    pub(super) fn ended(&mut self, ended: &RequestEnded<'_>, began: bool) {
        if began {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        self.requests += 1;
        match ended.outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::RateLimited | Outcome::Overloaded | Outcome::Unavailable => self.refused += 1,
            Outcome::ClientError | Outcome::Timeout | Outcome::UpstreamError => self.failed += 1,
            Outcome::Cancelled => self.left += u64::from(ended.attempts == 0),
        }
        // Providers report the counts, and a wrong one may be as large as its type allows.
        let add = |sum: u64, more: Option<u64>| sum.saturating_add(more.unwrap_or(0));
        self.prompt_tokens = add(self.prompt_tokens, ended.usage.prompt);
        self.completion_tokens = add(self.completion_tokens, ended.usage.completion);
    }
}
