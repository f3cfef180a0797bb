//! TLS on a listener: certificates from files that may change while it serves.
//!
//! The files are read again when a connection comes in and the last look at them is some seconds
//! old; if their content has changed, new connections use it. Files that cannot be used leave the
//! old ones in force, and a line in the log: a certificate that is renewed half-way must not take
//! the member off the network.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kstore_host::{Clock, Disk, OpenMode};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// How old a look at the files may be when a connection comes in.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A certificate, key or list of authorities is never larger.
const FILE_BYTES: u64 = 4 << 20;

/// The files that TLS on a listener is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, in PEM form.
    pub certificate: PathBuf,
    /// Its private key, in PEM form.
    pub key: PathBuf,
    /// The authorities of clients: given, a client must show a certificate of theirs.
    pub client_authorities: Option<PathBuf>,
}

/// TLS on a listener.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    contents: Contents,
    config: Arc<ServerConfig>,
    /// When the files were looked at last, by the monotonic clock.
    looked: Duration,
}

/// What the files held.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_authorities: Option<Vec<u8>>,
}

// Keys never reach a log.
impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// One line that names the file and says what is wrong with it.
    pub fn open(
        files: TlsFiles,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let contents = Contents::read(&files, &*disk)?;
        let config = contents.config(&files)?;
        let state = Mutex::new(State { contents, config, looked: clock.monotonic() });
        Ok(Self { files, disk, clock, state })
    }

    /// The configuration for a connection that comes in now. Reads small files now and then.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(state.looked) >= LOOK_AGAIN {
            state.looked = now;
            self.look_again(&mut state);
        }
        Arc::clone(&state.config)
    }

    fn look_again(&self, state: &mut State) {
        let fresh = Contents::read(&self.files, &*self.disk);
        let fresh = match fresh {
            Ok(contents) if contents == state.contents => return,
            Ok(contents) => contents.config(&self.files).map(|config| (contents, config)),
            Err(why) => Err(why),
        };
        match fresh {
            Ok((contents, config)) => {
                tracing::info!(file = %self.files.certificate.display(), "new certificate in use");
                state.contents = contents;
                state.config = config;
            }
            Err(why) => tracing::warn!(%why, "the old certificate stays in use"),
        }
    }
}

impl Contents {
    fn read(files: &TlsFiles, disk: &dyn Disk) -> Result<Self, String> {
        let read = |path: &Path| {
            read(disk, path).map_err(|error| format!("read {}: {error}", path.display()))
        };
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_authorities: files.client_authorities.as_deref().map(read).transpose()?,
        })
    }

    fn config(&self, files: &TlsFiles) -> Result<Arc<ServerConfig>, String> {
        let chain = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| format!("{}: no private key: {error}", files.key.display()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match (&self.client_authorities, &files.client_authorities) {
            (Some(authorities), Some(path)) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(authorities, path)? {
                    roots.add(authority).map_err(|e| format!("{}: {e}", path.display()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|error| format!("{}: {error}", path.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            let (certificate, key) = (files.certificate.display(), files.key.display());
            format!("{certificate} and {key}: {error}")
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = parsed.map_err(|error| format!("{}: {error}", path.display()))?;
    if chain.is_empty() {
        return Err(format!("{}: no certificate in it", path.display()));
    }
    Ok(chain)
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let length = file.length()?;
    if length > FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than 4 MiB"));
    }
    let mut bytes = vec![0; usize::try_from(length).expect("at most 4 MiB")];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
