//! A caller's use of its limits.
//!
//! It owns the meters of one name and the count of its running requests, behind one short lock that
//! is never held across an await. Where gateways share a Redis it takes from there first, and
//! locally when there is no answer.
//!
//! The one thing to know: amounts are put back where they were taken. An amount that cannot be put
//! back because Redis is unreachable is owed, and put back with the next take.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::bucket::Rate;
use super::meters::{Meters, Standing};
use super::refusal::Refusal;
use super::shared::{Drawn, Shared};
use super::terms::{Kind, Meter, Terms};
use crate::redis::Unavailable;

/// One caller's use of its limits.
#[derive(Debug)]
pub struct Account {
    name: Arc<str>,
    state: Mutex<State>,
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct State {
    meters: Meters,
    in_flight: u32,
    tokens_used: u64,
    /// Tokens still to be spent in Redis; a negative number is to be put back.
    owed: f64,
}

/// A taken amount, and where it was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Taken {
    /// How much.
    pub amount: f64,
    /// Whether it was taken in Redis.
    pub is_shared: bool,
}

/// An account, for operators.
#[derive(Debug, Serialize)]
pub struct AccountStatus {
    /// The configured name of the key.
    pub name: Arc<str>,
    /// Requests that run.
    pub in_flight: u32,
    /// How many may run; `None` without a limit.
    pub max_concurrency: Option<u32>,
    /// Requests; `None` without a limit.
    pub requests: Option<MeterStatus>,
    /// Tokens per minute; `None` without a limit.
    pub tokens_per_minute: Option<MeterStatus>,
    /// Tokens per day; `None` without a limit.
    pub tokens_per_day: Option<MeterStatus>,
    /// Tokens used since the start, at this gateway.
    pub tokens_used: u64,
}

/// One limit of an account: by the last answer of Redis, or by this gateway's own count.
#[derive(Debug, Serialize)]
pub struct MeterStatus {
    /// The amount when nothing is spent.
    pub limit: u64,
    /// The amount left, in whole units.
    pub remaining: u64,
    /// The amount that comes back each second.
    pub refill_per_second: f64,
    /// How long until the whole amount is available again.
    pub full_in_ms: u64,
}

impl Account {
    /// A new, unused account.
    #[must_use]
    pub fn new(name: &Arc<str>, terms: Terms, shared: Option<Arc<Shared>>) -> Self {
        let meters = Meters::new(terms);
        let state = State { meters, in_flight: 0, tokens_used: 0, owed: 0.0 };
        Self { name: Arc::clone(name), state: Mutex::new(state), shared }
    }

    /// Whose it is.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The caller's present terms.
    #[must_use]
    pub fn terms(&self) -> Terms {
        self.state.lock().meters.terms
    }

    /// The account, for operators.
    #[must_use]
    pub fn status(&self, now: Instant) -> AccountStatus {
        let state = self.state.lock();
        let meter = |meter| {
            let standing = state.meters.standing(meter, now)?;
            let Standing { limit, remaining, reset, per_second: refill_per_second } = standing;
            let full_in_ms = u64::try_from(reset.as_millis()).unwrap_or(u64::MAX);
            Some(MeterStatus { limit, remaining, refill_per_second, full_in_ms })
        };
        AccountStatus {
            name: Arc::clone(&self.name),
            in_flight: state.in_flight,
            max_concurrency: state.meters.terms.max_concurrency,
            requests: meter(Meter::Requests),
            tokens_per_minute: meter(Meter::Minute),
            tokens_per_day: meter(Meter::Day),
            tokens_used: state.tokens_used,
        }
    }

    pub(super) fn change(&self, terms: Terms) {
        self.state.lock().meters.terms = terms;
    }

    /// Counts one more running request; each ends with [`Account::leave`].
    pub(super) fn enter(&self) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        let most = state.meters.terms.max_concurrency;
        if let Some(most) = most.filter(|most| state.in_flight >= *most) {
            return Err(Refusal::Concurrency { most });
        }
        state.in_flight = state.in_flight.saturating_add(1);
        Ok(())
    }

    pub(super) fn leave(&self) {
        let mut state = self.state.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
    }

    /// Takes at least `need` and up to `want`: in Redis, unless there is none, or it does not
    /// answer, or `is_alone` says that it did not answer this request before.
    ///
    /// # Cancellation
    ///
    /// An amount taken after the future was dropped is put back.
    pub(super) async fn take(
        self: &Arc<Self>,
        kind: Kind,
        need: f64,
        want: f64,
        is_alone: bool,
    ) -> Result<Taken, Refusal> {
        let rates = self.rates(kind);
        if let (Some(shared), false, false) = (&self.shared, is_alone, rates.is_empty()) {
            self.state.lock().meters.check(kind, need)?;
            match self.draw(Arc::clone(shared), kind, rates, need, want).await {
                Some(Ok(drawn)) => return self.settled(kind, need, drawn),
                Some(Err(_)) | None => self.state.lock().meters.go_alone(shared.replicas()),
            }
        }
        let amount = self.state.lock().meters.take(kind, need, want, Instant::now())?;
        Ok(Taken { amount, is_shared: false })
    }

    /// Spends more where `taken` was taken; a negative amount is put back.
    pub(super) fn spend(self: &Arc<Self>, kind: Kind, amount: f64, taken: Taken) {
        match &self.shared {
            Some(shared) if taken.is_shared => self.spend_there(shared, kind, amount),
            Some(_) | None => self.state.lock().meters.spend(kind, amount, Instant::now()),
        }
    }

    /// Counts tokens for the status.
    pub(super) fn count_tokens(&self, tokens: u64) {
        let mut state = self.state.lock();
        state.tokens_used = state.tokens_used.saturating_add(tokens);
    }

    /// The caller's standing.
    pub(super) fn standing(&self, kind: Kind) -> Option<Standing> {
        self.state.lock().meters.tightest(kind, Instant::now())
    }

    fn rates(&self, kind: Kind) -> Vec<(Meter, Rate)> {
        self.state.lock().meters.terms.rates(kind).collect()
    }

    /// Asks Redis in a task of its own, which continues after the caller of this function was
    /// dropped.
    async fn draw(
        self: &Arc<Self>,
        shared: Arc<Shared>,
        kind: Kind,
        rates: Vec<(Meter, Rate)>,
        need: f64,
        want: f64,
    ) -> Option<Result<Drawn, Unavailable>> {
        let (sender, receiver) = oneshot::channel();
        let account = Arc::clone(self);
        let draw = async move {
            let drawn = shared.take(&account.name, &rates, need, want).await;
            if let Err(Ok(Drawn { amount: Some(amount), .. })) = sender.send(drawn) {
                account.spend_there(&shared, kind, -amount);
            }
        };
        drop(Handle::try_current().ok()?.spawn(draw));
        receiver.await.ok()
    }

    /// Records the answer of Redis.
    fn settled(self: &Arc<Self>, kind: Kind, need: f64, drawn: Drawn) -> Result<Taken, Refusal> {
        self.heed(&drawn);
        let Some(amount) = drawn.amount else {
            let refusal = self.state.lock().meters.shortage(kind, need, Instant::now());
            // If there was too little in Redis and there is enough here, it has refilled meanwhile
            // and is available at once.
            let at_once =
                || Refusal::Spent { meter: kind.first(), after: std::time::Duration::ZERO };
            return Err(refusal.unwrap_or_else(at_once));
        };
        let owed = std::mem::take(&mut self.state.lock().owed);
        if let (Some(shared), true) = (&self.shared, owed != 0.0) {
            self.spend_there(shared, Kind::Tokens, owed);
        }
        Ok(Taken { amount, is_shared: true })
    }

    fn spend_there(self: &Arc<Self>, shared: &Arc<Shared>, kind: Kind, amount: f64) {
        let (account, shared) = (Arc::clone(self), Arc::clone(shared));
        let spend = async move {
            let rates = account.rates(kind);
            if rates.is_empty() {
                return;
            }
            match shared.spend(&account.name, &rates, amount).await {
                Ok(drawn) => account.heed(&drawn),
                // Nothing was tried. A request that is not put back is no loss, as requests refill
                // soon.
                Err(Unavailable::Away | Unavailable::Full) if kind == Kind::Tokens => {
                    account.state.lock().owed += amount;
                }
                // Redis may have done it.
                Err(
                    Unavailable::Away | Unavailable::Full | Unavailable::Late | Unavailable::Failed,
                ) => {}
            }
        };
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(spend));
        }
    }

    fn heed(&self, drawn: &Drawn) {
        let now = Instant::now();
        let mut state = self.state.lock();
        for (meter, spent) in &drawn.spent {
            state.meters.heed(*meter, *spent, now);
        }
    }
}
