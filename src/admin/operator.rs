//! Who asks the admin listener: for the log, which says of each change who made it.
//!
//! There is one token for all operators, so what tells them apart is the address and the program.
//! Neither is proof of anything: behind a proxy the address is the proxy's, and a program says what
//! it likes.

use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderMap, USER_AGENT};
use actix_web::web::Data;
use actix_web::{Error, FromRequest, HttpRequest};

use super::Admin;
use crate::telemetry::OperatorActed;

/// How much of a program's name is kept, in characters.
const LONGEST: usize = 60;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operator {
    /// The address of the connection's other end.
    pub(super) address: Option<IpAddr>,
    /// The program, by its own word.
    pub(super) program: Option<String>,
    /// Whether a token was needed, and so was there.
    has_token: bool,
}

impl Operator {
    /// Who makes a request from this address with these headers.
    pub(super) fn of(address: Option<IpAddr>, headers: &HeaderMap) -> Self {
        let program = headers.get(USER_AGENT).and_then(|name| name.to_str().ok());
        // "Mozilla/5.0 (X11; …) …" tells a person no more than its first word.
        let program = program.and_then(|name| name.split_whitespace().next());
        let program = program.map(|name| name.chars().take(LONGEST).collect());
        Self { address, program, has_token: false }
    }

    /// Logs what was done.
    pub(super) fn did(&self, what: &str) {
        OperatorActed {
            by: self.address,
            program: self.program.as_deref(),
            has_token: self.has_token,
            what,
        }
        .emit();
    }
}

impl FromRequest for Operator {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let admin = request.app_data::<Data<Admin>>();
        let has_token = admin.is_some_and(|admin| !admin.token.is_empty());
        let address = request.peer_addr().map(|address| address.ip());
        ready(Ok(Self { has_token, ..Self::of(address, request.headers()) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn program(name: &str) -> Option<String> {
        let request = TestRequest::default().insert_header((USER_AGENT, name)).to_http_request();
        Operator::of(None, request.headers()).program
    }

    #[test]
    fn a_program_is_named_by_its_first_word() {
        assert_eq!(program("curl/8.5.0").as_deref(), Some("curl/8.5.0"));
        assert_eq!(program("Mozilla/5.0 (X11; Linux)").as_deref(), Some("Mozilla/5.0"));
        assert_eq!(program(""), None);
        assert_eq!(program(&"x".repeat(200)).map(|name| name.len()), Some(LONGEST));
    }
}
