//! Whether the failures of one model are the model's fault or that of the requests that failed.
//!
//! Owns the failures since the model last answered and those of the last minute, each with its
//! request and caller, and which callers were answered lately. It decides how much a new failure
//! counts; the breaker decides what follows.
//!
//! - A request counts once, however often it is retried, and once a minute when it is sent again.
//! - An error that a model gives twice to one request while it answers others is that request's
//!   fault, unless it gives the same error to others as well.
//! - One caller's failures alone do not open the breaker for the others while the model answers
//!   those.
//!
//! The one thing to know: blaming the request can be wrong, as a model that has just died gives
//! every request the same error. The failure is therefore kept, and counts as soon as another
//! request gets the same words.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A failure, reduced to what tells requests and their errors apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A digest of the caller and its request.
    pub request: u64,
    /// A digest of the provider's error text; `None` when there was none.
    pub said: Option<u64>,
    /// Whether the request's previous attempt got the same text.
    pub repeated: bool,
}

/// How much a failure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It adds `count` failures of the model.
    Model {
        /// 0 when the request has counted lately, several when earlier failures turn out not to
        /// have been their requests' fault.
        count: u32,
        /// How far the breaker spares other callers.
        leniency: Leniency,
    },
    /// Nothing: the failure is the request's own fault.
    Request {
        /// Whether an earlier attempt of the request was counted and must be taken back.
        retract: bool,
    },
}

/// How far a breaker spares callers who get answers while another caller's requests fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leniency {
    /// Whether only one caller's requests fail, and another caller was answered lately.
    pub only_one_fails: bool,
    /// The last minute's failures of the caller with the most of them, while another caller was
    /// answered lately.
    pub discount: u64,
}

/// The evidence about one model.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    failures: VecDeque<Failure>,
    /// How often the model has answered; failures with the present number happened after the last
    /// answer.
    answers: u64,
    /// The caller answered last, and the last other caller answered before it.
    answered: [Option<Answered>; 2],
}

#[derive(Clone, Debug)]
struct Failure {
    request: u64,
    caller: Arc<str>,
    said: Option<u64>,
    at: Instant,
    /// How often the model had answered by then.
    answers: u64,
    /// Whether it counts as the request's own fault.
    is_own: bool,
}

#[derive(Clone, Debug)]
struct Answered {
    caller: Arc<str>,
    at: Instant,
}

/// How long a failure or an answer says something about the present.
const LATELY: Duration = Duration::from_secs(60);
/// How many failures are remembered. A breaker opens on far fewer.
const MOST_FAILURES: usize = 256;

impl Evidence {
    /// A caller got a complete answer.
    pub fn answered(&mut self, caller: &Arc<str>, now: Instant) {
        self.answers += 1;
        let [last, other] = &mut self.answered;
        match last {
            Some(last) if last.caller == *caller => last.at = now,
            Some(_) | None => {
                let answered = Answered { caller: Arc::clone(caller), at: now };
                *other = last.replace(answered);
            }
        }
    }

    /// A request of this caller failed.
    pub fn failed(&mut self, caller: &Arc<str>, fault: Fault, now: Instant) -> Weight {
        self.forget(now);
        if fault.repeated && self.is_own(caller, fault, now) {
            let earlier = self.failures.iter_mut().find(|failure| failure.request == fault.request);
            let retract =
                earlier.is_some_and(|failure| !std::mem::replace(&mut failure.is_own, true));
            return Weight::Request { retract };
        }
        let is_new = !self.failures.iter().any(|failure| {
            failure.request == fault.request && now.saturating_duration_since(failure.at) < LATELY
        });
        let mut count = u32::from(is_new);
        if is_new {
            count += self.disown(caller, fault, now);
            if self.failures.len() >= MOST_FAILURES {
                self.failures.pop_front();
            }
            self.failures.push_back(Failure {
                request: fault.request,
                caller: Arc::clone(caller),
                said: fault.said,
                at: now,
                answers: self.answers,
                is_own: false,
            });
        }
        Weight::Model { count, leniency: self.leniency(now) }
    }

    /// Whether a request other than this one has failed since the model last answered.
    pub fn has_failed_others(&self, request: u64) -> bool {
        self.since_answer().any(|failure| failure.request != request)
    }

    /// Whether new evidence would judge the same.
    pub fn is_pristine(&self, now: Instant) -> bool {
        self.failures.iter().all(|failure| self.is_past(failure, now))
    }

    /// Whether the failure is the request's own fault: the model answers other requests, and gives
    /// this text to no other caller.
    fn is_own(&self, caller: &Arc<str>, fault: Fault, now: Instant) -> bool {
        let answers_somebody =
            self.answered.iter().flatten().any(|answered| answered.is_lately(now));
        let others = self.with_same_text(fault);
        let mut to_other_callers = others.clone().filter(|failure| failure.caller != *caller);
        let to_this_caller = others.count() > 0;
        fault.said.is_some()
            && answers_somebody
            && to_other_callers.next().is_none()
            && (!to_this_caller || self.answers_another_than(caller, now))
    }

    /// Returns how many failures, until now blamed on their requests, count after all because
    /// another request got the same text.
    fn disown(&mut self, caller: &Arc<str>, fault: Fault, now: Instant) -> u32 {
        let answers_another = self.answers_another_than(caller, now);
        let (answers, mut count) = (self.answers, 0);
        for failure in &mut self.failures {
            let says_the_same = fault.said.is_some() && failure.said == fault.said;
            let is_apart = failure.caller != *caller || !answers_another;
            if failure.is_own && failure.answers == answers && says_the_same && is_apart {
                failure.is_own = false;
                count += 1;
            }
        }
        count
    }

    fn leniency(&self, now: Instant) -> Leniency {
        let mut callers: Vec<(&Arc<str>, u64, u64)> = Vec::new();
        for failure in self.failures.iter().filter(|failure| !failure.is_own) {
            let is_late = u64::from(now.saturating_duration_since(failure.at) < LATELY);
            let in_a_row = u64::from(failure.answers == self.answers);
            match callers.iter_mut().find(|(caller, ..)| **caller == failure.caller) {
                Some((_, late, row)) => (*late, *row) = (*late + is_late, *row + in_a_row),
                None => callers.push((&failure.caller, is_late, in_a_row)),
            }
        }
        let in_a_row = callers.iter().filter(|(_, _, row)| *row > 0);
        let only = match in_a_row.clone().count() {
            1 => in_a_row.map(|(caller, ..)| *caller).next(),
            _ => None,
        };
        let most = callers.iter().max_by_key(|(_, late, _)| *late);
        let discount = most.filter(|(caller, ..)| self.answers_another_than(caller, now));
        Leniency {
            only_one_fails: only.is_some_and(|caller| self.answers_another_than(caller, now)),
            discount: discount.map_or(0, |(_, late, _)| *late),
        }
    }

    fn answers_another_than(&self, caller: &Arc<str>, now: Instant) -> bool {
        let mut others =
            self.answered.iter().flatten().filter(|answered| answered.caller != *caller);
        others.any(|answered| answered.is_lately(now))
    }

    fn with_same_text(&self, fault: Fault) -> impl Iterator<Item = &Failure> + Clone {
        let same = move |failure: &&Failure| {
            failure.said == fault.said && failure.request != fault.request
        };
        self.since_answer().filter(same)
    }

    fn since_answer(&self) -> impl Iterator<Item = &Failure> + Clone {
        self.failures.iter().filter(|failure| failure.answers == self.answers)
    }

    fn forget(&mut self, now: Instant) {
        while self.failures.front().is_some_and(|first| self.is_past(first, now)) {
            self.failures.pop_front();
        }
    }

    /// Whether the failure is older than a minute and the model has answered since.
    fn is_past(&self, failure: &Failure, now: Instant) -> bool {
        failure.answers != self.answers && now.saturating_duration_since(failure.at) >= LATELY
    }
}

impl Answered {
    fn is_lately(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < LATELY
    }
}

#[cfg(test)]
mod tests;
