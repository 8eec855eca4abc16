//! A client that is nothing but a socket: it says exactly the bytes it is told, as slowly as it is
//! told, and leaves by FIN or RST whenever the test likes.
//!
//! What a reader would get wrong: [`Raw::fin`] closes both directions. A client that only shuts its
//! writing side may still be reading, and HTTP servers treat it so.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::patience::within;

/// One connection to the gateway.
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

/// How the other side ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It closed in order.
    Fin,
    /// It reset, or the transport failed.
    Reset,
}

/// The bytes of a request with a JSON body.
pub fn post_bytes(path: &str, headers: &[(&str, &str)], body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let mut text = format!("POST {path} HTTP/1.1\r\nhost: gateway\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let length = body.len();
    text.push_str(&format!("content-type: application/json\r\ncontent-length: {length}\r\n\r\n"));
    text.push_str(&body);
    text.into_bytes()
}

impl Raw {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.unwrap();
        Self::over(stream)
    }

    /// Connects, unless no process listens there.
    pub async fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        within("a connection or none", TcpStream::connect(address)).await.map(Self::over)
    }

    /// Connects with a receive buffer of about `bytes`, so that not reading is soon felt.
    pub async fn with_small_buffer(address: SocketAddr, bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(bytes).unwrap();
        Self::over(within("a connection", socket.connect(address)).await.unwrap())
    }

    /// Sends all of `bytes` at once.
    ///
    /// Fails the test when the other side has already closed.
    pub async fn send(&mut self, bytes: &[u8]) {
        within("bytes are taken", self.stream.write_all(bytes)).await.unwrap();
    }

    /// Sends `bytes`, and returns whether the other side took them all.
    pub async fn offer(&mut self, bytes: &[u8]) -> bool {
        within("bytes are taken or refused", self.stream.write_all(bytes)).await.is_ok()
    }

    /// Sends `first` and, some time later, `second`.
    pub async fn send_apart(&mut self, first: &[u8], gap: Duration, second: &[u8]) {
        self.send(first).await;
        // What arrives together is read together; that a pause keeps them apart is all that it is
        // for.
        tokio::time::sleep(gap).await;
        self.send(second).await;
    }

    /// Sends `bytes` one by one with `gap` between them, until all are sent or the other side stops
    /// reading.
    pub async fn send_slowly(&mut self, bytes: &[u8], gap: Duration) -> Result<(), End> {
        let mut ticks = tokio::time::interval(gap);
        for byte in bytes.chunks(1) {
            ticks.tick().await;
            if self.stream.write_all(byte).await.is_err() {
                return Err(End::Reset);
            }
        }
        Ok(())
    }

    /// Reads until everything read so far contains `text`, and returns it.
    ///
    /// Fails the test when the connection ends before.
    pub async fn read_until(&mut self, text: &str) -> String {
        loop {
            let so_far = self.text();
            if so_far.contains(text) {
                return so_far;
            }
            if let Err(end) = within(&format!("{text:?} is read"), self.more()).await {
                panic!("{end:?} before {text:?}: {so_far}");
            }
        }
    }

    /// Awaits more bytes; the error is how the other side ended the connection instead.
    pub async fn some(&mut self) -> Result<(), End> {
        within("some bytes", self.more()).await
    }

    /// Reads one head and the body that its `content-length` announces; takes both away.
    pub async fn read_answer(&mut self) -> String {
        self.read_until("\r\n\r\n").await;
        let text = self.text();
        let head = text.split("\r\n\r\n").next().unwrap_or_default().len() + 4;
        let announced = text[..head].to_ascii_lowercase();
        let length = announced
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(0, |value| value.trim().parse::<usize>().unwrap());
        while self.read.len() < head + length {
            let end = within("the rest of a body", self.more()).await;
            assert_eq!(end, Ok(()), "before the end of {text}");
        }
        let answer = self.read.drain(..head + length).collect::<Vec<u8>>();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Reads to the end and returns everything that was not yet taken, and how it ended.
    pub async fn read_to_end(mut self) -> (String, End) {
        let end = within("the connection ends", async {
            loop {
                if let Err(end) = self.more().await {
                    return end;
                }
            }
        });
        let end = end.await;
        (self.text(), end)
    }

    /// Reads at most `bytes` every `gap`, until the connection ends.
    ///
    /// Returns how many bytes were read. There is no deadline but the caller's.
    pub async fn read_slowly(&mut self, bytes: usize, gap: Duration) -> (usize, End) {
        let mut ticks = tokio::time::interval(gap);
        let mut buffer = vec![0; bytes];
        let mut total = 0;
        loop {
            ticks.tick().await;
            match self.stream.read(&mut buffer).await {
                Ok(0) => return (total, End::Fin),
                Ok(read) => total += read,
                Err(_) => return (total, End::Reset),
            }
        }
    }

    /// Awaits the moment the other side resets, without reading anything.
    ///
    /// A client that never reads does not see an orderly close behind unread bytes; only a reset,
    /// or the failure of what it sends, tells it.
    pub async fn reset_by_peer(&self) {
        within("a reset", async {
            let mut ticks = tokio::time::interval(Duration::from_millis(5));
            loop {
                ticks.tick().await;
                if !matches!(self.stream.take_error(), Ok(None)) {
                    return;
                }
            }
        })
        .await;
    }

    /// Leaves in order.
    pub fn fin(self) {
        drop(self.stream);
    }

    /// Leaves by reset.
    pub fn rst(self) {
        self.stream.set_zero_linger().unwrap();
        drop(self.stream);
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Takes away everything read so far, and returns it.
    pub fn take(&mut self) -> String {
        let text = self.text();
        self.read.clear();
        text
    }

    /// Everything read and not yet taken away.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    async fn more(&mut self) -> Result<(), End> {
        match self.stream.read_buf(&mut self.read).await {
            Ok(0) => Err(End::Fin),
            Ok(_) => Ok(()),
            Err(_) => Err(End::Reset),
        }
    }
}
