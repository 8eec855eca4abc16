//! What is believed of one model's prompt cache, and how answers correct it.
//!
//! Owns the model's memory, its speed, and the room of its cache. It decides nothing about jobs.

use std::sync::Arc;
use std::time::Duration;

use super::memory::{Memory, Number};
use super::reading::{Counts, Found, Reading};
use super::ring::Ring;
use crate::chat::Chain;

/// How much of a job's prompt is believed to be in the server's cache, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// As far as this caller itself has sent it.
    pub remembered: u64,
    /// All of it.
    pub total: u64,
}

/// What is known of one model.
#[derive(Debug, Default)]
pub struct Model {
    /// The conversations that it is believed to hold.
    pub memory: Memory,
    /// Its speed.
    pub reading: Reading,
    /// How much its cache holds, in tokens; `None`: everything so far.
    pub room: Option<f64>,
    /// How much the cache held, in tokens, when conversations were found in it: they and all that
    /// were used after them.
    reaches: Ring<32>,
    /// Tokens of all prompts.
    pub prompts: f64,
    /// Those of them that were remembered.
    pub reused: f64,
    /// Mean seconds in which a prompt is read if nothing of it is remembered; `None` before one was.
    whole: Option<f64>,
}

/// The conversation of a running job.
#[derive(Debug)]
pub struct Read {
    /// Its number in the memory.
    pub number: Number,
    /// The size of its prompt.
    pub bytes: u32,
    /// Tokens that were believed to be remembered.
    pub believed: f64,
    /// As [`super::memory::Entered::distance`].
    pub distance: u64,
    /// What was held of it before; `None` if nothing.
    pub before: Option<Arc<Chain>>,
    /// For its client.
    pub share: Share,
}

/// Reading counts if it takes more than this part of the time of writing.
const COUNTS: f64 = 0.25;
/// The weight of the newest prompt in a mean.
const ALPHA: f64 = 0.1;
/// A conversation of which less than this part was believed to be remembered was not relied on.
const RELIED: f64 = 0.2;
/// One of which less than this part of what was believed was there has been lost.
const LOST: f64 = 0.5;
/// One of which this part more than was believed was there shows that the cache holds more.
const MORE: f64 = 0.25;

impl Model {
    /// A conversation is sent to the server.
    pub fn enter(&mut self, chain: &Arc<Chain>, caller: &Arc<str>) -> Read {
        let entered = self.memory.enter(chain, caller);
        if let Some(room) = self.room {
            self.memory.keep(self.reading.bytes(room));
        }
        let tokens = |bytes: u32| self.reading.tokens(u64::from(bytes));
        let share =
            Share { remembered: tokens(entered.own) as u64, total: tokens(chain.size()) as u64 };
        Read {
            number: entered.number,
            bytes: chain.size(),
            believed: tokens(entered.known),
            distance: entered.distance,
            before: entered.before,
            share,
        }
    }

    /// Takes the counts of an answer.
    pub fn learn(&mut self, read: &Read, counts: Counts, held: Duration) {
        let Some(found) = self.found(read, counts, held) else { return };
        let Found { total, remembered } = found;
        // The cache held so much if it was there, and has no room for it if it was not.
        let reach = self.reading.tokens(read.distance) + total;
        let relied = read.believed > RELIED * total;
        if relied && remembered < LOST * read.believed {
            if self.reaches.largest().is_some_and(|largest| reach < largest) {
                // Not for want of room: others that were used longer ago were there.
                self.memory.keep_only(read.number);
                self.reaches = Ring::default();
            } else {
                let largest = self.reaches.largest().unwrap_or(0.0);
                self.set_room(largest.max(reach - total).max(total));
            }
        } else if relied {
            self.reaches.push(reach);
        } else if remembered > read.believed + MORE * total
            && let Some(room) = self.room
        {
            self.set_room(room + total);
        }
    }

    /// Whether prompts take so long to read that slot time depends on what is remembered.
    pub fn charges_time(&self) -> bool {
        let (whole, writing) = (self.whole.unwrap_or(0.0), self.reading.writing());
        writing.is_some_and(|writing| whole > COUNTS * writing)
    }

    /// One more prompt would take so many seconds to read if nothing of it were remembered.
    pub fn note_whole(&mut self, seconds: f64) {
        let before = self.whole.unwrap_or(seconds);
        self.whole = Some(before + ALPHA * (seconds - before));
    }

    /// Takes the counts of an answer where they say nothing about rates and room: what a cloud
    /// remembers depends on who else is there, and for how long it does on the clock.
    pub fn count(&mut self, read: &Read, counts: Counts, held: Duration) {
        self.found(read, Counts { reading: None, ..counts }, held);
    }

    /// Learns the speed, and returns how much of the prompt was remembered if that can be told.
    fn found(&mut self, read: &Read, counts: Counts, held: Duration) -> Option<Found> {
        let found = self.reading.learn(read.bytes, read.believed, counts, held)?;
        self.prompts += found.total;
        self.reused += found.remembered;
        Some(found)
    }

    /// Its server is another one. Jobs that run there still name their conversations.
    pub fn forget_server(&mut self) {
        let mut memory = std::mem::take(&mut self.memory);
        memory.clear();
        *self = Self { memory, ..Self::default() };
    }

    fn set_room(&mut self, tokens: f64) {
        self.room = Some(tokens);
        self.memory.keep(self.reading.bytes(tokens));
    }
}
