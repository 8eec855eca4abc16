//! A request's use of its caller's limits, and the headers with the caller's standing.
//!
//! It owns the request's [`Ticket`] and the count of the answered text, from which the bill is
//! estimated when the provider did not count. It refuses with the limits' own errors.
//!
//! The one thing to know: the bill is made where the outcome is counted, so that no exit path
//! forgets it.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{HeaderName, HeaderValue};

use super::auth::Known;
use crate::chat::estimate::{answer_bytes, embed_tokens, prompt_tokens, tokens};
use crate::chat::{Ask, ChatEvent, GatewayError, Usage};
use crate::limit::{Need, Refusal, Standing, Ticket};
use crate::telemetry::Outcome;

/// One request's share of its caller's limits.
#[derive(Debug, Default)]
pub struct Quota {
    ticket: Option<Ticket>,
    need: Need,
    /// Bytes of text that were answered so far.
    said: usize,
    counts_hits: bool,
    is_free: bool,
}

impl Quota {
    /// Takes a place and a request before any other work for the caller.
    ///
    /// # Errors
    ///
    /// `RateLimited` when either is used up.
    pub async fn enter(&mut self, known: &Known) -> Result<(), GatewayError> {
        self.counts_hits = known.counts_hits;
        let ticket = self.ticket.insert(Ticket::new(Arc::clone(&known.account)));
        ticket.enter().await.map_err(Refusal::into_error)
    }

    /// Reserves the tokens that the request may need.
    ///
    /// # Errors
    ///
    /// `RateLimited` when too few are left, `InvalidRequest` when there never will be enough.
    pub async fn reserve(&mut self, ask: &Ask) -> Result<(), GatewayError> {
        let Some(ticket) = &mut self.ticket else { return Ok(()) };
        if ticket.has_budget() {
            self.need = need(ask);
        }
        ticket.reserve(self.need).await.map_err(Refusal::into_error)
    }

    /// Counts the text of an event.
    pub fn note(&mut self, event: &ChatEvent) {
        self.said = self.said.saturating_add(answer_bytes(event));
    }

    /// The answer comes from the cache. Unless cached answers count like any other, everything that
    /// was taken is given back, and nothing more is charged.
    pub fn hit(&mut self) {
        self.is_free = !self.counts_hits;
        if self.counts_hits {
            return;
        }
        if let Some(ticket) = &mut self.ticket {
            ticket.refund();
        }
    }

    /// Makes the bill. A complete answer costs what the provider counted, or an estimate if it did
    /// not. A client that disconnected pays for what ran, and nothing when nothing ran. A failure
    /// costs the text answered before it and its prompt, and nothing when there was no text.
    pub fn bill(&mut self, outcome: Outcome, usage: Usage, was_called: bool) {
        let Some(ticket) = &mut self.ticket else { return };
        let said = tokens(self.said);
        let so_far = self.need.prompt.saturating_add(said);
        let bill = match outcome {
            Outcome::Ok => {
                let prompt = usage.prompt.unwrap_or(self.need.prompt);
                prompt.saturating_add(usage.completion.unwrap_or(said))
            }
            Outcome::Cancelled if was_called || said > 0 => so_far,
            Outcome::ClientError
            | Outcome::RateLimited
            | Outcome::Overloaded
            | Outcome::Unavailable
            | Outcome::Timeout
            | Outcome::UpstreamError
                if said > 0 =>
            {
                so_far
            }
            Outcome::Cancelled
            | Outcome::ClientError
            | Outcome::RateLimited
            | Outcome::Overloaded
            | Outcome::Unavailable
            | Outcome::Timeout
            | Outcome::UpstreamError => 0,
        };
        ticket.charge(if self.is_free { 0 } else { bill });
    }

    /// The headers for the caller's limits.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let ticket = self.ticket.as_ref();
        let requests = ticket.and_then(Ticket::requests).map(|standing| (REQUESTS, standing));
        let tokens = ticket.and_then(Ticket::tokens).map(|standing| (TOKENS, standing));
        requests.into_iter().chain(tokens).flat_map(|(names, standing)| {
            let Standing { limit, remaining, reset, per_second: _ } = standing;
            let values = [limit.to_string(), remaining.to_string(), span(reset)];
            names.into_iter().zip(values).filter_map(|(name, value)| {
                Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
            })
        })
    }
}

const REQUESTS: [&str; 3] =
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
const TOKENS: [&str; 3] =
    ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"];

/// A time as in OpenAI's headers, in Go's format: `12ms`, `1s`, `6m0s`; rounded up.
fn span(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        let millis = time.as_micros().div_ceil(1000);
        return if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") };
    }
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// The tokens that a request may need. A request that runs no model needs none, and what one that
/// is passed on needs is not known before the provider has counted it.
fn need(ask: &Ask) -> Need {
    match ask {
        Ask::Chat(chat) => {
            let each = chat.sampling.max_tokens.map(u64::from);
            let answers = u64::from(chat.n.unwrap_or(1).max(1));
            let answer = each.map(|each| each.saturating_mul(answers));
            Need { prompt: prompt_tokens(chat), answer }
        }
        Ask::Embed(embed) => Need { prompt: embed_tokens(embed), answer: Some(0) },
        Ask::Show(_) | Ask::CountTokens(_) | Ask::Raw(_) => Need { prompt: 0, answer: Some(0) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Account, Rate, Terms};

    const BUDGET: u64 = 1000;

    async fn enter(quota: &mut Quota, account: &Arc<Account>, counts_hits: bool) {
        let (caller, account) = (Arc::new(crate::http::auth::anonymous()), Arc::clone(account));
        quota.enter(&Known { caller, account, counts_hits }).await.unwrap();
    }

    /// The budget left after a request with a prompt of 100 tokens has ended with this outcome.
    async fn left_after(outcome: Outcome, usage: Usage, said: usize, was_called: bool) -> u64 {
        let terms = Terms::default().with_tokens(0, BUDGET);
        let account = Arc::new(Account::new(&Arc::from("a"), terms, None));
        let mut quota = Quota::default();
        enter(&mut quota, &account, false).await;
        quota.need = Need { prompt: 100, answer: Some(500) };
        quota.ticket.as_mut().unwrap().reserve(quota.need).await.unwrap();
        assert_eq!(left(&account), 400);
        quota.note(&ChatEvent::Text("x".repeat(said)));
        quota.bill(outcome, usage, was_called);
        drop(quota);
        assert_eq!(account.status(std::time::Instant::now()).in_flight, 0);
        left(&account)
    }

    fn left(account: &Account) -> u64 {
        account.status(std::time::Instant::now()).tokens_per_day.unwrap().remaining
    }

    #[tokio::test]
    async fn an_answer_costs_what_the_provider_counted() {
        let usage = Usage { prompt: Some(80), completion: Some(20), ..Usage::default() };
        assert_eq!(left_after(Outcome::Ok, usage, 400, true).await, 900);
        let only_prompt = Usage { prompt: Some(80), ..Usage::default() };
        assert_eq!(left_after(Outcome::Ok, only_prompt, 400, true).await, 820);
        assert_eq!(left_after(Outcome::Ok, Usage::default(), 400, true).await, 800);
        let more = Usage { prompt: Some(900), completion: Some(300), ..Usage::default() };
        assert_eq!(left_after(Outcome::Ok, more, 0, true).await, 0);
    }

    #[tokio::test]
    async fn a_client_that_disconnects_pays_for_what_ran() {
        let none = Usage::default();
        assert_eq!(left_after(Outcome::Cancelled, none, 0, false).await, 1000);
        assert_eq!(left_after(Outcome::Cancelled, none, 0, true).await, 900);
        assert_eq!(left_after(Outcome::Cancelled, none, 40, true).await, 890);
    }

    #[tokio::test]
    async fn a_failure_costs_the_text_before_it() {
        let none = Usage::default();
        for outcome in [Outcome::UpstreamError, Outcome::Timeout, Outcome::Overloaded] {
            assert_eq!(left_after(outcome, none, 0, true).await, 1000);
            assert_eq!(left_after(outcome, none, 40, true).await, 890);
        }
    }

    #[tokio::test]
    async fn a_cached_answer_costs_nothing_unless_it_counts() {
        let terms =
            Terms { rate: Some(Rate { capacity: 9.0, per_second: 1e-6 }), ..Terms::default() };
        let account =
            Arc::new(Account::new(&Arc::from("a"), terms.with_tokens(BUDGET, BUDGET), None));
        let mut quota = Quota::default();
        enter(&mut quota, &account, false).await;
        quota.reserve(&Ask::Chat(crate::chat::ChatRequest::default())).await.unwrap();
        let names = |quota: &Quota, wanted: &str| {
            let (_, value) = quota.headers().find(|(name, _)| name == wanted)?;
            Some(value.to_str().unwrap().to_owned())
        };
        assert_eq!(names(&quota, "x-ratelimit-remaining-requests").as_deref(), Some("8"));
        assert_eq!(names(&quota, "x-ratelimit-remaining-tokens").as_deref(), Some("0"));
        quota.hit();
        assert_eq!(names(&quota, "x-ratelimit-remaining-requests").as_deref(), Some("9"));
        assert_eq!(names(&quota, "x-ratelimit-limit-tokens").as_deref(), Some("1000"));
        assert_eq!(names(&quota, "x-ratelimit-remaining-tokens").as_deref(), Some("1000"));
        let usage = Usage { prompt: Some(80), completion: Some(20), ..Usage::default() };
        quota.bill(Outcome::Ok, usage, true);
        drop(quota);
        assert_eq!(left(&account), 1000);
        let mut counted = Quota::default();
        enter(&mut counted, &account, true).await;
        counted.hit();
        counted.bill(Outcome::Ok, usage, false);
        drop(counted);
        assert_eq!(left(&account), 900);
    }

    #[test]
    fn times_are_written_as_openai_writes_them() {
        let span = |millis| span(Duration::from_millis(millis));
        assert_eq!([0, 12, 999].map(span), ["0s", "12ms", "999ms"]);
        assert_eq!([1000, 1001, 60_000].map(span), ["1s", "2s", "1m0s"]);
        assert_eq!(span(86_399_500), "24h0m0s");
    }
}
