//! Files in a message: those with inline data or a URL are documents.
//!
//! It rejects nothing: a file that is not a document, such as one that was uploaded before, stays a
//! part of this API, for a provider that knows it.
//!
//! The one thing to know: the type in the first bytes takes precedence over the declared one.

use serde_json::Value;

use crate::chat::{Document, DocumentSource};
use crate::wire::fields::Object;
use crate::wire::image::standard_base64;
use crate::wire::pdf;

/// The start of every PDF, in base64: `%PDF-`.
const PDF: &str = "JVBERi";

/// The document in a `file` of chat completions or an `input_file` of responses; `None` if it is
/// not one.
pub(super) fn read(kind: &str, part: &Object) -> Option<Document> {
    let file = match kind {
        "file" => part.get("file")?.as_object()?,
        "input_file" => part,
        _ => return None,
    };
    let text = |name: &str| file.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let source = match (text("file_data"), text("file_url")) {
        (Some(data), _) => inline(data)?,
        (None, Some(url)) if url.starts_with("https://") => DocumentSource::Url(url.to_owned()),
        (None, _) => return None,
    };
    let title = text("filename").map(ToOwned::to_owned);
    Some(Document { source, title, context: None, citations: None })
}

/// A `data:` URI, or bare base64 of a PDF.
fn inline(data: &str) -> Option<DocumentSource> {
    let (declared, payload) = match data.split_once(',') {
        Some((head, payload)) => {
            let types = head.strip_prefix("data:")?.strip_suffix(";base64")?;
            (types.split(';').next().unwrap_or_default().trim().to_ascii_lowercase(), payload)
        }
        None => (String::new(), data),
    };
    let base64 = standard_base64(payload.to_owned())?;
    if base64.starts_with(PDF) {
        return Some(DocumentSource::Inline { media_type: pdf::MEDIA_TYPE.to_owned(), base64 });
    }
    let is_text = declared.starts_with("text/")
        || ["application/json", "application/xml", "application/yaml"].contains(&&*declared);
    match pdf::text(&base64).filter(|_| is_text) {
        Some(text) => Some(DocumentSource::Text(text)),
        // Audio, video and images are not documents.
        None if declared.starts_with("application/") => {
            Some(DocumentSource::Inline { media_type: declared, base64 })
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn source(file: &Value) -> Option<DocumentSource> {
        let chat = json!({ "file": file });
        let read = |kind: &str, part: &Value| read(kind, part.as_object().unwrap());
        let (first, second) = (read("file", &chat), read("input_file", file));
        assert_eq!(first, second);
        first.map(|document| document.source)
    }

    #[test]
    fn inline_files_are_documents_in_either_form() {
        let pdf = |base64: &str| DocumentSource::Inline {
            media_type: "application/pdf".to_owned(),
            base64: base64.to_owned(),
        };
        for (data, expected) in [
            ("data:application/pdf;base64,JVBERi0x", pdf("JVBERi0x")),
            ("data:application/octet-stream;base64,JVBERi0x", pdf("JVBERi0x")),
            ("JVBERi0x", pdf("JVBERi0x")),
            ("data:text/markdown;charset=utf-8;base64,I8Okw7Y", DocumentSource::Text("#äö".into())),
            ("data:application/json;base64,e30=", DocumentSource::Text("{}".into())),
        ] {
            assert_eq!(source(&json!({ "file_data": data })), Some(expected), "{data}");
        }
        let url = "https://example.org/a.pdf";
        let address = source(&json!({ "file_url": url, "file_data": null }));
        assert_eq!(address, Some(DocumentSource::Url(url.to_owned())));
    }

    #[test]
    fn other_files_stay_unchanged() {
        for file in [
            json!({ "file_id": "file-1" }),
            json!({ "file_data": "data:audio/wav;base64,AAAA" }),
            json!({ "file_data": "data:application/pdf,plain" }),
            json!({ "file_data": "AAAA" }),
            json!({ "file_data": 7 }),
            json!({ "file_url": "file:///etc/passwd" }),
            json!({}),
        ] {
            assert_eq!(source(&file), None, "{file}");
        }
        assert_eq!(read("input_audio", &Object::default()), None);
    }
}
