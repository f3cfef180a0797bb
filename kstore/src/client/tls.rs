//! TLS between the client and an endpoint.

use std::fmt::{Debug, Formatter, Result as FmtResult};
use std::path::Path;
use std::sync::Arc;

use kstore_host::os::OsDisk;
use kstore_host::{Disk, OpenMode};
use rustls::DigitallySignedStruct;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::failure::Failure;
use super::settings::TlsFiles;

/// Where systems keep the authorities that they trust; the first file that is there counts.
pub(crate) const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Makes an endpoint encrypted.
pub(crate) fn secure(endpoint: Endpoint, files: &TlsFiles) -> Result<Endpoint, Failure> {
    let mut config = ClientTlsConfig::new();
    if !files.server_name.is_empty() {
        config = config.domain_name(files.server_name.as_str());
    }
    match (files.certificate.as_str(), files.key.as_str()) {
        ("", "") => {}
        (certificate, key) if certificate.is_empty() || key.is_empty() => {
            return Err(Failure::arguments(format!(
                "KeyFile and CertFile must both be present[key: {key}, cert: {certificate}]"
            )));
        }
        (certificate, key) => {
            config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
    }
    let bad = |error: tonic::transport::Error| {
        Failure::arguments(format!("bad TLS settings: {}", causes(&error)))
    };
    if files.trust_anyone {
        return endpoint
            .tls_config_with_verifier(config, Arc::new(TrustAnyone::new()))
            .map_err(bad);
    }
    let authorities = if files.ca.is_empty() {
        SYSTEM_AUTHORITIES.iter().find_map(|path| read(path).ok())
    } else {
        Some(read(&files.ca)?)
    };
    if let Some(pem) = authorities {
        config = config.ca_certificate(Certificate::from_pem(pem));
    }
    endpoint.tls_config(config).map_err(bad)
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

fn read(path: &str) -> Result<Vec<u8>, Failure> {
    /// Bounds what a wrong name can cost; bundles of authorities are a tenth of it.
    const LARGEST: u64 = 16 << 20;
    let read = || {
        let file = OsDisk.open(Path::new(path), OpenMode::Read)?;
        let length = usize::try_from(file.length()?.min(LARGEST)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    };
    read().map_err(|error: std::io::Error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        Failure::arguments(format!("open {path}: {why}"))
    })
}

/// For `--insecure-skip-tls-verify`: takes any certificate, but checks that the other side has
/// its key, as the handshake asks for.
struct TrustAnyone {
    provider: CryptoProvider,
}

impl TrustAnyone {
    fn new() -> Self {
        Self { provider: ring::default_provider() }
    }
}

impl Debug for TrustAnyone {
    fn fmt(&self, out: &mut Formatter<'_>) -> FmtResult {
        out.write_str("TrustAnyone")
    }
}

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
