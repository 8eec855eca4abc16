//! A provider whose every byte the test controls: it adds no framing of its own.
//!
//! It owns a thread with its own runtime, like [`crate::upstream::Upstream`]. For each request a
//! closure looks at its head and returns what to do; it reads the body only when an act says so.
//! Questions about the provider itself (any `GET`) are answered 404 on connections that are then
//! closed, and not counted.
//!
//! What a reader would get wrong: unsolicited bytes ([`Act::Unasked`]) are written only while no
//! request has arrived. A request that was on its way at that moment would rightly take them for
//! its answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use crate::patience::until;
use crate::upstream::Gate;

/// What to do next on a connection.
pub enum Act {
    /// Writes these bytes, with one write.
    Write(Vec<u8>),
    /// Writes them unless another request has arrived meanwhile.
    Unasked(Vec<u8>),
    Pause(Duration),
    Hold(Gate),
    /// Reads the rest of the request.
    ReadBody,
    /// Closes its own direction and continues.
    Fin,
    /// Resets the connection.
    Reset,
    /// Closes the connection.
    Close,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which accepted connection it came on, from 0.
    pub connection: usize,
    /// Its place among the requests of that connection, from 0.
    pub nth: usize,
    /// The request line and the fields.
    pub head: String,
    /// Its `x-request-id`, which is the client's own.
    pub marker: String,
}

pub struct Peer {
    address: SocketAddr,
    seen: Arc<Seen>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

type Script = Box<dyn Fn(&Asked) -> Vec<Act> + Send + Sync>;

struct Seen {
    script: Script,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    /// What an idle connection sends.
    aloud: watch::Sender<Vec<u8>>,
}

#[derive(Default)]
struct State {
    asked: Vec<Asked>,
    connections: usize,
    /// Connections that the other side has closed.
    left: Vec<usize>,
}

impl Peer {
    pub fn spawn(script: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), script)
    }

    /// Listens at this address.
    pub fn at(
        address: SocketAddr,
        script: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (script, state) = (Box::new(script), Mutex::default());
        let (changed, aloud) = (watch::Sender::new(()), watch::Sender::new(Vec::new()));
        let seen = Arc::new(Seen { script, state, changed, aloud });
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                tokio::select! {
                    () = accept(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, seen, stop: Some(stop), thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, in order of arrival.
    pub fn asked(&self) -> Vec<Asked> {
        self.seen.state.lock().asked.clone()
    }

    /// Sends this on every idle connection.
    pub async fn say_unasked(&self, bytes: Vec<u8>) {
        self.seen.aloud.send_replace(bytes);
        // Until it has been sent, or no connection is left.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    /// Awaits the moment when the other side has closed the connection.
    pub async fn left(&self, connection: usize) {
        let what = format!("connection {connection} is closed");
        until(&what, self.seen.changed.subscribe(), || {
            self.seen.state.lock().left.contains(&connection).then_some(())
        })
        .await;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) && !std::thread::panicking() {
            panic!("the peer's thread panicked; its message is above");
        }
    }
}

async fn accept(listener: std::net::TcpListener, seen: Arc<Seen>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let connection = {
            let mut state = seen.state.lock();
            state.connections += 1;
            state.connections - 1
        };
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            let mut line = Line { stream, unread: Vec::new() };
            if line.serve(connection, &seen).await.is_none() {
                seen.state.lock().left.push(connection);
                seen.changed.send_replace(());
            }
        });
    }
}

/// One connection; `None` from its functions means that the other side has closed it.
struct Line {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Line {
    async fn serve(&mut self, connection: usize, seen: &Seen) -> Option<()> {
        let mut aloud = seen.aloud.subscribe();
        for nth in 0.. {
            let head = loop {
                let said = tokio::select! {
                    biased;
                    head = self.head() => break head?,
                    said = aloud.changed() => said,
                };
                let bytes = aloud.borrow_and_update().clone();
                if said.is_ok() && self.unread.is_empty() {
                    self.stream.write_all(&bytes).await.ok()?;
                }
            };
            if head.starts_with("GET ") {
                let answer = b"HTTP/1.1 404 x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
                self.stream.write_all(answer).await.ok();
                return Some(());
            }
            let marker = field(&head, "x-request-id").unwrap_or_default().to_owned();
            let mut body: usize =
                field(&head, "content-length").map_or(0, |it| it.parse().unwrap());
            let asked = Asked { connection, nth, head, marker };
            seen.state.lock().asked.push(asked.clone());
            seen.changed.send_replace(());
            for act in (seen.script)(&asked) {
                match act {
                    Act::ReadBody => self.skip(std::mem::take(&mut body)).await?,
                    Act::Reset => {
                        self.stream.set_zero_linger().unwrap();
                        return Some(());
                    }
                    Act::Close => return Some(()),
                    act => self.act(act).await,
                }
            }
            self.skip(body).await?;
        }
        None
    }

    /// What cannot be done any more is not.
    async fn act(&mut self, act: Act) {
        match act {
            Act::Write(bytes) => drop(self.stream.write_all(&bytes).await),
            Act::Unasked(bytes) => {
                let is_quiet =
                    self.unread.is_empty() && self.stream.try_read_buf(&mut self.unread).is_err();
                if is_quiet {
                    drop(self.stream.write_all(&bytes).await);
                }
            }
            Act::Pause(time) => tokio::time::sleep(time).await,
            Act::Hold(gate) => gate.pass().await,
            Act::Fin => drop(self.stream.shutdown().await),
            Act::ReadBody | Act::Reset | Act::Close => unreachable!("done by who calls"),
        }
    }

    async fn head(&mut self) -> Option<String> {
        loop {
            let end = self.unread.windows(4).position(|part| part == b"\r\n\r\n");
            if let Some(end) = end {
                let head: Vec<u8> = self.unread.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            self.more().await?;
        }
    }

    async fn skip(&mut self, mut count: usize) -> Option<()> {
        loop {
            let part = count.min(self.unread.len());
            self.unread.drain(..part);
            count -= part;
            if count == 0 {
                return Some(());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.unread).await;
        read.ok().filter(|read| *read > 0).map(drop)
    }
}

/// The value of a field of a request.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let is_it = |line: &&'a str| {
        line.split_once(':').is_some_and(|(field, _)| field.eq_ignore_ascii_case(name))
    };
    head.lines().find(is_it)?.split_once(':').map(|(_, value)| value.trim())
}
