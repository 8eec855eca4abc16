//! The framing of HTTP/1.1 responses: which head is the final one, and where the body after it
//! ends.
//!
//! Pure, like all framings here: bytes in, values out, independent of how they are cut. It follows
//! RFC 9112, sections 2 to 7 and 9.3, and RFC 9110, section 15.2. It rejects everything ambiguous
//! (two lengths, a length beside chunks, folded lines, sizes that are not numbers), since two
//! parsers that disagree about the end of a response give one client's response to the next client
//! (response smuggling).
//!
//! The one thing to know: it is the only parser of the framing. Its output is a head without a
//! length and a body without chunks, so that no later parser can find another end.

mod body;
mod error;
mod head;
#[cfg(test)]
mod properties;

pub use error::FramingError;
pub use head::MAX_HEAD;

use body::Body;
use head::{Head, Step, read_head, without_length};

/// One response, as far as it has been read.
#[derive(Debug)]
pub struct Answer {
    place: Place,
    asked_head: bool,
    status: Option<u16>,
    is_reusable: bool,
}

#[derive(Debug)]
enum Place {
    /// In a head of which `looked` bytes were searched.
    Head { looked: usize },
    /// After the final head.
    Body(Body),
}

/// The result of reading some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// How many bytes at the front remain. They are the next bytes of the response, unless `then`
    /// says otherwise.
    pub kept: usize,
    /// What follows these bytes.
    pub then: Then,
}

/// What follows the bytes that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// More bytes of a head: the kept bytes are its beginning, and must be passed again before the
    /// rest.
    Again,
    /// More of the body, or its end.
    More,
    /// Nothing: this was the end.
    End {
        /// How many unrequested bytes came after the end.
        surplus: usize,
    },
    /// Nothing, since the response is malformed.
    Broken(FramingError),
}

impl Answer {
    /// A response of which nothing has arrived; `asked_head` if the request was a `HEAD`.
    #[must_use]
    pub fn new(asked_head: bool) -> Self {
        let place = Place::Head { looked: 0 };
        Self { place, asked_head, status: None, is_reusable: false }
    }

    /// Reads bytes and moves the output to the front: the final head without a length, and the body
    /// without chunks. Interim heads are dropped.
    pub fn take(&mut self, bytes: &mut [u8]) -> Piece {
        match &mut self.place {
            Place::Head { looked } => {
                let looked = *looked;
                self.take_head(bytes, looked)
            }
            Place::Body(body) => body.take(bytes),
        }
    }

    /// The final status, once its head is complete.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether the connection can be reused after this response: it is persistent, and the end was
    /// marked. A response that has no body because of its status (204, 304, any to `HEAD`) does not
    /// count as marked: a server that sends a body nevertheless cannot be distinguished from one
    /// that sends the next response.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.is_reusable
    }

    /// Whether the response ends when the connection closes.
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
