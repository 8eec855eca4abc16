//! One request's part of its caller's limits.
//!
//! It owns what the request took, and gives back what was not used when it is dropped: the one place where that happens,
//! whatever way a request ends.
//!
//! The one thing to know: until [`Ticket::charge`] says what was used, it is nothing. A request that fails before anything
//! ran therefore costs a request and no tokens.

use std::sync::Arc;
use std::time::Instant;

use super::account::{Account, REQUESTS, Standing, TOKENS};
use super::refusal::Refusal;
use crate::telemetry::{LimitDecision, Limited};

/// How many tokens an answer is taken to need that names no bound, where there are so many.
pub const ANSWER: u64 = 1024;

/// What a request may need of a token budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    /// About how many tokens the prompt has.
    pub prompt: u64,
    /// How many the answer may have, when the request says so.
    pub answer: Option<u64>,
}

/// A request's part of its caller's limits.
#[derive(Debug)]
pub struct Ticket {
    account: Arc<Account>,
    is_inside: bool,
    has_request: bool,
    reserved: f64,
    used: u64,
    requests: Option<Standing>,
    tokens: Option<Standing>,
}

impl Ticket {
    /// A ticket that has taken nothing yet.
    #[must_use]
    pub fn new(account: Arc<Account>) -> Self {
        Self {
            account,
            is_inside: false,
            has_request: false,
            reserved: 0.0,
            used: 0,
            requests: None,
            tokens: None,
        }
    }

    /// Takes a place among the caller's requests under way, and one request from its rate.
    ///
    /// # Errors
    ///
    /// When either is used up; nothing is taken then.
    pub fn enter(&mut self) -> Result<(), Refusal> {
        let now = Instant::now();
        let entered = self.account.enter().and_then(|()| {
            self.is_inside = true;
            self.account.take(REQUESTS, 1.0, 1.0, now).map(drop)
        });
        self.has_request = entered.is_ok();
        if entered.is_err() {
            self.leave();
        }
        self.decided(entered, now)
    }

    /// Whether tokens are limited, so that somebody has to estimate what is needed.
    #[must_use]
    pub fn has_budget(&self) -> bool {
        self.account.terms().has_budget()
    }

    /// Sets tokens aside: those of the prompt, and those that the answer may have. Where the request does not say how
    /// many that are it is let in with what there is, up to [`ANSWER`].
    ///
    /// # Errors
    ///
    /// When there are too few; nothing is taken then.
    pub fn reserve(&mut self, need: Need) -> Result<(), Refusal> {
        let now = Instant::now();
        let least = need.prompt.saturating_add(need.answer.unwrap_or(0));
        let most = need.prompt.saturating_add(need.answer.unwrap_or(ANSWER));
        let taken = self.account.take(TOKENS, amount(least), amount(most), now);
        self.reserved = taken.unwrap_or(0.0);
        self.decided(taken.map(drop), now)?;
        if !self.account.terms().is_free() {
            Limited { decision: LimitDecision::Allowed }.emit();
        }
        Ok(())
    }

    /// Says how many tokens were used, so far or in all.
    pub fn charge(&mut self, tokens: u64) {
        self.used = tokens;
    }

    /// Gives the request back, as for an answer that cost nobody anything. What it was charged stays to be said.
    pub fn refund(&mut self) {
        let now = Instant::now();
        if std::mem::take(&mut self.has_request) {
            self.account.spend(REQUESTS, -1.0, now);
        }
        let reserved = std::mem::take(&mut self.reserved);
        self.account.spend(TOKENS, -reserved, now);
        self.look(now);
    }

    /// Where the caller stood with its requests when this one was decided; `None` without a limit.
    #[must_use]
    pub fn requests(&self) -> Option<Standing> {
        self.requests
    }

    /// The same with its tokens; of two budgets the one of which less is left.
    #[must_use]
    pub fn tokens(&self) -> Option<Standing> {
        self.tokens
    }

    fn decided(&mut self, decided: Result<(), Refusal>, now: Instant) -> Result<(), Refusal> {
        self.look(now);
        if let Err(refusal) = &decided {
            Limited { decision: refusal.decision() }.emit();
        }
        decided
    }

    fn look(&mut self, now: Instant) {
        self.requests = self.account.standing(REQUESTS, now);
        self.tokens = self.account.standing(TOKENS, now);
    }

    fn leave(&mut self) {
        if std::mem::take(&mut self.is_inside) {
            self.account.leave();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.leave();
        let Self { reserved, used, .. } = *self;
        if amount(used) != reserved {
            self.account.spend(TOKENS, amount(used) - reserved, Instant::now());
        }
        if used > 0 {
            self.account.count_tokens(used);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts tokens beyond 2^53")]
fn amount(tokens: u64) -> f64 {
    tokens as f64
}
