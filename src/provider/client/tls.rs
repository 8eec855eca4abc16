//! TLS towards providers: the client configuration, and the reasons for failures.
//!
//! It owns the client side of rustls. It speaks only HTTP/1.1, and certificate checks cannot be
//! switched off: an operator with a private authority names it in `tls.ca_file`.
//!
//! The one thing to know: a server certificate that is itself an authority (as `openssl req -x509`
//! makes) is refused even when that very certificate is in `ca_file`.

use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, ClientConfig, Error};

use crate::provider::settings::TlsSettings;

/// The client configuration for all connections to one provider; sessions are resumed across
/// workers.
pub(in crate::provider) fn client(settings: &TlsSettings) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    #[expect(clippy::expect_used, reason = "ring supports the default versions; a constant fact")]
    let builder = builder.with_safe_default_protocol_versions().expect("TLS 1.2 and 1.3");
    let mut config = builder.with_root_certificates(settings.trusted()).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// The rustls error inside an I/O error, if there is one.
pub(super) fn error_in(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// The reason for a failed handshake and its remedy, as clauses for the error message.
pub(super) fn reason(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(error) => reason_of_certificate(error),
        // Bytes that are not TLS parse as a record of an unknown type.
        Error::InvalidMessage(_) => {
            "what it speaks is not TLS; should base_url begin with http://?"
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "TLS: it does not know the name in base_url"
        }
        Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::BadCertificate,
        ) => "TLS: it asks for a certificate of the client, and the gateway has none",
        Error::PeerIncompatible(_)
        | Error::AlertReceived(
            AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure,
        ) => "TLS: it shares no version or cipher; TLS 1.2 or 1.3 is needed",
        _ => "the TLS handshake failed",
    }
}

fn reason_of_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => {
            "TLS: its certificate is from an unknown authority; name that in tls.ca_file, or set \
             tls.roots = \"system\""
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "TLS: its certificate is for another name; base_url has to say one that it is for"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "TLS: its certificate has expired; renew it there"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "TLS: its certificate is not valid yet; is this machine's clock right?"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "TLS: its certificate is not for servers; issue one for that purpose"
        }
        CertificateError::BadSignature => {
            "TLS: its certificate is not signed by the authority that it names; is tls.ca_file the \
             present one?"
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "TLS: its certificate is an authority's own; issue one for the server, with CA:FALSE"
        }
        _ => "TLS: its certificate cannot be accepted",
    }
}
