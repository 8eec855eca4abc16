//! The source of an image: a `data:` URI or a URL.
//!
//! It repairs clients' base64: line breaks, the URL-safe alphabet, missing padding. It rejects what
//! is not an image and every scheme except http, https and data; the gateway never fetches a URL.
//!
//! The one thing to know: the type in the first bytes takes precedence over the declared one,
//! because some providers compare the two.

use crate::chat::ImageSource;

/// Decodes the URL of an image.
///
/// # Errors
///
/// What would be right, for the caller.
pub(super) fn source(url: String) -> Result<ImageSource, &'static str> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err("should be a data: URI or an http(s) address");
    };
    if scheme.eq_ignore_ascii_case("data") {
        return inline(rest);
    }
    if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") {
        return Ok(ImageSource::Url(url));
    }
    Err("should be a data: URI or an http(s) address")
}

fn inline(rest: &str) -> Result<ImageSource, &'static str> {
    const FORM: &str = "should look like data:image/png;base64,iVBORw0…";
    let (head, payload) = rest.split_once(',').ok_or(FORM)?;
    let mut parameters = head.split(';');
    let declared = parameters.next().unwrap_or_default().trim().to_ascii_lowercase();
    if !parameters.next_back().is_some_and(|last| last.trim().eq_ignore_ascii_case("base64")) {
        return Err(FORM);
    }
    let base64 = normalise(payload).ok_or("should hold valid base64")?;
    let media_type = sniff(&base64).map_or(declared, str::to_owned);
    if !media_type.starts_with("image/") {
        return Err("should be an image, with a media type such as image/png");
    }
    Ok(ImageSource::Inline { media_type, base64 })
}

/// Standard base64 with padding and without line breaks.
fn normalise(payload: &str) -> Option<String> {
    let mut clean = String::with_capacity(payload.len() + 2);
    let mut padded = false;
    for byte in payload.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        match byte {
            b'=' => padded = true,
            _ if padded => return None,
            b'-' => clean.push('+'),
            b'_' => clean.push('/'),
            b'+' | b'/' => clean.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => clean.push(char::from(byte)),
            _ => return None,
        }
    }
    match clean.len() % 4 {
        0 if clean.is_empty() => return None,
        1 => return None,
        2 => clean.push_str("=="),
        3 => clean.push('='),
        _ => {}
    }
    Some(clean)
}

/// The type in the first bytes, in base64.
fn sniff(base64: &str) -> Option<&'static str> {
    const SIGNATURES: &[(&str, &str)] = &[
        ("iVBORw0KGgo", "image/png"),
        ("/9j/", "image/jpeg"),
        ("R0lGOD", "image/gif"),
        ("UklGR", "image/webp"),
    ];
    let found = SIGNATURES.iter().find(|(signature, _)| base64.starts_with(signature));
    found.map(|(_, media_type)| *media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<(String, String), &'static str> {
        match source(url.to_owned())? {
            ImageSource::Inline { media_type, base64 } => Ok((media_type, base64)),
            ImageSource::Url(url) => Ok(("url".to_owned(), url)),
        }
    }

    #[test]
    fn base64_is_made_standard() {
        for (url, base64) in [
            ("data:image/bmp;base64,AAAA", "AAAA"),
            ("DATA:image/bmp;charset=x;BASE64,AA AA\r\nAA==", "AAAAAA=="),
            ("data:image/bmp;base64,-_-_AA", "+/+/AA=="),
            ("data:image/bmp;base64,AAA", "AAA="),
        ] {
            assert_eq!(read(url), Ok(("image/bmp".to_owned(), base64.to_owned())), "{url}");
        }
    }

    #[test]
    fn the_first_bytes_determine_the_type() {
        for (url, media_type) in [
            ("data:image/png;base64,/9j/4AAQ", "image/jpeg"),
            ("data:;base64,iVBORw0KGgoAAAAN", "image/png"),
            ("data:application/octet-stream;base64,R0lGODlh", "image/gif"),
            ("data:image/png;base64,UklGRgAA", "image/webp"),
        ] {
            assert_eq!(read(url).unwrap().0, media_type, "{url}");
        }
    }

    #[test]
    fn urls_are_kept_unchanged() {
        let url = "https://example.org/a.png?x=1";
        assert_eq!(read(url), Ok(("url".to_owned(), url.to_owned())));
    }

    #[test]
    fn anything_but_an_image_is_refused() {
        for url in [
            "",
            "AAAA",
            "file:///etc/passwd",
            "data:image/png;base64",
            "data:image/png,AAAA",
            "data:image/png;base64,",
            "data:image/png;base64,A",
            "data:image/png;base64,AA=A",
            "data:image/png;base64,AA*A",
            "data:application/pdf;base64,JVBERi0x",
            "data:;base64,AAAA",
        ] {
            assert!(read(url).is_err(), "{url}");
        }
    }
}
