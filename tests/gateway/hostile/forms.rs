//! Requests that are not HTTP/1.1, or only nearly.

use serde_json::json;

/// A POST of a JSON body, well formed but for the body.
pub fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    with_body(
        &format!("POST {path} HTTP/1.1\r\nhost: g\r\n{JSON}content-length: {length}\r\n"),
        body,
    )
}

/// The same in one chunk.
pub fn chunked(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: g\r\n{JSON}transfer-encoding: chunked\r\n");
    let mut bytes = with_body(&head, format!("{length:x}\r\n").as_bytes());
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(b"\r\n0\r\n\r\n");
    bytes
}

/// What all forms would be but for one thing; it is served.
pub fn honest() -> Vec<u8> {
    headed("")
}

/// Every form, with a name for it.
pub fn all() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for line in REQUEST_LINES {
        all.push((format!("the request line {line:?}"), requested(line)));
    }
    for headers in HEADERS {
        all.push((format!("the headers {headers:?}"), headed(headers)));
    }
    for framing in FRAMINGS {
        all.push((format!("the framing {framing:?}"), headed(framing)));
    }
    for chunks in CHUNKS {
        let bytes = with_body(&format!("{POST}{JSON}transfer-encoding: chunked\r\n"), chunks);
        all.push((format!("the chunks {:?}", String::from_utf8_lossy(chunks)), bytes));
    }
    for (what, bytes) in OTHER_PROTOCOLS {
        all.push(((*what).to_owned(), bytes.to_vec()));
    }
    let long = "a".repeat(200_000);
    let many = "x-a: 1\r\n".repeat(500);
    all.push(("a huge header".into(), headed(&format!("x-long: {long}\r\n"))));
    all.push(("a huge path".into(), requested(&format!("POST /{long} HTTP/1.1"))));
    all.push(("too many headers".into(), headed(&many)));
    all
}

const POST: &str = "POST /v1/chat HTTP/1.1\r\nhost: g\r\n";
const JSON: &str = "content-type: application/json\r\n";

const REQUEST_LINES: &[&str] = &[
    "POST  /v1/chat HTTP/1.1",
    "POST /v1/chat  HTTP/1.1",
    "POST /v1/chat HTTP/1.1 ",
    "POST /v1/chat HTTP/9.9",
    "POST /v1/chat HTTP/1.2",
    "POST /v1/chat http/1.1",
    "POST /v1/chat",
    "POST v1/chat HTTP/1.1",
    "PO ST /v1/chat HTTP/1.1",
    "P\u{0}ST /v1/chat HTTP/1.1",
    "POST /v1/ch\u{0}at HTTP/1.1",
    "POST /v1/ch\tat HTTP/1.1",
    "POST * HTTP/1.1",
    "GET /v1/chat HTTP/1.1",
    "TRACE /v1/chat HTTP/1.1",
    "CONNECT g:443 HTTP/1.1",
    "POST http://elsewhere.example/nowhere HTTP/1.1",
    "POST /v1/chat/ HTTP/1.1",
    "POST //v1/chat HTTP/1.1",
    "POST /v1/./chat HTTP/1.1",
    "POST /x/../v1/chat HTTP/1.1",
    "POST /v1%2fchat HTTP/1.1",
    "POST /v1/chat%00 HTTP/1.1",
    "POST /v1/chat%zz HTTP/1.1",
    "POST /v1/chat;x=1 HTTP/1.1",
    "POST /V1/CHAT HTTP/1.1",
    "POST /admin/providers HTTP/1.1",
    "GET /metrics HTTP/1.1",
];

const HEADERS: &[&str] = &[
    "x y: 1\r\n",
    "x-a : 1\r\n",
    ": 1\r\n",
    "no colon\r\n",
    "x-a: 1\r\n folded\r\n",
    "x-a: a\u{0}b\r\n",
    "x-a: a\rb\r\n",
    "x-é: 1\r\n",
    "host: other\r\n",
    "x-request-timeout-ms: -1\r\n",
    "x-gateway-data-policy: \r\n",
];

/// These stand beside the `content-length` of a whole body.
const FRAMINGS: &[&str] = &[
    "content-length: 5\r\n",
    "content-length: +5\r\n",
    "content-length: 5, 5\r\n",
    "content-length: 0x5\r\n",
    "content-length: -1\r\n",
    "content-length: 99999999999999999999999\r\n",
    "content-length: \r\n",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    "transfer-encoding: chunked, chunked\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "transfer-encoding: xchunked\r\n",
    "transfer-encoding: identity\r\n",
    "transfer-encoding:\u{b}chunked\r\n",
    "transfer-encoding : chunked\r\n",
];

const CHUNKS: &[&[u8]] = &[
    b"zz\r\nabc\r\n0\r\n\r\n",
    b"-1\r\nabc\r\n0\r\n\r\n",
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b"ffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    b"3\nabc\n0\n\n",
    b"3\r\nabcdef\r\n0\r\n\r\n",
    b"\r\nabc\r\n0\r\n\r\n",
    b"3 ; \x00\r\n{}\x00\r\n0\r\n\r\n",
    b"0\r\n\r\n",
];

const OTHER_PROTOCOLS: &[(&str, &[u8])] = &[
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("a greeting of TLS", b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03\x00\x00\x00\x00\r\n\r\n"),
    ("a greeting of SSH", b"SSH-2.0-OpenSSH_9.9\r\n\r\n"),
    ("HTTP/0.9", b"GET /v1/chat\r\n\r\n"),
    ("no host", b"POST /v1/chat HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"),
    ("HTTP/1.0 without a length", b"POST /v1/chat HTTP/1.0\r\nhost: g\r\n\r\n{}"),
    ("nothing but line ends", b"\n\n\n\n\r\n\r\n \r\n\r\n"),
    ("bytes", &[0xff, 0xfe, 0x00, 0x01, 0x80, b'\r', b'\n', b'\r', b'\n']),
];

/// This request line and a body that would be served.
fn requested(line: &str) -> Vec<u8> {
    let body = body();
    let length = body.len();
    with_body(&format!("{line}\r\nhost: g\r\n{JSON}content-length: {length}\r\n"), &body)
}

/// These headers and a body that would be served.
fn headed(headers: &str) -> Vec<u8> {
    let body = body();
    let length = body.len();
    with_body(&format!("{POST}{JSON}{headers}content-length: {length}\r\n"), &body)
}

fn body() -> Vec<u8> {
    json!({ "messages": [{ "role": "user", "content": "hostile" }] }).to_string().into_bytes()
}

fn with_body(head: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{head}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
