//! The script that leases out slots, run by a real Redis against replicas that die, are late, and
//! lose their state.
//!
//! The replicas here are models: each knows its lease, the end of it by its own clock, and its
//! running calls. They keep the rules of the gateway: no more calls than the lease are started,
//! running calls may outlive a smaller lease, and an expired lease permits nothing. Then all of
//! them together must never be allowed more than the limit, whatever happens.

use std::time::{Duration, Instant};

use bytes::Bytes;
use llm_gateway::admission::leases::LEASE;
use llm_gateway::redis::settings::{RedisSettings, RedisUrl};
use llm_gateway::redis::{Link, Value};

use crate::patience::{eventually, within};
use crate::redis::{Keys, Redis};

/// How long a lease holds here: short, so that many end in a test.
const SHORT: Duration = Duration::from_millis(100);
/// Or long enough to outlive a start of the Redis.
const LONG: Duration = Duration::from_millis(1200);
/// The Redis counts whole milliseconds.
const MARGIN: Duration = Duration::from_millis(5);

/// One gateway as far as the script is concerned.
#[derive(Debug, Clone)]
struct Replica {
    id: u64,
    number: u64,
    limit: u32,
    lease: u32,
    until: Instant,
    running: u32,
    wanted: u32,
    /// Says nothing until then.
    quiet: Instant,
    /// Whether it has no lease and runs its share all the same, until it gets another answer.
    alone: bool,
}

/// A request, which may be delivered late.
#[derive(Debug, Clone)]
struct Ask {
    arguments: Vec<Bytes>,
    sent: Instant,
}

struct Stage {
    link: Link,
    keys: Vec<String>,
    random: fastrand::Rng,
    replicas: Vec<Replica>,
    late: Vec<Ask>,
    born: u64,
    limit: u32,
    holds: Duration,
}

impl Replica {
    fn new(id: u64, limit: u32) -> Self {
        let now = Instant::now();
        let (until, quiet, alone) = (now, now, false);
        Self { id, number: 0, limit, lease: 0, until, running: 0, wanted: 0, quiet, alone }
    }

    /// Lets what its lease no longer covers end, as if every call ended with the lease.
    fn lapse(&mut self, now: Instant) {
        if now >= self.until && !self.alone {
            (self.lease, self.running) = (0, 0);
        }
    }

    fn most(&self) -> u32 {
        self.lease.max(self.running)
    }

    fn ask(&mut self, holds: Duration) -> Ask {
        let sent = Instant::now();
        self.lapse(sent);
        self.number += 1;
        let number = |number: u64| Bytes::from(number.to_string());
        let arguments = vec![
            format!("replica-{}", self.id).into(),
            number(self.number),
            number(self.limit.into()),
            number(self.most().into()),
            number(self.wanted.into()),
            number(u64::try_from(holds.as_millis()).unwrap()),
        ];
        Ask { arguments, sent }
    }

    fn take(&mut self, answer: &[i64], ends: Instant) {
        self.lease = u32::try_from(answer[0]).unwrap();
        (self.until, self.alone) = (ends, false);
        // Calls beyond the lease run until they end by themselves.
        self.lapse(Instant::now());
    }
}

impl Stage {
    async fn new(redis: &Redis, seed: u64, limit: u32, holds: Duration) -> Self {
        let (url, timeout) = (RedisUrl::new(redis.url()), Duration::from_secs(10));
        let link =
            Link::start(&RedisSettings { url, timeout, ..RedisSettings::default() }).unwrap();
        let keys = vec![link.key("slots", "model"), link.key("runs", "since")];
        let random = fastrand::Rng::with_seed(seed);
        let (replicas, late, born) = (Vec::new(), Vec::new(), 0);
        let stage = Self { link, keys, random, replicas, late, born, limit, holds };
        stage.linked().await;
        stage
    }

    async fn linked(&self) {
        let is_up = async || (!self.link.is_degraded()).then_some(());
        eventually(|| "a link".to_owned(), is_up).await;
    }

    /// Delivers an ask; `None` when the Redis is away or thinks nothing of it.
    async fn deliver(&self, ask: &Ask) -> Option<Vec<i64>> {
        match self.link.run(&LEASE, self.keys.clone(), ask.arguments.clone()).await {
            Ok(Value::Nil) | Err(_) => None,
            Ok(answer) => Some(answer.integers().unwrap_or_else(|| panic!("{answer:?}"))),
        }
    }

    async fn ask(&mut self, index: usize) {
        let ask = self.replicas[index].ask(self.holds);
        if let Some(answer) = self.deliver(&ask).await {
            self.replicas[index].take(&answer, ask.sent + self.holds - MARGIN);
        }
    }

    fn add(&mut self) {
        self.born += 1;
        self.replicas.push(Replica::new(self.born, self.limit));
    }

    /// Fails when the replicas together may run more than the limit.
    fn check(&mut self, what: &str) {
        let now = Instant::now();
        self.replicas.iter_mut().for_each(|replica| replica.lapse(now));
        let most: u32 = self.replicas.iter().map(Replica::most).sum();
        assert!(most <= self.limit, "{most} of {} after {what}: {:#?}", self.limit, self.replicas);
    }

    /// The Redis freezes for so long that every replica continues with a share of the limit.
    async fn stand_still(&mut self, redis: &Redis) {
        redis.freeze();
        tokio::time::sleep(self.holds * 2).await;
        let share = self.limit / u32::try_from(self.replicas.len()).unwrap();
        for replica in &mut self.replicas {
            (replica.lease, replica.running, replica.alone) = (share, 0, true);
        }
        self.check("going on alone");
        // A replica that has not reported within the time of a lease no longer counts.
        let until = Instant::now() + self.holds - MARGIN;
        for replica in &mut self.replicas {
            (replica.until, replica.alone) = (until, false);
        }
        redis.thaw();
    }

    /// Lets things happen for some time.
    async fn go_on(&mut self, seed: u64) {
        let (began, mut steps) = (Instant::now(), 0);
        while steps < 100 || began.elapsed() < self.holds + SHORT * 3 {
            let what = self.happen().await;
            self.check(&format!("{what}, with seed {seed}"));
            steps += 1;
        }
    }

    /// Something that may happen to replicas and their messages.
    async fn happen(&mut self) -> &'static str {
        let count = self.replicas.len();
        let chosen = self.random.usize(..count);
        let replica = &mut self.replicas[chosen];
        replica.lapse(Instant::now());
        match self.random.u32(..100) {
            0..40 => {
                if Instant::now() >= replica.quiet {
                    self.ask(chosen).await;
                }
                "an ask"
            }
            40..52 => {
                replica.wanted =
                    [0, self.limit, self.random.u32(..=self.limit)][self.random.usize(..3)];
                "another wish"
            }
            52..70 => {
                replica.running = replica.running.max(self.random.u32(..=replica.lease));
                "starting calls"
            }
            70..76 => {
                replica.running = self.random.u32(..=replica.running);
                "ending calls"
            }
            76..84 => {
                let ask = replica.ask(self.holds);
                self.late.push(ask);
                "an ask that gets lost for a while"
            }
            84..90 if !self.late.is_empty() => {
                let ask = self.late.swap_remove(self.random.usize(..self.late.len()));
                self.deliver(&ask).await;
                "an ask that arrives late"
            }
            90..91 if count > 1 => {
                self.replicas.swap_remove(chosen);
                "a death"
            }
            91..92 if count < 6 => {
                self.add();
                "a birth"
            }
            92..95 => {
                replica.quiet = Instant::now() + self.holds.mul_f64(self.random.f64() * 1.2);
                "a silence"
            }
            _ => {
                tokio::time::sleep(Duration::from_millis(self.random.u64(..8))).await;
                "some time"
            }
        }
    }
}

#[tokio::test]
async fn whatever_happens_no_more_than_the_limit_is_leased() {
    let mut redis = Redis::start().await;
    for (limit, holds) in [(8, SHORT), (3, SHORT), (1, SHORT), (20, LONG)] {
        let seed = fastrand::u64(..);
        let mut stage = Stage::new(&redis, seed, limit, holds).await;
        (0..3).for_each(|_| stage.add());
        stage.go_on(seed).await;
        redis.ask("FLUSHALL").await;
        stage.go_on(seed).await;
        stage.stand_still(&redis).await;
        stage.linked().await;
        redis.ask("SAVE").await;
        stage.go_on(seed).await;
        for keys in [Keys::Old, Keys::Kept, Keys::Lost] {
            redis.stop(keys).await;
            redis.start_again().await;
            stage.linked().await;
            stage.go_on(seed).await;
        }
    }
}

#[tokio::test]
async fn every_gateway_that_wants_slots_gets_some_and_none_is_left() {
    let redis = Redis::start().await;
    let mut stage = Stage::new(&redis, 0, 8, LONG).await;
    (0..3).for_each(|_| stage.add());
    let rounds = [
        // What each wants, and what each gets in the end: in the order of size, since the ids
        // decide about the rest.
        ([8, 8, 8], [2, 3, 3]),
        ([0, 0, 8], [0, 0, 8]),
        ([1, 8, 8], [1, 3, 4]),
        ([8, 0, 0], [0, 0, 8]),
        ([2, 2, 2], [2, 2, 2]),
        // No replica wants a slot: some are leased in advance, most wait for the first that does.
        ([0, 0, 0], [1, 1, 1]),
        ([8, 8, 8], [2, 3, 3]),
    ];
    for (wanted, expected) in rounds {
        for (replica, wanted) in stage.replicas.iter_mut().zip(wanted) {
            replica.wanted = wanted;
        }
        let waiting = async {
            loop {
                for index in 0..3 {
                    stage.ask(index).await;
                    // Each runs what it may and wants, and ends what it may not.
                    let replica = &mut stage.replicas[index];
                    replica.running = replica.wanted.min(replica.lease);
                }
                stage.check("asking around");
                let mut leases: Vec<u32> = stage.replicas.iter().map(|one| one.lease).collect();
                leases.sort_unstable();
                if leases == expected {
                    return;
                }
            }
        };
        within(&format!("{wanted:?} leads to {expected:?}"), waiting).await;
    }
}

#[tokio::test]
async fn with_fewer_slots_than_replicas_they_take_turns() {
    let redis = Redis::start().await;
    let mut stage = Stage::new(&redis, 0, 2, SHORT).await;
    (0..4).for_each(|_| stage.add());
    stage.replicas.iter_mut().for_each(|replica| replica.wanted = 2);
    let mut served = [false; 4];
    within("each of four gets one of two slots", async {
        while served != [true; 4] {
            for (index, served) in served.iter_mut().enumerate() {
                stage.ask(index).await;
                *served |= stage.replicas[index].lease > 0;
            }
            stage.check("asking around");
        }
    })
    .await;
}

#[tokio::test]
async fn a_single_gateway_gets_every_slot_and_returns_them_when_it_stops() {
    let redis = Redis::start().await;
    let mut stage = Stage::new(&redis, 0, 8, LONG).await;
    stage.add();
    let whole = async |stage: &mut Stage, index: usize| {
        within("all slots", async {
            while stage.replicas[index].lease < 8 {
                stage.ask(index).await;
            }
        })
        .await;
    };
    whole(&mut stage, 0).await;
    let mut leaving = stage.replicas.remove(0);
    leaving.limit = 0;
    stage.deliver(&leaving.ask(LONG)).await.unwrap();
    // No replica holds a slot, and the Redis knows: the first request gets all, however late it
    // comes.
    tokio::time::sleep(LONG * 2).await;
    stage.add();
    stage.ask(0).await;
    assert_eq!(stage.replicas[0].lease, 8);
    // While two limits are configured the smaller counts for both.
    stage.add();
    stage.replicas[1].limit = 5;
    stage.replicas.iter_mut().for_each(|replica| replica.wanted = 8);
    let shares = async |stage: &mut Stage| {
        stage.ask(0).await;
        stage.ask(1).await;
        let mut leases = [stage.replicas[0].lease, stage.replicas[1].lease];
        leases.sort_unstable();
        leases
    };
    within("five in all", async { while shares(&mut stage).await != [2, 3] {} }).await;
    for _ in 0..20 {
        assert_eq!(shares(&mut stage).await, [2, 3]);
    }
}
