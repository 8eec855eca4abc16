//! Slots and tickets dropped in every order, in paused time where time matters.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;

use super::*;
use crate::admission::concurrency::Concurrency;
use crate::admission::line::Share;
use crate::chat::RefusalReason;
use crate::policy::Priority;

fn limits(slots: u32, line: u32) -> Limits {
    Limits {
        max_concurrency: Concurrency::Fixed(slots),
        max_queue: line,
        max_queue_wait: Duration::from_secs(30),
    }
}

fn gate(slots: u32, line: u32) -> Arc<SharedGate> {
    SharedGate::new(limits(slots, line), BreakerPolicy::default(), RetryPolicy::default())
}

fn arrival(seconds: u64) -> Arrival {
    let share = Share { caller: Arc::from("a"), weight: 1, priority: Priority::Interactive };
    Arrival::new(share, Arc::from("m"), now() + Duration::from_secs(seconds))
}

fn slot(gate: &Arc<SharedGate>) -> Slot {
    match gate.admit(arrival(600)) {
        Admission::Run(slot) => slot,
        other => panic!("expected a slot: {other:?}"),
    }
}

fn ticket(gate: &Arc<SharedGate>) -> Ticket {
    ticket_for(gate, arrival(600))
}

fn ticket_for(gate: &Arc<SharedGate>, arrival: Arrival) -> Ticket {
    match gate.admit(arrival) {
        Admission::Wait(ticket) => ticket,
        other => panic!("expected a ticket: {other:?}"),
    }
}

/// Lets every other task go on until it waits for something.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn everything_may_be_sent_to_another_thread() {
    fn is_send<T: Send + 'static>() {}
    is_send::<Arc<SharedGate>>();
    is_send::<Slot>();
    is_send::<Ticket>();
    is_send::<RetryPermit>();
}

#[tokio::test]
async fn a_dropped_slot_goes_to_the_next_in_line() {
    let gate = gate(1, 8);
    let first = slot(&gate);
    let (mut second, mut third) = (ticket(&gate), ticket(&gate));
    assert_eq!(third.spot()().map(|place| place.ahead), Some(1));
    drop(first);
    let held = second.granted().await.unwrap();
    assert!(third.granted().now_or_never().is_none());
    held.ended(Ended::Success);
    drop(third.granted().await.unwrap());
    let snapshot = gate.snapshot();
    assert_eq!((snapshot.free, snapshot.queued, snapshot.granted), (1, 0, 3));
}

#[tokio::test]
async fn a_dropped_ticket_leaves_the_line_at_once() {
    let gate = gate(1, 8);
    let held = slot(&gate);
    let tickets = [ticket(&gate), ticket(&gate), ticket(&gate)];
    let [first, middle, mut last] = tickets;
    drop(middle);
    assert_eq!(gate.snapshot().queued, 2);
    drop(first);
    drop(held);
    assert!(last.granted().await.is_ok());
}

#[tokio::test]
async fn a_slot_granted_to_a_ticket_that_is_dropped_goes_to_the_next() {
    let gate = gate(1, 8);
    let held = slot(&gate);
    let (granted, mut next) = (ticket(&gate), ticket(&gate));
    drop(held);
    assert_eq!((gate.snapshot().in_flight, gate.snapshot().queued), (1, 1));
    drop(granted);
    drop(next.granted().await.unwrap());
    let snapshot = gate.snapshot();
    assert_eq!((snapshot.free, snapshot.granted), (1, 2), "the unused one does not count");
}

#[tokio::test]
async fn a_slot_passes_any_number_of_disconnected_waiters() {
    let gate = gate(1, 100_000);
    let held = slot(&gate);
    for _ in 0..50_000 {
        // As if the client disconnected between the decision and the delivery.
        ticket(&gate).answer = None;
    }
    let mut last = ticket(&gate);
    drop(held);
    assert!(last.granted().await.is_ok());
    assert_eq!(gate.snapshot().free, 1);
}

#[tokio::test]
async fn a_panic_frees_the_slot() {
    let gate = gate(1, 8);
    let held = slot(&gate);
    let mut next = ticket(&gate);
    let task = tokio::spawn(async move {
        let _held = held;
        panic!("as an attempt might");
    });
    assert!(task.await.is_err());
    assert!(next.granted().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_refused_when_its_deadline_passes() {
    let gate = gate(1, 8);
    let _held = slot(&gate);
    let start = now();
    let mut hurried = ticket_for(&gate, arrival(2));
    let refusal = hurried.granted().await.unwrap_err();
    assert_eq!((refusal.reason, now() - start), (RefusalReason::DeadlinePassed, hurried.waited()));
    assert_eq!(hurried.waited(), Duration::from_secs(2));
    let mut patient = ticket(&gate);
    assert_eq!(patient.granted().await.unwrap_err().reason, RefusalReason::WaitedTooLong);
    assert_eq!(patient.waited(), Duration::from_secs(30));
    assert_eq!(gate.snapshot().queued, 0);
    assert!(patient.granted().await.is_err(), "asking again does no harm");
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_granted_at_the_deadline_is_not_lost() {
    let gate = gate(1, 8);
    let held = slot(&gate);
    let mut hurried = ticket_for(&gate, arrival(2));
    tokio::time::advance(Duration::from_millis(1_999)).await;
    drop(held);
    tokio::time::advance(Duration::from_millis(1)).await;
    drop(hurried.granted().await.unwrap());
    assert_eq!(gate.snapshot().free, 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_cooldown_starts_waiters_that_came_before_it_began() {
    let gate = gate(1, 8);
    let held = slot(&gate);
    let mut waiting = ticket(&gate);
    let task = tokio::spawn(async move { waiting.granted().await.map(|_| now()) });
    settle().await;
    let start = now();
    held.ended(Ended::RateLimited { retry_after: Some(Duration::from_secs(5)) });
    let started = task.await.unwrap().unwrap();
    assert!((Duration::from_secs(5)..Duration::from_millis(5_010)).contains(&(started - start)));
}

#[tokio::test(start_paused = true)]
async fn when_the_keeper_leaves_another_waiter_takes_over() {
    let gate = gate(4, 8);
    let slots = [slot(&gate), slot(&gate), slot(&gate), slot(&gate)];
    let waits = |mut ticket: Ticket| tokio::spawn(async move { ticket.granted().await });
    let waiting: Vec<_> = (0..6).map(|_| waits(ticket(&gate))).collect();
    settle().await;
    let limited = Ended::RateLimited { retry_after: Some(Duration::from_secs(5)) };
    slots.into_iter().for_each(|slot| assert_eq!(slot.ended(limited), Transition::None));
    let mut waiting = waiting.into_iter();
    for _ in 0..3 {
        settle().await;
        let leaving = waiting.next().unwrap();
        leaving.abort();
        assert!(leaving.await.is_err());
    }
    let start = now();
    let mut held = Vec::new();
    for task in waiting {
        held.push(task.await.unwrap().unwrap());
    }
    assert!(now() - start < Duration::from_secs(11), "one after the other within the ramp");
    drop(held);
    let snapshot = gate.snapshot();
    assert_eq!((snapshot.free, snapshot.queued), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_leaves_when_a_wake_is_due_starts_the_others() {
    let gate = gate(1, 8);
    let held = slot(&gate);
    let (mut keeper, mut other) = (ticket(&gate), ticket(&gate));
    held.ended(Ended::RateLimited { retry_after: Some(Duration::from_secs(5)) });
    assert!(keeper.granted().now_or_never().is_none());
    assert!(keeper.keeps.is_some());
    tokio::time::advance(Duration::from_secs(5)).await;
    drop(keeper);
    assert!(other.granted().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_keeper_whose_turn_has_come_hands_over_even_if_its_ticket_is_kept() {
    let gate = gate(2, 8);
    let slots = [slot(&gate), slot(&gate)];
    let (mut keeper, mut other) = (ticket(&gate), ticket(&gate));
    let limited = Ended::RateLimited { retry_after: Some(Duration::from_secs(5)) };
    slots.into_iter().for_each(|slot| assert_eq!(slot.ended(limited), Transition::None));
    let start = now();
    let _first = keeper.granted().await.unwrap();
    let _second = other.granted().await.unwrap();
    assert!(
        now() - start < Duration::from_secs(11),
        "within pause and ramp, not after its own wait"
    );
}

#[tokio::test]
async fn an_opening_breaker_refuses_waiting_jobs() {
    let gate = gate(1, 8);
    let held = slot(&gate);
    let mut waiting = ticket(&gate);
    held.ended(Ended::AuthFailed);
    assert_eq!(waiting.granted().await.unwrap_err().reason, RefusalReason::AuthFailed);
}

#[tokio::test]
async fn raising_the_limit_starts_waiting_jobs() {
    let gate = gate(1, 8);
    let _held = slot(&gate);
    let mut waiting = ticket(&gate);
    gate.change(limits(2, 8));
    assert!(waiting.granted().await.is_ok());
    gate.drain();
    assert!(matches!(gate.admit(arrival(1)), Admission::Refuse(_)));
    gate.resume();
    drop(slot(&gate));
}

#[test]
fn a_requests_second_retry_takes_the_place_of_its_first() {
    let gate = gate(1, 8);
    let first = gate.retry(None).unwrap();
    assert!(gate.retry(None).is_none(), "one at a time against an idle provider");
    let second = gate.retry(Some(first)).unwrap();
    assert_eq!(gate.snapshot().retries_in_flight, 1);
    drop(second);
    assert_eq!(gate.snapshot().retries_in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_reports_its_first_event_allows_the_next_probe() {
    let gate = gate(2, 8);
    (0..5).for_each(|_| {
        slot(&gate).ended(Ended::Unreachable);
    });
    assert!(matches!(gate.admit(arrival(1)), Admission::Refuse(_)));
    tokio::time::advance(Duration::from_secs(6)).await;
    let mut probe = slot(&gate);
    assert!(matches!(gate.admit(arrival(1)), Admission::Refuse(_)));
    assert_eq!(probe.answering(), Transition::None, "one proof of two");
    assert_eq!(probe.answering(), Transition::None, "told once already");
    let mut second = slot(&gate);
    assert_eq!(second.answering(), Transition::Closed);
    assert_eq!(second.ended(Ended::Success), Transition::None);
}

#[tokio::test(start_paused = true)]
async fn a_lone_keeper_is_told_to_wake_sooner() {
    let gate = gate(2, 8);
    slot(&gate).ended(Ended::RateLimited { retry_after: Some(Duration::from_secs(10)) });
    tokio::time::advance(Duration::from_secs(10)).await;
    let _held = slot(&gate);
    let mut waiting = ticket(&gate);
    let task = tokio::spawn(async move { waiting.granted().await.map(|_| now()) });
    settle().await;
    let start = now();
    gate.change(limits(100, 8));
    let started = task.await.unwrap().unwrap();
    assert!(started - start < Duration::from_secs(1), "with two slots it would be ten");
}

#[derive(Default)]
struct Running {
    now: AtomicU32,
    most: AtomicU32,
}

/// One client, which may wait, may disconnect at some point, and ends in some way.
async fn client(gate: Arc<SharedGate>, running: Arc<Running>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut arrival = arrival(600);
    arrival.share.caller = Arc::from(random.u8(..8).to_string());
    arrival.share.priority = random.choice([Priority::Interactive, Priority::Batch]).unwrap();
    let slot = match gate.admit(arrival) {
        Admission::Run(slot) => slot,
        Admission::Refuse(_) => return,
        Admission::Wait(mut ticket) => {
            if random.bool() {
                for _ in 0..random.u8(..4) {
                    tokio::task::yield_now().await;
                }
                return;
            }
            match ticket.granted().await {
                Ok(slot) => slot,
                Err(_) => return,
            }
        }
    };
    let others = running.now.fetch_add(1, Ordering::SeqCst);
    running.most.fetch_max(others + 1, Ordering::SeqCst);
    for _ in 0..random.u8(..4) {
        tokio::task::yield_now().await;
    }
    running.now.fetch_sub(1, Ordering::SeqCst);
    match random.u8(..4) {
        // A panic without its message, which would be printed thousands of times.
        0 => std::panic::resume_unwind(Box::new("as an attempt might")),
        1 => drop(slot),
        _ => assert_eq!(slot.ended(Ended::Success), Transition::None),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_random_clients_lose_no_slot() {
    let (gate, running) = (gate(8, 64), Arc::new(Running::default()));
    let clients: Vec<_> = (0..10_000)
        .map(|seed| tokio::spawn(client(Arc::clone(&gate), Arc::clone(&running), seed)))
        .collect();
    for client in clients {
        // Some end by a panic, as they should.
        drop(client.await);
    }
    assert_eq!(running.now.load(Ordering::SeqCst), 0);
    assert!((2..=8).contains(&running.most.load(Ordering::SeqCst)));
    let snapshot = gate.snapshot();
    assert_eq!((snapshot.free, snapshot.in_flight, snapshot.queued), (8, 0, 0));
}
