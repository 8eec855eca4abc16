//! The HTTP client towards one provider, one per worker: awc with every default that matters set by hand.
//!
//! It owns connections and their options. It refuses to follow redirects, to expand compressed bodies and to hide
//! a queue: its pool has no limit of its own, because the gate already bounds how many calls run.
//!
//! The one thing to know: whether a connection was new is known only to the connector. A flag of the task that
//! sends is set when its connector runs, and a call that fails with the flag unset was on a kept connection.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::BoxedPayloadStream;
use actix_http::header::{HeaderName, HeaderValue};
use actix_service::{Service, ServiceExt};
use actix_tls::connect::Resolver;
use actix_tls::connect::{ConnectInfo, Connection as TcpConnection, Connector as TcpConnector};
use actix_web::rt::net::TcpStream;
use awc::ClientResponse;
use awc::error::{ConnectError, PayloadError, SendRequestError};
use awc::http::Uri;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use socket2::SockRef;

use crate::backend::UpstreamRequest;
use crate::chat::{ErrorKind, GatewayError};
use crate::provider::Provider;
use crate::provider::refused::Failed;
use crate::provider::retry::Failure;
use crate::secret::Secret;

use super::tls;

/// A kept connection is used again within this time only. Common model servers close idle connections after 5 s
/// (uvicorn's default), and one closed under our hands costs a second try.
const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// No connection lives longer, so that changes of DNS are seen.
const LIFETIME: Duration = Duration::from_secs(300);
/// Unacknowledged data breaks the connection after this time, whatever the kernel's own patience.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

tokio::task_local! {
    /// Whether the present call opened a connection.
    static CONNECTED: Cell<bool>;
}

/// Which connection a call may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::provider) enum Connection {
    /// A kept one, or a new one when there is none.
    Pooled,
    /// A new one, not kept afterwards.
    Fresh,
}

/// The client of one provider on one worker.
pub(in crate::provider) struct Client {
    pooled: awc::Client,
    fresh: awc::Client,
    base: Rc<str>,
    /// An operator's own, which take the place of ours.
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The head of an answer, and its body to come.
pub(in crate::provider) struct Head {
    pub status: u16,
    pub retry_after: Option<String>,
    pub retry_after_ms: Option<String>,
    pub should_retry: Option<bool>,
    pub body: Body,
}

/// The body of an answer. Its end is told again to whoever asks again; awc would panic.
pub(in crate::provider) struct Body {
    response: ClientResponse<BoxedPayloadStream>,
    has_ended: bool,
}

/// Why a body ended early.
pub(super) type BodyError = PayloadError;

/// Why there is no head.
pub(in crate::provider) struct SendError {
    error: SendRequestError,
    connected: bool,
}

impl Client {
    /// A client without connections.
    pub fn new(provider: &Provider) -> Self {
        let settings = &provider.settings;
        let build = || {
            let connector = awc::Connector::new()
                .connector(connector())
                .timeout(settings.timeouts.connect)
                .handshake_timeout(settings.timeouts.connect)
                // 0 is no limit; awc's own is 100 over all hosts, and it would be a hidden queue.
                .limit(0)
                .conn_keep_alive(KEEP_ALIVE)
                .conn_lifetime(LIFETIME)
                .rustls_0_23(Arc::clone(&provider.tls));
            awc::Client::builder()
                .connector(connector)
                // awc's timer ends at the head and covers waiting for the pool; the attempt has its own.
                .disable_timeout()
                // A redirect would carry the prompt and the key wherever it points.
                .disable_redirects()
                .no_default_headers()
                .finish()
        };
        let base = settings.base_url().trim_end_matches('/');
        let headers = settings.headers.iter().filter_map(|(name, value)| header(name, value));
        Self { pooled: build(), fresh: build(), base: Rc::from(base), headers: headers.collect() }
    }

    /// Sends a call and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// [`SendError`], which knows whether the connection was new.
    ///
    /// # Cancellation
    ///
    /// Dropping it closes the connection.
    pub async fn send(
        &self,
        call: UpstreamRequest,
        request_id: &str,
        connection: Connection,
    ) -> Result<Head, SendError> {
        let client = match connection {
            Connection::Pooled => &self.pooled,
            Connection::Fresh => &self.fresh,
        };
        let address = format!("{}{}", self.base, call.path);
        let mut request = if call.body.is_empty() {
            client.get(address)
        } else {
            client.post(address).insert_header(("content-type", "application/json"))
        };
        request = request
            .insert_header(("user-agent", concat!("llm-gateway/", env!("CARGO_PKG_VERSION"))))
            .insert_header(("x-request-id", request_id))
            .no_decompress();
        for (name, value) in call.headers {
            request = request.insert_header((name, value));
        }
        for (name, value) in &self.headers {
            request = request.insert_header((name.clone(), value.clone()));
        }
        if connection == Connection::Fresh {
            request = request.force_close();
        }
        let body = Bytes::from(call.body);
        let sending = async {
            let sent = request.send_body(body).await;
            let connected = CONNECTED.with(Cell::get);
            sent.map_err(|error| SendError { error, connected })
        };
        let response = CONNECTED.scope(Cell::new(false), sending).await?;
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        Ok(Head {
            status: response.status().as_u16(),
            retry_after: header("retry-after"),
            retry_after_ms: header("retry-after-ms"),
            should_retry: header("x-should-retry").and_then(|value| value.parse().ok()),
            body: Body { response, has_ended: false },
        })
    }
}

impl Body {
    /// Reads to the end so that the connection can be kept, unless the end does not come in time.
    pub async fn end(&mut self, time: Duration) {
        let rest = async { while let Some(Ok(_)) = self.next().await {} };
        // A late end costs the connection, not the answer.
        drop(tokio::time::timeout(time, rest).await);
    }
}

impl Stream for Body {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let piece = std::task::ready!(self.response.poll_next_unpin(context));
        self.has_ended = !matches!(piece, Some(Ok(_)));
        Poll::Ready(piece)
    }
}

impl SendError {
    /// What it means for the attempt.
    pub fn into_failed(self, provider: &Provider) -> Failed {
        let name = &provider.name;
        let hint = provider.backend.unreachable_hint();
        let broken = |why: &str| {
            let failure =
                if self.connected { Failure::DiedBeforeFirstEvent } else { Failure::ResetReused };
            (failure, format!("provider `{name}` {why}"))
        };
        let (failure, message) = match &self.error {
            SendRequestError::Connect(ConnectError::Disconnected) | SendRequestError::Send(_) => {
                broken("closed the connection before it answered")
            }
            SendRequestError::Connect(ConnectError::Io(error)) if is_local(error) => {
                (Failure::LocalResource, "the gateway has run out of connections".to_owned())
            }
            SendRequestError::Connect(error) => {
                let why = reason(error, self.connected, hint);
                (Failure::Connect, format!("cannot reach provider `{name}`: {why}"))
            }
            SendRequestError::Response(actix_http::error::ParseError::Io(_)) => {
                broken("closed the connection before it answered")
            }
            SendRequestError::Response(_) => (
                Failure::DiedBeforeFirstEvent,
                format!(
                    "provider `{name}` answered something that is not HTTP; if it speaks TLS, base_url \
                     has to begin with https://"
                ),
            ),
            _ => {
                (Failure::LocalResource, format!("the call to provider `{name}` could not be made"))
            }
        };
        let is_ours = failure == Failure::LocalResource;
        let kind = if is_ours { ErrorKind::ProviderUnavailable } else { ErrorKind::BadUpstream };
        let error = GatewayError::upstream(kind, message);
        let error = match &self.error {
            SendRequestError::Connect(cause) => {
                error.because(format_args!("{}: {cause}", step(cause, self.connected)))
            }
            cause => error.because(cause),
        };
        Failed::new(failure, error)
    }
}

/// Whether it is our own want of descriptors or ports.
fn is_local(error: &io::Error) -> bool {
    // EMFILE, ENFILE, EADDRNOTAVAIL, ENOBUFS on Linux.
    matches!(error.raw_os_error(), Some(24 | 23 | 99 | 105))
}

/// The header as it is sent; `None` for what is none, which the configuration's check refuses.
fn header(name: &str, value: &Secret) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let mut value = HeaderValue::from_str(value.expose()).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

/// Why connecting failed and what to do about it, without addresses. Whoever is `connected` failed at TLS.
fn reason(error: &ConnectError, connected: bool, hint: &str) -> String {
    let why = match error {
        ConnectError::Timeout if connected => "the TLS handshake took too long",
        ConnectError::Timeout => "connecting took too long",
        ConnectError::Resolver(_) | ConnectError::NoRecords => {
            return "its name is not known; is base_url right, and does DNS work here?".to_owned();
        }
        ConnectError::Io(error) => match tls::error_in(error) {
            Some(error) => return tls::reason(error).to_owned(),
            None if connected => "the connection broke off in the TLS handshake",
            None if error.kind() == io::ErrorKind::ConnectionRefused => "connection refused",
            None => "connecting failed",
        },
        ConnectError::SslIsNotSupported => "the TLS handshake failed",
        _ => "connecting failed",
    };
    format!("{why}; {hint}")
}

/// The step at which connecting failed, for the log.
fn step(error: &ConnectError, connected: bool) -> &'static str {
    match error {
        ConnectError::Resolver(_) | ConnectError::NoRecords => "dns",
        _ if connected => "tls",
        _ => "tcp",
    }
}

/// Opens TCP connections, tells the task that it did, and sets the options of the socket.
fn connector() -> impl Service<
    ConnectInfo<Uri>,
    Response = TcpConnection<Uri, TcpStream>,
    Error = actix_tls::connect::ConnectError,
> + Clone {
    TcpConnector::new(Resolver::default()).service().map(
        |connection: TcpConnection<Uri, TcpStream>| {
            // Outside of `send` nobody asks.
            CONNECTED.try_with(|connected| connected.set(true)).ok();
            let socket = SockRef::from(connection.io_ref());
            // Small pieces must not wait for acknowledgements (40 ms on Linux).
            let set = socket
                .set_tcp_nodelay(true)
                .and_then(|()| socket.set_tcp_user_timeout(Some(USER_TIMEOUT)));
            if let Err(error) = set {
                log::debug!("the options of an upstream socket cannot be set: {error}");
            }
            connection
        },
    )
}
