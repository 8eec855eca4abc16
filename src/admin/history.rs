//! The last minutes of every provider and of the gateway, one sample a second.
//!
//! It owns rings of [`SECONDS`] samples and the counters from which they are made. It collects
//! nothing itself: it gets the counters once a second and computes rates from the differences.
//!
//! The one thing to know: tokens are counted when an answer ends, so that a single second says
//! little about them. Rates are means over the last minute.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::chat::RefusalReason;
use crate::provider::Status;
use crate::telemetry::Outcome;
use crate::telemetry::journal::{Served, TallyView, Totals, TurnedAway};

/// The number of samples in a ring.
const SECONDS: usize = 300;
/// The number of samples over which rates are computed.
const MINUTE: usize = 60;
/// The number of samples that say what happens now.
pub(super) const NOW: usize = 10;
/// The most rows of those who were turned away.
const ROWS: usize = 200;

/// The rings of all providers and of the gateway.
#[derive(Debug, Default)]
pub(super) struct History {
    providers: HashMap<Box<str>, Ring>,
    ended: VecDeque<Totals>,
    before: Option<Totals>,
    /// Who was turned away, by second of the last minute.
    turned_away: VecDeque<Vec<(TurnedAway, u64)>>,
    turned_away_before: Option<HashMap<TurnedAway, u64>>,
}

/// A provider's ring.
#[derive(Debug, Default)]
struct Ring {
    samples: VecDeque<Sample>,
    before: Option<Counters>,
}

/// One second of a provider.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Sample {
    in_flight: u32,
    queued: u64,
    /// How long the oldest waiting request has waited.
    wait_ms: u64,
    /// Requests answered completely and failed in this second.
    ok: u64,
    failed: u64,
    /// Requests that its gate refused in this second, by reason.
    refused: BTreeMap<RefusalReason, u64>,
    /// Calls made in this second.
    calls: u64,
    /// Completion tokens of answers that ended in this second.
    tokens: u64,
    /// The mean time from a call to the first piece of its answer, of the calls whose answer began
    /// in this second.
    first_ms: Option<u64>,
    /// The sum and the number of the times whose mean is `first_ms`.
    #[serde(skip)]
    first: (u64, u64),
}

/// A provider's counters, which only grow.
#[derive(Debug, Clone)]
struct Counters {
    served: Served,
    refused: BTreeMap<RefusalReason, u64>,
    calls: u64,
    tokens: u64,
    first_events: u64,
    first_micros: u64,
}

/// A provider's rates in the last minute.
#[derive(Debug, Default, Serialize, PartialEq)]
pub(super) struct Rates {
    calls_per_second: f64,
    tokens_per_second: f64,
    first_ms: Option<u64>,
    /// Of requests, from their arrival.
    first_p95_ms: Option<u64>,
    /// In the last ten seconds.
    served_per_second: f64,
    refused_per_second: f64,
    failed_per_second: f64,
    /// The last second.
    sample: Option<Sample>,
}

impl History {
    /// Takes a sample. Forgets providers that no longer exist.
    pub(super) fn look(&mut self, providers: &[Status<'_>], totals: Totals, tally: TallyView) {
        self.providers.retain(|name, _| providers.iter().any(|status| *status.name == **name));
        for status in providers {
            let served = tally.served.get(status.name).copied().unwrap_or_default();
            self.providers.entry(Box::from(status.name)).or_default().look(status, served);
        }
        let turned_away = tally.turned_away;
        let before = self.turned_away_before.take().unwrap_or_else(|| turned_away.clone());
        let more = |(cell, count): (&TurnedAway, &u64)| {
            let more = count.saturating_sub(before.get(cell).copied().unwrap_or(0));
            (more > 0).then(|| (cell.clone(), more))
        };
        if self.turned_away.len() == MINUTE {
            self.turned_away.pop_front();
        }
        self.turned_away.push_back(turned_away.iter().filter_map(more).collect());
        self.turned_away_before = Some(turned_away);
        let before = self.before.replace(totals).unwrap_or(totals);
        push(&mut self.ended, totals.since(&before));
    }

    /// A provider's rates in the last minute.
    pub(super) fn rates(&self, provider: &str) -> Rates {
        self.providers.get(provider).map(Ring::rates).unwrap_or_default()
    }

    /// The outcomes of the requests in the last minute, and their rate per second.
    pub(super) fn last_minute(&self) -> Value {
        let mut counts = Map::new();
        let mut all = 0;
        for outcome in Outcome::ALL {
            let of_this = |totals: &Totals| {
                let mut found = totals.by_outcome().filter(|(known, _)| *known == outcome);
                found.next().map_or(0, |(_, count)| count)
            };
            let count: u64 = self.ended.iter().rev().take(MINUTE).map(of_this).sum();
            all += count;
            counts.insert(outcome.as_str().to_owned(), count.into());
        }
        json!({"requests_per_second": per_second(all, self.ended.len()), "outcomes": counts})
    }

    /// Who was turned away in the latest `seconds`, and how many requests of theirs.
    pub(super) fn turned_away(&self, seconds: usize) -> BTreeMap<&TurnedAway, u64> {
        let mut sums = BTreeMap::new();
        for (cell, count) in self.turned_away.iter().rev().take(seconds).flatten() {
            *sums.entry(cell).or_default() += count;
        }
        sums
    }

    /// How many seconds of the latest `seconds` are known.
    pub(super) fn known(&self, seconds: usize) -> usize {
        self.turned_away.len().clamp(1, seconds)
    }

    /// A provider's requests in the last seconds: answered, and failed.
    pub(super) fn lately(&self, provider: &str) -> (u64, u64) {
        self.providers.get(provider).map_or((0, 0), |ring| {
            let lately = || ring.samples.iter().rev().take(NOW);
            (lately().map(|sample| sample.ok).sum(), lately().map(|sample| sample.failed).sum())
        })
    }

    /// A row for each reason, key and provider: those of the last minute first.
    pub(super) fn refusals(&self) -> Value {
        let minute = self.turned_away(MINUTE);
        let of = |(cell, total): (&TurnedAway, &u64)| {
            (minute.get(cell).copied().unwrap_or(0), *total, cell.clone())
        };
        let mut rows: Vec<_> = self.turned_away_before.iter().flatten().map(of).collect();
        rows.sort_unstable_by(|one, other| other.cmp(one));
        rows.truncate(ROWS);
        let row = |(last_minute, total, cell): (u64, u64, TurnedAway)| {
            let provider: Option<Arc<str>> = cell.provider;
            json!({
                "reason": cell.reason,
                "caller": cell.caller,
                "provider": provider,
                "last_minute": last_minute,
                "total": total,
            })
        };
        rows.into_iter().map(row).collect()
    }

    /// All samples by provider, the oldest first.
    pub(super) fn all(&self) -> Value {
        let columns = |ring: &Ring| {
            let column = |of: fn(&Sample) -> Value| ring.samples.iter().map(of).collect::<Value>();
            json!({
                "in_flight": column(|sample| sample.in_flight.into()),
                "queued": column(|sample| sample.queued.into()),
                "wait_ms": column(|sample| sample.wait_ms.into()),
                "refused": column(|sample| json!(sample.refused)),
                "calls": column(|sample| sample.calls.into()),
                "tokens": column(|sample| sample.tokens.into()),
                "first_ms": column(|sample| sample.first_ms.into()),
            })
        };
        self.providers
            .iter()
            .map(|(name, ring)| (name.to_string(), columns(ring)))
            .collect::<Map<_, _>>()
            .into()
    }
}

impl Ring {
    fn look(&mut self, status: &Status<'_>, served: Served) {
        let (first_events, first_time) = status.first_events;
        let now = Counters {
            served,
            refused: status.gate.refused.clone(),
            calls: status.attempts,
            tokens: status.completion_tokens,
            first_events,
            first_micros: u64::try_from(first_time.as_micros()).unwrap_or(u64::MAX),
        };
        let before = self.before.take().unwrap_or_else(|| now.clone());
        let first = (
            now.first_micros.saturating_sub(before.first_micros),
            now.first_events.saturating_sub(before.first_events),
        );
        let sample = Sample {
            in_flight: status.gate.in_flight,
            queued: status.gate.queued,
            wait_ms: status.gate.oldest_wait_ms,
            ok: now.served.ok.saturating_sub(before.served.ok),
            failed: now.served.failed.saturating_sub(before.served.failed),
            refused: more(&now.refused, &before.refused),
            calls: now.calls.saturating_sub(before.calls),
            tokens: now.tokens.saturating_sub(before.tokens),
            first_ms: mean_ms(first),
            first,
        };
        push(&mut self.samples, sample);
        self.before = Some(now);
    }

    fn rates(&self) -> Rates {
        let minute = || self.samples.iter().rev().take(MINUTE);
        let sum = |of: fn(&Sample) -> u64| minute().map(of).sum();
        let lately = |of: fn(&Sample) -> u64| {
            let sum: u64 = self.samples.iter().rev().take(NOW).map(of).sum();
            per_second(sum, self.samples.len().min(NOW))
        };
        Rates {
            served_per_second: lately(|sample| sample.ok),
            refused_per_second: lately(|sample| sample.refused.values().sum()),
            failed_per_second: lately(|sample| sample.failed),
            first_p95_ms: self.before.as_ref().and_then(|now| now.served.first_p95_ms),
            calls_per_second: per_second(sum(|sample| sample.calls), self.samples.len()),
            tokens_per_second: per_second(sum(|sample| sample.tokens), self.samples.len()),
            first_ms: mean_ms((sum(|sample| sample.first.0), sum(|sample| sample.first.1))),
            sample: self.samples.back().cloned(),
        }
    }
}

/// What was added to each count.
fn more(
    now: &BTreeMap<RefusalReason, u64>,
    before: &BTreeMap<RefusalReason, u64>,
) -> BTreeMap<RefusalReason, u64> {
    let more = |(reason, count): (&RefusalReason, &u64)| {
        let more = count.saturating_sub(before.get(reason).copied().unwrap_or(0));
        (more > 0).then_some((*reason, more))
    };
    now.iter().filter_map(more).collect()
}

fn push<T>(ring: &mut VecDeque<T>, item: T) {
    if ring.len() == SECONDS {
        ring.pop_front();
    }
    ring.push_back(item);
}

/// The mean of `count` times whose sum is `micros`.
fn mean_ms((micros, count): (u64, u64)) -> Option<u64> {
    Some(micros.checked_div(count)?.div_ceil(1_000))
}

/// A rate per second, rounded to hundredths. An incomplete minute counts with its elapsed seconds.
fn per_second(count: u64, seconds: usize) -> f64 {
    let seconds = seconds.clamp(1, MINUTE);
    (count as f64 / seconds as f64 * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Ollama;
    use crate::provider::Provider;
    use crate::provider::settings::ProviderSettings;
    use std::time::Duration;

    #[test]
    fn rates_are_differences_over_the_last_minute() {
        let provider = Provider::new("ollama", ProviderSettings::default(), &Ollama, None);
        let mut history = History::default();
        let mut look = |calls, tokens, first_events| {
            let status = Status {
                attempts: calls,
                completion_tokens: tokens,
                first_events,
                ..provider.status()
            };
            history.look(&[status], Totals::default(), TallyView::default());
            history.rates("ollama")
        };
        // Counts from before the first sample do not belong to its second.
        let first = look(1_000, 50_000, (900, Duration::from_secs(900)));
        assert_eq!((first.calls_per_second, first.first_ms), (0.0, None));
        let second = look(1_004, 50_100, (902, Duration::from_millis(900_500)));
        assert_eq!((second.calls_per_second, second.tokens_per_second), (2.0, 50.0));
        assert_eq!(second.first_ms, Some(250));
        assert_eq!(second.sample.as_ref().map(|sample| sample.calls), Some(4));
        let mut last = second;
        for _ in 0..MINUTE {
            last = look(1_004, 50_100, (902, Duration::from_millis(900_500)));
        }
        assert_eq!((last.calls_per_second, last.first_ms), (0.0, None));
    }

    #[test]
    fn who_was_turned_away_is_counted_by_second() {
        let cell = |caller: &str| TurnedAway {
            reason: "over_share",
            caller: Arc::from(caller),
            provider: Some(Arc::from("ollama")),
            is_trouble: true,
        };
        let mut history = History::default();
        let mut look = |nightly, team| {
            let turned_away = HashMap::from([(cell("nightly"), nightly), (cell("team"), team)]);
            let tally = TallyView { turned_away, ..TallyView::default() };
            history.look(&[], Totals::default(), tally);
        };
        look(100, 7);
        look(180, 7);
        look(200, 9);
        let counts = |seconds| history.turned_away(seconds).into_values().collect::<Vec<_>>();
        assert_eq!((counts(1), counts(NOW)), (vec![20, 2], vec![100, 2]));
        let rows = history.refusals();
        assert_eq!((&rows[0]["caller"], &rows[0]["last_minute"]), (&json!("nightly"), &json!(100)));
        assert_eq!((&rows[1]["total"], &rows[1]["reason"]), (&json!(9), &json!("over_share")));
    }

    #[test]
    fn rings_are_bounded_and_removed_providers_are_forgotten() {
        let provider = Provider::new("ollama", ProviderSettings::default(), &Ollama, None);
        let mut history = History::default();
        for _ in 0..SECONDS + 10 {
            history.look(&[provider.status()], Totals::default(), TallyView::default());
        }
        let all = history.all();
        assert_eq!(all["ollama"]["queued"].as_array().unwrap().len(), SECONDS);
        history.look(&[], Totals::default(), TallyView::default());
        assert_eq!(history.all(), json!({}));
        assert_eq!(history.last_minute()["outcomes"]["ok"], 0);
    }
}
