//! A request's body that is passed on while it arrives.
//!
//! It owns the bounded channel from the task that reads the client's body to the call that sends
//! it. It holds at most [`PIECES`] pieces, and never takes a body that breaks off for a complete
//! one.
//!
//! The one thing to know: the end is a message of its own. A sender that is dropped without it, as
//! when the client disconnects, breaks the call.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Pieces that may wait for a slow provider. Each is at most what one read of the client's
/// connection gives.
const PIECES: usize = 4;

/// The receiving side, which the job carries to the provider.
#[derive(Debug)]
pub struct Upload {
    pieces: mpsc::Receiver<Option<Bytes>>,
    has_ended: bool,
}

/// The sending side.
#[derive(Debug)]
pub struct UploadSender(mpsc::Sender<Option<Bytes>>);

/// The body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokeOff;

impl Upload {
    /// A body, and where its pieces are given to it.
    #[must_use]
    pub fn new() -> (UploadSender, Self) {
        let (sender, pieces) = mpsc::channel(PIECES);
        (UploadSender(sender), Self { pieces, has_ended: false })
    }

    /// The next piece; `None` at the end.
    pub fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BrokeOff>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let piece = ready!(self.pieces.poll_recv(context));
        self.has_ended = !matches!(piece, Some(Some(_)));
        Poll::Ready(match piece {
            Some(Some(piece)) => Some(Ok(piece)),
            Some(None) => None,
            None => Some(Err(BrokeOff)),
        })
    }
}

impl UploadSender {
    /// Gives the next piece, when there is room. False when nobody wants more.
    ///
    /// # Cancellation
    ///
    /// Safe to drop; the piece is then lost.
    pub async fn piece(&self, piece: Bytes) -> bool {
        self.0.send(Some(piece)).await.is_ok()
    }

    /// Says that the body is whole.
    pub async fn end(self) {
        // Without a receiver nobody asks.
        drop(self.0.send(None).await);
    }
}

impl std::fmt::Display for BrokeOff {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the body broke off")
    }
}

impl std::error::Error for BrokeOff {}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_body_is_whole_only_if_that_was_said() {
        let (sender, mut upload) = Upload::new();
        assert!(sender.piece(Bytes::from_static(b"a")).await);
        sender.end().await;
        let piece = poll_fn(|context| upload.poll_piece(context)).await;
        assert_eq!(piece, Some(Ok(Bytes::from_static(b"a"))));
        assert_eq!(poll_fn(|context| upload.poll_piece(context)).await, None);
        assert_eq!(poll_fn(|context| upload.poll_piece(context)).await, None);
        let (sender, mut upload) = Upload::new();
        drop(sender);
        assert_eq!(poll_fn(|context| upload.poll_piece(context)).await, Some(Err(BrokeOff)));
    }

    #[tokio::test]
    async fn a_client_waits_for_a_provider_that_takes_nothing() {
        let (sender, upload) = Upload::new();
        for _ in 0..PIECES {
            assert!(sender.piece(Bytes::new()).await);
        }
        let mut next = std::pin::pin!(sender.piece(Bytes::new()));
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        drop(upload);
        assert!(!next.await);
    }
}
