//! The body of an answer, as decoders want it: piece by piece, and decompressed.
//!
//! It refuses unknown codings by name. It bounds how much it holds at one time; the reader bounds
//! the total.
//!
//! The one thing to know: it may be polled again after its end; awc's would panic.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::BoxedPayloadStream;
use awc::ClientResponse;
use awc::error::PayloadError;
use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use tokio::task::coop::poll_proceed;

use crate::wire::coding::{Decoder, Unsupported, codings};

/// The largest piece that is handed on: its decoded events may wait for a client that reads slowly.
const PIECE: usize = 16 * 1024;

/// The body of an answer.
pub(in crate::provider) struct Body {
    response: ClientResponse<BoxedPayloadStream>,
    coding: Coding,
    /// Bytes that arrived and were not handed on yet.
    rest: Bytes,
    has_ended: bool,
}

/// Why a body ended early.
pub(in crate::provider) type BodyError = PayloadError;

/// The coding of a body.
enum Coding {
    /// No coding.
    None,
    Known(Box<Coded>),
    /// An unknown coding.
    Unknown(Unsupported),
}

/// A compressed body and how far it was read.
struct Coded {
    decoder: Decoder,
    /// Bytes that arrived and were not read yet.
    source: Bytes,
    room: Box<[u8]>,
}

impl Body {
    pub(super) fn new(response: ClientResponse<BoxedPayloadStream>) -> Self {
        let values = response.headers().get_all("content-encoding");
        let coding = match codings(values.map(|value| value.as_bytes())) {
            Ok(codings) if codings.is_empty() => Coding::None,
            Ok(codings) => {
                let (decoder, room) = (Decoder::new(&codings), vec![0; PIECE].into_boxed_slice());
                Coding::Known(Box::new(Coded { decoder, source: Bytes::new(), room }))
            }
            Err(unsupported) => Coding::Unknown(unsupported),
        };
        Self { response, coding, rest: Bytes::new(), has_ended: false }
    }

    /// Why the body cannot be read, according to its head.
    pub(in crate::provider) fn unreadable(&self) -> Option<String> {
        match &self.coding {
            Coding::Unknown(Unsupported::Unknown(name)) => {
                Some(format!("it is coded as `{name}`, which nobody asked for"))
            }
            Coding::Unknown(Unsupported::TooMany) => Some("it is coded too many times".to_owned()),
            Coding::None | Coding::Known(_) => None,
        }
    }

    /// Reads to the end so that the connection can be kept, unless the end does not come in time.
    pub(in crate::provider) async fn end(&mut self, time: Duration) {
        // The rest is skipped without decoding.
        (self.coding, self.rest) = (Coding::None, Bytes::new());
        let rest = async { while let Some(Ok(_)) = self.next().await {} };
        // A late end closes the connection but does not fail the answer.
        drop(tokio::time::timeout(time, rest).await);
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let coded = match &mut self.coding {
            Coding::None => return self.response.poll_next_unpin(context),
            Coding::Unknown(_) => return Poll::Ready(Some(Err(BodyError::EncodingCorrupted))),
            Coding::Known(coded) => coded,
        };
        loop {
            // Small input that decompresses to much output must yield like a socket does.
            let turn = ready!(poll_proceed(context));
            if let Some(piece) = coded.next().transpose() {
                turn.made_progress();
                return Poll::Ready(Some(piece));
            }
            match ready!(self.response.poll_next_unpin(context)) {
                Some(Ok(source)) => coded.source = source,
                None if coded.decoder.finish().is_err() => {
                    return Poll::Ready(Some(Err(BodyError::EncodingCorrupted)));
                }
                end => return Poll::Ready(end),
            }
        }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        if self.rest.is_empty() {
            match ready!(self.poll_piece(context)) {
                Some(Ok(piece)) => self.rest = piece,
                end => {
                    self.has_ended = true;
                    return Poll::Ready(end);
                }
            }
        }
        let most = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(self.rest.split_to(most))))
    }
}

impl Coded {
    /// The next piece of the bytes that arrived; `None` when all were read.
    fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        let mut rest = &*self.source;
        let written = self.decoder.read(&mut rest, &mut self.room);
        let written = written.or(Err(BodyError::EncodingCorrupted))?;
        let read = self.source.len() - rest.len();
        self.source.advance(read);
        let piece = self.room.get(..written).filter(|piece| !piece.is_empty());
        Ok(piece.map(Bytes::copy_from_slice))
    }
}
