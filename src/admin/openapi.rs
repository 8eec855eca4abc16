//! Serves the OpenAPI document of the admin listener, which is a file in this folder.
//!
//! The one thing to know: it is written by hand, and tests with generated requests check that every
//! answer matches it.

use actix_web::HttpResponse;

/// The document.
const DOCUMENT: &str = include_str!("openapi.json");

/// Serves the document.
pub(super) async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_the_running_version() {
        let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
