//! Decides a model's whole answer to a question before any of it is sent.
//!
//! Owns the rules: the answer is a function of the seed, the model and the conversation; a tool is
//! called when the last message is the user's and names it; structured output is the smallest
//! instance of its schema; a stop string or `num_predict` cuts the rest off. Refuses nothing and
//! keeps no time: the pump decides when each piece is due.
//!
//! What a reader would get wrong: a message names a tool if it contains the tool's name in any
//! case, with underscores written as such or as spaces (`get_weather`, "get weather"). Every tool
//! so named is called once, in the order offered. If none is named, a tool is called if the message
//! contains a word of five letters or more from its name ("how is the weather?"). Any other message
//! gets text. Arguments are made of the numbers and quoted texts of the message.

use serde_json::Value;

use super::ask::{Ask, Format, Tool};
use super::catalog::Model;
use super::clue::Clues;
use super::{schema, text};

#[cfg(test)]
mod tests;

/// The fewest letters of a word that identifies a tool: shorter ones (`get`, `list`) are in many
/// names.
const TELLING: usize = 5;

/// A model's whole answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its pieces, in the order in which they are sent.
    pub pieces: Vec<Piece>,
    /// Why it ends.
    pub reason: DoneReason,
}

/// The content of one line of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// One token of reasoning.
    Thinking(String),
    /// One token of content.
    Text(String),
    /// One whole tool call.
    Call(ToolCall),
}

/// A tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// `call_` and eight characters.
    pub id: String,
    /// Its index among the answer's calls, from 0.
    pub index: usize,
    /// The tool's name.
    pub name: String,
    /// A valid instance of the tool's parameters.
    pub arguments: Value,
}

/// Why an answer ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DoneReason {
    /// The answer is complete, a tool was called, or a stop string occurred.
    Stop,
    /// It reached `num_predict` tokens.
    Length,
    /// There was no question: the model is loaded.
    Load,
    /// There was no question and `keep_alive` was 0: the model is unloaded.
    Unload,
}

impl Answer {
    /// An answer without content.
    pub fn silent(reason: DoneReason) -> Self {
        Self { pieces: Vec::new(), reason }
    }

    /// Tokens in the answer.
    pub fn tokens(&self) -> u64 {
        self.pieces.iter().map(Piece::tokens).sum()
    }

    /// All content, joined.
    pub fn content(&self) -> String {
        self.join(|piece| match piece {
            Piece::Text(text) => Some(text),
            Piece::Thinking(_) | Piece::Call(_) => None,
        })
    }

    /// All reasoning, joined.
    pub fn thinking(&self) -> String {
        self.join(|piece| match piece {
            Piece::Thinking(text) => Some(text),
            Piece::Text(_) | Piece::Call(_) => None,
        })
    }

    /// All tool calls.
    pub fn calls(&self) -> Vec<&ToolCall> {
        let calls = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Call(call) => Some(call),
            Piece::Text(_) | Piece::Thinking(_) => None,
        });
        calls.collect()
    }

    fn join<'a>(&'a self, part: impl Fn(&'a Piece) -> Option<&'a String>) -> String {
        self.pieces.iter().filter_map(part).map(String::as_str).collect()
    }
}

impl Piece {
    /// Its number of tokens, at least 1.
    pub fn tokens(&self) -> u64 {
        match self {
            Self::Thinking(_) | Self::Text(_) => 1,
            Self::Call(call) => text::prompt_tokens(call.arguments.to_string().len()).max(1) + 1,
        }
    }
}

impl DoneReason {
    /// As Ollama writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Load => "load",
            Self::Unload => "unload",
        }
    }
}

/// Decides a model's answer to a question; `seed` is the simulator's, and the question's own seed
/// also counts.
pub fn plan(ask: &Ask, model: &Model, seed: u64) -> Answer {
    let seed = seed_of(ask, model, seed);
    let thinks = model.thinks && ask.think.unwrap_or(true);
    let thought = if thinks { text::thought(seed) } else { String::new() };
    let mut pieces: Vec<Piece> = text::tokens(&thought).into_iter().map(Piece::Thinking).collect();
    let (called, clues) = called_tools(ask);
    if called.is_empty() {
        let mut content = content(ask, clues.clone(), seed);
        cut_at_stop(&mut content, &ask.stop);
        pieces.extend(text::tokens(&content).into_iter().map(Piece::Text));
    }
    pieces.extend(called.into_iter().enumerate().map(|(index, tool)| {
        let arguments = schema::instance_from(&tool.parameters, clues.clone());
        let arguments = if arguments.is_object() { arguments } else { serde_json::json!({}) };
        let id = text::call_id(seed, index);
        Piece::Call(ToolCall { id, index, name: tool.name.clone(), arguments })
    }));
    let reason = cut_at_length(&mut pieces, ask.num_predict);
    Answer { pieces, reason }
}

fn seed_of(ask: &Ask, model: &Model, seed: u64) -> u64 {
    let own = ask.seed.unwrap_or_default().to_le_bytes();
    let simulators = seed.to_le_bytes();
    let head = [&simulators[..], &own[..], model.key.short().as_bytes()];
    let turns = ask.messages.iter().flat_map(|message| {
        let parts = [message.role.as_str(), message.content.as_str()];
        parts.into_iter().chain(message.images.iter().map(String::as_str)).map(str::as_bytes)
    });
    text::seed_of(head.into_iter().chain(turns))
}

/// The tools that the last message calls for, and the clues in it for their arguments.
fn called_tools(ask: &Ask) -> (Vec<&Tool>, Clues) {
    let Some(last) = ask.messages.last().filter(|last| last.role == "user") else {
        return (Vec::new(), Clues::default());
    };
    let plain = |text: &str| text.to_lowercase().replace('_', " ");
    let asked = plain(&last.content);
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect()
    };
    let asked_words = words(&asked);
    let named = |tool: &&Tool| !tool.name.is_empty() && asked.contains(&plain(&tool.name));
    let told = |tool: &&Tool| {
        let telling = |word: &String| word.chars().count() >= TELLING && asked_words.contains(word);
        words(&plain(&tool.name)).iter().any(telling)
    };
    let mut called: Vec<&Tool> = ask.tools.iter().filter(named).collect();
    if called.is_empty() {
        called = ask.tools.iter().filter(told).collect();
    }
    (called, Clues::in_message(&last.content))
}

fn content(ask: &Ask, clues: Clues, seed: u64) -> String {
    match &ask.format {
        Format::Text => text::answer(seed),
        Format::Json => object(clues, seed).to_string(),
        Format::Schema(schema) => schema::instance(schema).to_string(),
    }
}

/// An object with the keys that the question has in quotes, or with the key `answer`.
fn object(mut clues: Clues, seed: u64) -> Value {
    let quotes = std::iter::from_fn(|| clues.next_quote(|_| true));
    let is_key = |quote: &String| {
        !quote.is_empty() && quote.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
    };
    let mut keys: Vec<String> = quotes.filter(is_key).collect();
    if keys.is_empty() {
        keys.push("answer".to_owned());
    }
    let fields = (0..).zip(keys).map(|(number, key)| {
        let said = text::answer(seed.wrapping_add(number));
        (key, Value::String(said))
    });
    Value::Object(fields.collect())
}

fn cut_at_stop(content: &mut String, stops: &[String]) {
    let first = stops.iter().filter_map(|stop| content.find(stop.as_str())).min();
    if let Some(at) = first {
        content.truncate(at);
    }
}

fn cut_at_length(pieces: &mut Vec<Piece>, most: Option<u64>) -> DoneReason {
    let Some(most) = most else { return DoneReason::Stop };
    let mut said = 0;
    let fits = pieces.iter().take_while(|piece| {
        said += piece.tokens();
        said <= most
    });
    let count = fits.count();
    if count == pieces.len() {
        return DoneReason::Stop;
    }
    pieces.truncate(count);
    DoneReason::Length
}
