//! The real network between members: gRPC over TCP, with TLS where asked for.
//!
//! One connection for each peer and channel, made when first needed and again after it broke, so
//! that a heartbeat never waits behind entries or an image. A call that failed before a connection
//! was there is *unreachable*: nothing was sent. Once there is a connection every failure counts
//! as *timed out*: the peer may have read the request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kstore_proto::peer::peer_client::PeerClient;
use kstore_proto::peer::peer_server::{Peer, PeerServer};
use kstore_proto::peer::{CallRequest, CallResponse};
use tonic::transport::{Channel as Connection, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};

use super::{Channel, PeerError, PeerNet};
use crate::engine::PeerAddress;
use crate::member::Member;
use crate::tasks::BoxFuture;

/// The largest message between members: a batch of entries is at most a mebibyte, unless a single
/// entry is larger.
const MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(1);

/// Calls peers over TCP.
#[derive(Clone)]
pub struct TonicNet {
    shared: Arc<Shared>,
}

struct Shared {
    tls: Option<ClientTlsConfig>,
    /// By peer and channel. Bounded by the members of the cluster times four.
    connections: Mutex<BTreeMap<(Vec<String>, Channel), Slot>>,
}

/// One connection's place, with its own lock so that making one peer's holds up no other.
type Slot = Arc<tokio::sync::Mutex<Link>>;

#[derive(Default)]
struct Link {
    client: Option<PeerClient<Connection>>,
    /// Which of the peer's URLs to try next.
    next_url: usize,
}

impl std::fmt::Debug for TonicNet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TonicNet").finish_non_exhaustive()
    }
}

impl TonicNet {
    /// A network without connections yet. `tls` is used for `https` URLs.
    #[must_use]
    pub fn new(tls: Option<ClientTlsConfig>) -> Self {
        let shared = Shared { tls, connections: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }
}

impl Shared {
    fn slot(&self, address: &PeerAddress, channel: Channel) -> Slot {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(connections.entry((address.urls.clone(), channel)).or_default())
    }

    async fn connect(&self, url: &str) -> Result<PeerClient<Connection>, PeerError> {
        let unreachable = |e: &dyn std::fmt::Display| PeerError::Unreachable(format!("{url}: {e}"));
        let mut endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|e| unreachable(&e))?
            .tcp_nodelay(true)
            .connect_timeout(CONNECT)
            .initial_stream_window_size(4 * 1024 * 1024)
            .initial_connection_window_size(8 * 1024 * 1024);
        if url.starts_with("https:") {
            let tls = self.tls.clone().unwrap_or_default();
            endpoint = endpoint.tls_config(tls).map_err(|e| unreachable(&e))?;
        }
        let connection = endpoint.connect().await.map_err(|e| unreachable(&e))?;
        Ok(PeerClient::new(connection)
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES))
    }

    /// A client on the channel's connection, made if there is none.
    async fn client(
        &self,
        slot: &Slot,
        address: &PeerAddress,
    ) -> Result<PeerClient<Connection>, PeerError> {
        let mut link = slot.lock().await;
        if let Some(client) = &link.client {
            return Ok(client.clone());
        }
        let url = address.urls.get(link.next_url % address.urls.len().max(1));
        let url = url.ok_or_else(|| PeerError::Unreachable("peer has no URL".to_owned()))?;
        match self.connect(url).await {
            Ok(client) => {
                link.client = Some(client.clone());
                Ok(client)
            }
            Err(error) => {
                link.next_url = link.next_url.wrapping_add(1);
                Err(error)
            }
        }
    }

    async fn call(
        &self,
        address: &PeerAddress,
        channel: Channel,
        request: CallRequest,
    ) -> Result<CallResponse, PeerError> {
        let slot = self.slot(address, channel);
        let mut client = self.client(&slot, address).await?;
        match client.call(Request::new(request)).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => {
                slot.lock().await.client = None;
                match status.code() {
                    Code::Unimplemented | Code::ResourceExhausted => {
                        Err(PeerError::Refused(status.message().to_owned()))
                    }
                    _ => Err(PeerError::TimedOut),
                }
            }
        }
    }
}

impl PeerNet for TonicNet {
    fn call(
        &self,
        address: &PeerAddress,
        channel: Channel,
        request: CallRequest,
        limit: Duration,
    ) -> BoxFuture<'static, Result<CallResponse, PeerError>> {
        let shared = Arc::clone(&self.shared);
        let address = address.clone();
        Box::pin(async move {
            let call = shared.call(&address, channel, request);
            tokio::time::timeout(limit, call).await.unwrap_or(Err(PeerError::TimedOut))
        })
    }
}

/// Answers peers in the name of a member.
#[derive(Debug, Clone)]
pub struct PeerService {
    member: Member,
}

impl PeerService {
    /// The gRPC service for the peer port.
    #[must_use]
    pub fn server(member: Member) -> PeerServer<Self> {
        PeerServer::new(Self { member })
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn call(&self, request: Request<CallRequest>) -> Result<Response<CallResponse>, Status> {
        Ok(Response::new(self.member.serve_peer(request.into_inner()).await))
    }

    type StreamStream = futures_util::stream::Empty<Result<CallResponse, Status>>;

    async fn stream(
        &self,
        _request: Request<tonic::Streaming<CallRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        Err(Status::unimplemented("members of this version call one by one"))
    }
}
