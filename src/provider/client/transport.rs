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

/// What an idle connection has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Idle {
    /// Nothing, as it should be.
    Quiet,
    /// It was closed.
    Closed,
    /// Bytes that nobody asked for.
    Speaks,
}

impl Transport {
    /// What an idle connection says, as far as this thread has been told; `context` is woken when it says something.
    pub(super) fn poll_idle(&mut self, context: &mut Context<'_>) -> Idle {
        let mut byte = [0; 1];
        let mut byte = ReadBuf::new(&mut byte);
        match Pin::new(self).poll_read(context, &mut byte) {
            Poll::Pending => Idle::Quiet,
            Poll::Ready(Ok(())) if !byte.filled().is_empty() => Idle::Speaks,
            Poll::Ready(_) => Idle::Closed,
        }
    }

    /// What an idle connection says now. It asks the kernel: tokio knows only what the last look at all sockets
    /// showed, and a turn of a busy thread is long enough for an answer that nobody asked for.
    pub(super) fn idle_now(&mut self) -> Idle {
        if let Self::Tls(_) = self {
            // Records that carry no data, such as tickets, are read here.
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
            // Below TLS it may be a farewell.
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
