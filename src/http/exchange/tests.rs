//! The header values of an answer: waits, names, ids.

use super::*;

#[test]
fn retry_after_is_in_whole_seconds_rounded_up_and_bounded() {
    let seconds = |after: Option<u64>, status| {
        let mut error = GatewayError::new(ErrorKind::Overloaded, "x");
        error.retry_after = after.map(Duration::from_millis);
        retry_after(&error, status).map(whole_seconds)
    };
    assert_eq!(seconds(Some(1), 503), Some(1));
    assert_eq!(seconds(Some(2001), 429), Some(3));
    assert_eq!(seconds(Some(600_000), 529), Some(60));
    assert_eq!(seconds(Some(5_000), 502), None);
    assert!(matches!(seconds(None, 503), Some(1..=2)));
}

#[test]
fn dropped_fields_are_listed_in_plain_words() {
    let names = ["top_k", "a\r\nb", "", "top_k", "options.num_ctx"].map(str::to_owned);
    assert_eq!(dropped(&names).as_deref(), Some("top_k, options.num_ctx"));
    assert_eq!(dropped(&[]), None);
    assert_eq!(dropped(&["x".repeat(2000)]), None);
}

#[test]
fn a_request_id_is_kept_only_when_it_is_plain() {
    let keep = |text: &'static str| sane(&HeaderValue::from_static(text)).is_some();
    assert!(keep("req_01-a.b:c/d"));
    assert!(!keep(""));
    assert!(!keep("a b"));
    assert!(!keep("<script>"));
    let long = HeaderValue::from_str(&"x".repeat(129)).unwrap();
    assert_eq!(sane(&long), None);
}
