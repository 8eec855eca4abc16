//! Documents inside JSON, as base64.
//!
//! It owns the one question about them: how many pages a PDF has. It reads no page.
//!
//! The one thing to know: newer writers compress the list of pages, so the count is often unknown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The media type of a PDF.
pub const MEDIA_TYPE: &str = "application/pdf";

/// The most base64 to search, in bytes: a count is not worth more than a few milliseconds.
const MOST: usize = 16 * 1024 * 1024;

/// The number of pages of a PDF in standard base64; `None` if the page objects are compressed.
#[must_use]
pub fn pages(base64: &str) -> Option<usize> {
    let bytes = if base64.len() <= MOST { STANDARD.decode(base64).ok()? } else { return None };
    // `/Type /Page`, with or without the space, and no letter after it: `/Pages` is a list of
    // pages.
    let count = bytes
        .windows(5)
        .enumerate()
        .filter(|(_, word)| word == b"/Page")
        .filter(|(at, _)| {
            let after = bytes.get(at + 5).copied().unwrap_or(b' ');
            let before = bytes.get(..*at).unwrap_or_default().trim_ascii_end();
            !after.is_ascii_alphanumeric() && before.ends_with(b"/Type")
        })
        .count();
    (count > 0).then_some(count)
}

/// The text in standard base64, if it is UTF-8.
#[must_use]
pub fn text(base64: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(base64).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uncompressed_pages_are_counted() {
        let pages_of = |text: &str| pages(&STANDARD.encode(text));
        let two =
            "<</Type/Pages/Kids[3 0 R]/Count 2>> <</Type/Page/Parent 2 0 R>> << /Type /Page\n>>";
        assert_eq!(pages_of(two), Some(2));
        assert_eq!(pages_of("%PDF-1.7 stream"), None);
        assert_eq!(pages_of("<</PageMode/UseNone /Page 1>>"), None);
        assert_eq!(pages("no base64"), None);
    }

    #[test]
    fn only_utf8_is_text() {
        assert_eq!(text(&STANDARD.encode("Grüße")).as_deref(), Some("Grüße"));
        assert_eq!(text("/w=="), None);
    }
}
