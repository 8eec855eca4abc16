//! The framing of HTTP/1.1 answers: which head is the final one, and where the body behind it ends.
//!
//! Pure, like all framings here: bytes in, values out, however they are cut. It follows RFC 9112, sections 2 to 7 and
//! 9.3, and RFC 9110, section 15.2. It refuses whatever could be read in two ways (two lengths, a length beside chunks,
//! folded lines, sizes that are no numbers), since two readers who disagree about where an answer ends give one
//! client's answer to the next.
//!
//! The one thing to know: it is the only reader of framing. What it hands on is a head that gives no length and a body
//! without chunks, so that nobody behind it can come to another end.

mod body;
mod error;
mod head;
#[cfg(test)]
mod properties;

pub use error::FramingError;
pub use head::MAX_HEAD;

use body::Body;
use head::{Head, Step, read_head, without_length};

/// One answer, as far as it has been read.
#[derive(Debug)]
pub struct Answer {
    place: Place,
    asked_head: bool,
    status: Option<u16>,
    is_reusable: bool,
}

#[derive(Debug)]
enum Place {
    /// In a head, of which so many bytes were looked at.
    Head { looked: usize },
    /// Behind the final head.
    Body(Body),
}

/// What became of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// So many bytes at the front are left. They are the next of the answer, unless `then` says otherwise.
    pub kept: usize,
    /// What follows them.
    pub then: Then,
}

/// What follows the bytes that were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// More bytes of a head: what was kept is its beginning, and has to come again in front of them.
    Again,
    /// More of the body, or its end.
    More,
    /// Nothing: this was the end.
    End {
        /// So many bytes came behind it, and nobody had asked for them.
        surplus: usize,
    },
    /// Nothing that could be read.
    Broken(FramingError),
}

impl Answer {
    /// An answer of which nothing has come; `asked_head` when the request was a `HEAD`.
    #[must_use]
    pub fn new(asked_head: bool) -> Self {
        let place = Place::Head { looked: 0 };
        Self { place, asked_head, status: None, is_reusable: false }
    }

    /// Takes what came and moves to the front what is to be handed on of it: the final head, without a length, and the
    /// body, without chunks. Interim heads are left out.
    pub fn take(&mut self, bytes: &mut [u8]) -> Piece {
        match &mut self.place {
            Place::Head { looked } => {
                let looked = *looked;
                self.take_head(bytes, looked)
            }
            Place::Body(body) => body.take(bytes),
        }
    }

    /// The final status, once its head is whole.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether the connection may carry another exchange when this answer has come to its end: it persists, and the end
    /// was marked. The answer without a body for its status alone (204, 304, any to `HEAD`) does not count as marked:
    /// who sends one all the same is not to be told from who sends the next answer.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.is_reusable
    }

    /// Whether the end of the connection is the end of the answer.
    #[must_use]
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.place, Place::Body(Body::UntilClose))
    }

    fn take_head(&mut self, bytes: &mut [u8], mut looked: usize) -> Piece {
        let mut passed_over = 0;
        let (head, rest) = loop {
            let rest = bytes.get(passed_over..).unwrap_or_default();
            match read_head(rest, looked, self.asked_head) {
                Ok(Step::Partial) => {
                    let kept = rest.len();
                    self.place = Place::Head { looked: kept };
                    bytes.copy_within(passed_over.., 0);
                    return Piece { kept, then: Then::Again };
                }
                Ok(Step::Interim(length)) => (passed_over, looked) = (passed_over + length, 0),
                Ok(Step::Final(head)) => break (head, rest.len()),
                Err(error) => return Piece { kept: 0, then: Then::Broken(error) },
            }
        };
        if passed_over > 0 {
            bytes.copy_within(passed_over.., 0);
        }
        let Head { length, status, mut body, is_reusable } = head;
        (self.status, self.is_reusable) = (Some(status), is_reusable);
        let (head, behind) = bytes
            .get_mut(..rest)
            .unwrap_or_default()
            .split_at_mut_checked(length)
            .unwrap_or_default();
        without_length(head);
        let mut piece = body.take(behind);
        piece.kept += length;
        self.place = Place::Body(body);
        piece
    }
}

#[cfg(test)]
mod tests;
