//! Multipart forms (`multipart/form-data`, RFC 7578): the names and positions of their fields.
//!
//! It owns the parts' names and positions. It never copies a part, and rejects what two parsers
//! could read differently: content before the first part, the boundary anywhere but between parts,
//! a part with two names.
//!
//! The one thing to know: the provider reads the same bytes with another parser, and the
//! permissions were checked against this one's result.

use std::ops::Range;

use memchr::memmem;

/// One part: its name, and the position of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The name of the field.
    pub name: String,
    /// The position of its content.
    pub content: Range<usize>,
    /// Whether it is a file, or its content is coded: then it is not the value of a field to every
    /// parser.
    is_special: bool,
}

impl Part {
    /// Whether every parser takes its content for the value of a field.
    #[must_use]
    pub fn is_value(&self) -> bool {
        !self.is_special
    }
}

/// Why a form is rejected, and what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unclear(pub &'static str);

const LINE_END: &[u8] = b"\r\n";
/// The most fields of a form.
const MOST: usize = 1024;

/// The boundary in a content type, if it is that of a multipart form.
///
/// # Errors
///
/// If it has none, or more than one.
pub fn boundary(content_type: &str) -> Option<Result<String, Unclear>> {
    let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let kind = essence.trim().to_ascii_lowercase();
    if !kind.starts_with("multipart/") {
        return None;
    }
    let found = parameters_of(parameters).and_then(|parameters| {
        let mut named = parameters.into_iter().filter(|(name, _)| name == "boundary");
        named.next().map(|(_, value)| value).filter(|_| named.next().is_none())
    });
    let is_right = |boundary: &String| {
        (1..=70).contains(&boundary.len())
            && boundary.bytes().all(|byte| (0x20..0x7f).contains(&byte))
    };
    Some(found.filter(is_right).ok_or(Unclear("the content type of a form has one boundary")))
}

/// The parts of a form.
///
/// # Errors
///
/// Why it is rejected.
pub fn parts(body: &[u8], boundary: &str) -> Result<Vec<Part>, Unclear> {
    const BROKEN: Unclear = Unclear("the form is not one of parts between its boundaries");
    let mark = format!("--{boundary}");
    let mut places = memmem::find_iter(body, mark.as_bytes());
    if places.next() != Some(0) {
        return Err(BROKEN);
    }
    let mut parts = Vec::new();
    let mut at = mark.len();
    loop {
        let line = body.get(at..).unwrap_or_default();
        if line.starts_with(b"--") {
            // Nothing follows the last part.
            let is_end = line.get(2..).is_some_and(|rest| rest.trim_ascii().is_empty());
            return if is_end && places.next().is_none() { Ok(parts) } else { Err(BROKEN) };
        }
        if !line.starts_with(LINE_END) || parts.len() == MOST {
            return Err(BROKEN);
        }
        let next = places.next().ok_or(BROKEN)?;
        let whole = at + LINE_END.len()..next.checked_sub(LINE_END.len()).ok_or(BROKEN)?;
        let bytes = body.get(whole.clone()).ok_or(BROKEN)?;
        if body.get(whole.end..next) != Some(LINE_END) {
            return Err(BROKEN);
        }
        let head = memmem::find(bytes, b"\r\n\r\n").ok_or(BROKEN)?;
        let (name, is_special) = name_of(bytes.get(..head).unwrap_or_default())?;
        parts.push(Part { name, content: whole.start + head + 4..whole.end, is_special });
        at = next + mark.len();
    }
}

/// The name in a part's head, and whether it is a file or coded.
fn name_of(head: &[u8]) -> Result<(String, bool), Unclear> {
    const UNCLEAR: Unclear = Unclear("a part of the form needs one name");
    let head = std::str::from_utf8(head).or(Err(UNCLEAR))?;
    let (mut found, mut is_special) = (None, false);
    for line in head.split("\r\n") {
        let (field, value) = line.split_once(':').ok_or(UNCLEAR)?;
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !field.bytes().all(is_token) || line.contains(['\r', '\n']) {
            return Err(UNCLEAR);
        }
        is_special |= field.eq_ignore_ascii_case("content-transfer-encoding");
        if field.eq_ignore_ascii_case("content-disposition") {
            let (kind, parameters) = value.split_once(';').ok_or(UNCLEAR)?;
            let parameters = parameters_of(parameters).ok_or(UNCLEAR)?;
            is_special |= parameters.iter().any(|(name, _)| name.starts_with("filename"));
            // `name*` is not allowed in forms, and some parsers prefer it.
            let mut names = parameters.iter().filter(|(name, _)| name.starts_with("name"));
            let (Some((parameter, name)), None) = (names.next(), names.next()) else {
                return Err(UNCLEAR);
            };
            let is_clear = kind.trim().eq_ignore_ascii_case("form-data") && parameter == "name";
            if !is_clear || found.replace(name.clone()).is_some() {
                return Err(UNCLEAR);
            }
        }
    }
    found.map(|name| (name, is_special)).ok_or(UNCLEAR)
}

/// The parameters `name=value` and `name="value"` of a header, names in lower case; `None` if they
/// are malformed.
fn parameters_of(mut text: &str) -> Option<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ';']);
        if text.is_empty() {
            return Some(parameters);
        }
        let (name, rest) = text.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        if name.is_empty()
            || name.contains(|letter: char| letter.is_ascii_whitespace() || letter == '"')
        {
            return None;
        }
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = rest.find(';').unwrap_or(rest.len());
                let (value, rest) = rest.split_at(end);
                (value.trim().to_owned(), rest)
            }
        };
        let rest = rest.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(';') {
            return None;
        }
        parameters.push((name, value));
        text = rest;
    }
}

/// A quoted text up to its closing quote, and what follows. A backslash escapes only a quote or a
/// backslash: in file names it is a character.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match letters.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            letter => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vec<(String, String)>, Unclear> {
        let parts = parts(body.as_bytes(), "x")?;
        Ok(parts.into_iter().map(|part| (part.name, body[part.content].to_owned())).collect())
    }

    fn part(disposition: &str, content: &str) -> String {
        format!("--x\r\nContent-Disposition: {disposition}\r\n\r\n{content}\r\n")
    }

    #[test]
    fn the_parts_of_a_form_are_found_where_they_are() {
        let file = "form-data; name=\"file\"; filename=\"a;name=\\\"b\\\".wav\"\r\nContent-Type: audio/wav";
        let body = format!(
            "{}{}{}--x--\r\n",
            part(file, "R\r\nIFF\0-- x"),
            part("form-data; name=\"model\"", "whisper-1"),
            part("form-data;name=empty", ""),
        );
        let pairs = [("file", "R\r\nIFF\0-- x"), ("model", "whisper-1"), ("empty", "")];
        let pairs = pairs.map(|(name, content)| (name.to_owned(), content.to_owned()));
        assert_eq!(read(&body).unwrap(), pairs);
        assert_eq!(read("--x--").unwrap(), []);
    }

    #[test]
    fn ambiguous_forms_are_refused() {
        let model = |disposition: &str| part(disposition, "m") + "--x--\r\n";
        for body in [
            String::new(),
            "--y--".to_owned(),
            format!("{{}}\r\n{}", model("form-data; name=model")),
            part("form-data; name=model", "m"),
            model("form-data; name=\"file\"; name=\"model\""),
            model("form-data; name=\"file\"; name*=utf-8''model"),
            model("form-data; name*=utf-8''model"),
            model("attachment; name=\"model\""),
            model("form-data"),
            model("form-data; name=\"model"),
            model("form-data; name=\"model\" x"),
            model("form-data; name=a\r\nContent-Disposition: form-data; name=b"),
            model("form-data;\r\n name=model"),
            model("form-data; name=a\r\nContent-Disposition : form-data; name=model"),
            model("form-data; name=a\r\n Content-Disposition: form-data; name=model"),
            part("form-data; name=file", "a\n--x\nContent-Disposition: form-data; name=model\n\nm")
                + "--x--",
            part("form-data; name=file", "a--xb") + "--x--",
            model("form-data; name=model") + "--x\r\n",
            model("form-data; name=model") + "more",
            "--x\nContent-Disposition: form-data; name=model\n\nm\n--x--".to_owned(),
            "--x\r\n\r\nm\r\n--x--".to_owned(),
            "--x\r\n--x--".to_owned(),
        ] {
            assert!(read(&body).is_err(), "{body}");
        }
    }

    #[test]
    fn the_boundary_is_read_from_the_content_type() {
        let boundary = |text: &str| boundary(text).map(|found| found.unwrap_or_default());
        assert_eq!(boundary("multipart/form-data; boundary=abc"), Some("abc".to_owned()));
        assert_eq!(
            boundary("Multipart/Form-Data;charset=x; Boundary=\"a b\""),
            Some("a b".to_owned())
        );
        assert_eq!(boundary("multipart/form-data"), Some(String::new()));
        assert_eq!(boundary("multipart/form-data; boundary=a; boundary=b"), Some(String::new()));
        assert_eq!(boundary("application/json; boundary=a"), None);
    }
}
