//! What a simulated model runner still remembers of the prompts that it has read, as llama-server
//! does it.
//!
//! Owns the contents of the runner's slots, the conversations that are kept in the host's memory
//! (`--cache-ram`), and how long a prompt takes to read. A new prompt takes the free slot that has
//! most of its beginning, else the one that was unused longest. What that slot would lose is stored
//! first; then the stored conversation with more of the beginning takes its place, and the oldest
//! ones are dropped until the rest fits. It ends with the model. Refuses nothing.
//!
//! It has no clock: `now` is an argument, so that plans can use it in simulated time.
//!
//! What a reader would get wrong: one stored conversation stays however small the bound is, and a
//! prompt that is remembered to its end still has its last part read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// The longest reading, so that sums of moments stay within range.
const LONGEST: Duration = Duration::from_secs(86_400);

/// How much a runner remembers, and how fast it reads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PromptBounds {
    /// Tokens stored besides those in the slots; `None`: nothing is remembered, not even in slots.
    pub stored: Option<u64>,
    /// Tokens read a second by one call; 0 or less: reading takes no time.
    pub read: f64,
}

/// A stretch of a prompt that is remembered whole or not at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part {
    /// What it says: equal parts say the same.
    pub what: u64,
    /// Its tokens.
    pub tokens: u32,
}

/// What a model reads for a call, and then what it writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompt {
    parts: Arc<[Part]>,
    asked: usize,
}

/// How a call's prompt is read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Reading {
    /// Tokens of the prompt.
    pub tokens: u64,
    /// Those that were remembered.
    pub cached: u64,
    /// How long the others take to read.
    pub takes: Duration,
}

/// The memory of one loaded model. `C` identifies a call.
#[derive(Debug)]
pub struct PromptCache<C> {
    bounds: PromptBounds,
    slots: Vec<Slot<C>>,
    /// The oldest first.
    stored: VecDeque<Held>,
    uses: u64,
    evictions: u64,
}

#[derive(Debug)]
struct Slot<C> {
    held: Held,
    /// The number of its last use.
    used: u64,
    work: Option<Work<C>>,
}

#[derive(Debug)]
struct Work<C> {
    call: C,
    prompt: Prompt,
    began: Instant,
    reading: Reading,
}

/// A prompt's beginning.
#[derive(Clone, Debug, Default)]
struct Held {
    parts: Arc<[Part]>,
    count: usize,
}

impl Prompt {
    /// A prompt, and the answer to it as the next prompt of the conversation would say it.
    pub fn new(
        asked: impl IntoIterator<Item = Part>,
        answer: impl IntoIterator<Item = Part>,
    ) -> Self {
        let mut parts: Vec<Part> = asked.into_iter().collect();
        let asked = parts.len();
        parts.extend(answer);
        Self { parts: parts.into(), asked }
    }

    /// Tokens to read.
    pub fn tokens(&self) -> u64 {
        tokens(self.asked())
    }

    fn asked(&self) -> &[Part] {
        self.parts.get(..self.asked).unwrap_or_default()
    }

    /// Its first parts, with at most this many tokens.
    fn up_to(&self, most: u64) -> Held {
        let mut sum = 0;
        let fits = self.parts.iter().take_while(|part| {
            sum += u64::from(part.tokens);
            sum <= most
        });
        Held { count: fits.count(), parts: Arc::clone(&self.parts) }
    }
}

impl<C: Copy + Eq> PromptCache<C> {
    /// The memory of a model that was just loaded, with this many slots.
    pub fn new(slots: usize, bounds: PromptBounds) -> Self {
        let slot = |_| Slot { held: Held::default(), used: 0, work: None };
        let slots = (0..slots).map(slot).collect();
        Self { bounds, slots, stored: VecDeque::new(), uses: 0, evictions: 0 }
    }

    /// Gives a call a slot and begins to read its prompt. A call without a prompt, or beyond the
    /// slots, is nothing to remember.
    pub fn begin(&mut self, now: Instant, call: C, prompt: &Prompt) -> Reading {
        let total = prompt.tokens();
        let is_asked = total > 0 && self.bounds.stored.is_some();
        let Some((at, is_lost)) = self.choose(prompt, total).filter(|_| is_asked) else {
            return self.reading(total, 0);
        };
        if is_lost {
            self.exchange(at, prompt, total);
        }
        self.uses += 1;
        let uses = self.uses;
        let Some(slot) = self.slots.get_mut(at) else { return self.reading(total, 0) };
        // At least the last part is read: the first word of the answer follows from it.
        let last = prompt.asked().last().map_or(0, |part| u64::from(part.tokens));
        let cached = slot.held.shares(prompt.asked()).min(total - last);
        slot.used = uses;
        let reading = Reading { tokens: total, cached, takes: takes(total - cached, self.bounds) };
        slot.work = Some(Work { call, prompt: prompt.clone(), began: now, reading });
        reading
    }

    /// Ends a call. Its slot keeps what was read of the prompt, and of a whole answer what was
    /// written.
    pub fn end(&mut self, now: Instant, call: C, is_whole: bool) {
        let of_call = |slot: &&mut Slot<C>| slot.work.as_ref().is_some_and(|it| it.call == call);
        let Some(slot) = self.slots.iter_mut().find(of_call) else { return };
        let Some(work) = slot.work.take() else { return };
        let passed = now.saturating_duration_since(work.began);
        let read = if passed >= work.reading.takes {
            work.reading.tokens
        } else {
            let share = passed.as_secs_f64() / work.reading.takes.as_secs_f64();
            let new = (work.reading.tokens - work.reading.cached) as f64 * share;
            work.reading.cached + new as u64
        };
        let most = if is_whole { u64::MAX } else { read };
        slot.held = work.prompt.up_to(most);
    }

    /// The conversations that were dropped because there was no room for them.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// The slot for a prompt, and whether its content would be lost to it.
    fn choose(&self, prompt: &Prompt, total: u64) -> Option<(usize, bool)> {
        let free = || self.slots.iter().enumerate().filter(|(_, slot)| slot.work.is_none());
        let similar = free()
            .map(|(at, slot)| (slot.held.shares(prompt.asked()), at, slot))
            // A tenth of the prompt: `--slot-prompt-similarity`.
            .filter(|(shared, ..)| shared * 10 > total)
            .max_by_key(|(shared, at, _)| (*shared, std::cmp::Reverse(*at)));
        if let Some((shared, at, slot)) = similar {
            return Some((at, shared * 2 < slot.held.tokens()));
        }
        free().min_by_key(|(at, slot)| (slot.used, *at)).map(|(at, _)| (at, true))
    }

    /// Stores what a slot holds, and takes what is stored of the prompt instead if that is more.
    fn exchange(&mut self, at: usize, prompt: &Prompt, total: u64) {
        let most = self.bounds.stored.unwrap_or_default();
        let Some(slot) = self.slots.get_mut(at) else { return };
        let held = slot.held.clone();
        if most == 0 {
            self.evictions += u64::from(held.count > 0);
            return;
        }
        let shared = held.shares(prompt.asked());
        let mut best = (ratio(shared, held.tokens()), ratio(shared, total), None);
        for (index, stored) in self.stored.iter().enumerate() {
            let shared = stored.shares(prompt.asked());
            let (kept, alike) = (ratio(shared, stored.tokens()), ratio(shared, total));
            // A long conversation is not given up for a short beginning.
            if kept >= 0.25 && kept > best.0 && alike > best.1 {
                best = (kept, alike, Some(index));
            }
        }
        if let Some(found) = best.2.and_then(|index| self.stored.remove(index)) {
            slot.held = found;
        }
        self.store(held);
        while self.stored.len() > 1 && self.stored.iter().map(Held::tokens).sum::<u64>() > most {
            self.stored.pop_front();
            self.evictions += 1;
        }
    }

    /// Stores a conversation, unless it is there already, in place of its own beginnings.
    fn store(&mut self, held: Held) {
        let whole = held.tokens();
        if whole == 0 || self.stored.iter().any(|it| it.shares(held.slice()) == whole) {
            return;
        }
        self.stored.retain(|it| it.shares(held.slice()) < it.tokens());
        self.stored.push_back(held);
    }

    fn reading(&self, tokens: u64, cached: u64) -> Reading {
        Reading { tokens, cached, takes: takes(tokens - cached, self.bounds) }
    }
}

impl Held {
    fn slice(&self) -> &[Part] {
        self.parts.get(..self.count).unwrap_or_default()
    }

    fn tokens(&self) -> u64 {
        tokens(self.slice())
    }

    /// The tokens of the longest common beginning.
    fn shares(&self, other: &[Part]) -> u64 {
        let pairs = self.slice().iter().zip(other).take_while(|(mine, its)| mine == its);
        pairs.map(|(part, _)| u64::from(part.tokens)).sum()
    }
}

fn tokens(parts: &[Part]) -> u64 {
    parts.iter().map(|part| u64::from(part.tokens)).sum()
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { -1.0 } else { part as f64 / whole as f64 }
}

fn takes(tokens: u64, bounds: PromptBounds) -> Duration {
    if bounds.read <= 0.0 {
        return Duration::ZERO;
    }
    let seconds = tokens as f64 / bounds.read;
    Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).min(LONGEST)
}
