//! awc over a connection of one's own: when it reads and writes, and what it does with the
//! connection afterwards.
//!
//! The gateway hands awc every answer as one of HTTP/1.0 that gives no length, and ends it by
//! ending the connection.

use std::cell::RefCell;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_rt::net::ActixStream;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::error::{PayloadError, SendRequestError};
use awc::http::Uri;
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::soon;

/// What awc did, in order; times in a row are one.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Did {
    Connect,
    Write,
    Flush,
    Read,
    Drop,
}

type Log = Rc<RefCell<Vec<Did>>>;

fn did(log: &Log, what: Did) {
    let mut log = log.borrow_mut();
    if log.last() != Some(&what) {
        log.push(what);
    }
}

/// A connection that takes everything and says `answer`, then ends as it is told.
#[derive(Debug)]
struct Line {
    log: Log,
    answer: &'static [u8],
    breaks: bool,
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        did(&this.log, Did::Read);
        if this.answer.is_empty() && this.breaks {
            return Poll::Ready(Err(io::Error::other("as told")));
        }
        bytes.put_slice(std::mem::take(&mut this.answer));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        did(&self.log, Did::Write);
        Poll::Ready(Ok(bytes.len().min(1000)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        did(&self.log, Did::Flush);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        did(&self.log, Did::Drop);
    }
}

impl ActixStream for Line {
    fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<actix_rt::net::Ready>> {
        panic!("awc asked whether it may read");
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<actix_rt::net::Ready>> {
        panic!("awc asked whether it may write");
    }
}

#[derive(Clone)]
struct Lines {
    log: Log,
    answer: &'static [u8],
    breaks: bool,
}

impl actix_service::Service<ConnectInfo<Uri>> for Lines {
    type Response = Connection<Uri, Line>;
    type Error = ConnectError;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, asked: ConnectInfo<Uri>) -> Self::Future {
        did(&self.log, Did::Connect);
        let Self { log, answer, breaks } = self.clone();
        ready(Ok(Connection::new(asked.request().clone(), Line { log, answer, breaks })))
    }
}

/// A client all of whose connections say this, and what it does.
fn client(answer: &'static str, breaks: bool) -> (awc::Client, Log) {
    let log = Log::default();
    let lines = Lines { log: Rc::clone(&log), answer: answer.as_bytes(), breaks };
    let connector = awc::Connector::new().connector(lines).limit(0);
    (awc::Client::builder().connector(connector).disable_timeout().finish(), log)
}

const CALL: [Did; 6] = [Did::Connect, Did::Write, Did::Flush, Did::Read, Did::Drop, Did::Connect];

#[actix::test]
async fn an_answer_of_http_1_0_without_a_length_ends_with_its_connection_which_is_not_used_again() {
    for answer in [
        "HTTP/1.0 200 OK\r\n\r\nall",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\nall",
        "HTTP/1.0 200 OK\r\nxontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\nall",
        "HTTP/1.0 204 No Content\r\nupgrade: websocket\r\n\r\nall",
    ] {
        let (client, log) = client(answer, false);
        for _ in 0..2 {
            let mut response =
                client.post("http://x/").send_body("x".repeat(100_000)).await.unwrap();
            assert_eq!(soon("the body", response.body()).await.unwrap(), "all", "{answer}");
        }
        // It reads nothing before everything was written.
        assert_eq!(log.borrow()[..6], CALL, "{answer}");
    }
}

#[actix::test]
async fn what_breaks_while_it_is_read_is_told_with_its_cause() {
    let (client, _) = client("", true);
    match client.post("http://x/").send_body("x").await {
        Err(SendRequestError::Response(actix_http::error::ParseError::Io(error))) => {
            assert_eq!(error.to_string(), "as told");
        }
        other => panic!("{other:?}"),
    }
    let (client, _) = self::client("HTTP/1.0 200 OK\r\n\r\nhalf", true);
    let mut response = client.post("http://x/").send_body("x").await.unwrap();
    assert_eq!(response.next().await.unwrap().unwrap(), "half");
    match response.next().await {
        Some(Err(PayloadError::Incomplete(Some(error)))) => {
            assert_eq!(error.to_string(), "as told")
        }
        other => panic!("{other:?}"),
    }
}
