//! A TLS front before a scripted provider, and the certificates that it shows.
//!
//! It owns a listener on the test's own runtime, which ends with the test. It knows nothing of
//! HTTP: after the handshake it passes bytes to the provider and back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The authority that signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What is right or wrong with a server's certificate.
#[derive(Clone, Copy)]
pub enum Leaf {
    /// It is for `127.0.0.1`, now.
    Good,
    /// It is for another host.
    ForElsewhere,
    /// It was.
    Expired,
    /// It will be.
    NotYetValid,
    /// It may sign others.
    Authority,
}

/// A listener for TLS.
pub struct Front {
    address: SocketAddr,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server's side of TLS, with a certificate of this kind.
    pub fn issue(&self, leaf: Leaf) -> Arc<ServerConfig> {
        let name = match leaf {
            Leaf::Good | Leaf::Expired | Leaf::NotYetValid | Leaf::Authority => "127.0.0.1",
            Leaf::ForElsewhere => "elsewhere.example",
        };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        match leaf {
            Leaf::Good | Leaf::ForElsewhere => {}
            Leaf::Expired => params.not_after = date_time_ymd(2001, 1, 1),
            Leaf::NotYetValid => params.not_before = date_time_ymd(4000, 1, 1),
            Leaf::Authority => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Arc::new(config.with_single_cert(chain, key).unwrap())
    }
}

impl Front {
    /// Takes connections and carries them to `behind`.
    pub async fn open(behind: SocketAddr, config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(config);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // The client reports its own view of the certificate.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut behind = TcpStream::connect(behind).await.unwrap();
                    drop(copy_bidirectional(&mut stream, &mut behind).await);
                });
            }
        });
        Self { address }
    }

    /// Accepts connections and answers everything as servers answer what is not HTTP.
    pub async fn without_tls() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut greeting = [0; 64];
                    let read = stream.read(&mut greeting).await.unwrap();
                    assert!(read > 0, "nobody spoke");
                    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
                    // Closed only after the other side, so that the sent bytes are not lost in a
                    // reset.
                    while stream.read(&mut greeting).await.is_ok_and(|read| read > 0) {}
                });
            }
        });
        Self { address }
    }

    /// Its base URL without a trailing slash.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}
