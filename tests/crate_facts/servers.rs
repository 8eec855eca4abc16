//! actix-web: what a client's leaving does to a handler, and how a body that fails reaches the client.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::{App, HttpResponse, HttpServer, web};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::soon;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// A body of two pieces that then fails, with or without being pending once before.
struct Failing {
    pieces: Vec<&'static str>,
    is_pending_first: bool,
}

impl MessageBody for Failing {
    type Error = std::io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if let Some(piece) = self.pieces.pop() {
            return Poll::Ready(Some(Ok(Bytes::from_static(piece.as_bytes()))));
        }
        if std::mem::take(&mut self.is_pending_first) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(std::io::Error::other("cut"))))
    }
}

/// Tells of its end when it is dropped.
struct Guard(Option<oneshot::Sender<()>>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.take().map(|dropped| dropped.send(()));
    }
}

fn serve(configure: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static) -> SocketAddr {
    let server = HttpServer::new(move || App::new().configure(configure.clone()))
        .workers(1)
        .disable_signals()
        .h1_allow_half_closed(false)
        .bind("127.0.0.1:0")
        .unwrap();
    let address = server.addrs()[0];
    drop(actix::spawn(server.run()));
    address
}

/// Everything that the server writes until it closes.
async fn whole_answer(address: SocketAddr) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(REQUEST).await.unwrap();
    let mut answer = Vec::new();
    soon("the end of the answer", client.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[actix::test]
async fn a_client_that_leaves_drops_its_handler_where_it_waits() {
    type Ends = (oneshot::Sender<()>, oneshot::Sender<()>);
    for is_reset in [false, true] {
        let (began, begun) = oneshot::channel();
        let (dropped, gone) = oneshot::channel();
        let ends: Arc<Mutex<Option<Ends>>> = Arc::new(Mutex::new(Some((began, dropped))));
        let address = serve(move |config| {
            let ends = Arc::clone(&ends);
            let handler = move || {
                let (began, dropped) = ends.lock().unwrap().take().unwrap();
                async move {
                    let _guard = Guard(Some(dropped));
                    began.send(()).unwrap();
                    std::future::pending::<HttpResponse>().await
                }
            };
            config.route("/", web::get().to(handler));
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(REQUEST).await.unwrap();
        soon("the handler begins", begun).await.unwrap();
        if is_reset {
            client.set_zero_linger().unwrap();
        }
        drop(client);
        soon("the handler is dropped", gone).await.unwrap();
    }
}

#[actix::test]
async fn a_body_that_fails_closes_the_connection_without_the_last_chunk() {
    for is_pending_first in [true, false] {
        let address = serve(move |config| {
            let handler = move || async move {
                let pieces = vec!["second", "first"];
                HttpResponse::Ok().body(Failing { pieces, is_pending_first })
            };
            config.route("/", web::get().to(handler));
        });
        let answer = whole_answer(address).await;
        assert!(!answer.contains("0\r\n\r\n"), "{answer}");
        // What was not written when the error came is lost; being pending once writes it.
        assert_eq!(answer.contains("5\r\nfirst\r\n6\r\nsecond\r\n"), is_pending_first, "{answer}");
    }
}
