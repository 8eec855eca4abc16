//! Files for models: passed on while they arrive, however large they are.

use bytes::Bytes;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{ADMIN, gateway, ollama, with_keys};
use crate::client::raw::Raw;
use crate::client::send;
use crate::harness::{Gateway, Provider, Server, spawn_gateway};
use crate::patience::within;

/// What is passed on at once: less may wait for what follows.
const PIECE: usize = 64 * 1024;

/// What arrived at an Ollama that reads a file.
#[derive(Debug, PartialEq)]
enum Seen {
    Bytes(Vec<u8>),
    /// The connection ended.
    End,
}

/// An Ollama that says what it reads of files, and answers when it has read `length` bytes of a
/// body.
async fn reader(length: usize) -> (String, mpsc::Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, seen) = mpsc::channel(100_000);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(read(stream, length, sender.clone()));
        }
    });
    (url, seen)
}

async fn read(mut stream: TcpStream, length: usize, sender: mpsc::Sender<Seen>) {
    let mut head = Vec::new();
    let mut space = vec![0; 64 * 1024];
    let start = loop {
        let count = stream.read(&mut space).await.unwrap_or(0);
        if count == 0 {
            return;
        }
        head.extend_from_slice(&space[..count]);
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    if !head.starts_with(b"POST /api/blobs/") {
        drop(
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"models\":[]}").await,
        );
        return;
    }
    let mut chunks = Chunks { rest: head[start..].to_vec(), left: 0, are_all: false };
    let mut count = 0;
    loop {
        let content = chunks.content();
        count += content.len();
        if !content.is_empty() {
            drop(sender.send(Seen::Bytes(content)).await);
        }
        if chunks.are_all {
            break;
        }
        match stream.read(&mut space).await {
            Ok(0) | Err(_) => {
                drop(sender.send(Seen::End).await);
                return;
            }
            Ok(more) => chunks.rest.extend_from_slice(&space[..more]),
        }
    }
    assert_eq!(count, length, "a file that is not whole was taken for one");
    drop(stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await);
}

/// A body in chunks.
struct Chunks {
    rest: Vec<u8>,
    /// How much of the present chunk is missing, with the line end behind it.
    left: usize,
    /// Whether the last one has arrived.
    are_all: bool,
}

impl Chunks {
    /// What has arrived and was not taken yet.
    fn content(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        loop {
            if self.left == 0 {
                let Some(end) = self.rest.windows(2).position(|two| two == b"\r\n") else {
                    return content;
                };
                let size = std::str::from_utf8(&self.rest[..end]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                self.are_all = size == 0;
                if self.are_all {
                    return content;
                }
                self.rest.drain(..end + 2);
                self.left = size + 2;
            }
            let count = self.rest.len().min(self.left);
            let piece: Vec<u8> = self.rest.drain(..count).collect();
            content.extend_from_slice(&piece[..count.min(self.left.saturating_sub(2))]);
            self.left -= count;
            if self.left > 0 {
                return content;
            }
        }
    }
}

async fn front(url: &str, server: Server) -> Gateway {
    let provider = Provider::new("ollama", "ollama", url);
    spawn_gateway(with_keys().server(server).provider(provider)).await
}

fn head(length: usize) -> String {
    format!(
        "POST /api/blobs/sha256:00 HTTP/1.1\r\nhost: a\r\nx-api-key: k-admin\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// Awaits so many bytes of the file.
async fn until(seen: &mut mpsc::Receiver<Seen>, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        match within("bytes of a file", seen.recv()).await.unwrap() {
            Seen::Bytes(more) => bytes.extend(more),
            Seen::End => panic!("it ended after {} bytes", bytes.len()),
        }
    }
    bytes
}

#[tokio::test]
async fn a_file_is_passed_on_before_it_is_whole() {
    let halves = [vec![0xff; PIECE], b"GGUF\r\n\0z".repeat(PIECE / 8)];
    let (url, mut seen) = reader(2 * PIECE).await;
    let gateway = front(&url, Server::default()).await;
    let mut client = Raw::connect(gateway.address()).await;
    client.send(head(2 * PIECE).as_bytes()).await;
    for half in halves {
        client.send(&half).await;
        assert!(until(&mut seen, PIECE).await == half);
    }
    client.read_until("201 Created").await;
    drop(client);
    gateway.end(1).await;
}

#[tokio::test]
async fn a_file_may_be_larger_than_any_body_and_takes_no_memory() {
    const PIECES: usize = 160;
    let length = PIECES << 20;
    let (url, mut seen) = reader(length).await;
    let gateway = front(&url, Server::default().max_body("64KiB").max_buffered("64KiB")).await;
    let body = reqwest::Body::wrap_stream(stream::iter(
        (0..PIECES).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![7; 1 << 20]))),
    ));
    let counting = tokio::spawn(async move {
        let mut count = 0;
        while let Some(Seen::Bytes(more)) = seen.recv().await {
            count += more.len();
        }
        count
    });
    let before = gateway.resident_bytes();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = gateway.url("/api/blobs/sha256:00");
    let request = client.post(url).header(ADMIN.0, ADMIN.1).header("content-length", length);
    let answer = within("the file is taken", request.body(body).send()).await.unwrap();
    assert_eq!(answer.status(), 201);
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    counting.abort();
    gateway.end(1).await;
}

#[tokio::test]
async fn a_file_that_breaks_off_is_never_taken_for_a_whole_one() {
    for leave in [Raw::fin, Raw::rst] {
        let (url, mut seen) = reader(9 * PIECE).await;
        let gateway = front(&url, Server::default()).await;
        let mut client = Raw::connect(gateway.address()).await;
        // In chunks, where only the last one says that there is no more.
        let head = head(0).replace("content-length: 0", "transfer-encoding: chunked");
        client.send(head.as_bytes()).await;
        client.send(format!("{PIECE:x}\r\n").as_bytes()).await;
        client.send(&[vec![b'a'; PIECE], b"\r\n".to_vec()].concat()).await;
        let mut read = until(&mut seen, PIECE).await;
        leave(client);
        // A last chunk would be no end, and the reader would fail.
        while let Seen::Bytes(more) = within("the end of the call", seen.recv()).await.unwrap() {
            read.extend(more);
        }
        assert!(read.len() < 9 * PIECE);
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn a_file_that_does_not_go_on_is_given_up() {
    let (url, mut seen) = reader(9 * PIECE).await;
    let gateway = front(&url, Server::default().body_timeout("300ms")).await;
    let mut client = Raw::connect(gateway.address()).await;
    client.send(head(9 * PIECE).as_bytes()).await;
    client.send(&vec![7; PIECE]).await;
    until(&mut seen, PIECE).await;
    client.read_until(" 408 ").await;
    assert_eq!(within("the end of the call", seen.recv()).await, Some(Seen::End));
    drop(client);
    gateway.end(1).await;
}

#[tokio::test]
async fn a_coded_file_is_refused() {
    let upstream = ollama(&[]);
    let gateway = gateway(&upstream).await;
    let headers = [ADMIN, ("content-encoding", "gzip")];
    let url = gateway.url("/api/blobs/sha256:00");
    assert_eq!(send("POST", &url, &headers, "x").await.status, 415);
    assert!(super::calls(&upstream).is_empty());
    gateway.end(1).await;
}

#[tokio::test]
async fn a_file_that_is_there_already_is_not_sent_to_its_end() {
    // As Ollama does: it answers at once, reads a little more, and closes.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answering = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut space = vec![0; 64 * 1024];
            let count = stream.read(&mut space).await.unwrap();
            if space[..count].starts_with(b"POST /api/blobs/") {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                stream.shutdown().await.unwrap();
            }
        }
    });
    let gateway = front(&url, Server::default()).await;
    let mut client = Raw::connect(gateway.address()).await;
    // Far more than anybody sends here: the answer comes before the end.
    client.send(head(1 << 40).as_bytes()).await;
    let piece = vec![7; PIECE];
    let answered = async {
        while client.offer(&piece).await && !client.text().contains(" 200 ") {
            drop(tokio::time::timeout(std::time::Duration::from_millis(1), client.some()).await);
        }
    };
    within("an answer", answered).await;
    client.read_until(" 200 ").await;
    drop(client);
    answering.abort();
    gateway.end(1).await;
}
