//! Whom Passage trusts when it connects to somebody over TLS: collectors, Sentry, session servers, adapters.
//!
//! There is one set of certification authorities for all of them: Mozilla's, which are built in, those of the
//! system, and those that the operator names with `tls.ca_file`.

#[cfg(test)]
pub(crate) mod authority;

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// Most bytes of a file of certificates: four times what the bundle of a whole system has.
const CA_FILE_BYTES_MAX: u64 = 1 << 20;

/// Certification authorities of the operator's own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OwnAuthorities(Vec<CertificateDer<'static>>);

impl OwnAuthorities {
    /// Reads a file of certificates in PEM form. What else is in it, such as comments, is skipped.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, if there is no certificate in it, or one that no authority can have.
    pub fn read(path: &Path) -> Result<Self, CaFileError> {
        let wrong = |problem: String| CaFileError {
            path: path.to_owned(),
            problem,
        };
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(CA_FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        read.map_err(|error| wrong(error.to_string()))?;
        if bytes.len() as u64 > CA_FILE_BYTES_MAX {
            return Err(wrong(format!("has more than {CA_FILE_BYTES_MAX} bytes")));
        }
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(format!("is no PEM file ({error})")))?;
        if certificates.is_empty() {
            return Err(wrong("has no certificate (-----BEGIN CERTIFICATE-----)".into()));
        }
        for (index, certificate) in certificates.iter().enumerate() {
            RootCertStore::empty()
                .add(certificate.clone())
                .map_err(|error| wrong(format!("certificate {} cannot be used ({error})", index + 1)))?;
        }
        Ok(Self(certificates))
    }
}

/// Only their number: nobody reads the certificates themselves.
impl fmt::Debug for OwnAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnAuthorities({} certificates)", self.0.len())
    }
}

/// Why a file of certificates cannot be used.
#[derive(Debug)]
pub struct CaFileError {
    path: PathBuf,
    problem: String,
}

impl fmt::Display for CaFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl std::error::Error for CaFileError {}

/// Everybody who is trusted. Cheap to clone.
#[derive(Clone)]
pub struct Trust(Arc<Authorities>);

struct Authorities {
    roots: Arc<RootCertStore>,
    certificates: Arc<Vec<Certificate<'static>>>,
    problems: Vec<String>,
}

impl Trust {
    /// Trusts Mozilla's authorities, the system's and these. Reads the system's, which takes milliseconds.
    #[must_use]
    pub fn new(own: &OwnAuthorities) -> Self {
        let system = rustls_native_certs::load_native_certs();
        let bundled = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned();
        let mut seen = HashSet::new();
        let all: Vec<_> = own
            .0
            .iter()
            .cloned()
            .chain(system.certs)
            .chain(bundled)
            .filter(|certificate| seen.insert(certificate.clone()))
            .collect();
        let certificates = all
            .iter()
            .map(|certificate| Certificate::from_der(certificate).to_owned());
        let certificates = Arc::new(certificates.collect());
        let mut roots = RootCertStore::empty();
        // Systems have certificates that webpki cannot read; whom they certify is not trusted.
        roots.add_parsable_certificates(all);
        Self(Arc::new(Authorities {
            roots: Arc::new(roots),
            certificates,
            problems: system.errors.iter().map(ToString::to_string).collect(),
        }))
    }

    /// The authorities as rustls wants them: for clients that are not ureq.
    #[must_use]
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.0.roots
    }

    /// The same as ureq wants them.
    #[must_use]
    pub fn for_ureq(&self) -> TlsConfig {
        TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(provider())
            .root_certs(RootCerts::Specific(Arc::clone(&self.0.certificates)))
            .build()
    }

    /// What could not be read of the system's authorities.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.0.problems
    }
}

/// Without authorities of an operator's own.
impl Default for Trust {
    fn default() -> Self {
        static BUILT_IN: LazyLock<Trust> = LazyLock::new(|| Trust::new(&OwnAuthorities::default()));
        BUILT_IN.clone()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} authorities)", self.0.roots.len())
    }
}

/// The cryptography of every TLS connection.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// What helps where a connection failed because of its certificate; empty where it did not.
#[must_use]
pub fn hint(error: &ureq::Error) -> &'static str {
    use rustls::{CertificateError, Error};
    let cause = match error {
        ureq::Error::Rustls(error) => Some(error),
        // Handshakes fail in the middle of reads and writes.
        ureq::Error::Io(error) => error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()),
        _ => None,
    };
    if let Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) = cause {
        " (nobody trusted has issued its certificate; name the file of your own authority in tls.ca_file)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::authority::Authority;
    use super::*;

    fn read(content: &[u8]) -> Result<OwnAuthorities, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, content).unwrap();
        OwnAuthorities::read(&path).map_err(|error| {
            let text = error.to_string();
            let (shown, problem) = text.split_once(": ").unwrap();
            assert_eq!(Path::new(shown), path, "the file is named");
            problem.to_owned()
        })
    }

    #[test]
    fn reads_every_certificate_of_a_file_and_nothing_else() {
        let (one, other) = (Authority::new(), Authority::new());
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let file = format!("# ours\n{}{key}\n{}", one.pem(), other.pem());
        let own = read(file.as_bytes()).unwrap();
        assert_eq!(own.0, [one.certificate(), other.certificate()]);
        let (with, without) = (Trust::new(&own), Trust::default());
        assert_eq!(with.roots().len(), without.roots().len() + 2);
        assert!(!without.roots().is_empty(), "Mozilla's are built in");
        assert_eq!(with.0.certificates.len(), without.0.certificates.len() + 2);
    }

    #[test]
    fn what_is_no_file_of_certificates_is_told_why() {
        assert!(read(b"").unwrap_err().starts_with("has no certificate"));
        assert!(
            read(b"\x30\x82\x01\x0a")
                .unwrap_err()
                .starts_with("has no certificate")
        );
        let nonsense = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(
            read(nonsense)
                .unwrap_err()
                .starts_with("certificate 1 cannot be used")
        );
        let broken = b"-----BEGIN CERTIFICATE-----\n\xff\xff\n-----END CERTIFICATE-----\n";
        assert!(read(broken).unwrap_err().starts_with("is no PEM file"));
        let large = "#".repeat(1 + (1 << 20)).into_bytes();
        assert_eq!(read(&large).unwrap_err(), "has more than 1048576 bytes");
        let missing = OwnAuthorities::read(Path::new("/nowhere/ca.pem")).unwrap_err();
        assert!(
            missing.to_string().starts_with("/nowhere/ca.pem: No such file"),
            "{missing}"
        );
    }
}
