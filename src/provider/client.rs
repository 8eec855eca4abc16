//! The HTTP client towards one provider, one per worker: awc with every default that matters set by
//! hand.
//!
//! It owns how calls are written and what their failures mean. It does not follow redirects and has
//! no hidden queue: its connections have no limit of their own, because the gate already bounds how
//! many calls run. It asks for uncompressed answers, but also reads compressed ones.
//!
//! The one thing to know: awc neither pools nor frames here. [`exchange_io`] and [`pool`] handle
//! connections, their reuse and the end of every answer; to awc each answer seems to end with its
//! connection.

mod body;
mod call;
mod connect;
mod container;
mod exchange_io;
mod pool;
mod tls;
mod transport;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use actix_http::error::ParseError;
use actix_http::header::{HeaderName, HeaderValue};
use awc::error::{ConnectError, SendRequestError};
use bytes::Bytes;

use super::Provider;
use super::failed::Failed;
use super::retry::Failure;
use crate::backend::Backend;
use crate::chat::{ErrorKind, GatewayError, RawHead};
use crate::secret::Secret;
use crate::wire::http1::FramingError;
pub(super) use body::{Body, BodyError};
pub(super) use call::Call;
use connect::{ConnectFailure, Connector, Origin, ProxyError};
use exchange_io::WireError;
use pool::Pool;
pub(super) use tls::client as tls;

/// awc's own connect timeout, which is never reached: every step has its own bound.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Which connection a call may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::provider) enum Connection {
    /// A kept connection, or a new one when there is none.
    Pooled,
    /// A new connection that is not kept afterwards.
    Fresh,
}

/// The client of one provider on one worker.
pub(in crate::provider) struct Client {
    pooled: awc::Client,
    fresh: awc::Client,
    base: Rc<str>,
    /// The same without the version at its end.
    root: Rc<str>,
    origin: Rc<Origin>,
    /// The operator's headers, which replace the gateway's.
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The head of an answer, and its body to come.
pub(in crate::provider) struct Head {
    pub status: u16,
    pub retry_after: Option<String>,
    pub retry_after_ms: Option<String>,
    pub should_retry: Option<bool>,
    /// What of it goes back to a client that gets the answer as it came.
    pub kept: Option<RawHead>,
    pub body: Body,
}

/// The reason why no head arrived.
pub(in crate::provider) struct SendError(SendRequestError);

impl Client {
    /// A client without connections.
    pub fn new(provider: &Provider) -> Self {
        let settings = &provider.settings;
        let (origin, base) = Origin::of(provider);
        let (origin, pool) = (Rc::new(origin), Rc::new(Pool::new(&provider.name)));
        let headers = settings.headers.iter().filter_map(|(name, value)| header(name, value));
        let pooled = build(Connector::new(&origin, Some(&pool)));
        let fresh = build(Connector::new(&origin, None));
        let root = Rc::from(call::without_version(&base));
        Self { pooled, fresh, base: Rc::from(base), root, origin, headers: headers.collect() }
    }

    /// Sends a call and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    ///
    /// # Cancellation
    ///
    /// Dropping it closes the connection.
    pub async fn send(
        &self,
        call: impl Into<Call>,
        request_id: &str,
        connection: Connection,
    ) -> Result<Head, SendError> {
        let client = match connection {
            Connection::Pooled => &self.pooled,
            Connection::Fresh => &self.fresh,
        };
        let call: Call = call.into();
        // A body that is sent while it arrives has to end when nobody reads it any more.
        let stop = Rc::new(Cell::new(false));
        let own;
        let client = if call.upload.is_some() {
            own = build(Connector::once(&self.origin, Rc::clone(&stop)));
            &own
        } else {
            client
        };
        let base = if call.at_root { &self.root } else { &self.base };
        let address = format!("{base}{}", call.request.path);
        let mut request = client.request(call.method(), address);
        if call.is_json() {
            request = request.insert_header(("content-type", "application/json"));
        }
        request = request
            .insert_header(("user-agent", concat!("llm-gateway/", env!("CARGO_PKG_VERSION"))))
            .insert_header(("x-request-id", request_id))
            // Small pieces must not wait in a compressor, and tokens hardly compress.
            .insert_header(("accept-encoding", "identity"))
            .no_decompress();
        if let Some(value) = self.origin.proxy_authorization() {
            request = request.insert_header(("proxy-authorization", value.expose()));
        }
        for (name, value) in &call.request.headers {
            request = request.insert_header((*name, value.as_str()));
        }
        for (name, value) in &self.headers {
            request = request.insert_header((name.clone(), value.clone()));
        }
        if connection == Connection::Fresh {
            request = request.force_close();
        }
        let is_passed_on = call.is_passed_on();
        let sent = match call.upload {
            None => request.send_body(Bytes::from(call.request.body)),
            Some(upload) => request.send_body(call::Uploading { upload, stop }),
        };
        let response = sent.await.map_err(SendError)?;
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        Ok(Head {
            status: response.status().as_u16(),
            retry_after: header("retry-after"),
            retry_after_ms: header("retry-after-ms"),
            should_retry: header("x-should-retry").and_then(|value| value.parse().ok()),
            kept: is_passed_on.then(|| call::kept(&response)),
            body: Body::new(response),
        })
    }
}

fn build(connector: Connector) -> awc::Client {
    let connector = awc::Connector::new()
        .connector(connector)
        .timeout(NEVER)
        // 0 is no limit; awc's own is 100 over all hosts, and it would be a hidden queue.
        .limit(0);
    awc::Client::builder()
        .connector(connector)
        // awc's timer ends at the head and covers waiting for the pool; the attempt has its own.
        .disable_timeout()
        // A redirect would carry the prompt and the key wherever it points.
        .disable_redirects()
        .no_default_headers()
        .finish()
}

impl SendError {
    /// The failure of the attempt.
    pub fn into_failed(self, provider: &Provider) -> Failed {
        let name = &provider.name;
        let (failure, message) = if let Some(failure) = self.connecting() {
            match failure {
                ConnectFailure::Tcp(error) if is_local(error) => {
                    (Failure::LocalResource, "the gateway has run out of connections".to_owned())
                }
                failure => {
                    let why = reason(failure, hint(provider.backend, container::is_around()));
                    (Failure::Connect, format!("cannot reach provider `{name}`: {why}"))
                }
            }
        } else if let Some(error) = self.on_the_wire() {
            (failure_of(error), format!("provider `{name}` {}", told(error)))
        } else {
            (Failure::LocalResource, format!("the call to provider `{name}` could not be made"))
        };
        let is_ours = failure == Failure::LocalResource;
        let kind = if is_ours { ErrorKind::ProviderUnavailable } else { ErrorKind::BadUpstream };
        let mut error = GatewayError::upstream(kind, message);
        error.spent = failure == Failure::OfRequest;
        let error = match (self.connecting(), self.on_the_wire()) {
            (Some(cause), _) => error.because(cause),
            (None, Some(cause)) => error.because(cause),
            (None, None) => error.because(&self.0),
        };
        Failed::new(failure, error)
    }

    fn connecting(&self) -> Option<&ConnectFailure> {
        let SendRequestError::Connect(ConnectError::Io(error)) = &self.0 else { return None };
        error.get_ref()?.downcast_ref()
    }

    /// The failure on an open connection.
    fn on_the_wire(&self) -> Option<WireError> {
        match &self.0 {
            SendRequestError::Response(ParseError::Io(error)) => {
                error.get_ref()?.downcast_ref().copied()
            }
            // awc refuses a head that our own reader accepted.
            SendRequestError::Response(_) => Some(WireError::Framing(FramingError::MalformedHead)),
            _ => None,
        }
    }
}

fn failure_of(error: WireError) -> Failure {
    match error {
        // A kept connection may have been closed or corrupted before it was used.
        WireError::Unanswered { is_kept: true, .. } | WireError::Unasked => Failure::ResetReused,
        // The provider took only part of the request: presumably it is too large.
        WireError::Unanswered { is_kept: false, refuses_rest: true } => Failure::OfRequest,
        WireError::Unanswered { is_kept: false, refuses_rest: false }
        | WireError::Cut
        | WireError::Framing(_) => Failure::DiedBeforeFirstEvent,
    }
}

fn told(error: WireError) -> String {
    match error {
        WireError::Unanswered { refuses_rest: true, .. } => {
            "closed the connection while the request was still being sent; it may be too large for it"
                .to_owned()
        }
        WireError::Unanswered { refuses_rest: false, .. } | WireError::Unasked | WireError::Cut => {
            "closed the connection before it answered".to_owned()
        }
        WireError::Framing(FramingError::NotHttp) => {
            "answered something that is not HTTP; if it speaks TLS, base_url has to begin with https://"
                .to_owned()
        }
        WireError::Framing(error) => format!("answered something that is not HTTP: {error}"),
    }
}

/// Whether our own descriptors or ports ran out.
fn is_local(error: &io::Error) -> bool {
    // EMFILE, ENFILE, EADDRNOTAVAIL, ENOBUFS on Linux.
    matches!(error.raw_os_error(), Some(24 | 23 | 99 | 105))
}

/// The header to send; `None` when it is invalid, which the configuration check refuses.
fn header(name: &str, value: &Secret) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let mut value = HeaderValue::from_str(value.expose()).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

/// What an operator can do if the provider cannot be reached.
fn hint(backend: &dyn Backend, is_in_container: bool) -> &'static str {
    if is_in_container {
        backend.unreachable_hint_in_container()
    } else {
        backend.unreachable_hint()
    }
}

/// Why connecting failed and what to do about it, without addresses.
fn reason(failure: &ConnectFailure, hint: &str) -> String {
    let why = match failure {
        ConnectFailure::TlsTimeout => "the TLS handshake took too long",
        ConnectFailure::TcpTimeout => "connecting took too long",
        ConnectFailure::Dns(_) => {
            return "its name is not known; is base_url right, and does DNS work here?".to_owned();
        }
        ConnectFailure::NoProxy(failure) => return unreachable_proxy(failure),
        ConnectFailure::Proxy(ProxyError::Refused(407)) => {
            return "its proxy asks for a name and a password; write them in `proxy` as \
                    http://NAME:PASSWORD@HOST:PORT"
                .to_owned();
        }
        ConnectFailure::Proxy(ProxyError::Refused(status)) => {
            return format!("its proxy refuses to connect to it (status {status})");
        }
        ConnectFailure::Proxy(ProxyError::Broken(_) | ProxyError::Garbled(_)) => {
            return "its proxy does not answer like one; is `proxy` right?".to_owned();
        }
        ConnectFailure::Tls(error) => match tls::error_in(error) {
            Some(error) => return tls::reason(error).to_owned(),
            None => "the connection broke off in the TLS handshake",
        },
        ConnectFailure::Tcp(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "connection refused"
        }
        ConnectFailure::Tcp(_) => "connecting failed",
    };
    format!("{why}; {hint}")
}

/// The same for a proxy that cannot be reached.
fn unreachable_proxy(failure: &ConnectFailure) -> String {
    let hint = "is `proxy` right, or HTTPS_PROXY and HTTP_PROXY in the environment?";
    match failure {
        ConnectFailure::Dns(_) => format!("the name of its proxy is not known; {hint}"),
        failure => format!("its proxy cannot be reached: {}", reason(failure, hint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::settings::BackendName;

    #[test]
    fn a_refused_connection_in_a_container_names_the_usual_cause() {
        let refused = ConnectFailure::Tcp(io::Error::from(io::ErrorKind::ConnectionRefused));
        let ollama = BackendName::Ollama.spoken();
        let (outside, inside) = (hint(ollama, false), hint(ollama, true));
        assert!(!outside.contains("container"), "{outside}");
        let said = reason(&refused, inside);
        for word in [
            "connection refused; ",
            "`localhost` is the container",
            "OLLAMA_HOST=0.0.0.0",
            "`ollama serve`",
        ] {
            assert!(said.contains(word), "{word}: {said}");
        }
        let openai = BackendName::Openai.spoken();
        assert_eq!(hint(openai, true), hint(openai, false));
    }
}
