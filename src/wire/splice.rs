//! Edits fields of a JSON object in its bytes, so that everything else stays as it was written.
//!
//! It owns the positions of an object's members and the edits to them. It never rewrites the rest:
//! the order of keys, the spelling of numbers, white space and duplicates stay the sender's.
//!
//! The one thing to know: keys are compared after unescaping (`"mod\u0065l"` is `model`), values
//! are never parsed.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The positions of a JSON object's members.
#[derive(Debug)]
pub struct Outline<'a> {
    body: &'a [u8],
    members: Vec<Member>,
}

/// One member of an object.
#[derive(Debug)]
struct Member {
    name: String,
    value: Range<usize>,
}

/// Edits to the bytes of an object.
#[derive(Debug)]
pub struct Edits<'o, 'a> {
    outline: &'o Outline<'a>,
    changes: Vec<(Range<usize>, Vec<u8>)>,
    added: Vec<(String, Vec<u8>)>,
}

impl<'a> Outline<'a> {
    /// Finds the members; `None` if it is not a JSON object.
    #[must_use]
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let found: Found<'a> = serde_json::from_slice(body).ok()?;
        let start = body.as_ptr().addr();
        let members = found.0.into_iter().map(|(name, value)| {
            let at = value.get().as_ptr().addr().saturating_sub(start);
            Member { name, value: at..at + value.get().len() }
        });
        Some(Self { body, members: members.collect() })
    }

    /// The bytes of this member's value; of duplicates, the last one's, as in nearly all parsers.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        let member = self.members.iter().rev().find(|member| member.name == name)?;
        self.body.get(member.value.clone())
    }

    /// The names of the members, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.name.as_str())
    }

    /// Whether two members have this name. Some parsers accept `Model` for `model`, so the
    /// comparison ignores case.
    #[must_use]
    pub fn is_ambiguous(&self, name: &str) -> bool {
        let called = |member: &&Member| folded(&member.name) == name;
        let exact = self.members.iter().filter(|member| member.name == name).count();
        self.members.iter().filter(called).count() > exact.min(1)
    }

    /// The names that some parsers take for this one though it is written otherwise; see
    /// [`Outline::is_ambiguous`].
    pub fn other_spellings(&self, name: &str) -> impl Iterator<Item = &str> {
        let names = self.members.iter().map(|member| member.name.as_str());
        names.filter(move |other| *other != name && folded(other) == name)
    }

    /// Begins to edit it.
    #[must_use]
    pub fn edit(&self) -> Edits<'_, 'a> {
        Edits { outline: self, changes: Vec::new(), added: Vec::new() }
    }
}

impl Edits<'_, '_> {
    /// Sets the value of every member of this name, or adds one.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        let value = value.into();
        let members = self.outline.members.iter().filter(|member| member.name == name);
        let before = self.changes.len();
        self.changes.extend(members.map(|member| (member.value.clone(), value.clone())));
        if self.changes.len() == before {
            self.added.push((name.to_owned(), value));
        }
    }

    /// Removes every member of this name.
    pub fn remove(&mut self, name: &str) {
        let body = self.outline.body;
        for member in self.outline.members.iter().filter(|member| member.name == name) {
            let Some(start) = key_start(body, member.value.start) else { continue };
            let (start, end) = with_comma(body, start, member.value.end);
            self.changes.push((start..end, Vec::new()));
        }
    }

    /// Renames every member of this name.
    pub fn rename(&mut self, name: &str, other: &str) {
        let body = self.outline.body;
        for member in self.outline.members.iter().filter(|member| member.name == name) {
            let Some(start) = key_start(body, member.value.start) else { continue };
            let Some(key) = body.get(start..member.value.start) else { continue };
            let Some(quote) = key.iter().rposition(|byte| *byte == b'"') else { continue };
            self.changes.push((start..start + quote + 1, quoted(other)));
        }
    }

    /// Whether there are no edits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.added.is_empty()
    }

    /// The bytes with the edits applied.
    #[must_use]
    pub fn apply(mut self) -> Vec<u8> {
        let body = self.outline.body;
        self.changes.sort_by_key(|(range, _)| range.start);
        let end = body.iter().rposition(|byte| *byte == b'}').unwrap_or(body.len());
        let mut out = Vec::with_capacity(body.len() + 64);
        let mut at = 0;
        for (range, value) in self.changes {
            let Some(kept) = body.get(at..range.start) else {
                // A removed member is not edited as well. But of adjacent removed members, the last
                // removes the comma before the first.
                if value.is_empty() && range.end > at {
                    at = range.end;
                    let used = out.trim_ascii_end();
                    let used = used.strip_suffix(b",").unwrap_or(used).len();
                    out.truncate(used);
                }
                continue;
            };
            out.extend_from_slice(kept);
            out.extend_from_slice(&value);
            at = range.end;
        }
        out.extend_from_slice(body.get(at..end).unwrap_or_default());
        if !self.added.is_empty() {
            let used = out.trim_ascii_end().len();
            let mut is_first = out.get(..used).is_some_and(|written| written.ends_with(b"{"));
            let space = out.split_off(used);
            for (name, value) in self.added {
                if !std::mem::take(&mut is_first) {
                    out.push(b',');
                }
                out.extend_from_slice(&quoted(&name));
                out.push(b':');
                out.extend_from_slice(&value);
            }
            out.extend_from_slice(&space);
        }
        out.extend_from_slice(body.get(end..).unwrap_or_default());
        out
    }
}

/// The text as JSON.
#[must_use]
pub fn quoted(text: &str) -> Vec<u8> {
    super::json::to_vec(&text)
}

/// The positions of a JSON list's items; `None` if it is not a list.
#[must_use]
pub fn items(list: &[u8]) -> Option<Vec<Range<usize>>> {
    let found: Vec<&RawValue> = serde_json::from_slice(list).ok()?;
    let start = list.as_ptr().addr();
    let place = |item: &RawValue| {
        let at = item.get().as_ptr().addr().saturating_sub(start);
        at..at + item.get().len()
    };
    Some(found.into_iter().map(place).collect())
}

/// JSON without the white space between its parts.
#[must_use]
pub fn compact(json: &[u8]) -> Vec<u8> {
    let (mut in_text, mut is_escaped) = (false, false);
    let means = |byte: &u8| {
        if !in_text {
            in_text = *byte == b'"';
            return !byte.is_ascii_whitespace();
        }
        in_text = is_escaped || *byte != b'"';
        is_escaped = !is_escaped && *byte == b'\\';
        true
    };
    json.iter().copied().filter(means).collect()
}

/// Folds case as Go's parser does, with which Ollama and many proxies are built.
fn folded(name: &str) -> String {
    name.chars()
        .map(|letter| match letter {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            letter => letter.to_ascii_lowercase(),
        })
        .collect()
}

/// The start of the key whose value begins at `value`.
fn key_start(body: &[u8], value: usize) -> Option<usize> {
    let before = body.get(..value)?.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end();
    let inside = before.strip_suffix(b"\"")?;
    // A quote that belongs to the key has an odd number of backslashes before it.
    let mut end = inside.len();
    loop {
        let quote = inside.get(..end)?.iter().rposition(|byte| *byte == b'"')?;
        let slashes = inside.get(..quote)?.iter().rev().take_while(|byte| **byte == b'\\').count();
        if slashes.is_multiple_of(2) {
            return Some(quote);
        }
        end = quote;
    }
}

/// The range with its comma: the one after it, else the one before.
fn with_comma(body: &[u8], start: usize, end: usize) -> (usize, usize) {
    let rest = body.get(end..).unwrap_or_default();
    let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    if rest.get(space) == Some(&b',') {
        return (start, end + space + 1);
    }
    let before = body.get(..start).unwrap_or_default().trim_ascii_end();
    (before.strip_suffix(b",").map_or(start, <[u8]>::len), end)
}

/// The members in serde's order, duplicates included.
struct Found<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Found<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FoundVisitor).map(Found)
    }
}

struct FoundVisitor;

impl<'de> Visitor<'de> for FoundVisitor {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(body: &str, edit: impl Fn(&mut Edits<'_, '_>)) -> String {
        let outline = Outline::read(body.as_bytes()).unwrap();
        let mut edits = outline.edit();
        edit(&mut edits);
        String::from_utf8(edits.apply()).unwrap()
    }

    #[test]
    fn a_value_changes_and_every_other_byte_stays() {
        let body = " {\"z\" : 1.0e+2,\n\t\"mod\\u0065l\":  \"a\\u00e9\" , \"n\":12345678901234567890123 , \"z\":1} ";
        let expected = body.replace("\"a\\u00e9\"", "\"b\"");
        assert_eq!(edited(body, |edits| edits.set("model", *b"\"b\"")), expected);
    }

    #[test]
    fn a_missing_member_is_added_at_the_end() {
        let add = |edits: &mut Edits<'_, '_>| edits.set("stream", *b"true");
        assert_eq!(edited("{}", add), r#"{"stream":true}"#);
        assert_eq!(edited("{ }", add), r#"{"stream":true }"#);
        assert_eq!(edited("{\"a\": {}\n}\n", add), "{\"a\": {},\"stream\":true\n}\n");
    }

    #[test]
    fn a_member_is_removed_with_one_comma() {
        let remove = |edits: &mut Edits<'_, '_>| edits.remove("x");
        assert_eq!(edited(r#"{"x" : 1 , "b":2}"#, remove), r#"{ "b":2}"#);
        assert_eq!(edited(r#"{"a":"}" ,"x":"\"," }"#, remove), r#"{"a":"}"  }"#);
        assert_eq!(edited(r#"{"x":[1,2]}"#, remove), "{}");
        assert_eq!(edited(r#"{"a":1}"#, remove), r#"{"a":1}"#);
    }

    #[test]
    fn adjacent_members_are_removed_with_their_commas() {
        let both = |edits: &mut Edits<'_, '_>| {
            edits.remove("x");
            edits.remove("y");
        };
        assert_eq!(edited(r#"{"a":1, "x":2 , "y":3}"#, both), r#"{"a":1}"#);
        assert_eq!(edited(r#"{"x":2,"y":3}"#, both), "{}");
        assert_eq!(edited(r#"{"x":2,"y":3,"a":1}"#, both), r#"{"a":1}"#);
        assert_eq!(edited(r#"{"y":2,"a":1,"x":3}"#, both), r#"{"a":1}"#);
        let and_add = |edits: &mut Edits<'_, '_>| {
            both(edits);
            edits.set("b", *b"4");
        };
        assert_eq!(edited(r#"{"a":1,"y":2,"x":3}"#, and_add), r#"{"a":1,"b":4}"#);
    }

    #[test]
    fn a_member_is_renamed_whatever_the_spelling_of_its_name() {
        let rename = |edits: &mut Edits<'_, '_>| edits.rename("a\"b", "c");
        assert_eq!(edited(r#"{"x":"\"" , "a\"b" : 1}"#, rename), r#"{"x":"\"" , "c" : 1}"#);
    }

    #[test]
    fn a_name_that_parsers_may_find_twice_is_ambiguous() {
        let ambiguous = |body: &str| Outline::read(body.as_bytes()).unwrap().is_ambiguous("model");
        assert!(!ambiguous(r#"{"model":"a","messages":[{"model":"b"}]}"#));
        assert!(ambiguous(r#"{"model":"a","Model":"b"}"#));
        assert!(ambiguous(r#"{"model":"a","mod\u0065l":"b"}"#));
        assert!(ambiguous(r#"{"MODEL":"b"}"#));
    }

    #[test]
    fn white_space_outside_of_strings_is_removed() {
        let body = b" {\n\"a b\\\" \" :\t[1 , \"\\\\\" ] } ";
        assert_eq!(compact(body), b"{\"a b\\\" \":[1,\"\\\\\"]}");
    }

    #[test]
    fn only_an_object_has_members() {
        for body in ["", "[]", "1", "{\"a\":1", "{\"a\":1}x"] {
            assert!(Outline::read(body.as_bytes()).is_none(), "{body}");
        }
    }
}
