//! Reading requests from one connection by hand.
//!
//! It owns the bytes that were read and not yet used. It understands `content-length` and chunked
//! bodies and refuses the rest by failing the test's upstream: what a gateway sends must be
//! readable.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::ReadHalf;

use super::script::Leaving;

/// The reading side of a connection.
pub(super) struct Inbox<'a> {
    reader: ReadHalf<'a>,
    unread: BytesMut,
}

/// A request's parts as they were sent.
pub(super) struct Parts {
    pub(super) head: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl<'a> Inbox<'a> {
    pub(super) fn new(reader: ReadHalf<'a>) -> Self {
        Self { reader, unread: BytesMut::with_capacity(4096) }
    }

    /// The next whole request, or how the peer left before there was one.
    pub(super) async fn request(&mut self) -> Result<Parts, Leaving> {
        let head = self.up_to(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let path = words.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let body = self.body(&headers).await?;
        Ok(Parts { head, method, path, headers, body })
    }

    /// Reads until the peer disconnects. Bytes that arrive before that are kept for the next
    /// request.
    pub(super) async fn leaving(&mut self) -> Leaving {
        loop {
            if let Err(how) = self.more().await {
                return how;
            }
        }
    }

    async fn body(&mut self, headers: &[(String, String)]) -> Result<Bytes, Leaving> {
        let value = |name: &str| {
            headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return self.chunked_body().await;
        }
        match value("content-length") {
            Some(length) => self.exactly(length.parse().unwrap()).await,
            None => Ok(Bytes::new()),
        }
    }

    async fn chunked_body(&mut self) -> Result<Bytes, Leaving> {
        let mut body = BytesMut::new();
        loop {
            let line = self.up_to(b"\r\n").await?;
            let size = std::str::from_utf8(&line).unwrap().trim();
            let size = usize::from_str_radix(size, 16).unwrap();
            body.extend_from_slice(&self.exactly(size).await?);
            self.exactly(2).await?;
            if size == 0 {
                return Ok(body.freeze());
            }
        }
    }

    /// The bytes up to `end`, without it; `end` is taken too.
    async fn up_to(&mut self, end: &[u8]) -> Result<Bytes, Leaving> {
        let mut searched = 0;
        loop {
            let found = self.unread[searched..].windows(end.len()).position(|part| part == end);
            if let Some(found) = found {
                let bytes = self.unread.split_to(searched + found).freeze();
                self.unread.advance(end.len());
                return Ok(bytes);
            }
            searched = self.unread.len().saturating_sub(end.len() - 1);
            self.more().await?;
        }
    }

    async fn exactly(&mut self, length: usize) -> Result<Bytes, Leaving> {
        while self.unread.len() < length {
            self.more().await?;
        }
        Ok(self.unread.split_to(length).freeze())
    }

    async fn more(&mut self) -> Result<(), Leaving> {
        self.unread.reserve(4096);
        match self.reader.read_buf(&mut self.unread).await {
            Ok(0) => Err(Leaving::Fin),
            Ok(_) => Ok(()),
            Err(_) => Err(Leaving::Reset),
        }
    }
}
