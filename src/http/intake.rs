//! Taking in request bodies within bounds of size, time and memory.
//!
//! It owns the process's budget of buffered bytes; a [`Buffered`] gives its share back when it is dropped, so the
//! whole of a request's way is covered by keeping it.
//!
//! The one thing to know: the declared length is checked before a byte is read, and the real one all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::web::Payload;
use bytes::BytesMut;
use futures_util::StreamExt;

use crate::chat::{ErrorKind, GatewayError, Origin};

/// The bytes of request bodies that the process may hold.
#[derive(Debug)]
pub struct Budget {
    held: AtomicU64,
    most: AtomicU64,
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
    /// The most bytes.
    pub size: u64,
    /// The longest time from the first read to the last byte.
    pub time: Duration,
}

impl Budget {
    /// A budget of `most` bytes.
    #[must_use]
    pub fn new(most: u64) -> Arc<Self> {
        Arc::new(Self { held: AtomicU64::new(0), most: AtomicU64::new(most) })
    }

    /// Allows another number of bytes from now on.
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
            return Err(GatewayError::new(ErrorKind::Overloaded, message));
        }
        Ok(())
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
/// `BodyTooLarge`, `BodyTimeout`, `Overloaded` when the budget is used up, `InvalidRequest` when the body is broken.
pub async fn read(
    headers: &HeaderMap,
    payload: &mut Payload,
    bounds: Bounds,
    buffered: &mut Buffered,
) -> Result<BytesMut, GatewayError> {
    let declared =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > bounds.size) {
        return Err(too_large(bounds.size));
    }
    let reading = async {
        let mut body = BytesMut::new();
        while let Some(piece) = payload.next().await {
            let piece = piece.map_err(broken)?;
            let length = u64::try_from(body.len().saturating_add(piece.len())).unwrap_or(u64::MAX);
            if length > bounds.size {
                return Err(too_large(bounds.size));
            }
            buffered.grow(u64::try_from(piece.len()).unwrap_or(u64::MAX))?;
            body.extend_from_slice(&piece);
        }
        Ok(body)
    };
    match tokio::time::timeout(bounds.time, reading).await {
        Ok(read) => read,
        Err(_) => {
            let message = "the body did not arrive in time";
            Err(GatewayError::new(ErrorKind::BodyTimeout, message).from(Origin::Client))
        }
    }
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
    fn what_a_body_held_is_given_back_when_it_is_dropped() {
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
