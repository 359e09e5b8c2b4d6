//! Whom Passage trusts when it connects to somebody over TLS: collectors, Sentry, session servers, adapters.
//!
//! There is one set of certification authorities for all of them: Mozilla's, which are built in, those of the
//! system, and those that the operator names with `tls.ca_file`.

#[cfg(test)]
pub(crate) mod authority;

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use zeroize::Zeroizing;

/// Most bytes of a file of certificates: four times what the bundle of a whole system has.
const PEM_FILE_BYTES_MAX: u64 = 1 << 20;

/// Certification authorities of the operator's own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OwnAuthorities(Vec<CertificateDer<'static>>);

impl OwnAuthorities {
    /// Reads a file of certificates in PEM form. What else is in it, such as comments, is skipped.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, if there is no certificate in it, or one that no authority can have.
    pub fn read(path: &Path) -> Result<Self, PemFileError> {
        let wrong = |problem: String| PemFileError::new(path, problem);
        let certificates = certificates(path, &read_bounded(path)?)?;
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

/// A certificate that Passage shows to services that ask for one, with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    certificates: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl ClientIdentity {
    /// Reads a certificate, with those between it and its authority, and its key, both in PEM form.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or has not what it should, or if key and certificate do not belong together.
    pub fn read(certificate_file: &Path, key_file: &Path) -> Result<Self, PemFileError> {
        let certificate_pem = read_bounded(certificate_file)?;
        let chain = certificates(certificate_file, &certificate_pem)?;
        let key_pem = read_bounded(key_file)?;
        let wrong_key = |problem: String| PemFileError::new(key_file, problem);
        let key = PrivateKeyDer::from_pem_slice(&key_pem)
            .map_err(|_| wrong_key("has no private key (-----BEGIN PRIVATE KEY-----)".into()))?;
        CertifiedKey::from_der(chain, key, &provider())
            .map_err(|error| wrong_key(format!("does not go with the certificate ({error})")))?;
        Ok(Self {
            certificates: certificate_pem.to_vec(),
            key: key_pem,
        })
    }

    /// The certificates in PEM form.
    #[must_use]
    pub fn certificates(&self) -> &[u8] {
        &self.certificates
    }

    /// The key in PEM form, which is a secret.
    #[must_use]
    pub fn expose_key(&self) -> &[u8] {
        &self.key
    }
}

/// A certificate has only one key.
impl Hash for ClientIdentity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.certificates.hash(state);
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity(redacted)")
    }
}

/// A whole file, if it is not longer than such files are. It may hold a secret.
fn read_bounded(path: &Path) -> Result<Zeroizing<Vec<u8>>, PemFileError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(path).and_then(|file| file.take(PEM_FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| PemFileError::new(path, error.to_string()))?;
    if bytes.len() as u64 > PEM_FILE_BYTES_MAX {
        let problem = format!("has more than {PEM_FILE_BYTES_MAX} bytes");
        return Err(PemFileError::new(path, problem));
    }
    Ok(bytes)
}

/// The certificates in a file that has at least one.
fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemFileError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| PemFileError::new(path, format!("is no PEM file ({error})")))?;
    if certificates.is_empty() {
        let problem = "has no certificate (-----BEGIN CERTIFICATE-----)";
        return Err(PemFileError::new(path, problem.into()));
    }
    Ok(certificates)
}

/// Why a file of certificates or keys cannot be used.
#[derive(Debug)]
pub struct PemFileError {
    path: PathBuf,
    problem: String,
}

impl PemFileError {
    fn new(path: &Path, problem: String) -> Self {
        Self {
            path: path.to_owned(),
            problem,
        }
    }
}

impl fmt::Display for PemFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl std::error::Error for PemFileError {}

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
    fn reads_a_certificate_with_its_own_key_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            std::fs::write(folder.path().join(name), content).unwrap();
            folder.path().join(name)
        };
        let (certificate, key) = Authority::new().issue("passage.test");
        let other_key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let certificate = write("certificate.pem", &certificate);
        let key_file = write("key.pem", &key);
        let identity = ClientIdentity::read(&certificate, &key_file).unwrap();
        assert_eq!(identity.expose_key(), key.as_bytes());
        assert_eq!(format!("{identity:?}"), "ClientIdentity(redacted)");
        for (key, expected) in [
            (write("other.pem", &other_key), "does not go with the certificate"),
            (certificate.clone(), "has no private key"),
            (folder.path().join("none.pem"), "No such file"),
        ] {
            let error = ClientIdentity::read(&certificate, &key).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(
                error.starts_with(&key.display().to_string()),
                "the file is named: {error}"
            );
        }
        let error = ClientIdentity::read(&key_file, &key_file)
            .unwrap_err()
            .to_string();
        assert!(error.contains("has no certificate"), "{error}");
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
