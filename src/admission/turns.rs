//! Whose turn it is to have a model loaded, agreed on by the gateways before one server.
//!
//! Owns the task that tells the others what this gateway runs, waits for and swaps, and tells its
//! gate what they say. It is never on the path of a request, and the gate is not locked while it
//! waits for the Redis. `turns/turn.lua`, which runs in Redis, decides whose turn it is.
//!
//! The one thing to know: a turn is short and ends by itself, like everything that a gateway says.
//! So one that died keeps nobody waiting, and without the Redis each gateway decides alone after
//! [`BOUND`].

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, sleep_until};
use uuid::Uuid;

use super::slot::SharedGate;
use super::warm::words::{Heard, Report};
use crate::redis::{Link, Script, Value};

/// How long what a gateway says holds, and its turn.
const HOLDS: Duration = Duration::from_secs(2);
/// Without an answer for so long a gateway decides alone: before the others give up its turn.
pub const BOUND: Duration = Duration::from_millis(1750);
/// How often a gateway with work speaks.
const BUSY: Duration = Duration::from_millis(50);
/// How often one without work listens.
const IDLE: Duration = Duration::from_millis(400);
/// The shortest time between two calls.
const LEAST: Duration = Duration::from_millis(5);

/// Decides whose turn it is; its text documents arguments and answer.
pub static TURN: Script = Script::new(include_str!("turns/turn.lua"));

/// Speaks for one gate.
pub(super) struct Speaker {
    link: Link,
    provider: String,
    key: String,
    /// This gate's id in Redis.
    id: Bytes,
    /// How often it has spoken.
    number: u64,
    /// When it was last answered, or began to speak.
    answered: Instant,
    is_alone: bool,
    news: Arc<Notify>,
    stop: watch::Receiver<bool>,
}

impl Speaker {
    /// Before the gate's first load.
    pub fn new(
        link: &Link,
        provider: &str,
        gate: &Arc<SharedGate>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        gate.share_loads();
        Self {
            link: link.clone(),
            provider: provider.to_owned(),
            key: link.key("turns", provider),
            id: Uuid::new_v4().to_string().into(),
            number: 0,
            answered: Instant::now(),
            is_alone: false,
            news: gate.news(),
            stop,
        }
    }

    /// Speaks while there is a gate, and takes its leave.
    pub async fn speak(mut self, gate: Weak<SharedGate>) {
        while let Some(gate) = gate.upgrade() {
            let spoken = Instant::now();
            let pause = self.exchange(&gate, spoken).await;
            drop(gate);
            if !self.rest(spoken + pause).await {
                break;
            }
        }
        self.number += 1;
        drop(self.ask(&Report::default(), Duration::ZERO).await);
    }

    /// Speaks once. Returns how long the next time may wait.
    async fn exchange(&mut self, gate: &Arc<SharedGate>, spoken: Instant) -> Duration {
        let Some(report) = gate.report() else {
            // No load is scheduled.
            self.answered = spoken;
            return IDLE;
        };
        self.number += 1;
        match self.ask(&report, HOLDS).await {
            Some(heard) => {
                self.answered = spoken;
                if std::mem::take(&mut self.is_alone) {
                    log::info!(
                        "provider `{}`: its loads are agreed on with the other gateways again",
                        self.provider
                    );
                }
                gate.hear(&heard);
            }
            None if !self.is_alone && spoken.elapsed() + (spoken - self.answered) >= BOUND => {
                self.is_alone = true;
                log::warn!(
                    "provider `{}`: without the redis this gateway decides alone about its loads, \
                     and so do the others",
                    self.provider
                );
                gate.be_alone();
            }
            None => {}
        }
        if report.word.is_some() { BUSY } else { IDLE }
    }

    async fn ask(&self, report: &Report, holds: Duration) -> Option<Heard> {
        let number = |number: u128| Bytes::from(number.to_string());
        let asks = report.asks.map_or_else(|| Bytes::from("-1"), |age| number(age.as_millis()));
        let arguments = vec![
            self.id.clone(),
            number(self.number.into()),
            number(holds.as_millis()),
            json(report.word.as_ref()),
            asks,
            number(report.seen.into()),
            json(report.swap.as_ref()),
        ];
        let answer = self.link.run(&TURN, vec![self.key.clone()], arguments).await;
        read(answer.ok()?)
    }

    /// Waits until then, or until the others must hear of something at once. Returns whether to go
    /// on.
    async fn rest(&mut self, until: Instant) -> bool {
        let Self { stop, news, .. } = self;
        tokio::select! {
            () = sleep(LEAST) => {}
            _ = stop.changed() => return false,
        }
        tokio::select! {
            () = sleep_until(until.into()) => true,
            () = news.notified() => true,
            _ = stop.changed() => false,
        }
    }
}

/// What is said, as text; nothing for nothing.
fn json<T: serde::Serialize>(said: Option<&T>) -> Bytes {
    said.and_then(|said| serde_json::to_vec(said).ok()).unwrap_or_default().into()
}

/// Reads the script's answer; `None` if it is none. A word that cannot be read is left out.
fn read(answer: Value) -> Option<Heard> {
    let Value::List(values) = answer else { return None };
    let mut values = values.into_iter();
    let mut number = || values.next()?.integer();
    let (round, is_mine, has_ended) = (number()?, number()? == 1, number()? == 1);
    let swap = values.next()?.bytes()?;
    let age = Duration::from_millis(u64::try_from(values.next()?.integer()?).ok()?);
    Some(Heard {
        round: u64::try_from(round).ok()?,
        is_mine,
        has_ended,
        swap: serde_json::from_slice(&swap).ok().map(|swap| (swap, age)),
        others: values.filter_map(|word| serde_json::from_slice(&word.bytes()?).ok()).collect(),
    })
}
