//! `[providers.NAME.tls]`: which authorities may sign a provider's certificate.
//!
//! Owns the choice of roots and the reading of them. Refuses a file without a certificate, and a
//! system without roots: a provider that could never be reached is better reported at the start.
//!
//! The trap: the file and the system's roots are read once, with the configuration. A certificate
//! that is replaced on disk is used only after the next reload.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use serde::{Deserialize, Serialize};

/// `tls = { … }`, for a provider whose address begins with `https://`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// The authorities that are trusted. Default `bundled`.
    pub roots: Roots,
    /// A PEM file with further authorities, trusted for this provider alone. Relative to the
    /// directory in which the gateway was started. Default empty: none.
    pub ca_file: String,
    /// The authorities of the file, and of the system if its roots are wanted. Filled in when the
    /// configuration is loaded.
    #[serde(skip)]
    pub authorities: Authorities,
}

/// The authorities that are trusted beside those of `ca_file`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Roots {
    /// Mozilla's, as they were when the gateway was built.
    #[default]
    Bundled,
    /// The operating system's; `SSL_CERT_FILE` and `SSL_CERT_DIR` override where they are.
    System,
    /// None: only those of `ca_file`.
    None,
}

/// Authorities read from disk.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Authorities(Arc<[TrustAnchor<'static>]>);

impl TlsSettings {
    /// Reads the authorities that these settings name.
    ///
    /// # Errors
    ///
    /// The key whose value is wrong, and what is wrong with it.
    pub fn read_authorities(&mut self) -> Result<(), (&'static str, String)> {
        let mut store = RootCertStore::empty();
        match self.roots {
            Roots::System => {
                read_system(&mut store).map_err(|message| ("roots", message))?;
            }
            Roots::None if self.ca_file.is_empty() => {
                return Err(("roots", "nobody is trusted: write ca_file too".to_owned()));
            }
            Roots::Bundled | Roots::None => {}
        }
        if !self.ca_file.is_empty() {
            read_file(&self.ca_file, &mut store).map_err(|message| ("ca_file", message))?;
        }
        self.authorities = Authorities(store.roots.into());
        Ok(())
    }

    /// All trusted authorities.
    #[must_use]
    pub fn trusted(&self) -> RootCertStore {
        let mut roots = match self.roots {
            Roots::Bundled => webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            Roots::System | Roots::None => Vec::new(),
        };
        roots.extend(self.authorities.0.iter().cloned());
        RootCertStore { roots }
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} authorities", self.0.len())
    }
}

/// Takes the valid roots: systems also ship roots that rustls cannot parse.
fn read_system(store: &mut RootCertStore) -> Result<(), String> {
    let found = rustls_native_certs::load_native_certs();
    let (used, _) = store.add_parsable_certificates(found.certs);
    if used > 0 {
        return Ok(());
    }
    let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
    Err(format!("the system has no roots{why}: install ca-certificates, or set SSL_CERT_FILE"))
}

/// Takes every certificate of the file, or fails: the operator meant each of them to be valid.
fn read_file(path: &str, store: &mut RootCertStore) -> Result<(), String> {
    let pem = std::fs::read(path).map_err(|error| format!("`{path}` cannot be read: {error}"))?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        count += 1;
        // The parser's message may quote the file, which may hold a private key.
        let added = certificate.ok().and_then(|certificate| store.add(certificate).ok());
        if added.is_none() {
            return Err(format!("`{path}`: certificate {count} is damaged"));
        }
    }
    if count == 0 {
        let message = "holds no certificate: write a PEM file with BEGIN CERTIFICATE";
        return Err(format!("`{path}` {message}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.self_signed(&key).unwrap().pem()
    }

    fn read(roots: Roots, text: &str) -> Result<usize, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, text).unwrap();
        let ca_file = file.to_str().unwrap().to_owned();
        let mut settings = TlsSettings { roots, ca_file, ..TlsSettings::default() };
        match settings.read_authorities() {
            Ok(()) => Ok(settings.trusted().len()),
            Err((key, message)) => {
                let message = message.replace(folder.path().to_str().unwrap(), "");
                Err(format!("{key}: {message}"))
            }
        }
    }

    #[test]
    fn a_file_adds_its_authorities_to_the_bundled_ones_or_stands_alone() {
        let bundled = webpki_roots::TLS_SERVER_ROOTS.len();
        let two = format!("# ours\n{}\n{}", authority(), authority());
        assert_eq!(read(Roots::Bundled, &two), Ok(bundled + 2));
        assert_eq!(read(Roots::None, &two), Ok(2));
    }

    #[test]
    fn a_file_without_a_whole_certificate_is_refused_and_not_quoted() {
        let none =
            "ca_file: `/ca.pem` holds no certificate: write a PEM file with BEGIN CERTIFICATE";
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for text in ["", "sk-planted", &key] {
            assert_eq!(read(Roots::Bundled, text), Err(none.to_owned()), "{text}");
        }
        let damaged = "-----BEGIN CERTIFICATE-----\nc2stcGxhbnRlZA==\n-----END CERTIFICATE-----\n";
        let text = format!("{}{damaged}", authority());
        let expected = "ca_file: `/ca.pem`: certificate 2 is damaged";
        assert_eq!(read(Roots::Bundled, &text), Err(expected.to_owned()));
    }

    #[test]
    fn no_authority_is_trusted_by_mistake() {
        let mut settings = TlsSettings { roots: Roots::None, ..TlsSettings::default() };
        assert_eq!(settings.read_authorities().unwrap_err().0, "roots");
        assert!(settings.trusted().is_empty());
    }
}
