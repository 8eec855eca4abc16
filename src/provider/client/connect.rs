//! Opens a connection to a provider for one exchange: the pool, DNS, TCP, a proxy, TLS.
//!
//! It owns the order in which addresses are tried and the options of the socket. All steps together
//! have one bound; each step has its own failure. awc knows nothing of TLS: it gets a connection
//! that speaks HTTP.

mod proxy;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsConnector;

use super::exchange_io::ExchangeIo;
use super::pool::Pool;
use super::transport::Transport;
use crate::provider::Provider;
use crate::provider::settings::Proxy;
use crate::secret::Secret;

pub(super) use proxy::ProxyError;

/// Unacknowledged data breaks the connection after this time, whatever the kernel's own patience.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// The next address is tried after this time: the connection attempt delay of RFC 8305, section 5.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// A provider's address and how to connect to it.
pub(super) struct Origin {
    host: String,
    port: u16,
    tls: Option<Arc<rustls::ClientConfig>>,
    proxy: Option<Proxy>,
    /// The bound of all steps together.
    patience: Duration,
}

/// The step at which connecting failed, and why.
#[derive(Debug)]
pub(super) enum ConnectFailure {
    Dns(io::Error),
    Tcp(io::Error),
    TcpTimeout,
    /// The proxy could not be reached, with the same reasons as for a provider.
    NoProxy(Box<Self>),
    /// The proxy was reached but opened no tunnel.
    Proxy(ProxyError),
    Tls(io::Error),
    TlsTimeout,
}

/// Gives awc its connections: a kept one if there is one, else a new one.
#[derive(Clone)]
pub(super) struct Connector {
    origin: Rc<Origin>,
    /// `None` neither keeps connections nor takes kept ones.
    pool: Option<Rc<Pool>>,
    /// Set when the provider reads no more of the request.
    stop: Option<Rc<Cell<bool>>>,
}

impl Origin {
    /// The provider's origin, and the address that awc uses for it.
    pub(super) fn of(provider: &Provider) -> (Self, String) {
        let base = provider.settings.base_url().trim_end_matches('/');
        let (rest, is_tls) = match base.split_once("://") {
            Some(("https", rest)) => (rest, true),
            Some((_, rest)) => (rest, false),
            None => (base, false),
        };
        let usual = if is_tls { 443 } else { 80 };
        let uri: Uri = format!("http://{rest}").parse().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(usual);
        let host = uri.host().unwrap_or_default();
        // In a URL an IPv6 address has brackets, which are not part of it.
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let address = format!("http://{host}:{port}{}", uri.path().trim_end_matches('/'));
        let tls = is_tls.then(|| Arc::clone(&provider.tls));
        let proxy = provider.settings.proxy.proxy();
        let patience = provider.settings.timeouts.connect;
        (Self { host: bare, port, tls, proxy, patience }, address)
    }

    /// The `Proxy-Authorization` of every call through a plain HTTP proxy.
    pub(super) fn proxy_authorization(&self) -> Option<&Secret> {
        self.proxy.as_ref().filter(|_| self.tls.is_none())?.authorization.as_ref()
    }

    /// The prefix of the path in every request to a plain HTTP proxy: RFC 9112, section 3.2.2.
    fn prefix(&self) -> Option<Bytes> {
        let is_passed_on = self.proxy.is_some() && self.tls.is_none();
        is_passed_on.then(|| Bytes::from(format!("http://{}", self.authority())))
    }

    fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Opens a connection.
    async fn open(&self) -> Result<Transport, ConnectFailure> {
        let due = Instant::now() + self.patience;
        let tcp = match &self.proxy {
            None => tcp(&self.host, self.port, due).await?,
            Some(proxy) => {
                let tcp = tcp(&proxy.host, proxy.port, due).await;
                let mut tcp = tcp.map_err(|failure| ConnectFailure::NoProxy(Box::new(failure)))?;
                if self.tls.is_some() {
                    let authority = self.authority();
                    let tunnel = proxy::tunnel(&mut tcp, proxy, &authority);
                    let tunnel = timeout_at(due, tunnel).await;
                    let late = || Err(ProxyError::Broken(io::ErrorKind::TimedOut.into()));
                    tunnel.unwrap_or_else(|_| late()).map_err(ConnectFailure::Proxy)?;
                }
                tcp
            }
        };
        let Some(config) = &self.tls else { return Ok(Transport::Plain(tcp)) };
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|error| ConnectFailure::Tls(io::Error::other(error)))?;
        let handshake = TlsConnector::from(Arc::clone(config)).connect(name, tcp);
        match timeout_at(due, handshake).await {
            Ok(Ok(tls)) => Ok(Transport::Tls(Box::new(tls))),
            Ok(Err(error)) => Err(ConnectFailure::Tls(error)),
            Err(_) => Err(ConnectFailure::TlsTimeout),
        }
    }
}

/// Finds the name's addresses and connects to one of them.
async fn tcp(host: &str, port: u16, due: Instant) -> Result<TcpStream, ConnectFailure> {
    let connecting = async {
        let addresses = lookup_host((host, port)).await.map_err(ConnectFailure::Dns)?.collect();
        first_to_connect(interleaved(addresses)).await.map_err(ConnectFailure::Tcp)
    };
    let tcp = timeout_at(due, connecting).await.or(Err(ConnectFailure::TcpTimeout))??;
    set_options(&tcp);
    Ok(tcp)
}

impl Connector {
    pub(super) fn new(origin: &Rc<Origin>, pool: Option<&Rc<Pool>>) -> Self {
        Self { origin: Rc::clone(origin), pool: pool.cloned(), stop: None }
    }

    /// A connector for one request, which sets `stop` when the provider reads no more of it.
    pub(super) fn once(origin: &Rc<Origin>, stop: Rc<Cell<bool>>) -> Self {
        Self { stop: Some(stop), ..Self::new(origin, None) }
    }
}

impl Service<ConnectInfo<Uri>> for Connector {
    type Response = Connection<Uri, ExchangeIo>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, asked: ConnectInfo<Uri>) -> Self::Future {
        let Self { origin, pool, stop } = self.clone();
        Box::pin(async move {
            let uri = asked.request().clone();
            let prefix = origin.prefix();
            let kept = pool.as_ref().and_then(|pool| Some((pool.take()?, Rc::clone(pool))));
            if let Some((kept, pool)) = kept {
                return Ok(Connection::new(uri, ExchangeIo::on_kept(kept, pool, prefix)));
            }
            let opened = origin.open().await;
            let transport =
                opened.map_err(|failure| ConnectError::Io(io::Error::other(failure)))?;
            Ok(Connection::new(uri, ExchangeIo::on_new(transport, pool, prefix, stop)))
        })
    }
}

/// The addresses with alternating families, beginning with the first one's: RFC 8305, section 4.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_first = addresses.first().map(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| Some(address.is_ipv6()) == is_first);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    std::iter::from_fn(|| Some([first.next(), second.next()]))
        .take_while(|pair| pair.iter().any(Option::is_some))
        .flatten()
        .flatten()
        .collect()
}

/// Connects to the address that answers first. Each is tried when the previous one has failed, or
/// has not answered for 250 ms.
async fn first_to_connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut tried = FuturesUnordered::new();
    let mut failed: Option<io::Error> = None;
    tried.extend(waiting.next().map(TcpStream::connect));
    loop {
        let is_last = waiting.as_slice().is_empty();
        tokio::select! {
            biased;
            connected = tried.next() => match connected {
                Some(Ok(stream)) => return Ok(stream),
                // An unreachable family says less than the failure of an address.
                Some(Err(error)) if failed.as_ref().is_none_or(is_unreachable) => failed = Some(error),
                Some(Err(_)) => {}
                None => {
                    let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                    return Err(failed.unwrap_or_else(none));
                }
            },
            () = sleep(NEXT_ADDRESS), if !is_last => {}
        }
        tried.extend(waiting.next().map(TcpStream::connect));
    }
}

fn is_unreachable(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), AddrNotAvailable | HostUnreachable | NetworkUnreachable)
}

fn set_options(tcp: &TcpStream) {
    let socket = SockRef::from(tcp);
    // Nagle's algorithm must not delay small pieces (40 ms on Linux).
    let set =
        socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_user_timeout(Some(USER_TIMEOUT)));
    if let Err(error) = set {
        log::debug!("the options of an upstream socket cannot be set: {error}");
    }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(error) => write!(formatter, "dns: {error}"),
            Self::Tcp(error) => write!(formatter, "tcp: {error}"),
            Self::TcpTimeout => formatter.write_str("tcp: no connection in time"),
            Self::NoProxy(failure) => write!(formatter, "proxy: {failure}"),
            Self::Proxy(error) => write!(formatter, "proxy: {error}"),
            Self::Tls(error) => write!(formatter, "tls: {error}"),
            Self::TlsTimeout => formatter.write_str("tls: no handshake in time"),
        }
    }
}

impl std::error::Error for ConnectFailure {}

#[cfg(test)]
mod tests;
