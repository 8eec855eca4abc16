//! Heads of responses: interim and final ones, and what a final one says about its body and its
//! connection.

use std::mem::MaybeUninit;

use httparse::{Error, Header, ParserConfig, Response, Status};

use super::body::Body;
use super::error::FramingError;

/// The longest head that is accepted, in bytes. Four times Node's limit; heads of providers are
/// below 4 KiB.
pub const MAX_HEAD: usize = 64 * 1024;
/// The most fields of a head. The HTTP client that parses the output accepts no more.
const MAX_FIELDS: usize = 96;
/// The beginning of every head; the next digit is the minor version.
const BEGINNING: &[u8] = b"HTTP/1.";
/// The field that gives a length.
const LENGTH: &[u8] = b"content-length";

/// The head at the beginning of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// An incomplete head.
    Partial,
    /// A complete interim head (1xx) of this length. Its fields are ignored.
    Interim(usize),
    /// A complete final head.
    Final(Head),
}

/// A final head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// Its length in bytes, with the empty line.
    pub length: usize,
    /// The status.
    pub status: u16,
    /// The body's framing.
    pub body: Body,
    /// See [`super::Answer::is_reusable`].
    pub is_reusable: bool,
}

/// Parses the head at the beginning of `bytes`. The first `looked` bytes were searched before and
/// hold no complete head.
///
/// # Errors
///
/// [`FramingError`] as soon as no further bytes could make the head valid.
pub(super) fn read_head(
    bytes: &[u8],
    looked: usize,
    asked_head: bool,
) -> Result<Step, FramingError> {
    let common = bytes.len().min(BEGINNING.len());
    if bytes.get(..common) != BEGINNING.get(..common) {
        return Err(FramingError::NotHttp);
    }
    let Some(length) = end_of_head(bytes, looked) else {
        let is_full = bytes.len() >= MAX_HEAD;
        return if is_full { Err(FramingError::HeadTooLarge) } else { Ok(Step::Partial) };
    };
    if length > MAX_HEAD {
        return Err(FramingError::HeadTooLarge);
    }
    let head = bytes.get(..length).unwrap_or_default();
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_FIELDS];
    let mut response = Response::new(&mut []);
    // The defaults reject folded lines and white space before a colon.
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        head,
        &mut fields,
    );
    match parsed {
        Ok(Status::Complete(read)) if read == length => {}
        Err(Error::TooManyHeaders) => return Err(FramingError::HeadTooLarge),
        Err(Error::Version) => return Err(FramingError::NotHttp),
        Ok(_) | Err(_) => return Err(FramingError::MalformedHead),
    }
    match response.code {
        Some(101) => Err(FramingError::SwitchedProtocols),
        Some(100..=199) => Ok(Step::Interim(length)),
        Some(status @ 200..) => final_head(&response, (length, status), asked_head),
        Some(_) | None => Err(FramingError::MalformedHead),
    }
}

/// Turns a complete head that [`read_head`] accepted into one without a length, in a version
/// without chunks: its parser then reads the body until the connection ends. The length of the head
/// stays the same.
pub(super) fn without_length(head: &mut [u8]) {
    if let Some(minor) = head.get_mut(BEGINNING.len()) {
        *minor = b'0';
    }
    for line in head.split_mut(|byte| *byte == b'\n') {
        let is_length = line.split_at_checked(LENGTH.len()).is_some_and(|(name, rest)| {
            name.eq_ignore_ascii_case(LENGTH) && rest.first() == Some(&b':')
        });
        if let Some(first) = line.first_mut().filter(|_| is_length) {
            *first = b'x';
        }
    }
}

/// The length of a head including its empty line.
fn end_of_head(bytes: &[u8], looked: usize) -> Option<usize> {
    // The empty line may be cut anywhere.
    let from = looked.saturating_sub(3);
    let mut rest = bytes.get(from..)?;
    let mut position = from;
    while let Some(feed) = rest.iter().position(|byte| *byte == b'\n') {
        let behind = rest.get(feed + 1..)?;
        position += feed + 1;
        match behind {
            [b'\n', ..] => return Some(position + 1),
            [b'\r', b'\n', ..] => return Some(position + 2),
            _ => rest = behind,
        }
    }
    None
}

/// Evaluates the fields of a final head: RFC 9112, sections 6.3 and 9.3.
fn final_head(
    response: &Response<'_, '_>,
    (length, status): (usize, u16),
    asked_head: bool,
) -> Result<Step, FramingError> {
    let is_newer = response.version == Some(1);
    let (mut content_length, mut coding) = (None, None);
    let (mut closes, mut keeps) = (false, false);
    for field in response.headers.iter() {
        if field.name.as_bytes().eq_ignore_ascii_case(LENGTH) {
            let given = lengths(field.value)?;
            if content_length.replace(given).is_some_and(|before| before != given) {
                return Err(FramingError::TwoLengths);
            }
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            let is_chunked = field.value.trim_ascii().eq_ignore_ascii_case(b"chunked");
            if coding.replace(is_chunked).is_some() || !is_chunked {
                return Err(FramingError::TransferCoding);
            }
        } else if field.name.eq_ignore_ascii_case("connection") {
            for option in field.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                closes |= option.eq_ignore_ascii_case(b"close");
                keeps |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
    }
    let body = match (content_length, coding) {
        (Some(_), Some(_)) => return Err(FramingError::LengthAndCoding),
        _ if asked_head || matches!(status, 204 | 304) => Body::None,
        (Some(length), None) => Body::sized(length),
        (None, Some(_)) => Body::chunked(),
        (None, None) => Body::UntilClose,
    };
    let is_marked = matches!(body, Body::Sized { .. } | Body::Chunked(_));
    // HTTP/1.0 has no chunks; a server that sends them in it cannot be relied on to keep the
    // connection.
    let persists = !closes && (is_newer || keeps && coding.is_none());
    Ok(Step::Final(Head { length, status, body, is_reusable: is_marked && persists }))
}

/// The value of `Content-Length`; a list of equal numbers is that number.
fn lengths(value: &[u8]) -> Result<u64, FramingError> {
    let mut length = None;
    for element in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        let is_number = !element.is_empty() && element.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(element).ok().filter(|_| is_number);
        let given = number.and_then(|number| number.parse::<u64>().ok());
        let given = given.ok_or(FramingError::BadLength)?;
        if length.replace(given).is_some_and(|before| before != given) {
            return Err(FramingError::TwoLengths);
        }
    }
    length.ok_or(FramingError::BadLength)
}
