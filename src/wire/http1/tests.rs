//! Single responses: the output for each, and whether its connection is reusable.

use super::*;

/// The output for bytes that arrive at once, as text, and what follows.
fn taken(bytes: &str) -> (String, Then, bool) {
    asked(false, bytes)
}

fn asked(head: bool, bytes: &str) -> (String, Then, bool) {
    let (mut answer, mut bytes) = (Answer::new(head), bytes.as_bytes().to_vec());
    let Piece { kept, then } = answer.take(&mut bytes);
    let text = String::from_utf8(bytes[..kept].to_vec()).unwrap();
    (text, then, answer.is_reusable())
}

/// The error of a response with these fields and no body.
fn refused(fields: &str) -> Option<FramingError> {
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
    match taken(&answer).1 {
        Then::Broken(error) => Some(error),
        Then::Again | Then::More | Then::End { .. } => None,
    }
}

/// The output for a chunked body, and what follows.
fn chunks(body: &str) -> (String, Then) {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (text, then, _) = taken(&format!("{head}{body}"));
    (text.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()), then)
}

const END: Then = Then::End { surplus: 0 };

#[test]
fn a_head_is_passed_on_without_a_length() {
    let (text, then, is_reusable) =
        taken("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-content-length: 7\r\na: b\r\n\r\nhi");
    let expected = "HTTP/1.0 200 OK\r\nxontent-Length: 2\r\nx-content-length: 7\r\na: b\r\n\r\nhi";
    assert_eq!((text.as_str(), then, is_reusable), (expected, END, true));
}

#[test]
fn any_number_of_interim_heads_is_dropped() {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\nHTTP/1.1 100\r\n\r\n";
    let last = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 199 Whatever\r\ncontent-length: 9\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nALICE";
    let (text, then, is_reusable) = taken(&format!("{}{last}{answer}", interim.repeat(100)));
    assert!(text.starts_with("HTTP/1.0 200 OK\r\n") && text.ends_with("\r\n\r\nALICE"), "{text}");
    assert_eq!((then, is_reusable), (END, true));
    let mut bytes = interim.as_bytes().to_vec();
    let piece = Answer::new(false).take(&mut bytes);
    assert_eq!(piece, Piece { kept: 0, then: Then::Again });
}

#[test]
fn an_unrequested_protocol_switch_is_an_error() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n";
    assert_eq!(taken(answer).1, Then::Broken(FramingError::SwitchedProtocols));
}

#[test]
fn bytes_after_the_end_are_surplus_and_never_passed_on() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ] {
        let (text, then, _) = taken(&format!("{answer}HTTP/1.1 200 OK\r\n"));
        assert!(text.ends_with("\r\n\r\nhi"), "{text}");
        assert_eq!(then, Then::End { surplus: 17 });
    }
}

#[test]
fn responses_without_a_body_by_status_are_the_last_of_their_connection() {
    for (head, status) in [(false, 204), (false, 304), (true, 200), (true, 404)] {
        for field in ["content-length: 4", "transfer-encoding: chunked", "a: b"] {
            let answer = format!("HTTP/1.1 {status} x\r\n{field}\r\n\r\nBOB!");
            let (text, then, is_reusable) = asked(head, &answer);
            assert!(text.ends_with("\r\n\r\n"), "{text}");
            assert_eq!((then, is_reusable), (Then::End { surplus: 4 }, false), "{answer}");
        }
    }
}

#[test]
fn a_connection_is_reused_only_if_version_and_fields_allow_it() {
    for (version, fields, expected) in [
        ("1.1", "", true),
        ("1.1", "connection: keep-alive\r\n", true),
        ("1.1", "connection: close\r\n", false),
        ("1.1", "Connection: x, Close\r\n", false),
        ("1.1", "connection: keep-alive\r\nconnection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "connection: close\r\n", false),
        ("1.0", "connection: x, Keep-Alive\r\n", true),
    ] {
        let length = taken(&format!("HTTP/{version} 200 OK\r\ncontent-length: 0\r\n{fields}\r\n"));
        assert_eq!((length.1, length.2), (END, expected), "{version} {fields}");
        let until_close = taken(&format!("HTTP/{version} 200 OK\r\n{fields}\r\nall"));
        assert_eq!((until_close.1, until_close.2), (Then::More, false), "{version} {fields}");
    }
    let chunked = "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n";
    let (text, then, is_reusable) = taken(&format!("{chunked}1\r\nx\r\n0\r\n\r\n"));
    assert!(text.ends_with("\r\n\r\nx"), "{text}");
    assert_eq!((then, is_reusable), (END, false));
}

#[test]
fn a_body_without_a_length_ends_with_its_connection() {
    let mut answer = Answer::new(false);
    answer.take(&mut b"HTTP/1.1 200 OK\r\n\r\n".to_vec());
    assert!(answer.ends_with_connection());
    let piece = answer.take(&mut b"and on".to_vec());
    assert_eq!(piece, Piece { kept: 6, then: Then::More });
    answer = Answer::new(false);
    answer.take(&mut b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n".to_vec());
    assert!(!answer.ends_with_connection());
}

#[test]
fn ambiguous_lengths_are_refused() {
    use FramingError::{BadLength, LengthAndCoding, TransferCoding, TwoLengths};
    let length = |value: &str| refused(&format!("content-length: {value}\r\n"));
    for same in ["5", " 5 ", "5, 5", "5,5,5", "005", "18446744073709551615"] {
        assert_eq!(length(same), None, "{same}");
    }
    let many =
        ["", "+5", "-5", "0x5", "5 5", "5,", ",5", "5;", "5.0", "1e3", "18446744073709551616"];
    for bad in many {
        assert_eq!(length(bad), Some(BadLength), "{bad}");
    }
    assert_eq!(length("5, 6"), Some(TwoLengths));
    for (fields, expected) in [
        ("content-length: 5\r\ncontent-length: 5\r\n", None),
        ("content-length: 5\r\nContent-Length: 6\r\n", Some(TwoLengths)),
        ("content-length: 5\r\ntransfer-encoding: chunked\r\n", Some(LengthAndCoding)),
        ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", Some(LengthAndCoding)),
        ("transfer-encoding: Chunked \r\n", None),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", Some(TransferCoding)),
        ("transfer-encoding: chunked, chunked\r\n", Some(TransferCoding)),
        ("transfer-encoding: gzip, chunked\r\n", Some(TransferCoding)),
        ("transfer-encoding: gzip\r\n", Some(TransferCoding)),
        ("transfer-encoding: identity\r\n", Some(TransferCoding)),
        ("transfer-encoding: xchunked\r\n", Some(TransferCoding)),
        ("transfer-encoding:\r\n", Some(TransferCoding)),
    ] {
        assert_eq!(refused(fields), expected, "{fields}");
    }
}

#[test]
fn heads_that_are_malformed_are_refused() {
    use FramingError::{HeadTooLarge, MalformedHead};
    for fields in [
        "a: b\r\n folded\r\n",
        "a: b\r\n\tfolded\r\n",
        " a: b\r\n",
        "content-length : 5\r\n",
        "transfer-encoding : chunked\r\n",
        "no colon\r\n",
        ": nameless\r\n",
        "a b: c\r\n",
        "a: b\0c\r\n",
        "a: b\rc\r\n",
        "\u{e9}: b\r\n",
    ] {
        assert_eq!(refused(fields), Some(MalformedHead), "{fields:?}");
    }
    assert_eq!(refused(&"a: b\r\n".repeat(96)), None);
    assert_eq!(refused(&"a: b\r\n".repeat(97)), Some(HeadTooLarge));
    let long = |bytes: usize| refused(&format!("a: {}\r\n", "b".repeat(bytes)));
    assert_eq!((long(MAX_HEAD - 24), long(MAX_HEAD - 23)), (None, Some(HeadTooLarge)));
    let endless = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(MAX_HEAD));
    assert_eq!(taken(&endless).1, Then::Broken(HeadTooLarge));
}

#[test]
fn other_protocols_are_recognised_by_their_first_bytes() {
    for (bytes, expected) in [
        ("H", Then::Again),
        ("HTTP/1.", Then::Again),
        ("HTTP/1.1 2", Then::Again),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", Then::Broken(FramingError::NotHttp)),
        ("SSH-2.0-OpenSSH", Then::Broken(FramingError::NotHttp)),
        ("HTTP/2.0 200 OK\r\n\r\n", Then::Broken(FramingError::NotHttp)),
        ("HTTP/1.2 200 OK\r\n\r\n", Then::Broken(FramingError::NotHttp)),
        ("http/1.1 200 OK\r\n\r\n", Then::Broken(FramingError::NotHttp)),
        ("\u{15}\u{3}\u{3}", Then::Broken(FramingError::NotHttp)),
        ("HTTP/1.1 20 OK\r\n\r\n", Then::Broken(FramingError::MalformedHead)),
        ("HTTP/1.1 2000 OK\r\n\r\n", Then::Broken(FramingError::MalformedHead)),
        ("HTTP/1.1 099 OK\r\n\r\n", Then::Broken(FramingError::MalformedHead)),
        ("HTTP/1.1\r\n\r\n", Then::Broken(FramingError::NotHttp)),
    ] {
        assert_eq!(taken(bytes).1, expected, "{bytes:?}");
    }
}

#[test]
fn chunks_may_have_extensions_and_trailers() {
    for body in [
        "2\r\nhi\r\n0\r\n\r\n",
        "1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
        "0002\r\nhi\r\n000\r\n\r\n",
        "2;a=b;c=\"d e\"\r\nhi\r\n0;last\r\n\r\n",
        "2 \r\nhi\r\n0\t ; x\r\n\r\n",
        "2\r\nhi\r\n0\r\nX-Sum: 12\r\nb:\r\n\r\n",
    ] {
        assert_eq!(chunks(body), ("hi".to_owned(), END), "{body:?}");
    }
    assert_eq!(chunks("A\r\n0123456789\r\nb\r\nABCDEFGHIJK\r\n0\r\n\r\n").0.len(), 21);
    assert_eq!(chunks("ffffffffffffffff\r\nhi"), ("hi".to_owned(), Then::More));
}

#[test]
fn ambiguous_chunks_are_refused_and_earlier_data_is_kept() {
    use FramingError::{BadChunkEnd, BadChunkSize, BadTrailer};
    let long = format!("2;{}\r\n", "x".repeat(5000));
    let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(3000));
    for (body, expected) in [
        ("\r\n", BadChunkSize),
        ("g\r\n", BadChunkSize),
        ("-1\r\n", BadChunkSize),
        ("+1\r\n", BadChunkSize),
        ("0x2\r\n", BadChunkSize),
        (" 2\r\n", BadChunkSize),
        (";x\r\n", BadChunkSize),
        ("2\nhi\n", BadChunkSize),
        ("2\rhi", BadChunkSize),
        ("2 2\r\n", BadChunkSize),
        ("2;a\nb\r\n", BadChunkSize),
        ("2;a\0b\r\n", BadChunkSize),
        ("00000000000000002\r\n", BadChunkSize),
        ("10000000000000000\r\n", BadChunkSize),
        (&long, BadChunkSize),
        ("2\r\nhip\r\n", BadChunkEnd),
        ("2\r\nhi\n", BadChunkEnd),
        ("2\r\nhi2\r\n", BadChunkEnd),
        ("0\r\nHTTP/1.1 200 OK\r\n", BadTrailer),
        ("0\r\n a: folded\r\n", BadTrailer),
        ("0\r\na: b\n", BadTrailer),
        ("0\r\n\n", BadTrailer),
        (&many, BadTrailer),
    ] {
        assert_eq!(chunks(body).1, Then::Broken(expected), "{body:.40?}");
        let (before, then) = chunks(&format!("3\r\nall\r\n{body}"));
        assert!(before.starts_with("all"), "{body:.40?}");
        assert_eq!(then, Then::Broken(expected), "{body:.40?}");
    }
}

#[test]
fn bare_line_feeds_end_the_lines_of_a_head() {
    let (text, then, is_reusable) = taken("HTTP/1.1 200 OK\ncontent-length: 2\n\nhi");
    assert!(text.ends_with("\n\nhi"), "{text}");
    assert_eq!((then, is_reusable), (END, true));
}
