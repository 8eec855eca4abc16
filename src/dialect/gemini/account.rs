//! Finds references of a request to the provider's account at Google.
//!
//! It owns the fields in which a body may refer to a cache, an uploaded file or a file store. It
//! does not decide whether references are allowed: a single caller may use the whole account.
//!
//! The one thing to know: several keys of the gateway share one account, and Google cannot
//! distinguish their files. A file at a public URL belongs to no account and is always allowed.

use serde_json::Value;

use super::camel_name;
use crate::chat::{ErrorKind, GatewayError, Origin};
use crate::wire::fields::Object;
use crate::wire::json;

/// Parts of the names of the relevant fields, in either spelling.
const WORDS: [&str; 6] =
    ["cachedContent", "cached_content", "fileUri", "file_uri", "fileSearch", "file_search"];

/// Fields with a client's own data, in which names have no meaning here.
const OWN: [&str; 9] = [
    "args",
    "labels",
    "parameters",
    "parametersJsonSchema",
    "partMetadata",
    "response",
    "responseJsonSchema",
    "responseSchema",
    "text",
];

/// The error for a body that refers to something in the account; `None` if it does not.
pub(super) fn unknown_reference(body: &[u8]) -> Option<GatewayError> {
    let holds = |word: &str| body.windows(word.len()).any(|window| window == word.as_bytes());
    // A name may be written with escapes. Most bodies have neither and are not parsed again.
    if !holds("\\u") && !WORDS.iter().any(|word| holds(word)) {
        return None;
    }
    let (what, name) = of_object(&json::read_object(body).ok()?)?;
    let shown: String = name.chars().take(128).collect();
    let message = format!(
        "{what} `{shown}` is not there: several keys share this account, and what is kept in it may be another's; send \
         the contents, a file as `inlineData`"
    );
    Some(GatewayError::new(ErrorKind::NotFound, message).from(Origin::Client))
}

/// The first reference in an object, and its kind.
fn of_object(object: &Object) -> Option<(&'static str, String)> {
    object.iter().find_map(|(name, value)| {
        let name = camel_name(name);
        match (name.as_str(), value) {
            (_, Value::Null) => None,
            ("cachedContent", value) => Some(("the cache", named(value))),
            ("fileUri", value) => {
                let uri = value.as_str();
                let is_public = uri.is_some_and(is_public);
                (!is_public).then(|| ("the file", named(value)))
            }
            ("fileSearch", value) => {
                let stores = value.get("fileSearchStoreNames").unwrap_or(value);
                let stores = value.get("file_search_store_names").unwrap_or(stores);
                Some(("the store of files", named(stores)))
            }
            (name, _) if OWN.contains(&name) => None,
            (_, value) => of_value(value),
        }
    })
}

fn of_value(value: &Value) -> Option<(&'static str, String)> {
    match value {
        Value::Object(object) => of_object(object),
        Value::Array(items) => items.iter().find_map(of_value),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn named(value: &Value) -> String {
    match value {
        Value::String(name) => name.clone(),
        Value::Array(names) => names.first().map(named).unwrap_or_default(),
        other => other.to_string(),
    }
}

/// Whether a URL is public. Google's own hosts serve an account's files too, and an unusually
/// written URL may be one of theirs.
fn is_public(uri: &str) -> bool {
    let uri = uri.to_ascii_lowercase();
    let rest = uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    let is_plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte));
    !host.is_empty() && is_plain && !host.contains("googleapis.com")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> bool {
        unknown_reference(body.as_bytes()).is_some()
    }

    #[test]
    fn references_to_the_account_are_found_at_any_place() {
        for body in [
            r#"{"cachedContent": "cachedContents/a"}"#,
            r#"{"generate_content_request": {"cached_content": "cachedContents/a"}}"#,
            r#"{"contents": [{"parts": [{"fileData": {"fileUri": "files/a"}}]}]}"#,
            r#"{"contents": [{"parts": [{"file_data": {"file_uri": "gs://b/a"}}]}]}"#,
            r#"{"contents": [{"parts": {"fileData": {"fil\u0065Uri": "https://generativelanguage.googleapis.com/v1beta/files/a"}}}]}"#,
            r#"{"contents": [{"parts": [{"functionResponse": {"parts": [{"fileData": {"fileUri": "HTTPS://x@GenerativeLanguage.GoogleApis.com/a"}}]}}]}]}"#,
            r#"{"tools": [{"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/a"]}}]}"#,
            r#"{"tools": [{"file_search": {}}]}"#,
            r#"{"requests": [{"content": {"parts": [{"fileData": {"fileUri": "https://googl%65apis.com/a"}}]}}]}"#,
        ] {
            assert!(refused(body), "{body}");
        }
    }

    #[test]
    fn public_files_and_inline_data_are_allowed() {
        for body in [
            r#"{"cachedContent": null, "contents": [{"parts": [{"text": "fileUri"}]}]}"#,
            r#"{"contents": [{"parts": [{"fileData": {"fileUri": "https://www.youtube.com/watch?v=a"}}]}]}"#,
            r#"{"contents": [{"parts": [{"functionCall": {"name": "f", "args": {"fileUri": "files/a"}}}]}]}"#,
            r#"{"tools": [{"functionDeclarations": [{"name": "fileSearch", "parameters": {"properties": {"fileSearch": {}}}}]}]}"#,
            r#"{"tools": [{"googleSearch": {}}], "model": "\u00e9"}"#,
        ] {
            assert!(!refused(body), "{body}");
        }
    }

    #[test]
    fn the_refusal_has_the_name_and_the_remedy() {
        let error = unknown_reference(br#"{"cachedContent": "cachedContents/a"}"#).unwrap();
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(error.message.contains("the cache `cachedContents/a`"), "{}", error.message);
        assert!(error.message.contains("inlineData"), "{}", error.message);
    }
}
