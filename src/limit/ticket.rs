//! One request's share of its caller's limits.
//!
//! It owns what the request took, and gives back the unused part when it is dropped: the only place
//! where that happens, however a request ends.
//!
//! The one thing to know: until [`Ticket::charge`] is called, no tokens count as used. A request
//! that fails before anything ran therefore costs a request and no tokens.

use std::sync::Arc;

use super::account::{Account, Taken};
use super::meters::Standing;
use super::refusal::Refusal;
use super::terms::Kind;
use crate::telemetry::{LimitDecision, Limited};

/// How many tokens are reserved for an answer without a limit, if there are that many.
pub const ANSWER: u64 = 1024;

/// The tokens that a request may need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    /// About how many tokens the prompt has.
    pub prompt: u64,
    /// How many the answer may have, when the request says so.
    pub answer: Option<u64>,
}

/// A request's share of its caller's limits.
#[derive(Debug)]
pub struct Ticket {
    account: Arc<Account>,
    is_inside: bool,
    /// The request taken from the rate, until it is refunded.
    request: Taken,
    /// The reserved tokens, until they are refunded.
    reserved: Taken,
    used: u64,
    /// Whether Redis did not answer, so that it is not asked again.
    is_alone: bool,
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
            request: Taken::default(),
            reserved: Taken::default(),
            used: 0,
            is_alone: false,
            requests: None,
            tokens: None,
        }
    }

    /// Takes a place among the caller's running requests, and one request from its rate.
    ///
    /// # Errors
    ///
    /// When either is used up; nothing is taken then.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any time; the ticket gives back what was taken.
    pub async fn enter(&mut self) -> Result<(), Refusal> {
        let entered = self.try_enter().await;
        if entered.is_err() {
            self.leave();
        }
        self.decided(entered)
    }

    /// Whether tokens are limited, so that the need has to be estimated.
    #[must_use]
    pub fn has_budget(&self) -> bool {
        self.account.terms().has_budget()
    }

    /// Reserves tokens: those of the prompt, and the answer's limit. A request without a limit is
    /// admitted with what there is, up to [`ANSWER`].
    ///
    /// # Errors
    ///
    /// When there are too few; nothing is taken then.
    ///
    /// # Cancellation
    ///
    /// As [`Ticket::enter`].
    pub async fn reserve(&mut self, need: Need) -> Result<(), Refusal> {
        let least = amount(need.prompt.saturating_add(need.answer.unwrap_or(0)));
        let most = amount(need.prompt.saturating_add(need.answer.unwrap_or(ANSWER)));
        // A request that needs no tokens is not checked.
        let taken = match most {
            0.0 => Ok(Taken::default()),
            most => self.account.take(Kind::Tokens, least, most, self.is_alone).await,
        };
        self.reserved = taken.unwrap_or_default();
        self.decided(taken.map(drop))?;
        if !self.account.terms().is_free() {
            Limited { decision: LimitDecision::Allowed }.emit();
        }
        Ok(())
    }

    /// Sets how many tokens were used so far.
    pub fn charge(&mut self, tokens: u64) {
        self.used = tokens;
    }

    /// Gives everything back, for an answer that cost nothing.
    pub fn refund(&mut self) {
        for (kind, taken) in [
            (Kind::Requests, std::mem::take(&mut self.request)),
            (Kind::Tokens, std::mem::take(&mut self.reserved)),
        ] {
            if taken.amount > 0.0 {
                self.account.spend(kind, -taken.amount, taken);
            }
        }
        self.look();
    }

    /// The caller's standing with its requests when this one was decided; `None` without a limit.
    #[must_use]
    pub fn requests(&self) -> Option<Standing> {
        self.requests
    }

    /// The same with its tokens; of two budgets the one with less left.
    #[must_use]
    pub fn tokens(&self) -> Option<Standing> {
        self.tokens
    }

    async fn try_enter(&mut self) -> Result<(), Refusal> {
        self.account.enter()?;
        self.is_inside = true;
        self.request = self.account.take(Kind::Requests, 1.0, 1.0, false).await?;
        self.is_alone = self.request.amount > 0.0 && !self.request.is_shared;
        Ok(())
    }

    fn decided(&mut self, decided: Result<(), Refusal>) -> Result<(), Refusal> {
        self.look();
        if let Err(refusal) = &decided {
            Limited { decision: LimitDecision::Refused(refusal.reason()) }.emit();
        }
        decided
    }

    fn look(&mut self) {
        self.requests = self.account.standing(Kind::Requests);
        self.tokens = self.account.standing(Kind::Tokens);
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
        let more = amount(used) - reserved.amount;
        if more != 0.0 {
            self.account.spend(Kind::Tokens, more, reserved);
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
