//! The text of a free-form call, extracted from the arguments of the function that replaces its
//! tool.
//!
//! A tool that takes text is offered as a function with one string, [`FIELD`]. Its arguments come
//! as JSON in pieces, and a client expects the text itself in pieces. [`FreeText`] accepts both
//! outputs of models: the requested object, and the bare text that some models write instead.
//!
//! The one thing to know: text that was written cannot be withdrawn. Text is written early only if
//! the arguments begin as expected; otherwise they are evaluated when they are complete.

use serde_json::{Value, json};

/// The only parameter of a function that replaces a free-form tool.
pub(super) const FIELD: &str = "input";

/// The arguments of a call whose text is known.
pub(super) fn arguments(text: &str) -> String {
    json!({ FIELD: text }).to_string()
}

/// Extracts the text from arguments as they arrive.
#[derive(Debug, Default)]
pub(super) struct FreeText {
    /// Everything that arrived.
    raw: String,
    /// How much of it was read.
    read: usize,
    /// The text that was written.
    written: String,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Too little arrived to decide.
    #[default]
    Before,
    /// Inside the text.
    Within,
    /// After the text.
    After,
    /// The arguments do not begin as expected.
    Unexpected,
}

impl FreeText {
    /// Takes more of the arguments and returns the text that they add.
    pub(super) fn add(&mut self, more: &str) -> String {
        self.raw.push_str(more);
        if self.state == State::Before {
            match beginning(&self.raw) {
                Beginning::Text(read) => (self.read, self.state) = (read, State::Within),
                Beginning::Open => {}
                Beginning::Other => self.state = State::Unexpected,
            }
        }
        if self.state != State::Within {
            return String::new();
        }
        let rest = self.raw.get(self.read..).unwrap_or_default();
        let (text, read, ends) = unescape(rest);
        self.read += read;
        if ends {
            self.state = State::After;
        }
        self.written.push_str(&text);
        text
    }

    /// Returns the rest of the text when the arguments are complete.
    pub(super) fn end(&mut self) -> String {
        match self.state {
            State::Within | State::After => String::new(),
            State::Before | State::Unexpected => {
                let text = whole(&self.raw);
                self.written.push_str(&text);
                text
            }
        }
    }

    /// The text so far.
    pub(super) fn text(&self) -> &str {
        &self.written
    }
}

/// The beginning of arguments.
enum Beginning {
    /// The text begins at this byte.
    Text(usize),
    /// As expected, so far.
    Open,
    /// Not as expected.
    Other,
}

fn beginning(raw: &str) -> Beginning {
    let mut rest = raw;
    for token in ["{", "\"input\"", ":", "\""] {
        rest = rest.trim_start();
        match rest.strip_prefix(token) {
            Some(after) => rest = after,
            None if token.starts_with(rest) => return Beginning::Open,
            None => return Beginning::Other,
        }
    }
    Beginning::Text(raw.len() - rest.len())
}

/// Unescapes the inside of a JSON string up to its end or to an incomplete escape. Returns the
/// text, how many bytes were read, and whether the string ends there.
fn unescape(raw: &str) -> (String, usize, bool) {
    let mut text = String::new();
    let mut read = 0;
    loop {
        let rest = raw.get(read..).unwrap_or_default();
        let plain = rest.find(['"', '\\']).unwrap_or(rest.len());
        text.push_str(rest.get(..plain).unwrap_or_default());
        read += plain;
        let rest = rest.get(plain..).unwrap_or_default();
        if rest.starts_with('"') {
            return (text, read + 1, true);
        }
        match escape(rest) {
            Some((letter, length)) => {
                text.push(letter);
                read += length;
            }
            None => return (text, read, false),
        }
    }
}

/// The character of the escape that `rest` begins with, and its length; `None` while it is
/// incomplete. An invalid escape stands for itself.
fn escape(rest: &str) -> Option<(char, usize)> {
    let kind = rest.chars().nth(1)?;
    let letter = match kind {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'u' => return unicode(rest),
        other => other,
    };
    Some((letter, 1 + kind.len_utf8()))
}

/// A `\uXXXX`, or two of them that are one character (RFC 8259 section 7).
fn unicode(rest: &str) -> Option<(char, usize)> {
    const ONE: usize = 6;
    let unit = |at: usize| -> Option<Option<u32>> {
        let digits = rest.as_bytes().get(at + 2..at + ONE)?;
        let digits = std::str::from_utf8(digits).ok();
        Some(digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()))
    };
    let Some(first) = unit(0)? else { return Some(('\u{fffd}', 2)) };
    if !(0xd800..0xdc00).contains(&first) {
        return Some((char::from_u32(first).unwrap_or('\u{fffd}'), ONE));
    }
    let after = rest.get(ONE..).unwrap_or_default();
    if "\\u".starts_with(after.get(..2).unwrap_or(after)) && after.len() < ONE {
        return None;
    }
    let second = if after.starts_with("\\u") { unit(ONE)?.unwrap_or(0) } else { 0 };
    if !(0xdc00..0xe000).contains(&second) {
        return Some(('\u{fffd}', ONE));
    }
    let letter = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    Some((char::from_u32(letter).unwrap_or('\u{fffd}'), 2 * ONE))
}

/// The text of arguments with an unexpected beginning: the value of [`FIELD`] or a single text,
/// else all of them.
fn whole(raw: &str) -> String {
    let text_of = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match serde_json::from_str::<Value>(raw) {
        Ok(Value::String(text)) => text,
        Ok(Value::Object(fields)) => match (fields.get(FIELD), fields.values().next()) {
            (Some(value), _) => text_of(value),
            (None, Some(Value::String(only))) if fields.len() == 1 => only.clone(),
            (None, None) => String::new(),
            (None, Some(_)) => raw.to_owned(),
        },
        Ok(_) | Err(_) => raw.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text of arguments that arrive at once.
    fn text(raw: &str) -> String {
        let mut reader = FreeText::default();
        reader.add(raw);
        reader.end();
        reader.text().to_owned()
    }

    #[test]
    fn the_text_is_found_in_every_output_of_models() {
        let cases = [
            (r#"{"input": "a\nb"}"#, "a\nb"),
            (r#" { "input" : "\ud83d\ude00\u00e9" , "x": 1}"#, "😀é"),
            ("*** Begin Patch\n", "*** Begin Patch\n"),
            (r#""quoted""#, "quoted"),
            (r#"{"patch": "p"}"#, "p"),
            (r#"{"x": 1, "input": "later"}"#, "later"),
            (r#"{"input": {"a": 1}}"#, r#"{"a":1}"#),
            (r#"{"input": "cut o"#, "cut o"),
            (r#"{"a": 1}"#, r#"{"a": 1}"#),
            ("{ return 1 }", "{ return 1 }"),
            (r#"{"input": "\ud83d!"}"#, "\u{fffd}!"),
            ("{}", ""),
            ("", ""),
        ];
        for (raw, expected) in cases {
            assert_eq!(text(raw), expected, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back_for_any_cut_of_its_arguments(wanted in ".*", cut in 1..9usize, ascii in any::<bool>()) {
            let raw = arguments(&wanted);
            let raw: String = if ascii {
                let mut units = [0; 2];
                raw.chars().map(|letter| match letter.is_ascii() {
                    true => letter.to_string(),
                    false => letter.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
                }).collect()
            } else { raw };
            let letters: Vec<char> = raw.chars().collect();
            let mut reader = FreeText::default();
            let mut written = String::new();
            for piece in letters.chunks(cut) {
                written.push_str(&reader.add(&piece.iter().collect::<String>()));
            }
            written.push_str(&reader.end());
            prop_assert_eq!(&written, &wanted);
            prop_assert_eq!(reader.text(), wanted);
        }

        #[test]
        fn no_arguments_cause_a_panic(raw in r#"(\{"input": ")?[\\u"a-f0-9{}é]*"#) {
            let mut reader = FreeText::default();
            for letter in raw.chars() {
                reader.add(&letter.to_string());
            }
            reader.end();
        }
    }
}
