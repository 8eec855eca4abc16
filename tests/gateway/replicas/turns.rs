//! The script that says whose turn it is to have a model loaded, run by a real Redis.

use std::time::Duration;

use bytes::Bytes;
use llm_gateway::admission::turns::TURN;
use llm_gateway::redis::settings::{RedisSettings, RedisUrl};
use llm_gateway::redis::{Link, Value};

use crate::patience::{eventually, within};
use crate::redis::Redis;

/// How long what a gateway says holds here.
const HOLDS: u64 = 300;

struct Board {
    link: Link,
    number: u64,
}

/// What one is told: the round, whether it is its turn, whether that has just ended, another one's
/// swap, and the others' words.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    round: i64,
    is_mine: bool,
    has_ended: bool,
    swap: String,
    words: Vec<String>,
}

impl Board {
    async fn of(redis: &Redis) -> Self {
        let (url, timeout) = (RedisUrl::new(redis.url()), Duration::from_secs(10));
        let link =
            Link::start(&RedisSettings { url, timeout, ..RedisSettings::default() }).unwrap();
        let is_up = async || (!link.is_degraded()).then_some(());
        eventually(|| "a link".to_owned(), is_up).await;
        Self { link, number: 0 }
    }

    /// One gateway speaks: it has seen this round, wants a model for so many milliseconds, and has
    /// this swap in progress.
    async fn says(&mut self, id: &str, seen: i64, asks: i64, swap: &str) -> Told {
        self.number += 1;
        self.says_as(self.number, HOLDS, (id, seen, asks, swap)).await.unwrap()
    }

    async fn says_as(
        &self,
        number: u64,
        holds: u64,
        (id, seen, asks, swap): (&str, i64, i64, &str),
    ) -> Option<Told> {
        let arguments = [
            id.to_owned(),
            number.to_string(),
            holds.to_string(),
            format!("word of {id}"),
            asks.to_string(),
            seen.to_string(),
            swap.to_owned(),
        ];
        let arguments = arguments.map(Bytes::from).to_vec();
        let keys = vec![self.link.key("turns", "ollama")];
        let Value::List(answer) = self.link.run(&TURN, keys, arguments).await.unwrap() else {
            return None;
        };
        let text = |value: &Value| {
            let bytes = value.clone().bytes().unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        let number = |index: usize| answer[index].integer().unwrap();
        Some(Told {
            round: number(0),
            is_mine: number(1) == 1,
            has_ended: number(2) == 1,
            swap: text(&answer[3]),
            words: answer[5..].iter().map(text).collect(),
        })
    }
}

#[tokio::test]
async fn the_model_that_is_wanted_for_longest_has_its_turn_and_one_at_a_time() {
    let redis = Redis::start().await;
    let mut board = Board::of(&redis).await;
    // Whoever has not looked at the server since the last turn gets none.
    let first = board.says("a", 0, 5_000, "").await;
    assert_eq!((first.is_mine, first.words.len()), (false, 0));
    let round = first.round;
    let second = board.says("b", round, 1_000, "").await;
    assert!(!second.is_mine, "another one wants its model for longer");
    assert_eq!(second.words, ["word of a"]);
    assert!(board.says("a", round, 5_010, "").await.is_mine);
    assert!(board.says("a", round, -1, "a's swap").await.is_mine);
    let told = board.says("b", round, 1_020, "").await;
    assert_eq!((told.is_mine, &*told.swap), (false, "a's swap"));
    // The turn ends with the swap, even if the next one is due at once.
    let ended = board.says("a", round, 10, "").await;
    assert_eq!((ended.is_mine, ended.has_ended, ended.round), (false, true, round + 1));
    assert!(!board.says("a", round + 1, 20, "").await.is_mine, "now the other one");
    let stale = board.says("b", round, 1_030, "").await;
    assert_eq!((stale.is_mine, stale.round), (false, round + 1));
    assert!(board.says("b", round + 1, 1_040, "").await.is_mine);
}

#[tokio::test]
async fn who_dies_or_leaves_keeps_nobody_waiting_and_a_late_call_changes_nothing() {
    let redis = Redis::start().await;
    let mut board = Board::of(&redis).await;
    let round = board.says("a", 0, -1, "").await.round;
    assert!(board.says("a", round, 1, "").await.is_mine);
    board.says("a", round, -1, "a's swap").await;
    // It dies: its word and its turn end by themselves.
    let told = within("the end of the turn", async {
        loop {
            let told = board.says("b", round, 0, "").await;
            if told.round > round {
                return told;
            }
            assert_eq!((told.is_mine, &*told.swap), (false, "a's swap"));
        }
    })
    .await;
    assert_eq!((told.round, told.is_mine, told.words.len()), (round + 1, false, 0));
    assert!(board.says("b", round + 1, 0, "").await.is_mine);
    // One that leaves gives its turn back, and what it said before that comes late counts no more.
    let late = board.number;
    assert_eq!(board.says_as(late, HOLDS, ("b", round + 1, -1, "swap")).await, None);
    board.says_as(late + 1, 0, ("b", 0, -1, "")).await.unwrap();
    board.number += 1;
    let next = board.says("c", round + 2, 0, "").await;
    assert_eq!((next.is_mine, next.words.len()), (true, 0));
    // Without its keys nobody knows the round.
    redis.ask("FLUSHALL").await;
    let lost = board.says("c", round + 2, 0, "").await;
    assert!(!lost.is_mine && lost.round != round + 2);
}
