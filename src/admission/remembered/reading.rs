//! How long a model takes to read a prompt and to write an answer, learnt from its answers.
//!
//! Owns tokens per byte, the reading rate and the mean time of writing. It decides nothing.
//!
//! The trap: a server that does not say how much it had in its cache looks fast when it had much.
//! Rates are therefore medians, and only of calls of which little was remembered.

use std::time::Duration;

use super::ring::Ring;

/// What a server told about a call, and what was seen of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The tokens of the prompt, those from the cache included.
    pub prompt: Option<u64>,
    /// Those from the cache.
    pub cached: Option<u64>,
    /// The tokens of the answer.
    pub answer: Option<u64>,
    /// How long the prompt was read by the server's clock, or until the first event arrived.
    pub reading: Option<Duration>,
}

/// What is known of a model's speed.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Tokens per byte; 0 if unknown.
    per_byte: f64,
    /// Tokens read in a second.
    rates: Ring<15>,
    /// Seconds of a call after its prompt was read; 0 if unknown.
    writing: f64,
}

/// How much of a call's prompt came from the server's cache, in tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// All tokens of the prompt.
    pub total: f64,
    /// Those that were not read.
    pub remembered: f64,
}

/// Tokens per byte of English text, until more is known.
const USUAL: f64 = 0.25;
/// Counts of shorter prompts say little about rates.
const SHORTEST: f64 = 32.0;
/// Nothing is written in less, in seconds.
const SHORTEST_WRITING: f64 = 1e-6;
/// The weight of the newest call in a mean.
const ALPHA: f64 = 0.2;
/// A call of which more than this part is believed to be remembered says nothing about the rate.
const LITTLE: f64 = 0.2;

impl Reading {
    /// How many tokens this much text has.
    pub fn tokens(&self, bytes: u64) -> f64 {
        let per_byte = if self.per_byte > 0.0 { self.per_byte } else { USUAL };
        bytes as f64 * per_byte
    }

    /// How much text has this many tokens.
    pub fn bytes(&self, tokens: f64) -> u64 {
        (tokens / self.tokens(1)) as u64
    }

    /// Seconds to read this many tokens; `None` before a rate is known.
    pub fn time(&self, tokens: f64) -> Option<f64> {
        self.rates.median().map(|rate| tokens / rate)
    }

    /// Tokens read in a second.
    pub fn rate(&self) -> Option<f64> {
        self.rates.median()
    }

    /// Mean seconds of a call after its prompt was read; `None` before one has ended.
    pub fn writing(&self) -> Option<f64> {
        (self.writing > 0.0).then_some(self.writing)
    }

    /// Takes what is known of a call whose prompt has this size, of which this many tokens were
    /// believed to be remembered. Returns how many were; `None` if that cannot be told.
    pub fn learn(
        &mut self,
        bytes: u32,
        believed: f64,
        counts: Counts,
        held: Duration,
    ) -> Option<Found> {
        let total = match counts.prompt.filter(|_| bytes > 0) {
            Some(prompt) => {
                let ratio = prompt as f64 / f64::from(bytes);
                let old = if self.per_byte > 0.0 { self.per_byte } else { ratio };
                self.per_byte = old + ALPHA * (ratio - old);
                prompt as f64
            }
            None => self.tokens(u64::from(bytes)),
        };
        let cached = counts.cached.map(|cached| cached as f64);
        let Some(reading) = counts.reading.map(|reading| reading.as_secs_f64()) else {
            return cached.map(|remembered| Found { total, remembered });
        };
        let written = (held.as_secs_f64() - reading).max(SHORTEST_WRITING);
        let old = if self.writing > 0.0 { self.writing } else { written };
        self.writing = old + ALPHA * (written - old);
        if let Some(remembered) = cached {
            self.rate_is((total - remembered).max(0.0), reading);
            return Some(Found { total, remembered });
        }
        let before = self.rate();
        if believed <= LITTLE * total {
            self.rate_is(total, reading);
        }
        let read = (reading * before?).min(total);
        Some(Found { total, remembered: total - read })
    }

    fn rate_is(&mut self, tokens: f64, seconds: f64) {
        if tokens >= SHORTEST && seconds > 0.0 {
            self.rates.push(tokens / seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_server_that_counts_its_cache_is_believed() {
        let mut reading = Reading::default();
        assert_eq!((reading.time(100.0), reading.writing()), (None, None));
        let counts = Counts {
            prompt: Some(1_000),
            cached: Some(800),
            reading: Some(seconds(2.0)),
            ..Counts::default()
        };
        let found = reading.learn(2_000, 0.0, counts, seconds(5.0));
        assert_eq!(found, Some(Found { total: 1_000.0, remembered: 800.0 }));
        assert_eq!((reading.rate(), reading.writing()), (Some(100.0), Some(3.0)));
        assert_eq!((reading.tokens(10), reading.bytes(5.0)), (5.0, 10));
    }

    #[test]
    fn without_counts_the_time_tells_how_much_was_read() {
        let mut reading = Reading::default();
        let call = |tokens, took| Counts {
            prompt: Some(tokens),
            reading: Some(seconds(took)),
            ..Counts::default()
        };
        assert_eq!(reading.learn(4_000, 0.0, call(1_000, 10.0), seconds(11.0)), None);
        let found = reading.learn(4_400, 900.0, call(1_100, 1.0), seconds(2.0)).unwrap();
        assert_eq!((found.remembered, reading.rate()), (1_000.0, Some(100.0)));
        let lost = reading.learn(4_400, 1_000.0, call(1_100, 12.0), seconds(13.0)).unwrap();
        assert_eq!(lost.remembered, 0.0);
    }

    #[test]
    fn without_tokens_the_size_of_the_text_counts() {
        let mut reading = Reading::default();
        let call = |took| Counts { reading: Some(seconds(took)), ..Counts::default() };
        reading.learn(1_600, 0.0, call(4.0), seconds(5.0));
        assert_eq!(reading.rate(), Some(100.0));
        reading.learn(4, 0.0, call(9.0), seconds(9.0));
        assert_eq!(reading.rate(), Some(100.0), "too short to tell");
        assert_eq!(reading.learn(1_600, 0.0, Counts::default(), seconds(9.0)), None);
    }
}
