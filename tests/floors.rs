//! The shape of the source tree, checked: imports go down, pure files stay pure, files stay small.
//!
//! The checker is a function over paths and texts, so that the tests below can also show it trees
//! that break each rule. It reads text, not syntax: comments and string contents are blanked first,
//! and unit tests (`tests.rs`, and everything after `#[cfg(test)]` at the start of a line) are left
//! out of what only production code must obey.
#![cfg(test)]

#[path = "floors/checker.rs"]
mod checker;
#[path = "floors/rings.rs"]
mod rings;
#[path = "floors/text.rs"]
mod text;

use std::fs;
use std::path::Path;

use checker::violations;

#[test]
fn the_source_tree_keeps_its_floors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    assert!(files.iter().any(|(path, _)| path == "lib.rs"), "no src/lib.rs among {}", files.len());
    let found = violations(&files);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// What the checker says of one file with a module introduction and this text.
fn says(path: &str, text: &str) -> Vec<String> {
    violations(&[(path.to_owned(), format!("//! Is.\n{text}"))])
}

/// Fails unless the checker says exactly one thing of the file, and that thing holds `expected`.
#[track_caller]
fn one(path: &str, text: &str, expected: &str) {
    let said = says(path, text);
    assert_eq!(said.len(), 1, "{path} with {text:?}: {said:?}");
    assert!(said[0].contains(expected) && said[0].contains(path), "{said:?}");
}

/// Fails unless the checker has nothing to say of the file.
#[track_caller]
fn none(path: &str, text: &str) {
    assert_eq!(says(path, text), Vec::<String>::new(), "{path} with {text:?}");
}

#[test]
fn imports_go_down() {
    none("router.rs", "use crate::provider::Dispatch;\nuse crate::chat::Request;");
    none("app.rs", "use crate::{config::Config, http, admission::gate::Gate};");
    none("admission/gate.rs", "use crate::chat::{error::Kind, Request};");
    none("units.rs", "pub mod size {\n fn a() { if b { super::parse() } }\n}");
    none("main.rs", "use llm_gateway::{app::App, config};");
}

#[test]
fn imports_sideways_are_listed() {
    none("app.rs", "use crate::config::Config;");
    none("dialect/openai.rs", "use crate::wire::sse;");
    none("backend/openai.rs", "use crate::wire::openai;");
    none("job.rs", "use crate::telemetry::Ended;");
    one("telemetry.rs", "use crate::job::Job;", "job");
    one("limit.rs", "use crate::provider::Gate;", "provider");
    one("wire/sse.rs", "use crate::backend::Backend;", "backend");
    one("dialect/openai.rs", "use crate::backend::Backend;", "backend");
    one("backend/ollama.rs", "use crate::dialect::ollama;", "dialect");
}

#[test]
fn an_import_that_goes_up_is_found_however_it_is_written() {
    one("admission/gate.rs", "use crate::router::RouterActor;", "router");
    one("chat/error.rs", "use crate::telemetry as t;", "telemetry");
    one("router.rs", "use crate::{chat::Request,\n    http::{body::Sent}};", "http");
    one("provider.rs", "fn a() { crate::app::App::build(); }", "app");
    one("admission/line.rs", "use super::super::router::Route;", "router");
    one("admission/line.rs", "use super::super::{chat::Request, router::Route};", "router");
    one("router.rs", "use llm_gateway::http;", "http");
    one("units.rs", "mod size { mod inner { use super::super::super::router::Route; } }", "router");
}

#[test]
fn a_module_without_a_floor_is_found() {
    one("surprise/inner.rs", "", "no floor");
    one("router.rs", "use crate::surprise::X;", "surprise");
}

#[test]
fn comments_strings_and_unit_tests_are_not_code() {
    none(
        "chat.rs",
        "// crate::http\n/* crate::app /* nested */ crate::app */\n/// [`crate::http`]",
    );
    none("chat.rs", "const A: &str = \"crate::http \\\" crate::app\";");
    none("chat.rs", "const A: &str = r#\"crate::http \"quoted\" tokio\"#;");
    none("chat.rs", "const A: char = '\"'; const B: &'static str = \"tokio\";");
    none("admission/gate.rs", "fn a() {}\n\n#[cfg(test)]\nmod tests {\n use std::fs; }");
    none("provider.rs", "#[cfg(test)]\nmod tests;\nuse crate::chat::Request;");
    one("provider.rs", "#[cfg(test)]\nmod tests;\nuse crate::http::body;", "http");
    none("admission/gate/tests.rs", "use crate::http::body;\nuse tokio::time;");
    let by_name = [
        ("chat.rs".to_owned(), "//! Is.\n#[cfg(test)]\nmod properties;".to_owned()),
        ("chat/properties.rs".to_owned(), "//! Is.\nuse std::fs;".to_owned()),
    ];
    assert_eq!(violations(&by_name), Vec::<String>::new());
    one("chat.rs", "const A: char = '\"'; use crate::http; const B: char = '\"';", "http");
}

#[test]
fn pure_files_name_no_clock_log_network_or_chance() {
    for name in [
        "std::time::Instant::now()",
        "Instant::now()",
        "SystemTime::now()",
        "log::info!(\"\")",
        "tokio::spawn(a)",
        "actix::spawn(a)",
        "actix_rt::spawn(a)",
        "awc::Client::new()",
        "fastrand::u8(..)",
        "std::fs::read(a)",
        "std::net::TcpStream::connect(a)",
    ] {
        for path in ["chat/event.rs", "router/route.rs", "admission/estimate.rs", "wire/sse.rs"] {
            let said = says(path, &format!("fn a() {{ {name} }}"));
            assert!(said.iter().any(|said| said.contains("pure")), "{path}: {name}: {said:?}");
        }
    }
    one("dialect/native.rs", "use std::{fmt, fs};", "std::fs");
    one("backend/gemini.rs", "use std::{fmt::{self, Debug}, net::IpAddr};", "std::net");
    none("chat.rs", "use std::time::{Duration, Instant};\nfn a(now: Instant) { catalog::b() }");
    none("provider/attempt.rs", "use std::time::Instant;\nfn a() { Instant::now() }");
}

#[test]
fn only_the_provider_s_client_and_the_playground_name_the_http_client() {
    none("provider/client.rs", "use awc::Client;");
    none("provider/client/connect.rs", "fn a() { awc::Client::new() }");
    none("admin/playground.rs", "use awc::Client;");
    one("admin.rs", "use awc::Client;", "awc");
    one("provider.rs", "use awc::Client;", "awc");
    one("http.rs", "fn a() { awc::Client::new() }", "awc");
}

#[test]
fn files_without_an_introduction_or_too_long_are_found() {
    let bare = violations(&[("chat.rs".to_owned(), "use std::fmt;\n".to_owned())]);
    assert!(bare.len() == 1 && bare[0].contains("//!"), "{bare:?}");
    none("chat.rs", &"\n".repeat(419));
    one("chat.rs", &"\n".repeat(420), "421 lines");
    one("chat/mod.rs", "", "mod.rs");
}

#[test]
fn only_a_folders_front_re_exports() {
    none("lib.rs", "pub use app::App;");
    one("admission/gate.rs", "pub use self::slot::Slot;", "pub use");
    none("admission/gate.rs", "pub fn a() {}\nuse self::slot::Slot;");
    one("admission/gate.rs", "pub(crate) use self::slot::Slot;", "pub use");
    let front = [
        ("admission/gate.rs".to_owned(), "//! Is.\npub use slot::Slot;".to_owned()),
        ("admission/gate/slot.rs".to_owned(), "//! Is.".to_owned()),
    ];
    assert_eq!(violations(&front), Vec::<String>::new());
}

#[test]
fn a_ring_of_files_is_found_however_long_it_is() {
    let rings = |texts: &[(&str, &str)]| {
        let files =
            texts.iter().map(|(path, text)| ((*path).to_owned(), format!("//! Is.\n{text}")));
        violations(&files.collect::<Vec<_>>())
    };
    let two = [("chat/a.rs", "use super::b::B;"), ("chat/b.rs", "use crate::chat::a::A;")];
    assert!(rings(&two)[0].contains("chat/a, chat/b"), "{:?}", rings(&two));
    let three = [
        ("chat/a.rs", "fn a() { crate::chat::b::b() }"),
        ("chat/b.rs", "use super::c::{self, C};"),
        ("chat/c.rs", "use super::{a::A, d::D};"),
        ("chat/d.rs", ""),
    ];
    assert!(rings(&three)[0].contains("chat/a, chat/b, chat/c"), "{:?}", rings(&three));
    // What a front hands on is its file's, and a front may name what is below it.
    let front = ("chat.rs", "pub use a::A;\nmod a;\nmod b;");
    let by_front = [front, ("chat/a.rs", "use super::b::B;"), ("chat/b.rs", "use super::A;")];
    assert!(rings(&by_front)[0].contains("chat/a, chat/b"), "{:?}", rings(&by_front));
    let own = [
        ("chat.rs", "use a::A;\nmod a;\npub struct B;"),
        ("chat/a.rs", "use super::B;\n#[cfg(test)]\nmod tests { use crate::chat::c::C; }"),
        ("chat/c.rs", "use super::a::A;"),
    ];
    assert_eq!(rings(&own), Vec::<String>::new());
}
