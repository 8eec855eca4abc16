//! The console: a page about the running gateway, built into the binary.
//!
//! It owns the page's files and their headers. The files are the same for everyone and contain
//! nothing secret, so they are served without the token: a browser cannot send one when it opens a
//! page. The data that they show comes from routes that require it.
//!
//! The one thing to know: the policy allows only these files and this listener, and forbids making
//! HTML from text. An inline script or style would not work.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use actix_web::{HttpRequest, HttpResponse, web};

/// The content security policy of the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// A file of the page.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    content: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! asset {
    ($path:literal, $content_type:expr, $file:literal) => {
        Asset {
            path: $path,
            content_type: $content_type,
            content: include_str!(concat!("console/", $file)),
        }
    };
}

const ASSETS: &[Asset] = &[
    asset!("/", HTML, "index.html"),
    asset!("/console/icon.svg", "image/svg+xml", "icon.svg"),
    asset!("/console/icon-warn.svg", "image/svg+xml", "icon-warn.svg"),
    asset!("/console/icon-bad.svg", "image/svg+xml", "icon-bad.svg"),
    asset!("/console/base.css", STYLE, "base.css"),
    asset!("/console/parts.css", STYLE, "parts.css"),
    asset!("/console/rows.css", STYLE, "rows.css"),
    asset!("/console/tables.css", STYLE, "tables.css"),
    asset!("/console/main.js", SCRIPT, "main.js"),
    asset!("/console/api.js", SCRIPT, "api.js"),
    asset!("/console/bars.js", SCRIPT, "bars.js"),
    asset!("/console/card.js", SCRIPT, "card.js"),
    asset!("/console/changes.js", SCRIPT, "changes.js"),
    asset!("/console/curves.js", SCRIPT, "curves.js"),
    asset!("/console/dom.js", SCRIPT, "dom.js"),
    asset!("/console/errors.js", SCRIPT, "errors.js"),
    asset!("/console/feed.js", SCRIPT, "feed.js"),
    asset!("/console/format.js", SCRIPT, "format.js"),
    asset!("/console/header.js", SCRIPT, "header.js"),
    asset!("/console/keys.js", SCRIPT, "keys.js"),
    asset!("/console/knobs.js", SCRIPT, "knobs.js"),
    asset!("/console/models.js", SCRIPT, "models.js"),
    asset!("/console/past.js", SCRIPT, "past.js"),
    asset!("/console/playground.js", SCRIPT, "playground.js"),
    asset!("/console/providers.js", SCRIPT, "providers.js"),
    asset!("/console/refusals.js", SCRIPT, "refusals.js"),
    asset!("/console/reload.js", SCRIPT, "reload.js"),
    asset!("/console/remembered.js", SCRIPT, "remembered.js"),
    asset!("/console/request_row.js", SCRIPT, "request_row.js"),
    asset!("/console/requests.js", SCRIPT, "requests.js"),
    asset!("/console/spark.js", SCRIPT, "spark.js"),
    asset!("/console/state.js", SCRIPT, "state.js"),
    asset!("/console/theme.js", SCRIPT, "theme.js"),
    asset!("/console/timeline.js", SCRIPT, "timeline.js"),
    asset!("/console/token.js", SCRIPT, "token.js"),
    asset!("/console/undo.js", SCRIPT, "undo.js"),
    asset!("/console/url.js", SCRIPT, "url.js"),
    asset!("/console/why.js", SCRIPT, "why.js"),
];

pub(super) fn routes(config: &mut web::ServiceConfig) {
    for asset in ASSETS {
        config.route(asset.path, web::get().to(move |_: HttpRequest| async { serve(asset) }));
    }
}

/// Whether a path is one of the page's files.
pub(super) fn is_public(path: &str) -> bool {
    ASSETS.iter().any(|asset| asset.path == path)
}

fn serve(asset: &Asset) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(asset.content_type)
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        // Another version of the gateway may have another page.
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header(("x-content-type-options", "nosniff"))
        .insert_header(("x-frame-options", "DENY"))
        .insert_header(("referrer-policy", "no-referrer"))
        .insert_header(("cross-origin-opener-policy", "same-origin"))
        .insert_header(("cross-origin-resource-policy", "same-origin"))
        .body(asset.content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn every_file_of_the_folder_is_served_and_loads_no_other() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/console");
        let mut files: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let mut served: Vec<String> = ASSETS
            .iter()
            .map(|asset| asset.path.trim_start_matches("/console/"))
            .map(|name| if name == "/" { "index.html" } else { name }.to_owned())
            .collect();
        served.sort();
        assert_eq!(files, served);
        for asset in ASSETS.iter().filter(|asset| asset.content_type == SCRIPT) {
            for line in asset.content.lines().filter(|line| line.starts_with("import ")) {
                let name = line.rsplit("\"./").next().unwrap().trim_end_matches("\";");
                assert!(is_public(&format!("/console/{name}")), "{}: {line}", asset.path);
            }
        }
    }

    #[test]
    fn no_text_becomes_html_and_no_request_goes_elsewhere() {
        for asset in ASSETS {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "DOMParser",
                "createContextualFragment",
                "setHTMLUnsafe",
                "srcdoc",
                "eval(",
                "new Function",
                "javascript:",
                "https://",
                "style=\"",
                "onclick",
                "localhost",
            ] {
                assert!(!asset.content.contains(word), "{}: {word}", asset.path);
            }
            let addresses = asset.content.matches("http://").count();
            let namespaces = asset.content.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(addresses, namespaces, "{}", asset.path);
            assert!(asset.content.lines().count() <= 420, "{} is too long", asset.path);
        }
    }
}
