//! The bytes of a connection, below HTTP: TCP, or TLS over it.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::task::noop_waker_ref;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// One connection.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The state of an idle connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Idle {
    /// Nothing arrived, as it should be.
    Quiet,
    /// It was closed.
    Closed,
    /// Unrequested bytes arrived.
    Speaks,
}

impl Transport {
    /// The state of an idle connection as far as tokio knows; `context` is woken when it changes.
    pub(super) fn poll_idle(&mut self, context: &mut Context<'_>) -> Idle {
        let mut byte = [0; 1];
        let mut byte = ReadBuf::new(&mut byte);
        match Pin::new(self).poll_read(context, &mut byte) {
            Poll::Pending => Idle::Quiet,
            Poll::Ready(Ok(())) if !byte.filled().is_empty() => Idle::Speaks,
            Poll::Ready(_) => Idle::Closed,
        }
    }

    /// The state of an idle connection now. It asks the kernel: tokio knows only the result of the
    /// last poll of all sockets, and one turn of a busy thread is long enough for an unrequested
    /// answer.
    pub(super) fn idle_now(&mut self) -> Idle {
        if let Self::Tls(_) = self {
            // Records without data, such as session tickets, are read here.
            match self.poll_idle(&mut Context::from_waker(noop_waker_ref())) {
                Idle::Quiet => {}
                other => return other,
            }
        }
        let tcp = match self {
            Self::Plain(tcp) => &*tcp,
            Self::Tls(tls) => tls.get_ref().0,
        };
        match (SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]), self) {
            (Err(error), _) if error.kind() == io::ErrorKind::WouldBlock => Idle::Quiet,
            (Ok(1..), Self::Plain(_)) => Idle::Speaks,
            // Below TLS it may be a close alert.
            (Ok(_) | Err(_), _) => Idle::Closed,
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, bytes),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_read(context, bytes),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(context),
        }
    }
}
