//! Images inside JSON, as base64.
//!
//! It converts base64 to the one form that every provider accepts and detects an image's type from
//! its first bytes, since clients often declare a wrong type and some APIs declare none. It rejects
//! what is not base64; it reads no more of an image than its signature.

/// The standard alphabet with padding and without white space, from any usual form of base64.
/// `None` if it is not base64 or is empty.
#[must_use]
pub fn standard_base64(text: String) -> Option<String> {
    let mut text = text;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let letters = text.as_bytes().iter().take_while(|byte| is_plain(byte)).count();
    let is_standard = text.len().is_multiple_of(4)
        && text.len() - letters <= 2
        && text.bytes().skip(letters).all(|byte| byte == b'=');
    if !is_standard {
        text = repaired(&text)?;
    }
    (!text.is_empty()).then_some(text)
}

/// Converts base64 of the URL-safe alphabet, with white space or without padding, to the standard
/// form.
fn repaired(text: &str) -> Option<String> {
    let mut letters = String::with_capacity(text.len() + 3);
    for letter in
        text.trim_end_matches(|last: char| last == '=' || last.is_ascii_whitespace()).chars()
    {
        match letter {
            '-' => letters.push('+'),
            '_' => letters.push('/'),
            '+' | '/' | 'A'..='Z' | 'a'..='z' | '0'..='9' => letters.push(letter),
            _ if letter.is_ascii_whitespace() => {}
            _ => return None,
        }
    }
    match letters.len() % 4 {
        0 => {}
        2 => letters.push_str("=="),
        3 => letters.push('='),
        // One letter has six bits, less than a byte.
        _ => return None,
    }
    Some(letters)
}

/// The type of an image in standard base64, by its first bytes.
#[must_use]
pub fn media_type(base64: &str) -> Option<&'static str> {
    // Three bytes are four letters. WebP is "RIFF", a length, and "WEBP" from byte 8; letters 11 to
    // 15 hold all but two bits of that.
    let is_webp = base64.starts_with("UklGR") && base64.get(11..16) == Some("XRUJQ");
    [("iVBORw0K", "image/png"), ("/9j/", "image/jpeg"), ("R0lGO", "image/gif")]
        .iter()
        .find(|(signature, _)| base64.starts_with(signature))
        .map(|(_, media_type)| *media_type)
        .or(is_webp.then_some("image/webp"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_usual_form_becomes_the_standard_one() {
        for (text, standard) in [
            ("AAAA", Some("AAAA")),
            ("AA+/", Some("AA+/")),
            ("AA-_", Some("AA+/")),
            ("AA", Some("AA==")),
            ("AAA", Some("AAA=")),
            ("AA==", Some("AA==")),
            ("AA=", Some("AA==")),
            (" AA\r\nAA\n", Some("AAAA")),
            ("", None),
            ("====", None),
            ("A", None),
            ("AA=A", None),
            ("data:image/png;base64,AAAA", None),
            ("Grüße", None),
        ] {
            assert_eq!(standard_base64(text.to_owned()).as_deref(), standard, "{text}");
        }
    }

    #[test]
    fn the_first_bytes_determine_the_type() {
        for (base64, expected) in [
            ("iVBORw0KGgoAAAANSUhEUg==", Some("image/png")),
            ("/9j/4AAQSkZJRg==", Some("image/jpeg")),
            ("R0lGODlhAQABAIAAAAAAAP==", Some("image/gif")),
            ("UklGRiQAAABXRUJQVlA4IBgAAAA=", Some("image/webp")),
            ("UklGRiQAAABXQVZFZm10IBAAAAA=", None),
            ("AAAA", None),
            ("", None),
        ] {
            assert_eq!(media_type(base64), expected, "{base64}");
        }
    }

    proptest! {
        #[test]
        fn the_standard_form_stays_as_it_is(text in ".{0,40}") {
            if let Some(standard) = standard_base64(text) {
                prop_assert!(standard.len().is_multiple_of(4));
                prop_assert_eq!(standard_base64(standard.clone()), Some(standard));
            }
        }
    }
}
