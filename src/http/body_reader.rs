//! Reads request bodies within bounds of size, time and memory, and decodes them.
//!
//! It owns the process's budget of buffered bytes; a [`Buffered`] gives its share back when it is
//! dropped, so a request keeps it until it ends.
//!
//! The one thing to know: the declared length is checked before a byte is read, and the real one as
//! well. A coded body is decoded only when it is complete, since a decoder holds megabytes, however
//! slow its client is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue};
use actix_web::web::Payload;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::Semaphore;

use crate::chat::{EdgeReason, ErrorKind, GatewayError, Origin};
use crate::wire::coding::{self, Broken, Coding, Decoder, NAMES, Unsupported};

/// How much is decoded before the task yields.
const TURN: usize = 256 * 1024;
/// How much is decoded at a time.
const ROOM: usize = 32 * 1024;

/// The bytes of request bodies that the process may hold.
#[derive(Debug)]
pub struct Budget {
    held: AtomicU64,
    most: AtomicU64,
    /// As many bodies are decoded at one time as there are processors: more would only hold more
    /// memory.
    decoders: Semaphore,
}

/// A share of the budget.
#[derive(Debug)]
pub struct Buffered {
    budget: Arc<Budget>,
    bytes: u64,
}

/// The bounds of one body.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The largest size in bytes.
    pub size: u64,
    /// The longest time from the first read to the last byte.
    pub time: Duration,
}

impl Budget {
    /// A budget of `most` bytes.
    #[must_use]
    pub fn new(most: u64) -> Arc<Self> {
        let decoders = std::thread::available_parallelism().map_or(1, usize::from);
        let (held, most) = (AtomicU64::new(0), AtomicU64::new(most));
        Arc::new(Self { held, most, decoders: Semaphore::new(decoders) })
    }

    /// Uses another bound from now on.
    pub fn change(&self, most: u64) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// The bytes held now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

impl Buffered {
    /// An empty share.
    #[must_use]
    pub fn new(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    /// Adds to the share, if the budget allows.
    fn grow(&mut self, bytes: u64) -> Result<(), GatewayError> {
        let held = self.budget.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.bytes += bytes;
        if held > self.budget.most.load(Ordering::Relaxed) {
            let message = "the gateway holds as many request bodies as it may";
            let error = GatewayError::new(ErrorKind::Overloaded, message);
            return Err(error.turned_away(EdgeReason::BodiesFull));
        }
        Ok(())
    }

    /// Makes the share at least `bytes` large, if the budget allows.
    fn hold(&mut self, bytes: u64) -> Result<(), GatewayError> {
        match bytes.checked_sub(self.bytes) {
            None | Some(0) => Ok(()),
            Some(more) => self.grow(more),
        }
    }

    /// Makes the share at most `bytes` large.
    fn shrink(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        self.budget.held.fetch_sub(less, Ordering::Relaxed);
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a whole body.
///
/// # Errors
///
/// `UnsupportedMediaType` for an unknown coding, `BodyTooLarge` also after decoding, `BodyTimeout`,
/// `Overloaded` when the budget is used up, `InvalidRequest` when the body is broken.
pub async fn read(
    headers: &HeaderMap,
    payload: &mut Payload,
    bounds: Bounds,
    buffered: &mut Buffered,
) -> Result<BytesMut, GatewayError> {
    let codings = codings(headers)?;
    let declared =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > bounds.size) {
        return Err(too_large(bounds.size));
    }
    let reading = async {
        if codings.is_empty() {
            let mut body = BytesMut::new();
            let whole = pieces(payload, bounds, buffered, |piece| body.extend_from_slice(&piece));
            whole.await?;
            Ok(body)
        } else {
            let mut coded = VecDeque::new();
            pieces(payload, bounds, buffered, |piece| coded.push_back(piece)).await?;
            decoded(coded, &codings, bounds, buffered).await
        }
    };
    match tokio::time::timeout(bounds.time, reading).await {
        Ok(read) => read,
        Err(_) => {
            let message = "the body did not arrive in time";
            Err(GatewayError::new(ErrorKind::BodyTimeout, message).from(Origin::Client))
        }
    }
}

/// The codings of the body.
///
/// # Errors
///
/// `UnsupportedMediaType` for a coding that is not known.
pub fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, GatewayError> {
    let values = headers.get_all(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    coding::codings(values).map_err(|unsupported| {
        let message = match unsupported {
            Unsupported::Unknown(name) => {
                format!("the content coding `{name}` is not known here, use one of {NAMES} or none")
            }
            Unsupported::TooMany => "the body is coded too many times".to_owned(),
        };
        GatewayError::new(ErrorKind::UnsupportedMediaType, message).from(Origin::Client)
    })
}

/// Reads the body piece by piece.
async fn pieces(
    payload: &mut Payload,
    bounds: Bounds,
    buffered: &mut Buffered,
    mut take: impl FnMut(Bytes),
) -> Result<(), GatewayError> {
    let mut length = 0u64;
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(broken)?;
        length = length.saturating_add(size(piece.len()));
        if length > bounds.size {
            return Err(too_large(bounds.size));
        }
        buffered.grow(size(piece.len()))?;
        take(piece);
    }
    Ok(())
}

/// Decodes a body. The larger of the two forms counts as held: both exist only while a body is
/// decoded, which few are at a time.
async fn decoded(
    mut coded: VecDeque<Bytes>,
    codings: &[Coding],
    bounds: Bounds,
    buffered: &mut Buffered,
) -> Result<BytesMut, GatewayError> {
    let budget = Arc::clone(&buffered.budget);
    // The semaphore is never closed.
    let _permit = budget.decoders.acquire().await.map_err(GatewayError::internal)?;
    let mut decoder = Decoder::new(codings);
    let (mut body, mut room) = (BytesMut::new(), vec![0; ROOM]);
    let mut turn = 0;
    while let Some(piece) = coded.pop_front() {
        let mut left = &*piece;
        loop {
            let written = decoder.read(&mut left, &mut room).map_err(wrongly_coded)?;
            if written == 0 {
                break;
            }
            if size(body.len().saturating_add(written)) > bounds.size {
                return Err(too_large(bounds.size));
            }
            body.extend_from_slice(room.get(..written).unwrap_or_default());
            buffered.hold(size(body.len()))?;
            turn += written;
            if turn > TURN {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
        turn += piece.len();
    }
    decoder.finish().map_err(wrongly_coded)?;
    buffered.shrink(size(body.len()));
    Ok(body)
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn wrongly_coded(error: Broken) -> GatewayError {
    GatewayError::invalid("the body is not coded as content-encoding says").because(error)
}

fn too_large(most: u64) -> GatewayError {
    let message = format!("the body is larger than {}", crate::units::format_size(most));
    GatewayError::new(ErrorKind::BodyTooLarge, message).from(Origin::Client)
}

fn broken(error: PayloadError) -> GatewayError {
    GatewayError::invalid("the body is broken").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bodys_share_is_given_back_when_it_is_dropped() {
        let budget = Budget::new(10);
        let mut first = Buffered::new(&budget);
        first.grow(6).unwrap();
        let mut second = Buffered::new(&budget);
        assert_eq!(second.grow(5).unwrap_err().kind, ErrorKind::Overloaded);
        drop(second);
        assert_eq!(budget.held(), 6);
        Buffered::new(&budget).grow(4).unwrap();
        drop(first);
        assert_eq!(budget.held(), 0);
    }
}
