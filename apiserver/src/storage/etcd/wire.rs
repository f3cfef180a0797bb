//! Endpoints: connections, time limits, and which one is asked next.
//!
//! A request goes to the endpoint that worked last. When that one cannot be reached, or says that
//! it cannot serve, the next one is tried, round after round with a pause between, until the
//! patience is over.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kstore_proto::etcdserverpb::kv_client::KvClient;
use kstore_proto::etcdserverpb::lease_client::LeaseClient;
use kstore_proto::etcdserverpb::watch_client::WatchClient;
use kstore_proto::failure::{is_interrupted, never_sent};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Response, Status};

/// How long a request may take, all endpoints together. Half of what an API request may take.
const LIMIT: Duration = Duration::from_secs(30);

/// How long endpoints that cannot be reached are tried again: an election and a bit.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause after every endpoint was tried in vain.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// How often a connection with requests under way is tried, and how long the answer may take. etcd
/// cuts off who asks more often than every five seconds.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(5);

/// How much one stream may have under way.
const STREAM_WINDOW: u32 = 2 << 20;

/// How much all streams of a connection may have under way: as much as the protocol allows, so
/// that watches whose readers are slow do not take the others' share.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// Where an etcd is, and how to reach it.
#[derive(Debug, Clone, Default)]
pub struct EtcdSettings {
    /// URLs, `http` or `https`; without a scheme, `http`.
    pub endpoints: Vec<String>,
    /// Who vouches for the servers: certificates in PEM.
    pub authorities: Option<Vec<u8>>,
    /// What the API server proves itself with.
    pub identity: Option<Identity>,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, and those that vouch for it.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// What may be done with a request whose fate is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It changes nothing that matters: send it again.
    Reads,
    /// It may have been done: say so.
    Changes,
}

/// The endpoints.
#[derive(Debug)]
pub(super) struct Wires {
    /// At least one.
    wires: Vec<Wire>,
    /// Index into `wires`, modulo their number, of the endpoint that worked last.
    preferred: AtomicUsize,
}

/// One endpoint, for every service that is used of it.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    channel: Channel,
    index: usize,
}

impl Wire {
    fn new(index: usize, address: &str, settings: &EtcdSettings) -> Result<Self, String> {
        let url = match address.split_once("://") {
            Some(("http" | "https", _)) => address.to_owned(),
            Some(_) => return Err(format!("bad etcd endpoint {address}: not http or https")),
            None => format!("http://{address}"),
        };
        let bad =
            |error: &(dyn Error + 'static)| format!("bad etcd endpoint {address}: {}", last(error));
        let mut endpoint = Endpoint::from_shared(url.clone()).map_err(|error| bad(&error))?;
        if url.starts_with("https") {
            endpoint = endpoint.tls_config(tls(settings)).map_err(|error| bad(&error))?;
        }
        let channel = endpoint
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_ANSWER)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .tcp_nodelay(true)
            .connect_lazy();
        Ok(Self { channel, index })
    }

    /// Keys and values. A list may be as large as the store makes it.
    pub(super) fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    /// Watches.
    pub(super) fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    /// Leases.
    pub(super) fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }
}

fn tls(settings: &EtcdSettings) -> ClientTlsConfig {
    let mut tls = ClientTlsConfig::new();
    if let Some(pem) = &settings.authorities {
        tls = tls.ca_certificate(Certificate::from_pem(pem));
    }
    if let Some(Identity { certificate, key }) = &settings.identity {
        tls = tls.identity(tonic::transport::Identity::from_pem(certificate, key));
    }
    tls
}

impl Wires {
    pub(super) fn new(settings: &EtcdSettings) -> Result<Self, String> {
        let endpoints = settings.endpoints.iter().enumerate();
        let wires: Vec<Wire> = endpoints
            .map(|(index, address)| Wire::new(index, address, settings))
            .collect::<Result<_, _>>()?;
        if wires.is_empty() {
            return Err("no etcd endpoint is given".to_owned());
        }
        Ok(Self { wires, preferred: AtomicUsize::new(0) })
    }

    /// The endpoint that is asked next.
    fn next(&self) -> Wire {
        self.wires[self.preferred.load(Ordering::Relaxed) % self.wires.len()].clone()
    }

    /// The endpoint failed: the one after it is asked next, unless somebody else has moved on.
    fn leave(&self, wire: &Wire) {
        let now = self.preferred.load(Ordering::Relaxed);
        if now % self.wires.len() == wire.index {
            let next = now.wrapping_add(1);
            // If it fails, another request has just moved on from the same endpoint.
            let _moved =
                self.preferred.compare_exchange(now, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Sends a request to whichever endpoint answers.
    pub(super) async fn call<Q: Clone, A>(
        &self,
        effect: Effect,
        request: Q,
        rpc: impl AsyncFn(Wire, Q) -> Result<Response<A>, Status>,
    ) -> Result<A, Status> {
        let begun = Instant::now();
        let deadline = begun + LIMIT;
        let mut tried = 0;
        // Bounded by patience and the deadline.
        loop {
            let wire = self.next();
            let attempt = timeout_at(deadline, rpc(wire.clone(), request.clone()));
            let status = match attempt.await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => {
                    self.leave(&wire);
                    return Err(Status::unavailable("no answer from the store in time"));
                }
            };
            let again = match effect {
                Effect::Reads => is_interrupted(&status) || never_sent(&status),
                Effect::Changes => never_sent(&status),
            };
            if is_interrupted(&status) {
                self.leave(&wire);
            }
            if !again || begun.elapsed() >= PATIENCE {
                return Err(status);
            }
            tried += 1;
            if tried % self.wires.len() == 0 {
                sleep(PAUSE).await;
            }
        }
    }
}

/// Why a request failed: the end of the chain of causes tells most.
pub(super) fn cause(status: &Status) -> String {
    match status.source() {
        Some(error) => last(error),
        None => status.message().to_owned(),
    }
}

fn last(mut error: &(dyn Error + 'static)) -> String {
    while let Some(cause) = error.source() {
        error = cause;
    }
    match error.downcast_ref::<std::io::Error>() {
        // TLS has a page to say about it, which is about something else.
        Some(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the connection ended".to_owned()
        }
        _ => error.to_string(),
    }
}
