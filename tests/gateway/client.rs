//! Well-behaved callers of the gateway, and [`raw`] ones.
//!
//! It owns nothing but connections. Answers are whole ([`post_json`]) or read piece by piece
//! ([`stream`]); both keep the difference between a proper end and a broken one.

pub mod raw;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::patience::within;

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// All of the body.
    pub body: Bytes,
    /// From sending to the last byte.
    pub took: Duration,
}

/// An answer that is being read.
pub struct Streamed {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// When the request was sent.
    pub sent: Instant,
    response: reqwest::Response,
}

/// A stream read to its end.
#[derive(Debug)]
pub struct Pieces {
    /// What arrived, and how long after sending.
    pub pieces: Vec<(Duration, Bytes)>,
    /// Whether the body ended as its framing promised.
    pub ended_properly: bool,
}

/// Sends `body` and reads the whole answer.
///
/// Fails the test when there is no readable answer; a body that breaks off counts as none.
pub async fn post_json(url: &str, body: &Value) -> Answer {
    post_json_with(url, &[], body).await
}

/// Like [`post_json`], with these headers.
pub async fn post_json_with(url: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    whole(request(url, headers, body)).await
}

/// Sends these very bytes as JSON, with these headers, and reads the whole answer.
pub async fn post_bytes(url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    whole(as_written(url, headers, body)).await
}

/// Sends these very bytes as JSON, with these headers, and returns once the head of the answer is
/// there.
pub async fn stream_bytes(url: &str, headers: &[(&str, &str)], body: &str) -> Streamed {
    let sent = Instant::now();
    let response = within("a head from the gateway", as_written(url, headers, body).send()).await;
    let response = response.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Streamed { status, headers, sent, response }
}

/// Sends `body` by PATCH and reads the whole answer.
pub async fn patch_json(url: &str, body: &Value) -> Answer {
    whole(CLIENT.patch(url).json(body)).await
}

/// Asks for `url` and reads the whole answer.
pub async fn get(url: &str) -> Answer {
    whole(CLIENT.get(url)).await
}

/// Sends a request without a body, with these headers, and reads the whole answer.
pub async fn ask(method: &str, url: &str, headers: &[(&str, &str)]) -> Answer {
    let request = CLIENT.request(method.parse().unwrap(), url);
    whole(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)))
        .await
}

/// Sends these very bytes by this method, with exactly these headers, and reads the whole answer.
pub async fn send(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    whole(bare(method, url, headers, body.into())).await
}

/// Like [`send`], and returns once the head of the answer is there.
pub async fn send_stream(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Streamed {
    let sent = Instant::now();
    let request = bare(method, url, headers, body.into());
    let response = within("a head from the gateway", request.send()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Streamed { status, headers, sent, response }
}

/// Sends `body` and returns once the head of the answer is there.
pub async fn stream(url: &str, body: &Value) -> Streamed {
    stream_with(url, &[], body).await
}

/// Like [`stream`], with these headers.
pub async fn stream_with(url: &str, headers: &[(&str, &str)], body: &Value) -> Streamed {
    let sent = Instant::now();
    let response = within("a head from the gateway", request(url, headers, body).send()).await;
    let response = response.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Streamed { status, headers, sent, response }
}

/// Asks for `url` and returns once the head of the answer is there.
pub async fn open(url: &str, headers: &[(&str, &str)]) -> Streamed {
    let sent = Instant::now();
    let request = CLIENT.get(url);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = within("a head from the gateway", request.send()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Streamed { status, headers, sent, response }
}

/// A native chat of one message.
pub fn chat(content: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": content }] })
}

/// A chat that no client has sent before.
pub fn another_chat() -> Value {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    chat(&format!("question {}", ASKED.fetch_add(1, Ordering::Relaxed)))
}

/// The same, streamed.
pub fn streamed_chat(content: &str) -> Value {
    let mut chat = chat(content);
    chat["stream"] = true.into();
    chat
}

impl Answer {
    /// The body as JSON; fails the test when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a header, when there is exactly one of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        only(&self.headers, name)
    }
}

impl Streamed {
    /// The value of a header, when there is exactly one of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        only(&self.headers, name)
    }

    /// The next bytes; `Ok(None)` at a proper end, `Err` at a broken one.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, reqwest::Error> {
        within("a piece of a stream", self.response.chunk()).await
    }

    /// Reads until the received text contains `text`, and returns all of it.
    ///
    /// Fails the test when the stream ends before.
    pub async fn until(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            let so_far = String::from_utf8_lossy(&seen);
            if so_far.contains(text) {
                return so_far.into_owned();
            }
            match self.piece().await {
                Ok(Some(bytes)) => seen.extend_from_slice(&bytes),
                other => panic!("{other:?} before {text:?}: {so_far}"),
            }
        }
    }

    /// Reads to the end, whichever it is.
    pub async fn rest(mut self) -> Pieces {
        let mut pieces = Vec::new();
        loop {
            match self.piece().await {
                Ok(Some(bytes)) => pieces.push((self.sent.elapsed(), bytes)),
                Ok(None) => return Pieces { pieces, ended_properly: true },
                Err(_) => return Pieces { pieces, ended_properly: false },
            }
        }
    }
}

impl Pieces {
    /// All bytes as text.
    pub fn text(&self) -> String {
        let bytes: Vec<u8> = self.pieces.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The events of a `text/event-stream`: name (empty when absent) and what its data lines hold.
    pub fn events(&self) -> Vec<(String, String)> {
        let text = self.text();
        let field = |event: &str, name: &str| {
            let values = event.lines().filter_map(|line| line.strip_prefix(name));
            values.map(str::trim_start).collect::<Vec<_>>().join("\n")
        };
        text.split("\n\n")
            .filter(|event| event.lines().any(|line| line.starts_with("data:")))
            .map(|event| (field(event, "event:"), field(event, "data:")))
            .collect()
    }
}

/// No proxies, whatever the environment sets, and no redirects: tests see what the gateway sends.
static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    // Connections belong to the runtime of the test that opened them, so none is kept for another.
    client.pool_max_idle_per_host(0).build().unwrap()
});

fn request(url: &str, headers: &[(&str, &str)], body: &Value) -> reqwest::RequestBuilder {
    let request = CLIENT.post(url).json(body);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

fn as_written(url: &str, headers: &[(&str, &str)], body: &str) -> reqwest::RequestBuilder {
    let request = CLIENT.post(url).header("content-type", "application/json");
    let request = request.body(body.to_owned());
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

fn bare(method: &str, url: &str, headers: &[(&str, &str)], body: Bytes) -> reqwest::RequestBuilder {
    let request = CLIENT.request(method.parse().unwrap(), url).body(body);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

async fn whole(request: reqwest::RequestBuilder) -> Answer {
    let sent = Instant::now();
    within("an answer from the gateway", async {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap();
        Answer { status, headers, body, took: sent.elapsed() }
    })
    .await
}

fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    assert!(values.next().is_none(), "more than one {name} header");
    first.to_str().ok()
}
