//! awc: what it makes of redirects, many connections and answers that nobody reads.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::soon;

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    (listener, url)
}

/// Accepts a connection and reads the head of its request.
async fn accept(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = soon("a connection", listener.accept()).await.unwrap();
    read_head(&mut stream).await;
    stream
}

async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("a request", stream.read_u8()).await.unwrap());
    }
}

/// Accepts one connection, writes `answer` and closes.
fn serve_once(listener: TcpListener, answer: &'static str) {
    actix::spawn(async move {
        let mut stream = accept(&listener).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
}

fn client(limit: usize) -> awc::Client {
    let connector = awc::Connector::new().limit(limit);
    awc::Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
}

#[actix::test]
async fn with_redirects_off_the_redirect_is_the_answer() {
    let (listener, url) = listener().await;
    serve_once(
        listener,
        "HTTP/1.1 307 Temporary\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n",
    );
    let response = client(0).post(&url).send_body("prompt").await.unwrap();
    assert_eq!(response.status().as_u16(), 307);
}

#[actix::test]
async fn a_limit_of_the_pool_is_a_hidden_line_and_none_is_none() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (limit, is_stuck) in [(1, true), (0, false)] {
        let (listener, url) = listener().await;
        let client = client(limit);
        let first = actix::spawn(client.get(&url).send());
        let mut stream = accept(&listener).await;
        stream.write_all(HEAD).await.unwrap();
        // Its body goes on, so the first call keeps its connection.
        let first = first.await.unwrap().unwrap();
        let second = actix::spawn(client.get(&url).send());
        if is_stuck {
            // A call of another client overtakes the second one, which has not even connected.
            let other =
                actix::spawn(self::client(0).get(&url).insert_header(("x", "other")).send());
            drop(accept(&listener).await);
            soon("the other call", other).await.unwrap().unwrap_err();
            assert!(!second.is_finished());
            drop(first);
        }
        let mut stream = accept(&listener).await;
        stream.write_all(HEAD).await.unwrap();
        soon("the second call", second).await.unwrap().unwrap();
    }
}

#[actix::test]
async fn dropping_a_response_closes_its_connection() {
    let (listener, url) = listener().await;
    let response = actix::spawn(client(0).get(&url).send());
    let mut stream = accept(&listener).await;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
    drop(response.await.unwrap().unwrap());
    assert_eq!(soon("the close", stream.read(&mut [0; 16])).await.unwrap_or(0), 0);
}

#[actix::test]
async fn dropping_a_call_before_its_head_closes_its_connection() {
    let (listener, url) = listener().await;
    let call = actix::spawn(client(0).get(&url).send());
    let mut stream = accept(&listener).await;
    call.abort();
    assert_eq!(soon("the close", stream.read(&mut [0; 16])).await.unwrap_or(0), 0);
}
