//! The gateway's log as a recording: which requests came, and how long its loads took.
//!
//! Owns which lines count, and a name for each reason why one does not. Concludes nothing from them.
//!
//! The one thing to know: an object may begin anywhere in its line, because what collects logs
//! likes to write names and times before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::policy::Priority;
use crate::sim::name::ModelKey;
use crate::units::moment::parse_moment;

/// What every access line must have.
const FIELDS: &str = "time, caller, provider, model, outcome, queue_ms and total_ms";

/// A request of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The number of its line.
    pub line: usize,
    /// When it arrived.
    pub at: SystemTime,
    /// Whose it was.
    pub key: Arc<str>,
    /// At which provider it ended.
    pub provider: Arc<str>,
    /// The model's name.
    pub model: Arc<str>,
    /// How it ended.
    pub end: EntryEnd,
    /// Its time in the line.
    pub queued: Duration,
    /// Its time until the first piece of its answer; zero if there was none.
    pub first: Duration,
    /// Its time in all.
    pub total: Duration,
    /// Its tokens.
    pub tokens: EntryTokens,
}

/// The tokens of a request of the log, as its provider counted them; 0 if it did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EntryTokens {
    /// Those of its prompt.
    pub prompt: u32,
    /// How many of them the provider had in its cache, where it says that.
    pub cached: Option<u32>,
    /// Those of its answer.
    pub answer: u32,
}

impl Entry {
    /// How long it held its slot: its time in all without its wait.
    pub fn held(&self) -> Duration {
        self.total.saturating_sub(self.queued)
    }

    /// Its class, if the keys in `batch` have batch work.
    pub fn priority(&self, batch: &[String]) -> Priority {
        let is_batch = batch.iter().any(|key| **key == *self.key);
        if is_batch { Priority::Batch } else { Priority::Interactive }
    }
}

/// How a request of the log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryEnd {
    /// It had an answer, or began to have one when its client left.
    Answered,
    /// Its client left before an answer began, or its deadline passed.
    Left,
    /// It was refused, or failed.
    Refused,
}

/// What a log says.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// The requests, in the order of the lines.
    pub entries: Vec<Entry>,
    /// How long the gateway's own loads took, by provider and model.
    pub loads: BTreeMap<(Arc<str>, ModelKey), Vec<Duration>>,
    /// The lines that are no request, and why.
    pub passed_over: PassedOver,
}

/// Lines that do not count, by the reason.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct PassedOver(pub BTreeMap<String, Lines>);

/// Some lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lines {
    /// How many.
    pub lines: usize,
    /// The number of the first.
    pub first: usize,
}

impl PassedOver {
    /// Counts a line.
    pub fn note(&mut self, line: usize, why: String) {
        self.0.entry(why).or_insert(Lines { lines: 0, first: line }).lines += 1;
    }

    /// The reasons in one sentence each.
    pub fn said(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(why, lines)| match lines.lines {
            1 => format!("line {}: {why}", lines.first),
            many => format!("{many} lines, line {} the first: {why}", lines.first),
        })
    }
}

/// Whether a text is a log rather than a table: some line of it has a JSON object.
pub fn is_log(text: &str) -> bool {
    text.lines().any(|line| object(line).is_some())
}

/// Reads a log. Lines of other parts of the gateway say nothing here and are left out.
///
/// # Errors
///
/// If it has no request, with what is missing.
pub fn read(text: &str) -> Result<Log, String> {
    let mut log = Log::default();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.trim().is_empty() {
            continue;
        }
        let Some(object) = object(line) else {
            log.passed_over.note(number, "is no JSON object".to_owned());
            continue;
        };
        match object.get("target").and_then(Value::as_str) {
            Some("access") => match entry(number, &object) {
                Ok(entry) => log.entries.push(entry),
                Err(why) => log.passed_over.note(number, why),
            },
            Some("loads") => match load(&object) {
                Ok((at, took)) => log.loads.entry(at).or_default().push(took),
                Err(why) => log.passed_over.note(number, why),
            },
            Some(_) => {}
            None => log.passed_over.note(number, missing("target")),
        }
    }
    if log.entries.is_empty() {
        let why: Vec<String> = log.passed_over.said().take(3).collect();
        let why =
            if why.is_empty() { "no line is of target `access`".into() } else { why.join("; ") };
        return Err(format!(
            "has no request ({why}): write what the gateway logs with log.format = \"json\", whose access lines have {FIELDS}"
        ));
    }
    Ok(log)
}

fn object(line: &str) -> Option<Map<String, Value>> {
    let start = line.find('{')?;
    serde_json::from_str(line.get(start..)?).ok()
}

fn entry(line: usize, object: &Map<String, Value>) -> Result<Entry, String> {
    let ended = parse_moment(text(object, "time")?).map_err(|what| format!("`time`: {what}"))?;
    let (queued, total) = (millis(object, "queue_ms")?, millis(object, "total_ms")?);
    let key = Arc::from(text(object, "caller")?);
    let (provider, model) = (text(object, "provider")?, text(object, "model")?);
    // A line without it is of a request that had no answer.
    let first = millis(object, "first_ms").unwrap_or_default();
    let end = match text(object, "outcome")? {
        "ok" => EntryEnd::Answered,
        "cancelled" if !first.is_zero() => EntryEnd::Answered,
        "cancelled" | "timeout" => EntryEnd::Left,
        "rate_limited" | "overloaded" | "unavailable" | "upstream_error" => EntryEnd::Refused,
        "client_error" => return Err("is the client's own error".to_owned()),
        _ => return Err("has another `outcome` than the gateway writes".to_owned()),
    };
    if provider == "-" || model == "-" {
        return Err("came to no model of a provider".to_owned());
    }
    if end == EntryEnd::Answered && object.get("attempts").and_then(Value::as_u64) == Some(0) {
        return Err("was answered without a call".to_owned());
    }
    if ModelKey::parse(model).is_none() {
        return Err("has another `model` than an Ollama could have".to_owned());
    }
    let at = ended.checked_sub(total).ok_or("begins before 1970")?;
    let (provider, model) = (Arc::from(provider), Arc::from(model));
    let (queued, first, tokens) = (queued.min(total), first.min(total), tokens(object));
    Ok(Entry { line, at, key, provider, model, end, queued, first, total, tokens })
}

/// Its tokens; a log need not say them.
fn tokens(object: &Map<String, Value>) -> EntryTokens {
    let count = |field| object.get(field).and_then(Value::as_u64);
    let count = |field| count(field).and_then(|count| u32::try_from(count).ok());
    EntryTokens {
        prompt: count("prompt_tokens").unwrap_or_default(),
        cached: count("cached_tokens"),
        answer: count("completion_tokens").unwrap_or_default(),
    }
}

/// At which provider which model took how long to load.
type LoadTime = ((Arc<str>, ModelKey), Duration);

fn load(object: &Map<String, Value>) -> Result<LoadTime, String> {
    let (provider, model) = (text(object, "provider")?, text(object, "model")?);
    let model = ModelKey::parse(model).ok_or("has another `model` than an Ollama could have")?;
    Ok(((Arc::from(provider), model), millis(object, "load_ms")?))
}

fn text<'a>(object: &'a Map<String, Value>, field: &str) -> Result<&'a str, String> {
    object.get(field).and_then(Value::as_str).ok_or_else(|| missing(field))
}

fn millis(object: &Map<String, Value>, field: &str) -> Result<Duration, String> {
    let millis = object.get(field).and_then(Value::as_u64).map(Duration::from_millis);
    millis.filter(|time| *time <= crate::units::LONGEST).ok_or_else(|| missing(field))
}

fn missing(field: &str) -> String {
    format!("has no `{field}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"time":"2026-11-30T08:00:10.500Z","level":"info","target":"access","message":"request","request_id":"1","outcome":"ok","status":200,"code":"-","dialect":"native","caller":"alice","provider":"ollama","model":"llama3.1:70b","attempts":1,"resumed":false,"queue_ms":3000,"first_ms":4000,"total_ms":9500,"prompt_tokens":5,"completion_tokens":3,"cause":"-"}"#;

    #[test]
    fn a_line_says_when_a_request_came_and_how_long_its_call_took() {
        let log = read(LINE).unwrap();
        let [entry] = &log.entries[..] else { panic!("{log:?}") };
        assert_eq!(entry.at, parse_moment("2026-11-30T08:00:01Z").unwrap());
        let (queued, total) = (Duration::from_secs(3), Duration::from_millis(9500));
        assert_eq!((entry.end, entry.queued, entry.total), (EntryEnd::Answered, queued, total));
        assert_eq!((&*entry.key, &*entry.provider), ("alice", "ollama"));
        assert_eq!(entry.first, Duration::from_secs(4));
        assert_eq!(entry.tokens, EntryTokens { prompt: 5, cached: None, answer: 3 });
        assert!(log.passed_over.0.is_empty());
    }

    #[test]
    fn lines_of_collectors_and_of_other_parts_are_no_obstacle() {
        let load = r#"{"target":"loads","provider":"ollama","model":"mistral","load_ms":8000}"#;
        let text = format!("gateway-1  | {LINE}\n\n{{\"target\":\"gate\"}}\n{load}\n");
        assert!(is_log(&text) && !is_log("a m 1/s 2s 8s # {night}"));
        let log = read(&text).unwrap();
        assert_eq!((log.entries.len(), log.passed_over.0.len()), (1, 0), "{log:?}");
        assert_eq!(log.loads.into_values().flatten().collect::<Vec<_>>(), [Duration::from_secs(8)]);
    }

    #[test]
    fn a_line_that_does_not_count_is_counted_by_its_reason() {
        let with = |from: &str, to: &str| {
            let line = LINE.replace(from, to);
            assert_ne!(line, LINE, "{from}");
            line
        };
        for (line, why) in [
            ("panicked".to_owned(), "is no JSON object"),
            (LINE[..90].to_owned(), "is no JSON object"),
            (with("\"target\"", "\"topic\""), "has no `target`"),
            (with("\"queue_ms\":3000,", ""), "has no `queue_ms`"),
            (with("\"total_ms\":9500", "\"total_ms\":\"long\""), "has no `total_ms`"),
            (with("\"caller\":\"alice\",", ""), "has no `caller`"),
            (with("2026-11-30T", "yesterday "), "`time`: write a date"),
            (with("\"ok\"", "\"fine\""), "has another `outcome`"),
            (with("\"ok\"", "\"client_error\""), "is the client's own error"),
            (with("\"ollama\"", "\"-\""), "came to no model"),
            (with("\"attempts\":1", "\"attempts\":0"), "was answered without a call"),
            (with("llama3.1:70b", "a b"), "has another `model`"),
        ] {
            let log = read(&format!("{LINE}\n{line}\n{line}")).unwrap();
            assert_eq!(log.entries.len(), 1, "{line}");
            let said: Vec<String> = log.passed_over.said().collect();
            assert!(said[0].starts_with(&format!("2 lines, line 2 the first: {why}")), "{said:?}");
        }
    }

    #[test]
    fn a_log_without_a_request_is_refused_with_what_is_missing() {
        let error = read(&LINE.replace("\"caller\":\"alice\",", "")).unwrap_err();
        assert!(
            error.contains("line 1: has no `caller`") && error.contains("log.format"),
            "{error}"
        );
        let error = read(r#"{"target":"gate"}"#).unwrap_err();
        assert!(error.contains("no line is of target `access`"), "{error}");
    }

    #[test]
    fn who_left_before_an_answer_began_is_told_from_who_left_within_it() {
        let of = |outcome: &str, first: &str| {
            let line = LINE.replace("\"ok\"", outcome).replace("\"first_ms\":4000", first);
            read(&line).unwrap().entries.remove(0).end
        };
        assert_eq!(of("\"cancelled\"", "\"first_ms\":0"), EntryEnd::Left);
        assert_eq!(of("\"cancelled\"", "\"first_ms\":9"), EntryEnd::Answered);
        assert_eq!(of("\"timeout\"", "\"first_ms\":0"), EntryEnd::Left);
        assert_eq!(of("\"overloaded\"", "\"first_ms\":0"), EntryEnd::Refused);
    }
}
