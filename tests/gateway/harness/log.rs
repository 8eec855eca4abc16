//! What the gateway's process prints, line by line, and the access lines in it.
//!
//! It understands both log formats: `key=value` after the message, and one JSON object per line.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

use crate::patience::until;

/// The lines of one output, collected as they arrive.
#[derive(Clone)]
pub struct Log {
    lines: Arc<Mutex<Lines>>,
    changed: watch::Sender<()>,
}

/// One request's line in the access log.
#[derive(Clone, Debug)]
pub struct Access {
    /// The request's id.
    pub request_id: String,
    /// How it ended.
    pub outcome: String,
    /// Every field of the line, by name, as text.
    pub fields: BTreeMap<String, String>,
}

#[derive(Default)]
struct Lines {
    seen: Vec<String>,
    is_complete: bool,
}

/// The outcomes a request may have; nothing else may appear.
const OUTCOMES: [&str; 8] = [
    "ok",
    "client_error",
    "rate_limited",
    "overloaded",
    "unavailable",
    "timeout",
    "upstream_error",
    "cancelled",
];

impl Log {
    /// Collects `output` until it ends.
    pub fn collect(output: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let log = Self { lines: Arc::default(), changed: watch::Sender::new(()) };
        let collector = log.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                collector.lines.lock().seen.push(line);
                collector.changed.send_replace(());
            }
            collector.lines.lock().is_complete = true;
            collector.changed.send_replace(());
        });
        log
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().seen.clone()
    }

    /// Awaits the first line that `find` accepts.
    pub async fn first<T>(&self, mut find: impl FnMut(&str) -> Option<T>, what: &str) -> T {
        let mut looked_at = 0;
        self.until(
            |lines| {
                let unseen = lines.get(looked_at..).unwrap_or_default();
                looked_at = lines.len();
                unseen.iter().find_map(|line| find(line))
            },
            what,
        )
        .await
    }

    /// Awaits the first `Some` that `find` makes of all lines; fails the test when the output ends.
    /// `find` must not ask this log anything: it is locked meanwhile.
    pub async fn until<T>(&self, mut find: impl FnMut(&[String]) -> Option<T>, what: &str) -> T {
        until(&format!("a log with {what:?}"), self.changed.subscribe(), || {
            let lines = self.lines.lock();
            let found = find(&lines.seen);
            let is_over = lines.is_complete && found.is_none();
            assert!(!is_over, "it ended without {what:?}: {:#?}", lines.seen);
            found
        })
        .await
    }
}

impl Access {
    /// Reads an access line; `None` for any other line.
    ///
    /// An access line is the one that carries `request_id`, `dialect` and `outcome` together.
    pub fn parse(line: &str) -> Option<Self> {
        let fields = fields(line);
        fields.get("dialect")?;
        let (request_id, outcome) = (fields.get("request_id")?, fields.get("outcome")?);
        Some(Self { request_id: request_id.clone(), outcome: outcome.clone(), fields })
    }
}

/// Fails the test unless there are exactly `sent` lines, each with an id of its own and one of the
/// known outcomes.
pub fn check_once_each(lines: &[Access], sent: usize) {
    assert_eq!(lines.len(), sent, "access lines: {lines:#?}");
    let mut ids = BTreeSet::new();
    for line in lines {
        assert!(ids.insert(&line.request_id), "{} ended twice: {lines:#?}", line.request_id);
        assert!(OUTCOMES.contains(&line.outcome.as_str()), "unknown outcome {line:?}");
    }
}

/// How many lines there are of every outcome, including those without any.
pub fn outcomes(lines: &[Access]) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<String, usize> =
        OUTCOMES.iter().map(|outcome| ((*outcome).to_owned(), 0)).collect();
    for line in lines {
        *counts.entry(line.outcome.clone()).or_default() += 1;
    }
    counts
}

fn fields(line: &str) -> BTreeMap<String, String> {
    if let Ok(Value::Object(object)) = serde_json::from_str(line) {
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        return object.into_iter().map(|(name, value)| (name, text(value))).collect();
    }
    let bare = |text: &str| text.trim_matches(['{', '}', '"', ',']).to_owned();
    line.split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (bare(name), bare(value)))
        .collect()
}
