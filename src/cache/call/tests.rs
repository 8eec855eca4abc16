//! Both ends of a call, on one thread and on several.

use std::time::Duration;

use super::*;
use crate::chat::{Completion, Finish, Usage};
use crate::job::Candidate;

fn begun() -> (Writer, Reader) {
    let (writer, reader) = Call::begin(&Arc::from("a"), 1 << 20);
    (writer, reader.unwrap())
}

fn head() -> Head {
    let candidate =
        Candidate { provider: Arc::from("p"), model: Arc::from("m"), context: None, part: None };
    let served = Served {
        candidate,
        fell_back: false,
        attempts: 1,
        queued: Duration::ZERO,
        upstream: Duration::ZERO,
        dropped: Vec::new(),
        head: None,
        remembered: None,
        is_estimate: false,
        is_resumed: false,
        cache: None,
    };
    Head { served: Some(served), outcome: Ok(()) }
}

fn text(text: &str) -> ChatEvent {
    ChatEvent::Text(text.to_owned())
}

fn done() -> ChatEvent {
    let (finish, stop_sequence, usage) = (Finish::Stop, None, Usage::default());
    ChatEvent::Done(Completion { finish, stop_sequence, usage })
}

async fn all(mut reader: Reader) -> Result<Vec<ChatEvent>, GatewayError> {
    reader.head().await.outcome?;
    let mut events = Vec::new();
    loop {
        let Piece::Event(event) = reader.next().await? else {
            events.clear();
            continue;
        };
        let is_last = event.done().is_some();
        events.push(event);
        if is_last {
            return Ok(events);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_on_other_threads_get_everything_whenever_they_join() {
    let (writer, first) = begun();
    let call = Arc::clone(writer.call());
    let mut readers = vec![tokio::spawn(all(first))];
    let writing = tokio::spawn(async move {
        writer.begin(head());
        for number in 0..500 {
            writer.room().await;
            writer.append(text(&number.to_string()));
        }
        writer.append(done());
        writer
    });
    for _ in 0..50 {
        readers.extend(call.join().map(|reader| tokio::spawn(all(reader))));
        tokio::task::yield_now().await;
    }
    let writer = writing.await.unwrap();
    assert!(readers.len() > 1);
    for reader in readers {
        let events = reader.await.unwrap().unwrap();
        assert_eq!(events.len(), 501);
        assert_eq!(events[499], text("499"));
    }
    drop(writer);
}

#[tokio::test]
async fn the_last_reader_that_leaves_cancels_the_call() {
    let (writer, first) = begun();
    let second = writer.call().join().unwrap();
    drop(first);
    let still = tokio::time::timeout(Duration::from_millis(20), writer.abandoned()).await;
    assert!(still.is_err(), "somebody reads");
    drop(second);
    writer.abandoned().await;
    assert!(writer.call().join().is_none(), "nobody joins what is given up");
}

#[tokio::test]
async fn a_dropped_writer_ends_every_reader() {
    let (writer, first) = begun();
    let second = writer.call().join().unwrap();
    writer.begin(head());
    writer.append(text("a"));
    drop(writer);
    for reader in [first, second] {
        assert_eq!(all(reader).await.unwrap_err().kind, ErrorKind::Internal);
    }
    let (writer, reader) = begun();
    drop(writer);
    assert_eq!(all(reader).await.unwrap_err().kind, ErrorKind::Internal);
}

#[tokio::test]
async fn a_refusal_reaches_every_reader() {
    let (writer, first) = begun();
    let second = writer.call().join().unwrap();
    let error = GatewayError::new(ErrorKind::Overloaded, "full");
    writer.begin(Head { served: None, outcome: Err(error.clone()) });
    assert!(writer.call().join().is_none(), "nobody joins a refusal");
    drop(writer);
    for reader in [first, second] {
        assert_eq!(all(reader).await.unwrap_err(), error);
    }
}

#[tokio::test]
async fn nothing_is_fetched_that_no_reader_wants() {
    let (writer, mut reader) = begun();
    for _ in 0..EVENTS {
        writer.room().await;
        writer.append(text("a"));
    }
    let more = tokio::time::timeout(Duration::from_millis(20), writer.room()).await;
    assert!(more.is_err(), "the reader has read nothing");
    let (_, event) = tokio::join!(writer.room(), reader.next());
    assert_eq!(event.unwrap(), Piece::Event(text("a")));
}
