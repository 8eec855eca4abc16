//! Playing one script onto a socket.
//!
//! It owns the framing of an answer and nothing that outlives it. Bytes are held back only until
//! the next piece or the next wait, so that a head travels with the first piece and nothing is ever
//! withheld while the script waits.

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::WriteHalf;

use super::script::{Ending, Framing, Head, Leaving, Script, Step};

/// How a script ended.
pub(super) enum Outcome {
    /// Everything was written.
    Complete { stays_open: bool },
    /// The script asked for the connection to end this way.
    Cut(Leaving),
    /// Writing failed, so the peer has disconnected; reading shows how.
    Broken,
    /// The peer has disconnected.
    PeerLeft(Leaving),
}

/// Why writing stopped before the end.
enum Stop {
    Cut,
    Broken,
}

struct Pen<'a, 'b> {
    writer: &'a mut WriteHalf<'b>,
    chunked: bool,
    /// Body bytes that may still be written.
    allowance: u64,
    held_back: BytesMut,
}

/// Plays `script`; calls `before_last` when nothing but the last piece is left to write.
pub(super) async fn play(
    script: Script,
    writer: &mut WriteHalf<'_>,
    before_last: impl Fn(),
) -> Outcome {
    let (allowance, how, stays_open) = match script.ending {
        Ending::KeepAlive => (u64::MAX, None, !matches!(script.framing, Framing::UntilClose)),
        Ending::Close => (u64::MAX, None, false),
        Ending::Cut { at, how } => (at, Some(how), false),
    };
    let chunked = matches!(script.framing, Framing::Chunked);
    let mut pen = Pen { writer, chunked, allowance, held_back: BytesMut::new() };
    match pen.perform(script, before_last).await {
        Err(Stop::Broken) => Outcome::Broken,
        Err(Stop::Cut) => Outcome::Cut(how.unwrap_or(Leaving::Fin)),
        Ok(()) => match how {
            Some(how) => Outcome::Cut(how),
            None => Outcome::Complete { stays_open },
        },
    }
}

impl Pen<'_, '_> {
    async fn perform(&mut self, script: Script, before_last: impl Fn()) -> Result<(), Stop> {
        let is_cut = matches!(script.ending, Ending::Cut { .. });
        for step in script.before_head {
            self.step(step, || {}).await?;
        }
        self.held_back.extend_from_slice(&head(&script.head, &script.framing, &script.body));
        let writes = |step: &Step| matches!(step, Step::Write(_) | Step::Flood(_));
        let last = script.body.iter().rposition(writes);
        if last.is_none() {
            before_last();
        }
        for (index, step) in script.body.into_iter().enumerate() {
            let is_last = Some(index) == last;
            self.step(step, || {
                if is_last {
                    before_last();
                }
            })
            .await?;
        }
        if self.chunked && !is_cut {
            self.held_back.extend_from_slice(b"0\r\n\r\n");
        }
        self.flush().await
    }

    async fn step(&mut self, step: Step, before_last: impl Fn()) -> Result<(), Stop> {
        match step {
            Step::Write(piece) => {
                before_last();
                self.write(piece).await
            }
            Step::Flood(mut pieces) => {
                let mut next = pieces.next();
                while let Some(piece) = next {
                    next = pieces.next();
                    if next.is_none() {
                        before_last();
                    }
                    self.write(piece).await?;
                }
                Ok(())
            }
            Step::Hold(gate) => {
                self.flush().await?;
                gate.pass().await;
                Ok(())
            }
            Step::Pause(pause) => {
                self.flush().await?;
                tokio::time::sleep(pause).await;
                Ok(())
            }
            Step::Stall => {
                self.flush().await?;
                std::future::pending().await
            }
        }
    }

    async fn write(&mut self, piece: Bytes) -> Result<(), Stop> {
        if piece.is_empty() {
            return Ok(());
        }
        let allowed = usize::try_from(self.allowance).map_or(piece.len(), |at| at.min(piece.len()));
        if self.chunked {
            self.held_back.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        }
        self.held_back.put_slice(&piece[..allowed]);
        self.allowance -= allowed as u64;
        if allowed < piece.len() {
            self.flush().await?;
            return Err(Stop::Cut);
        }
        if self.chunked {
            self.held_back.extend_from_slice(b"\r\n");
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        let written = self.writer.write_all(&self.held_back).await;
        self.held_back.clear();
        if written.is_ok() { Ok(()) } else { Err(Stop::Broken) }
    }
}

fn head(head: &Head, framing: &Framing, body: &[Step]) -> Bytes {
    let (code, headers) = match head {
        Head::Status { code, headers } => (code, headers),
        Head::Raw(bytes) => return bytes.clone(),
        Head::Absent => return Bytes::new(),
    };
    let mut text = format!("HTTP/1.1 {code} Scripted\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    match framing {
        Framing::Sized(announced) => {
            let length = announced.unwrap_or_else(|| written_length(body));
            text.push_str(&format!("content-length: {length}\r\n"));
        }
        Framing::Chunked => text.push_str("transfer-encoding: chunked\r\n"),
        Framing::UntilClose => {}
    }
    text.push_str("\r\n");
    text.into()
}

fn written_length(body: &[Step]) -> u64 {
    let length = |step: &Step| match step {
        Step::Write(piece) => piece.len() as u64,
        Step::Flood(_) => panic!("a flood has no length: say chunked, sized_as or until_close"),
        Step::Hold(_) | Step::Pause(_) | Step::Stall => 0,
    };
    body.iter().map(length).sum()
}
