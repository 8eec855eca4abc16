//! Reads audio and video from OpenAI's clients for Gemini.
//!
//! It refuses nothing: the caller reports parts that Gemini does not take.
//!
//! The one thing to know: a bare `format` is the subtype of a media type, except `mp3`, whose type
//! is `audio/mpeg` elsewhere and `audio/mp3` at Google.

use crate::chat::{Api, Foreign};

/// A part as Gemini takes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Media<'a> {
    /// The bytes, in base64.
    Inline { media_type: String, data: &'a str },
    /// A URL that Google fetches.
    Address(&'a str),
}

/// Reads `input_audio`, `audio_url`, `video_url`, `input_video` and `file`; `None` for all other
/// parts.
pub(super) fn read(foreign: &Foreign) -> Option<Media<'_>> {
    if foreign.api != Api::OpenAi {
        return None;
    }
    let inner = foreign.value.get(&foreign.kind)?;
    match foreign.kind.as_str() {
        "input_audio" | "input_video" => {
            let sort = if foreign.kind == "input_audio" { "audio" } else { "video" };
            let data = inner.get("data")?.as_str()?;
            if data.starts_with("data:") {
                return address(data);
            }
            let format = inner.get("format").and_then(|format| format.as_str()).unwrap_or("wav");
            let media_type = match format.contains('/') {
                true => format.to_owned(),
                false => format!("{sort}/{format}"),
            };
            Some(Media::Inline { media_type, data })
        }
        "file" => address(inner.get("file_data")?.as_str()?),
        "audio_url" | "video_url" => address(inner.get("url").unwrap_or(inner).as_str()?),
        _ => None,
    }
}

fn address(url: &str) -> Option<Media<'_>> {
    if url.starts_with("https://") || url.starts_with("gs://") {
        return Some(Media::Address(url));
    }
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?.split(';').next()?.to_owned();
    Some(Media::Inline { media_type, data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn foreign(kind: &str, inner: Value) -> Foreign {
        let value = json!({"type": kind, kind: inner});
        Foreign { api: Api::OpenAi, kind: kind.into(), text: None, is_decisive: true, value }
    }

    #[test]
    fn audio_and_video_are_sent_inline_or_by_a_url_that_google_fetches() {
        for (part, media_type, data) in [
            (foreign("input_audio", json!({"data": "AAAA", "format": "mp3"})), "audio/mp3", "AAAA"),
            (
                foreign("audio_url", json!({"url": "data:audio/ogg;codecs=opus;base64,AAAA"})),
                "audio/ogg",
                "AAAA",
            ),
            (foreign("video_url", json!("data:video/mp4;base64,BBBB")), "video/mp4", "BBBB"),
            (
                foreign("file", json!({"file_data": "data:application/pdf;base64,CCCC"})),
                "application/pdf",
                "CCCC",
            ),
        ] {
            let expected = Media::Inline { media_type: media_type.to_owned(), data };
            assert_eq!(read(&part), Some(expected), "{}", part.kind);
        }
        let address = foreign("video_url", json!({"url": "https://example.org/a.mp4"}));
        assert_eq!(read(&address), Some(Media::Address("https://example.org/a.mp4")));
        for (kind, inner) in [
            ("video_url", json!({"url": "http://example.org/a.mp4"})),
            ("input_audio", json!({})),
            ("hologram", json!({"data": "AAAA"})),
        ] {
            assert_eq!(read(&foreign(kind, inner)), None, "{kind}");
        }
    }
}
