//! The requests of a recorded day: the gateway's own log as JSON, for one provider and one line.
//!
//! It owns what is concluded of them. A request that was answered holds its slot as long as it did
//! then, without its wait; one that was refused, or that left, would have held it as long as one of
//! those that were answered, drawn at random.
//!
//! The one thing to know: requests that were refused count as coming. What is planned is what was
//! asked for, not what the limits of that day let through.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fastrand::Rng;

use super::arrivals::{Coming, MOST};
use super::models::log::{self, Entry, EntryEnd};
use super::models::recorded;

/// Reads the requests at a provider, which may be left out if the log has only one. The callers in
/// `batch` have batch keys.
///
/// # Errors
///
/// If it has no request, none that was answered, or too many, or if the provider cannot be told.
pub fn read(
    text: &str,
    named: Option<&str>,
    batch: &[String],
    random: &mut Rng,
) -> Result<Vec<Coming>, String> {
    let log = log::read(text)?;
    let provider = recorded::provider(&log, named)?;
    let mut entries: Vec<Entry> = log.entries;
    entries.retain(|entry| entry.provider == provider);
    if entries.len() > MOST {
        return Err(format!("{} requests are too many: keep {MOST} at most", entries.len()));
    }
    entries.sort_by_key(|entry| entry.at);
    let start = entries.first().map_or(SystemTime::UNIX_EPOCH, |entry| entry.at);
    let answered = entries.iter().filter(|entry| entry.end == EntryEnd::Answered);
    let holds: Vec<Duration> = answered.map(Entry::held).collect();
    let mut clients: BTreeMap<Arc<str>, u32> = BTreeMap::new();
    let mut coming = Vec::with_capacity(entries.len());
    for entry in &entries {
        let next = u32::try_from(clients.len()).unwrap_or(u32::MAX);
        let client = *clients.entry(Arc::clone(&entry.key)).or_insert(next);
        let hold = match entry.end {
            EntryEnd::Answered => entry.held(),
            EntryEnd::Left | EntryEnd::Refused => *random.choice(&holds).ok_or(
                "has no request that was answered, so that nothing says how long a call takes",
            )?,
        };
        let priority = entry.priority(batch);
        let at = entry.at.duration_since(start).unwrap_or_default();
        coming.push(Coming { at, hold, client, priority });
    }
    Ok(coming)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Priority;

    fn line(
        second: u64,
        caller: &str,
        provider: &str,
        outcome: &str,
        queued: u64,
        total: u64,
    ) -> String {
        format!(
            r#"{{"time":"2026-11-30T08:00:{second:02}Z","target":"access","caller":"{caller}","provider":"{provider}","model":"m","outcome":"{outcome}","attempts":1,"queue_ms":{queued},"total_ms":{total}}}"#
        )
    }

    fn read_lines(lines: &[String], named: Option<&str>) -> Result<Vec<Coming>, String> {
        read(&lines.join("\n"), named, &["night".to_owned()], &mut Rng::with_seed(1))
    }

    #[test]
    fn what_was_refused_comes_too_and_a_call_is_without_its_wait() {
        let day = [
            line(9, "night", "gpu", "ok", 2000, 6000),
            line(10, "a", "gpu", "overloaded", 0, 0),
            line(12, "a", "gpu", "ok", 0, 10_000),
            line(13, "a", "other", "ok", 0, 1000),
        ];
        let coming = read_lines(&day, Some("gpu")).unwrap();
        let seconds: Vec<(u64, u32)> =
            coming.iter().map(|one| (one.at.as_secs(), one.client)).collect();
        assert_eq!(
            seconds,
            [(0, 0), (1, 1), (8, 0)],
            "sorted by arrival, which is `time` less `total_ms`"
        );
        let is_batch = |one: &Coming| one.priority == Priority::Batch;
        assert!(coming.iter().all(|one| is_batch(one) == (one.at.as_secs() == 1)));
        let holds: Vec<u64> = coming.iter().map(|one| one.hold.as_secs()).collect();
        assert_eq!(holds[..2], [10, 4]);
        assert!([4, 10].contains(&holds[2]), "as long as one of those that were answered");
    }

    #[test]
    fn what_cannot_be_told_is_asked_for() {
        let two = [line(1, "a", "x", "ok", 0, 1), line(2, "a", "y", "ok", 0, 1)];
        assert!(read_lines(&two, None).unwrap_err().contains("--provider NAME"));
        let none = [line(1, "a", "x", "overloaded", 0, 1)];
        assert!(read_lines(&none, None).unwrap_err().contains("no request that was answered"));
    }
}
