//! The gate's part in the order by what a server remembers: which job is next, what jobs cost, and
//! which slots are kept free.
//!
//! Owns nothing: [`Remembered`] holds the beliefs, and this file tells it what the gate knows and
//! asks it. Without a policy everything here does nothing, and jobs start in the order of the line.
//! With one that does not order the line, what was sent is noted for the choice between providers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Arrival, Ended, Entry, Gate, Moment, Permit, Waiter, Wake};
use crate::admission::cost::Turn;
use crate::admission::line::{Key, Lane, Share as Caller};
use crate::admission::refusal::UNMEASURED;
use crate::admission::remembered::choice::{Candidate, Choice};
use crate::admission::remembered::{
    Call, Counts, Estimate, ReadEnd, RememberPolicy, Remembered, Share, Starting,
};
use crate::chat::Chain;

/// The job that starts next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// Its key.
    pub key: Key,
    /// The key of the job whose turn it would be in the order of the line.
    pub first: Key,
}

/// How many waiting jobs are compared. In a longer line the others are served in its order.
const MOST_COMPARED: usize = 256;

impl<W> Gate<W> {
    /// Orders jobs by what the server remembers, by this policy; `None`: by the line alone.
    pub fn remember(
        &mut self,
        policy: Option<RememberPolicy>,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) {
        match (&mut self.remembered, policy) {
            (Some(remembered), Some(policy)) => remembered.change(policy),
            (remembered, policy) => {
                if let Some(before) = remembered {
                    self.last_call = before.last();
                }
                *remembered = policy.map(|policy| Remembered::after(policy, self.last_call));
            }
        }
        self.grant(at, wakes);
    }

    /// The server's counts for an attempt that is about to end.
    pub fn count(&mut self, permit: &Permit, counts: Counts) {
        if let Some((remembered, call)) = self.remembered.as_mut().zip(permit.call) {
            remembered.count(call, counts);
        }
    }

    /// How much of an attempt's prompt is believed to be remembered.
    pub fn share(&self, permit: &Permit) -> Option<Share> {
        self.ordering()?.share(permit.call?)
    }

    /// How much of a conversation this model is believed to remember, in bytes. `key` is as in
    /// [`Gate::expected_wait`].
    pub fn known(&self, key: &str, chain: &Chain) -> u32 {
        let lane = self.models.find(key);
        self.remembered.as_ref().zip(lane).map_or(0, |(it, lane)| it.known(lane, chain))
    }

    /// The job that starts next among the lanes that `open` accepts.
    pub(super) fn next_job(
        &self,
        open: impl Fn(Lane) -> bool,
        batch: bool,
        now: Instant,
    ) -> Option<Next> {
        let mut kept: Vec<Lane> = Vec::new();
        loop {
            let open = |lane| open(lane) && !kept.contains(&lane);
            let first = self.line.next(open, batch)?;
            let Some(remembered) = self.remembered.as_ref().filter(|it| it.knows_any()) else {
                return Some(Next { key: first, first });
            };
            let candidates = self.candidates(open, batch, now);
            let policy = remembered.policy();
            let Some(choice) = Choice::new(&candidates, first, self.turn(), policy) else {
                return Some(Next { key: first, first });
            };
            let best = choice.best();
            let chosen = if self.is_kept_from(best, now) { choice.late() } else { Some(best) };
            match chosen {
                Some(chosen) => return Some(Next { key: chosen.key, first }),
                None => kept.push(best.lane),
            }
        }
    }

    /// Whether the free slots are kept for others than this newcomer.
    pub(super) fn keeps_for(&self, arrival: &Arrival, lane: Lane, now: Instant) -> bool {
        let Some(remembered) = self.remembered.as_ref().filter(|it| it.keeps_any()) else {
            return false;
        };
        let Estimate { cold, cost, .. } = self.estimate(lane, arrival.chain.as_ref());
        let key = self.line.next_key();
        let newcomer = Candidate {
            key,
            lane,
            level: self.line.level_of(&arrival.share),
            weight: arrival.share.weight,
            waited: 0.0,
            promised: f64::MAX,
            cold,
            cost,
        };
        let mut candidates = self.candidates(|other| other == lane, true, now);
        let first = self.line.next(|other| other == lane, true).unwrap_or(key);
        candidates.push(newcomer);
        let choice = Choice::new(&candidates, first, self.turn(), remembered.policy());
        let best = choice.map(|choice| choice.best());
        best.is_none_or(|best| best.key != key || self.is_kept_from(best, now))
    }

    /// How long a job would hold a slot.
    pub(super) fn estimate(&self, lane: Lane, chain: Option<&Arc<Chain>>) -> Estimate {
        let hold = self.hold(lane);
        match &self.remembered {
            Some(remembered) => remembered.estimate(lane, chain, hold),
            None => Estimate::plain(hold),
        }
    }

    /// How long it takes on `slots` slots until `ahead` of the waiting jobs and what runs are done;
    /// `None` where nothing is known that tells jobs apart.
    pub(super) fn work(&self, ahead: u64, slots: u32, now: Instant) -> Option<Duration> {
        let remembered = self.remembered.as_ref().filter(|it| it.knows_any())?;
        let each = self.mean_of_waiting(|estimate| estimate.cost);
        let before = each * ahead as f64 + remembered.left(now);
        Some(Duration::from_secs_f64((before / f64::from(slots.max(1))).min(DAY)))
    }

    /// How long it would take until a job that comes now has been read, first come, first served,
    /// if nothing were remembered, in seconds.
    pub(super) fn promise(&self, lane: Lane, chain: Option<&Arc<Chain>>, now: Instant) -> f64 {
        let Some(remembered) = self.ordering() else { return 0.0 };
        let each = match remembered.knows_any() {
            true => self.mean_of_waiting(|estimate| estimate.cold),
            false => self.hold(lane),
        };
        let before = each * self.line.len() as f64 + remembered.left(now);
        let before = before / f64::from(self.usable_soon(now).max(1));
        before + self.load_left(lane, now).as_secs_f64() + self.estimate(lane, chain).cold
    }

    /// The mean of waiting jobs, of those that are compared; 0 if nobody waits.
    fn mean_of_waiting(&self, of: impl Fn(Estimate) -> f64) -> f64 {
        let (mut sum, mut count) = (0.0, 0_u32);
        for (_, entry, _) in self.line.waiting(|_| true, true).take(MOST_COMPARED) {
            sum += of(self.estimate(entry.lane, entry.load.chain.as_ref()));
            count += 1;
        }
        sum / f64::from(count.max(1))
    }

    /// A job has arrived.
    pub(super) fn note_arrival(&mut self, arrival: &Arrival, lane: Lane, now: Instant) {
        let remembered = self.remembered.as_mut().filter(|it| it.policy().orders);
        if let Some((remembered, chain)) = remembered.zip(arrival.chain.as_ref()) {
            remembered.arrive(lane, chain, &arrival.share.caller, now);
        }
    }

    /// A job is about to start.
    pub(super) fn note_start(
        &mut self,
        lane: Lane,
        share: &Caller,
        chain: Option<&Arc<Chain>>,
        now: Instant,
    ) -> Option<Call> {
        // Most providers have none, and their starts shall cost nothing more.
        let remembered = self.remembered.as_ref()?;
        if chain.is_none() && !remembered.policy().orders {
            return None;
        }
        let hold = self.hold(lane);
        let free = self.usable(now).saturating_sub(self.in_flight);
        let remembered = self.remembered.as_mut()?;
        let (caller, priority) = (&share.caller, share.priority);
        let starting = Starting { lane, chain, caller, priority, hold };
        Some(remembered.start(starting, free, now))
    }

    /// A job starts that has not waited.
    pub(super) fn pay_at_once(&mut self, share: &Caller, lane: Lane, chain: Option<&Arc<Chain>>) {
        if self.ordering().is_some() {
            let turn = self.turn_of(lane, chain);
            self.line.pay(share, turn);
        }
    }

    /// What this waiting job costs if it starts now.
    pub(super) fn turn_of_waiting(&mut self, key: Key) -> Turn {
        match self.line.get(key).map(|entry| (entry.lane, entry.load.chain.clone())) {
            Some((lane, chain)) => self.turn_of(lane, chain.as_ref()),
            None => self.costs.turn(),
        }
    }

    /// What a job that starts now costs its caller's share: the slot time that it will probably
    /// take, where that depends on what is remembered. The rest is settled when it has ended; by
    /// then others may have been served, so that it is too late to give back much.
    pub(super) fn turn_of(&mut self, lane: Lane, chain: Option<&Arc<Chain>>) -> Turn {
        if !self.remembered.as_ref().is_some_and(|it| it.charges_time(lane)) {
            return self.costs.turn();
        }
        let turns = self.estimate(lane, chain).cost / self.keep_turn();
        Turn((turns.min(MOST_TURNS) * Turn::MEAN.0 as f64) as u64)
    }

    /// A job has ended: what that says of the server's cache, and what it cost its caller.
    pub(super) fn note_read(&mut self, permit: &Permit, ended: Ended, now: Instant) {
        let Some((remembered, call)) = self.remembered.as_mut().zip(permit.call) else { return };
        let end = match ended {
            Ended::Success => ReadEnd::Answered,
            Ended::Failed { crashed: true, .. } => ReadEnd::Crashed,
            Ended::Failed { crashed: false, .. } | Ended::Neutral => ReadEnd::Broken,
            Ended::Unreachable => ReadEnd::Gone,
            Ended::AuthFailed
            | Ended::AuthDoubted
            | Ended::NotBegun
            | Ended::RateLimited { .. }
            | Ended::Unused => ReadEnd::Unread,
        };
        let Some(charged) = remembered.end(call, end, now) else { return };
        let Permit { caller, weight, priority, .. } = permit;
        let share = Caller { caller: Arc::clone(caller), weight: *weight, priority: *priority };
        let held = now.saturating_duration_since(permit.started).as_secs_f64();
        let turn = self.keep_turn();
        self.line.correct(&share, (held - charged) / turn);
    }

    /// The time that counts as one turn while slot time is charged, in seconds. It follows the mean
    /// only from afar, and then what callers have had is counted anew: a second that they have had
    /// while jobs were long is worth one while jobs are short.
    fn keep_turn(&mut self) -> f64 {
        let mean = self.mean();
        let Some(remembered) = &mut self.remembered else { return mean };
        let turn = match remembered.turn {
            Some(turn) if !self.line.is_empty() => turn,
            Some(_) | None => mean,
        };
        let is_near = mean < turn * FAR && turn < mean * FAR;
        let turn = if is_near { turn } else { mean };
        if let Some(before) = remembered.turn.replace(turn).filter(|before| *before != turn) {
            self.line.rescale(before / turn);
        }
        turn
    }

    /// What the server has unloaded is not in its cache.
    pub(super) fn forget_unloaded(&mut self) {
        let Some((remembered, warm)) = self.remembered.as_mut().zip(self.warm.as_ref()) else {
            return;
        };
        let unloaded: Vec<Lane> = remembered.lanes().filter(|it| warm.is_unloaded(*it)).collect();
        unloaded.into_iter().for_each(|lane| remembered.unload(lane));
    }

    /// Keeps slots no longer than is worth it.
    pub(super) fn pass_kept(&mut self, now: Instant) {
        let Some(remembered) = self.remembered.as_mut().filter(|it| it.keeps_any()) else { return };
        remembered.pass(now);
        if self.line.is_empty() {
            remembered.keep_none();
        }
    }

    /// When a slot that is kept may next be given to somebody else.
    pub(super) fn kept_until(&self, now: Instant) -> Option<Instant> {
        let remembered = self.remembered.as_ref().filter(|it| it.keeps_any())?;
        if self.line.is_empty() {
            return None;
        }
        let policy = remembered.policy();
        let late = self.candidates(|_| true, true, now).into_iter().filter_map(|candidate| {
            let left = (candidate.late_after(policy) - candidate.waited).clamp(0.0, DAY);
            (left > 0.0).then(|| now + Duration::from_secs_f64(left) + AFTER)
        });
        late.chain(remembered.next_step()).min()
    }

    /// What is remembered, where the order of the line follows it.
    fn ordering(&self) -> Option<&Remembered> {
        self.remembered.as_ref().filter(|it| it.policy().orders)
    }

    fn candidates(&self, open: impl Fn(Lane) -> bool, batch: bool, now: Instant) -> Vec<Candidate> {
        let waiting = self.line.waiting(open, batch).take(MOST_COMPARED);
        let candidate = |(key, entry, level): (Key, &Entry<Waiter<W>>, u64)| {
            let Estimate { cold, cost, .. } = self.estimate(entry.lane, entry.load.chain.as_ref());
            Candidate {
                key,
                lane: entry.lane,
                level,
                weight: entry.share.weight,
                waited: now.saturating_duration_since(entry.since).as_secs_f64(),
                promised: entry.load.promised,
                cold,
                cost,
            }
        };
        waiting.map(candidate).collect()
    }

    /// Whether all free slots are kept for others than this job.
    fn is_kept_from(&self, candidate: &Candidate, now: Instant) -> bool {
        let Some(remembered) = &self.remembered else { return false };
        let free = self.usable(now).saturating_sub(self.in_flight);
        remembered.kept_in(candidate.lane) >= free && !candidate.is_remembered()
    }

    /// Seconds for which a job of this lane holds a slot.
    fn hold(&self, lane: Lane) -> f64 {
        let own = self.warm.as_ref().and_then(|warm| warm.hold(lane));
        own.or(self.costs.mean_hold()).unwrap_or(UNMEASURED).as_secs_f64()
    }

    /// The time of one turn of the line, in seconds.
    fn turn(&self) -> f64 {
        self.remembered.as_ref().and_then(|it| it.turn).unwrap_or_else(|| self.mean())
    }

    /// The mean time for which jobs hold their slots, in seconds.
    fn mean(&self) -> f64 {
        self.costs.mean_hold().unwrap_or(UNMEASURED).as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// No job costs more turns.
const MOST_TURNS: f64 = 10_000.0;
/// The time of a turn is another one when the mean is more than this many times longer or shorter.
const FAR: f64 = 1.5;
/// A job is looked at this long after it has become late, so that it is late then.
const AFTER: Duration = Duration::from_micros(1);
/// Nothing is waited for longer, in seconds.
pub(super) const DAY: f64 = 86_400.0;
