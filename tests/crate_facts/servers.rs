//! actix-web: what a client's leaving does to a handler, and how a body that fails reaches the
//! client.

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

/// A body of two pieces that then fails.
struct Failing {
    pieces: Vec<Bytes>,
}

impl MessageBody for Failing {
    type Error = std::io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(Some(self.pieces.pop().ok_or_else(|| std::io::Error::other("cut"))))
    }
}

/// Tells of its end when it is dropped.
struct Guard(Option<oneshot::Sender<()>>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.take().map(|dropped| dropped.send(()));
    }
}

fn serve(
    buffer: usize,
    configure: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> SocketAddr {
    let server = HttpServer::new(move || App::new().configure(configure.clone()))
        .workers(1)
        .disable_signals()
        .h1_allow_half_closed(false)
        .h1_write_buffer_size(buffer)
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
        let address = serve(32 * 1024, move |config| {
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
    const LARGE: usize = 8 << 20;
    for (buffer, loses_the_end) in [(32 * 1024, true), (1, false)] {
        let address = serve(buffer, move |config| {
            let handler = || async {
                // More than any socket takes at once, so that the small piece has to wait.
                let pieces = vec![Bytes::from_static(b"the end"), Bytes::from(vec![b'x'; LARGE])];
                HttpResponse::Ok().body(Failing { pieces })
            };
            config.route("/", web::get().to(handler));
        });
        let answer = whole_answer(address).await;
        assert!(!answer.contains("0\r\n\r\n"));
        // What was not written when the error came is lost, unless nothing may wait to be written.
        assert_eq!(!answer.ends_with("7\r\nthe end\r\n"), loses_the_end);
    }
}
