//! The delivered part of an answer, and how another answer is joined to it.
//!
//! It owns the delivered text, up to [`MOST`] bytes of it, and the place up to which another answer
//! has repeated it. It refuses what cannot be joined without a visible seam: tool calls, log
//! probabilities, signatures. Pure: it never sees a channel.
//!
//! The one thing to know: nothing of another answer is let through before it has repeated all
//! delivered text and reasoning in the same order. The client then has exactly the other answer, or
//! an error.

use crate::chat::{Carried, ChatEvent};

/// The most text that is kept for resuming, in bytes; if a client has more of an answer that
/// breaks, it gets an error.
pub const MOST: usize = 1024 * 1024;

/// The part of an answer that a client has.
#[derive(Debug, Default)]
pub struct Continuation {
    delivered: Vec<Run>,
    size: usize,
    /// Whether delivered text is recorded, so that another answer may be joined to it.
    keeps: bool,
    /// The part of `delivered` that the present answer has yet to repeat; `None` when nothing.
    due: Option<Due>,
    /// Whether the present answer continues where the delivered text ends, without repeating it.
    goes_on: bool,
}

/// The answer differs from the delivered part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Differs;

/// A run of text of one kind.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    kind: Kind,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
}

/// A place in the delivered text.
#[derive(Debug, Clone, Copy, Default)]
struct Due {
    run: usize,
    byte: usize,
}

impl Continuation {
    /// Nothing is delivered yet, and delivered text will be recorded.
    #[must_use]
    pub fn keeping() -> Self {
        Self { keeps: true, ..Self::default() }
    }

    /// Whether another answer may be joined to the delivered part.
    #[must_use]
    pub fn is_joinable(&self) -> bool {
        self.keeps
    }

    /// Stops recording. Text delivered so far must still be repeated.
    pub fn stop_keeping(&mut self) {
        self.keeps = false;
    }

    /// The delivered text, if there is nothing but text and another model may be asked to continue
    /// it. Some providers reject white space at its end, and others drop it.
    #[must_use]
    pub fn open_end(&self) -> Option<&str> {
        match self.delivered.as_slice() {
            [Run { kind: Kind::Text, text }] if text.trim_end().len() == text.len() => Some(text),
            _ => None,
        }
    }

    /// Whether the present answer was to continue after [`Continuation::open_end`].
    #[must_use]
    pub fn was_to_go_on(&self) -> bool {
        self.goes_on
    }

    /// Another answer begins, which has to repeat the delivered part.
    pub fn repeat(&mut self) {
        self.due = (!self.delivered.is_empty()).then(Due::default);
        self.goes_on = false;
    }

    /// Another answer begins, which continues after [`Continuation::open_end`].
    pub fn go_on(&mut self) {
        self.due = None;
        self.goes_on = true;
    }

    /// Takes the next event of the present answer, and returns the part of it to deliver.
    ///
    /// # Errors
    ///
    /// [`Differs`] when it differs from the delivered part. Nothing may be joined afterwards.
    pub fn join(&mut self, event: ChatEvent) -> Result<Option<ChatEvent>, Differs> {
        let rest = match (self.due, event) {
            // A model that continues a text does not reason first: this one begins anew.
            (None, ChatEvent::Reasoning(_)) if self.goes_on => return Err(Differs),
            (None, event) => Some(event),
            // A request whose answer has to repeat another is never carried.
            (Some(_), ChatEvent::Carried(_)) => return Err(Differs),
            (Some(due), ChatEvent::Text(text)) => {
                self.check(due, Kind::Text, text)?.map(ChatEvent::Text)
            }
            (Some(due), ChatEvent::Reasoning(text)) => {
                self.check(due, Kind::Reasoning, text)?.map(ChatEvent::Reasoning)
            }
            // It belongs to reasoning that the client already has without it.
            (Some(_), ChatEvent::Signature(_)) => None,
            (
                Some(_),
                ChatEvent::ToolCall(_)
                | ChatEvent::Logprobs(_)
                | ChatEvent::Whole(_)
                | ChatEvent::Done(_),
            ) => return Err(Differs),
        };
        if let Some(event) = &rest {
            self.write_down(event);
        }
        Ok(rest)
    }

    /// Compares `text` with the due part, and returns what goes beyond it.
    fn check(&mut self, due: Due, kind: Kind, text: String) -> Result<Option<String>, Differs> {
        let run = self.delivered.get(due.run).filter(|run| run.kind == kind).ok_or(Differs)?;
        let wanted = run.text.get(due.byte..).ok_or(Differs)?;
        if let Some(wanted) = wanted.strip_prefix(text.as_str())
            && !wanted.is_empty()
        {
            self.due = Some(Due { run: due.run, byte: due.byte + text.len() });
            return Ok(None);
        }
        let beyond = text.strip_prefix(wanted).ok_or(Differs)?;
        if due.run + 1 < self.delivered.len() {
            // The next run is of the other kind.
            self.due = Some(Due { run: due.run + 1, byte: 0 });
            return if beyond.is_empty() { Ok(None) } else { Err(Differs) };
        }
        self.due = None;
        Ok((!beyond.is_empty()).then(|| beyond.to_owned()))
    }

    fn write_down(&mut self, event: &ChatEvent) {
        if !self.keeps {
            return;
        }
        let (kind, text) = match event {
            ChatEvent::Text(text) => (Kind::Text, text),
            ChatEvent::Reasoning(text) => (Kind::Reasoning, text),
            // Its text follows it, if it has any.
            ChatEvent::Carried(Carried { has_more: false, .. }) | ChatEvent::Done(_) => return,
            ChatEvent::Signature(_)
            | ChatEvent::ToolCall(_)
            | ChatEvent::Logprobs(_)
            | ChatEvent::Carried(_)
            | ChatEvent::Whole(_) => return self.give_up(),
        };
        self.size += text.len();
        if self.size > MOST {
            return self.give_up();
        }
        match self.delivered.last_mut() {
            Some(run) if run.kind == kind => run.text.push_str(text),
            _ => self.delivered.push(Run { kind, text: text.clone() }),
        }
    }

    /// The delivered part can no longer be joined, so it is dropped.
    fn give_up(&mut self) {
        self.keeps = false;
        self.delivered = Vec::new();
    }
}

#[cfg(test)]
mod tests;
