//! Paths of requests, and patterns of paths: the values of `passthrough`.
//!
//! Owns the parsing of paths and the meaning of `*`. Rejects paths that two servers could interpret
//! differently: `.` and `..`, escaped or not, an escaped slash, an empty segment.
//!
//! The one thing to know: a path is compared after unescaping and passed on as it was sent, which
//! is safe only because both are equivalent.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

/// A path without segments that lead out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct CleanPath {
    sent: String,
    segments: Vec<String>,
}

impl CleanPath {
    /// Parses a path as it was sent; `None` if it is ambiguous.
    #[must_use]
    pub fn read(sent: &str) -> Option<Self> {
        let segments = sent.strip_prefix('/')?.split('/').map(|segment| {
            let meant = percent_decode_str(segment).decode_utf8().ok()?;
            is_plain(&meant).then(|| meant.into_owned())
        });
        Some(Self { segments: segments.collect::<Option<_>>()?, sent: sent.to_owned() })
    }

    /// The path as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.sent
    }
}

impl From<CleanPath> for String {
    fn from(path: CleanPath) -> Self {
        path.sent
    }
}

/// Whether a segment is only a name. Some servers drop what follows a `;`, others decode twice.
fn is_plain(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    let is_strange = |letter: char| letter.is_control() || matches!(letter, '/' | '\\' | '%');
    !matches!(name, "" | "." | "..") && !segment.contains(is_strange)
}

/// A pattern of paths. A `*` between two slashes matches one segment, a `*` at the end one or more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPattern {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Name(String),
    /// Any one segment.
    One,
    /// One or more segments to the end.
    Rest,
}

impl PathPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// What would be right.
    pub fn read(text: &str) -> Result<Self, String> {
        const EXAMPLE: &str =
            r#"write a path that begins with a name, as in "/v1/audio/*" or "/tokenize""#;
        let after = text.strip_prefix('/').ok_or(EXAMPLE)?;
        let count = after.split('/').count();
        let segments = after.split('/').enumerate().map(|(index, segment)| match segment {
            "*" if index == 0 => Err(EXAMPLE.to_owned()),
            "*" if index + 1 == count => Ok(Segment::Rest),
            "*" => Ok(Segment::One),
            name if is_plain(name) && name.chars().all(is_common) => {
                Ok(Segment::Name(name.to_owned()))
            }
            name if name.contains('*') => Err("write `*` for a whole segment only".to_owned()),
            _ => Err(EXAMPLE.to_owned()),
        });
        Ok(Self { segments: segments.collect::<Result<_, _>>()?, text: text.to_owned() })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches a path.
    #[must_use]
    pub fn matches(&self, path: &CleanPath) -> bool {
        let mut names = path.segments.iter();
        for segment in &self.segments {
            let Some(name) = names.next() else { return false };
            match segment {
                Segment::Name(own) if own != name => return false,
                Segment::Name(_) | Segment::One => {}
                Segment::Rest => return true,
            }
        }
        names.next().is_none()
    }

    /// Whether a path can match both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let mut pairs = self.segments.iter().zip(&other.segments);
        for pair in &mut pairs {
            match pair {
                (Segment::Rest, _) | (_, Segment::Rest) => return true,
                (Segment::Name(own), Segment::Name(others)) if own != others => return false,
                (Segment::Name(_) | Segment::One, Segment::Name(_) | Segment::One) => {}
            }
        }
        self.segments.len() == other.segments.len()
    }
}

fn is_common(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-._~:@+,=".contains(letter)
}

impl TryFrom<String> for PathPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::read(&text)
    }
}

impl From<PathPattern> for String {
    fn from(pattern: PathPattern) -> Self {
        pattern.text
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let path = CleanPath::read(path);
        path.is_some_and(|path| PathPattern::read(pattern).unwrap().matches(&path))
    }

    #[test]
    fn a_star_stands_for_one_segment_and_at_the_end_for_all_that_follow() {
        for (pattern, path, fits) in [
            ("/tokenize", "/tokenize", true),
            ("/tokenize", "/tokenize/", false),
            ("/tokenize", "/tokenized", false),
            ("/tokenize", "/v1/tokenize", false),
            ("/v1/audio/*", "/v1/audio/speech", true),
            ("/v1/audio/*", "/v1/audio/voices/a", true),
            ("/v1/audio/*", "/v1/audio", false),
            ("/v1/audio/*", "/v1/audio/", false),
            ("/v1/audio/*", "/v1/images/x", false),
            ("/v1/audio/*", "/V1/audio/speech", false),
            ("/v1/files/*/content", "/v1/files/a/content", true),
            ("/v1/files/*/content", "/v1/files/a/b/content", false),
            ("/v1/files/*/content", "/v1/files/a", false),
        ] {
            assert_eq!(matches(pattern, path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn no_path_leads_out_of_its_pattern() {
        for path in [
            "/v1/audio/../chat/completions",
            "/v1/audio/..",
            "/v1/audio/.",
            "/v1/audio/%2e%2e/chat/completions",
            "/v1/audio/.%2E/chat",
            "/v1/audio/%2e",
            "/v1/audio/..%2fchat",
            "/v1/audio/a%2Fb",
            "/v1/audio/a%5cb",
            "/v1/audio/a\\..\\b",
            "/v1/audio/%252e%252e/chat",
            "/v1/audio/..;/chat",
            "/v1/audio/..;x=1",
            "/v1/audio//speech",
            "/v1/audio/;x",
            "/v1/audio/%00",
            "/v1/audio/a%0d%0ab",
            "/v1/audio/%ff",
            "//v1/audio/speech",
        ] {
            assert!(CleanPath::read(path).is_none(), "{path}");
        }
        for path in ["/v1/audio/caf%C3%A9", "/v1/audio/a%20b", "/v1/audio/..a", "/v1/%61udio/x"] {
            assert!(matches("/v1/audio/*", path), "{path}");
        }
    }

    #[test]
    fn an_invalid_pattern_is_answered_with_a_valid_one() {
        for text in ["", "v1/audio", "/", "/*", "/v1//x", "/v1/../x", "/a b", "/v1/a%2f", "/v1/x?"]
        {
            assert!(PathPattern::read(text).unwrap_err().starts_with("write a path"), "{text}");
        }
        let half = PathPattern::read("/v1/au*").unwrap_err();
        assert_eq!(half, "write `*` for a whole segment only");
    }

    #[test]
    fn patterns_overlap_when_a_path_can_match_both() {
        let overlap = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|text| PathPattern::read(text).unwrap());
            assert_eq!(one.overlaps(&other), other.overlaps(&one));
            one.overlaps(&other)
        };
        assert!(overlap("/v1/*", "/v1/chat/completions"));
        assert!(overlap("/v1/*/completions", "/v1/chat/completions"));
        assert!(overlap("/v1/models/*", "/v1/*/x"));
        assert!(!overlap("/v1/audio/*", "/v1/chat/completions"));
        assert!(!overlap("/v1/*", "/v1"));
        assert!(!overlap("/v1/chat/completions/*", "/v1/chat/completions"));
    }
}
