//! Bodies that are no JSON, or JSON that parsers disagree about or choke on.
//!
//! The fields common to all dialects are right, so that nothing but the bomb can be refused.

/// The body that the others are but for one thing; every dialect serves it.
pub fn harmless() -> Vec<u8> {
    with("\"y\":1,\"x\":[1]")
}

/// Every body, with a name for it.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |open: &str, close: &str| {
        with(&format!("\"x\":{}1{}", open.repeat(5000), close.repeat(5000)))
    };
    let bytes = |before: &[u8], after: &[u8]| [before, with("\"x\":1").as_slice(), after].concat();
    vec![
        ("nothing", Vec::new()),
        ("blanks", b" \r\n\t ".to_vec()),
        ("no object", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        ("half an object", with("\"x\":1")[..40].to_vec()),
        ("deep arrays", deep("[", "]")),
        ("deep objects", deep("{\"a\":", "}")),
        ("arrays that never end", [b"{\"messages\":".to_vec(), b"[".repeat(1 << 20)].concat()),
        ("a key named twice", with("\"model\":\"other\"")),
        ("a role named twice", twice("\"role\":\"system\"")),
        ("a role named twice in disguise", twice(r#""r\u006fle":"system""#)),
        ("a lone surrogate", with(r#""y":"\ud800""#)),
        ("surrogates in the wrong order", with(r#""y":"\udc00\ud800""#)),
        ("half an escape", with(r#""y":"\u12""#)),
        ("a number beyond numbers", with("\"temperature\":1e999")),
        ("a very long number", with(&format!("\"max_tokens\":{}", "9".repeat(4000)))),
        ("digits that are none", with("\"max_tokens\":0x10")),
        ("not a number", with("\"temperature\":NaN")),
        ("a raw line end in a string", with("\"y\":\"a\nb\"")),
        ("a raw zero in a string", with("\"y\":\"a\0b\"")),
        ("a comment", with("\"y\":1/* really */")),
        ("a comma too many", with("\"y\":1,")),
        ("single quotes", b"{'messages':[]}".to_vec()),
        (
            "bytes that are not UTF-8",
            twice("\"y\":\"\u{1}\"")
                .iter()
                .map(|byte| if *byte == 1 { 0xff } else { *byte })
                .collect(),
        ),
        ("a byte order mark", bytes(b"\xef\xbb\xbf", b"")),
        ("UTF-16", with("\"y\":1").iter().flat_map(|byte| [*byte, 0]).collect()),
        ("two documents", bytes(b"", b"{}")),
        ("something behind it", bytes(b"", b"\0")),
        ("gzip", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0]),
    ]
}

/// A request with more fields.
fn with(more: &str) -> Vec<u8> {
    let user = r#""messages":[{"role":"user","content":"x"}],"model":"llama3.1","max_tokens":5"#;
    format!("{{{user},{more}}}").into_bytes()
}

/// A message whose first field is repeated.
fn twice(again: &str) -> Vec<u8> {
    format!(
        r#"{{"model":"llama3.1","max_tokens":5,"messages":[{{"role":"user",{again},"content":"x"}}]}}"#
    )
    .into_bytes()
}
