//! The OpenAPI document of the admin listener, as it stands beside this file.
//!
//! The one thing to know: it is written by hand and held to the truth by generated requests, which meet no answer that
//! it does not tell of.

use actix_web::HttpResponse;

/// The document.
const DOCUMENT: &str = include_str!("openapi.json");

/// Gives the document.
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
