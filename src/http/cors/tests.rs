//! Which patterns allow which origins, and the answers for browsers.

use super::*;

fn judge(origins: &[&str], is_on_loopback: bool, origin: &'static str) -> Visitor {
    let origins: Vec<OriginPattern> = origins.iter().map(|one| one.parse().unwrap()).collect();
    let mut headers = HeaderMap::new();
    headers.append(ORIGIN, HeaderValue::from_static(origin));
    Cors::new(&origins, is_on_loopback).judge(&headers)
}

fn is_welcome(origins: &[&str], is_on_loopback: bool, origin: &'static str) -> bool {
    judge(origins, is_on_loopback, origin) == Visitor::Welcome(HeaderValue::from_static(origin))
}

#[test]
fn on_loopback_pages_of_this_machine_and_of_applications_may_call() {
    for origin in [
        "http://localhost",
        "https://localhost",
        "http://localhost:3000",
        "https://127.0.0.1:8443",
        "http://127.0.0.1",
        "http://[::1]:5173",
        "https://[::1]",
        "http://0.0.0.0:8080",
        "HTTP://LocalHost:3000",
        "app://obsidian.md",
        "file://",
        "tauri://localhost",
        "vscode-webview://1a2b3c",
        "vscode-file://vscode-app",
    ] {
        assert!(is_welcome(&["default"], true, origin), "{origin}");
        assert!(!is_welcome(&["default"], false, origin), "{origin} beyond loopback");
        assert!(!is_welcome(&[], true, origin), "{origin} where none are");
    }
}

#[test]
fn other_pages_may_not_call() {
    for origin in [
        "null",
        "",
        "https://example.com",
        "http://localhost.example.com",
        "http://localhost:3000/path",
        "http://localhost:80, http://localhost:81",
        "http://localhost:@example.com",
        "http://notlocalhost",
        "http://127.0.0.2",
        "chrome-extension://abc",
        "ftp://localhost",
        "localhost",
    ] {
        assert_eq!(judge(&["default"], true, origin), Visitor::Stranger, "{origin}");
    }
}

#[test]
fn operators_add_origins_with_and_without_wildcards() {
    let written =
        ["https://chat.example", "https://*.team.example:*", "chrome-extension://*", "null"];
    for origin in [
        "https://chat.example",
        "https://a.b.team.example:8443",
        "chrome-extension://abcdef",
        "null",
    ] {
        assert!(is_welcome(&written, false, origin), "{origin}");
        assert!(is_welcome(&["*"], false, origin), "{origin}");
    }
    for origin in [
        "https://chat.example:444",
        "http://chat.example",
        "https://team.example:1",
        "http://localhost",
    ] {
        assert_eq!(judge(&written, true, origin), Visitor::Stranger, "{origin}");
    }
}

#[test]
fn only_patterns_that_can_match_an_origin_are_accepted() {
    for origin in
        ["default", "*", "null", " HTTPS://Chat.Example ", "http*://a:*", "moz-extension://*"]
    {
        assert!(origin.parse::<OriginPattern>().is_ok(), "{origin}");
    }
    for origin in [
        "",
        "chat.example",
        "https://",
        "https://a/",
        "https://a/b",
        "http://a,http://b",
        "://a",
        "a b://c",
    ] {
        assert!(origin.parse::<OriginPattern>().is_err(), "{origin}");
    }
}

#[test]
fn a_list_of_origins_may_not_call() {
    let mut headers = HeaderMap::new();
    let cors = Cors::new(&[OriginPattern::default_origins()], true);
    assert_eq!(cors.judge(&headers), Visitor::Nobody);
    headers.append(ORIGIN, HeaderValue::from_static("http://localhost"));
    headers.append(ORIGIN, HeaderValue::from_static("http://localhost"));
    assert_eq!(cors.judge(&headers), Visitor::Stranger);
}

#[test]
fn every_gateway_header_may_be_read_even_a_new_one() {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("x-gateway-provider"), HeaderValue::from_static("a"));
    assert_eq!(exposed(&headers), EXPOSED);
    headers.insert(HeaderName::from_static("x-gateway-new"), HeaderValue::from_static("a"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    assert_eq!(exposed(&headers), format!("{EXPOSED}, x-gateway-new"));
}

#[test]
fn a_preflight_allows_the_requested_headers_if_they_are_a_list_of_names() {
    let mut headers = HeaderMap::new();
    assert_eq!(wanted(&headers), HEADERS);
    headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("authorization,x-y"));
    assert_eq!(wanted(&headers), "authorization,x-y");
    headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("a: b"));
    assert_eq!(wanted(&headers), HEADERS);
}
