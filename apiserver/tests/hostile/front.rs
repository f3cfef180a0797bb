//! A server behind its TLS socket, and clients that show what certificates they like.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use kstore_apiserver::http::Listener;
use kstore_apiserver::pki::{Authority, Pair, SubjectNames};
use kstore_host::Clock as _;
use kstore_host::os::OsClock;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::bench::Bench;

/// A client's side of a connection.
pub(crate) type Stream = TlsStream<TcpStream>;

pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) authority: Authority,
    pub(crate) bench: Bench,
    /// The server stops when nobody holds this any more.
    _stop: watch::Sender<bool>,
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    i64::try_from(OsClock::start().wall().as_secs()).unwrap()
}

fn certificate(pair: &Pair) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()
}

fn key(pair: &Pair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap()
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(authority.pair())).unwrap();
    Arc::new(roots)
}

/// TLS as the binary sets it up: whoever shows a certificate shows one of our authority.
fn serving(authority: &Authority) -> Arc<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let names = SubjectNames::of_api_server(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1)));
    let pair = authority.serving(&names, now()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(authority), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate(&pair)], key(&pair))
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

impl Front {
    pub(crate) async fn new() -> Self {
        let bench = Bench::new().await;
        let authority = Authority::create(now()).unwrap();
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let listener = Listener::new(socket, serving(&authority));
        tokio::spawn(listener.serve(Arc::clone(&bench.server), stopped));
        Self { address, authority, bench, _stop: stop }
    }

    /// A certificate of somebody who may do anything.
    pub(crate) fn admin(&self) -> Pair {
        self.authority.client("admin", &["system:masters"], now()).unwrap()
    }

    /// Connects, with a certificate or without, and speaks `protocol`.
    pub(crate) async fn connect(&self, shown: Option<&Pair>, protocol: &str) -> io::Result<Stream> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(&self.authority));
        let mut config = match shown {
            Some(pair) => {
                builder.with_client_auth_cert(vec![certificate(pair)], key(pair)).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }

    /// Sends bytes on a connection of its own, and reads what comes until it is closed.
    pub(crate) async fn send(&self, shown: Option<&Pair>, bytes: &[u8]) -> io::Result<String> {
        let mut stream = self.connect(shown, "http/1.1").await?;
        stream.write_all(bytes).await?;
        Ok(String::from_utf8_lossy(&rest(&mut stream).await?).into_owned())
    }

    /// Whether somebody else is served.
    pub(crate) async fn is_alive(&self) -> bool {
        let asked = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        self.send(None, asked).await.is_ok_and(|told| told.ends_with("ok"))
    }
}

/// What comes until the other side closes, however it does.
pub(crate) async fn rest(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all).await {
        Err(_) if !all.is_empty() => Ok(all),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(all),
        Err(error) => Err(error),
        Ok(_) => Ok(all),
    }
}
