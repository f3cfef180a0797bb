//! Starting and stopping an API server on a store.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kstore_apiserver::auth::authentication::{Anonymous, DEFAULT_ISSUER, Tokens};
use kstore_apiserver::housekeeping;
use kstore_apiserver::http::Listener;
use kstore_apiserver::pki::{Authority, Pair, PublicKey, SigningKey, SubjectNames};
use kstore_apiserver::server::{Parts, Rules, Server};
use kstore_apiserver::storage::Storage;
use kstore_host::{Clock, Disk, Random};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::files::{Maker, read_named};
use super::shared::{self, Shared};

/// What the command line says about the API server.
#[derive(Debug, Clone)]
pub(crate) struct ApiConfig {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// Where others reach it, if that is not where it listens.
    pub(crate) advertise: Option<Ipv4Addr>,
    /// Keys, certificates and kubeconfigs lie here.
    pub(crate) dir: PathBuf,
    /// The administrator's kubeconfig, if it and the agents' are to be written.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The addresses of services.
    pub(crate) services: String,
    /// More names that clients call it by.
    pub(crate) names: Vec<String>,
    /// Keys and certificates that the operator made.
    pub(crate) own: OwnKeys,
    /// Whether strangers are somebody.
    pub(crate) anonymous: Anonymous,
    /// What is relaxed.
    pub(crate) rules: Rules,
}

/// Keys and certificates that the operator made; what is not given, the cluster's authority and
/// its key for tokens stand for.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnKeys {
    /// The certificate and key to serve with.
    pub(crate) serving: Option<(PathBuf, PathBuf)>,
    /// Who vouches for clients.
    pub(crate) clients: Option<PathBuf>,
    /// Signs tokens.
    pub(crate) signing: Option<PathBuf>,
    /// Check tokens.
    pub(crate) verifying: Vec<PathBuf>,
    /// Who makes tokens, first, and whose are taken too.
    pub(crate) issuers: Vec<String>,
    /// For whom tokens are if nobody says otherwise.
    pub(crate) audiences: Vec<String>,
    /// The longest life of a token in seconds.
    pub(crate) longest: Option<i64>,
    /// Fixed tokens: `token,name,uid,"group,group"` in each line.
    pub(crate) tokens: Option<PathBuf>,
}

impl OwnKeys {
    /// Whether the cluster's own are needed for anything.
    fn are_complete(&self) -> bool {
        self.serving.is_some() && self.clients.is_some() && self.signing.is_some()
    }
}

/// What it takes from its machine.
pub(crate) struct ApiHost {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// An API server that runs.
pub(crate) struct ApiServer {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    server: Arc<Server>,
    pub(crate) address: SocketAddr,
}

impl ApiServer {
    /// Binds, makes what is missing, and serves. It waits for as long as the store cannot answer.
    pub(crate) async fn start(
        config: &ApiConfig,
        storage: Arc<dyn Storage>,
        host: ApiHost,
    ) -> Result<Self, String> {
        let socket = TcpListener::bind(config.listen).await;
        let socket =
            socket.map_err(|error| format!("listen on https://{}: {error}", config.listen))?;
        let address = socket.local_addr().map_err(|error| error.to_string())?;
        let now = i64::try_from(host.clock.wall().as_secs()).unwrap_or(i64::MAX);
        let maker = Maker { disk: &host.disk, dir: config.dir.clone(), now };
        maker.make_dir()?;
        let shared = match &config.kubeconfig {
            None if config.own.are_complete() => None,
            _ => Some(share(&maker, &*storage).await?),
        };
        let advertised = config.advertise.unwrap_or_else(|| advertised(address));
        let keys = Keys::gather(config, &maker, shared, advertised)?;
        if let (Some(kubeconfig), Some(authority)) = (&config.kubeconfig, &keys.authority) {
            kubeconfigs(&maker, authority, kubeconfig, address)?;
        }
        let tls = tls(&keys)?;
        let parts = Parts {
            storage,
            clock: host.clock,
            random: host.random,
            tokens: keys.tokens,
            anonymous: config.anonymous,
            service_network: config.services.clone(),
            advertised: (advertised, address.port()),
        };
        let server = Server::with_rules(parts, config.rules.clone())?;
        let stop = watch::Sender::new(false);
        let serving = Listener::new(socket, tls).serve(Arc::clone(&server), stop.subscribe());
        let tasks =
            vec![tokio::spawn(serving), tokio::spawn(housekeeping::run(Arc::clone(&server)))];
        Ok(Self { stop, tasks, server, address })
    }

    /// Waits until it has read who may what.
    pub(crate) async fn ready(&self) {
        while !self.server.is_ready() {
            sleep(LOOK).await;
        }
    }

    /// Sends clients away.
    pub(crate) async fn end(mut self) {
        self.stop.send_replace(true);
        if let Some(housekeeping) = self.tasks.pop() {
            housekeeping.abort();
        }
        for task in self.tasks {
            drop(task.await);
        }
    }
}

/// How often to look whether it is ready.
const LOOK: Duration = Duration::from_millis(2);

/// What the cluster shares, and copies of it as files.
async fn share(maker: &Maker<'_>, storage: &dyn Storage) -> Result<Shared, String> {
    let first = || match maker.shared()? {
        Some(kept) => Ok(kept),
        None => Shared::make(maker.now),
    };
    let shared = shared::agree(storage, first).await?;
    maker.keep_shared(&shared)?;
    Ok(shared)
}

/// What the server proves itself with, and checks others by.
struct Keys {
    /// The cluster's own authority, if it is needed.
    authority: Option<Authority>,
    serving: Pair,
    /// Who vouches for clients: certificates in PEM.
    clients: Vec<String>,
    tokens: Tokens,
}

impl Keys {
    fn gather(
        config: &ApiConfig,
        maker: &Maker<'_>,
        shared: Option<Shared>,
        advertised: Ipv4Addr,
    ) -> Result<Self, String> {
        let (authority, signing) = match shared {
            Some(Shared { authority, signing }) => (Some(authority), Some(signing)),
            None => (None, None),
        };
        let authority = authority.map(Authority::load).transpose();
        let authority = authority.map_err(|why| format!("the cluster's authority: {why}"))?;
        let read = |path: &Path| read_named(&**maker.disk, path);
        let serving = match (&config.own.serving, &authority) {
            (Some((certificate, key)), _) => {
                Pair { certificate: read(certificate)?, key: read(key)? }
            }
            (None, Some(authority)) => maker.serving(authority, &subject(config, advertised)?)?,
            (None, None) => return Err("there is no certificate to serve with".to_owned()),
        };
        let mut clients = Vec::new();
        if let Some(path) = &config.own.clients {
            clients.push(read(path)?);
        }
        if let Some(authority) = &authority {
            clients.push(authority.pair().certificate.clone());
        }
        let tokens = tokens(&config.own, signing, read)?;
        Ok(Self { authority, serving, clients, tokens })
    }
}

/// What the server is called.
fn subject(config: &ApiConfig, advertised: Ipv4Addr) -> Result<SubjectNames, String> {
    let mut subject = SubjectNames::of_api_server(first_service(&config.services)?.into());
    subject.add(&advertised.to_string());
    if !config.listen.ip().is_unspecified() {
        subject.add(&config.listen.ip().to_string());
    }
    for name in &config.names {
        subject.add(name);
    }
    Ok(subject)
}

/// Who makes and checks tokens.
fn tokens(
    own: &OwnKeys,
    signing: Option<String>,
    read: impl Fn(&Path) -> Result<String, String>,
) -> Result<Tokens, String> {
    let signing = match (&own.signing, signing) {
        (Some(path), _) => read(path)?,
        (None, Some(signing)) => signing,
        (None, None) => return Err("there is no key to sign tokens with".to_owned()),
    };
    let signing = SigningKey::from_pem(&signing).map_err(|why| why.to_string())?;
    let mut verifying = Vec::new();
    for path in &own.verifying {
        let keys = PublicKey::all_from_pem(&read(path)?);
        verifying.extend(keys.map_err(|why| format!("{}: {why}", path.display()))?);
    }
    let issuer = own.issuers.first().map_or(DEFAULT_ISSUER, String::as_str);
    let mut tokens = Tokens::new(issuer, signing, verifying);
    tokens.issuers.extend(own.issuers.iter().skip(1).cloned());
    tokens.longest = own.longest;
    if !own.audiences.is_empty() {
        tokens.audiences.clone_from(&own.audiences);
    }
    if let Some(path) = &own.tokens {
        for (token, user) in super::fixed_tokens::parse(&read(path)?)? {
            tokens.add_fixed(&token, user);
        }
    }
    Ok(tokens)
}

/// The address of the `kubernetes` service: the first of the range.
fn first_service(range: &str) -> Result<Ipv4Addr, String> {
    let base = range.split('/').next().unwrap_or_default();
    let base: Ipv4Addr = base
        .parse()
        .map_err(|_| format!("invalid value \"{range}\" for --service-cluster-ip-range"))?;
    Ok(Ipv4Addr::from(u32::from(base).wrapping_add(1)))
}

/// The address that others are told. Endpoints must not be loopback addresses, so a server that
/// listens there tells the address from which this machine would reach others. (Asking for it
/// sends nothing.)
fn advertised(address: SocketAddr) -> Ipv4Addr {
    match address {
        SocketAddr::V4(address)
            if !address.ip().is_unspecified() && !address.ip().is_loopback() =>
        {
            *address.ip()
        }
        _ => own_address().unwrap_or(Ipv4Addr::LOCALHOST),
    }
}

fn own_address() -> Option<Ipv4Addr> {
    // An address of RFC 5737, which is nobody's.
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 9));
    let socket = std::net::UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], 0))).ok()?;
    socket.connect(elsewhere).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(address) if !address.ip().is_loopback() => Some(*address.ip()),
        _ => None,
    }
}

/// The agents' kubeconfigs: name of the file, of the user, and group.
const AGENTS: [(&str, &str, Option<&str>); 3] = [
    ("scheduler", "system:kube-scheduler", None),
    ("controller-manager", "system:kube-controller-manager", None),
    ("hollow", "kstore:hollow", None),
];

fn kubeconfigs(
    maker: &Maker<'_>,
    authority: &Authority,
    kubeconfig: &Path,
    address: SocketAddr,
) -> Result<(), String> {
    let host =
        if address.ip().is_unspecified() { "127.0.0.1".into() } else { address.ip().to_string() };
    let server = format!("https://{host}:{}", address.port());
    let admin = ("admin", "kubernetes-admin", Some("system:masters"));
    for (name, user, group) in AGENTS {
        let path = maker.dir.join(format!("{name}.kubeconfig"));
        maker.kubeconfig(&path, authority, (name, user, group), &server)?;
    }
    maker.kubeconfig(kubeconfig, authority, admin, &server)
}

fn tls(keys: &Keys) -> Result<Arc<ServerConfig>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("the server's certificate: {why}");
    let certificates = |text: &str| {
        CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|why| wrong(&why))
    };
    let mut roots = RootCertStore::empty();
    for text in &keys.clients {
        for certificate in certificates(text)? {
            roots.add(certificate).map_err(|why| format!("who vouches for clients: {why}"))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|why| wrong(&why))?;
    let key =
        PrivateKeyDer::from_pem_slice(keys.serving.key.as_bytes()).map_err(|why| wrong(&why))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| wrong(&why))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&keys.serving.certificate)?, key)
        .map_err(|why| wrong(&why))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
