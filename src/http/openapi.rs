//! Serves the OpenAPI document of the main listener, the file beside this one.
//!
//! The one thing to know: it is written by hand and checked by tests: every path that is served is
//! in it, every path in it is served, and generated requests get only answers that it documents.

use actix_web::HttpResponse;
use actix_web::web;

use super::not_get;

/// The document.
const DOCUMENT: &str = include_str!("openapi.json");

/// The path.
pub(super) const PATHS: [&str; 1] = ["/openapi.json"];

/// `GET` and `HEAD` of the document. No key, nothing counted.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let [path] = PATHS;
    let resource =
        web::resource(path).route(web::get().to(document)).route(web::head().to(document));
    config.service(resource.default_service(web::to(not_get)));
}

async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::DIALECTS;
    use serde_json::Value;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    #[test]
    fn the_document_has_the_running_version() {
        assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn the_document_has_every_path_of_every_dialect() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        for path in DIALECTS.iter().flat_map(|dialect| dialect.paths()) {
            // OpenAI's clients may omit the version in their base address.
            let versioned = format!("/v1{path}");
            // A pattern of ours says how much of a path the model's name is.
            let path = path.replace("{model:.+}", "{model}");
            assert!(paths.contains_key(&path) || paths.contains_key(&versioned), "{path}");
        }
    }
}
