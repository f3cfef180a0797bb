//! The real network between members: gRPC over TCP, with TLS where asked for.
//!
//! One connection with one stream for each peer and channel, made when first needed and again after
//! it broke, so that a heartbeat never waits behind entries or an image. A call that failed before a
//! stream was there is *unreachable*: nothing was sent. Once there is one every failure counts
//! as *timed out*: the peer may have read the request. A connection that is silent though asked for
//! a sign of life is given up, so that a network that lost packets is tried anew as soon as it may
//! be whole again, not when TCP next thinks of it.
//!
//! Why a peer cannot be reached is said, each reason once; and once more when it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use kstore_proto::peer::peer_client::PeerClient;
use kstore_proto::peer::peer_server::{Peer, PeerServer};
use kstore_proto::peer::{CallRequest, CallResponse};
use tonic::transport::{ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

use super::talk::Talk;
use super::{Channel, PeerError, PeerNet};
use crate::engine::PeerAddress;
use crate::member::Member;
use crate::tasks::BoxFuture;

/// The largest message between members: a batch of entries is at most a mebibyte, unless a single
/// entry is larger.
const MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(1);

/// How long a connection may be silent before the peer is asked for a sign of life, and how long
/// that may take.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));

/// Requests of one stream that are being answered at once; at the bound the next ones are read
/// when one of these is done.
const SERVED_AT_ONCE: usize = 1024;

/// More reasons than this are not said of one peer until it answers.
const REASONS_MAX: usize = 8;

/// Calls peers over TCP.
#[derive(Clone)]
pub struct TonicNet {
    shared: Arc<Shared>,
}

struct Shared {
    tls: Option<ClientTlsConfig>,
    /// By peer and channel. Bounded by the members of the cluster times four.
    connections: Mutex<BTreeMap<(Vec<String>, Channel), Slot>>,
    /// The peers that were said not to be reached and have not answered since, and why.
    failing: Mutex<BTreeMap<Vec<String>, BTreeSet<String>>>,
}

/// One connection's place, with its own lock so that making one peer's holds up no other.
type Slot = Arc<tokio::sync::Mutex<Link>>;

#[derive(Default)]
struct Link {
    talk: Option<Arc<Talk>>,
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
        let shared = Shared { tls, connections: Mutex::default(), failing: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }
}

impl Shared {
    fn slot(&self, address: &PeerAddress, channel: Channel) -> Slot {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(connections.entry((address.urls.clone(), channel)).or_default())
    }

    /// Says that a peer cannot be reached, unless that was said already.
    fn failed(&self, address: &PeerAddress, why: &str) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let reasons = failing.entry(address.urls.clone()).or_default();
        if reasons.len() < REASONS_MAX && reasons.insert(why.to_owned()) {
            tracing::warn!(peer = address.urls.join(","), why, "a peer cannot be reached");
        }
    }

    fn answered(&self, address: &PeerAddress) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if !failing.is_empty() && failing.remove(&address.urls).is_some() {
            tracing::info!(peer = address.urls.join(","), "a peer is reached");
        }
    }

    async fn connect(&self, url: &str) -> Result<Talk, PeerError> {
        let unreachable = |e: &dyn Error| PeerError::Unreachable(format!("{url}: {}", reasons(e)));
        let mut endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|e| unreachable(&e))?
            .tcp_nodelay(true)
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .initial_stream_window_size(4 * 1024 * 1024)
            .initial_connection_window_size(8 * 1024 * 1024);
        if url.starts_with("https:") {
            let tls = self.tls.clone().unwrap_or_default();
            endpoint = endpoint.tls_config(tls).map_err(|e| unreachable(&e))?;
        }
        let connection = endpoint.connect().await.map_err(|e| unreachable(&e))?;
        let client = PeerClient::new(connection)
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES);
        Talk::open(client).await.map_err(|status| match status.code() {
            Code::Unimplemented => PeerError::Refused(status.message().to_owned()),
            _ => PeerError::Unreachable(format!("{url}: {}", reason(&status))),
        })
    }

    /// The stream of a channel, made if there is none.
    async fn talk(&self, slot: &Slot, address: &PeerAddress) -> Result<Arc<Talk>, PeerError> {
        let mut link = slot.lock().await;
        if let Some(talk) = &link.talk {
            return Ok(Arc::clone(talk));
        }
        let url = address.urls.get(link.next_url % address.urls.len().max(1));
        let url = url.ok_or_else(|| PeerError::Unreachable("peer has no URL".to_owned()))?;
        match self.connect(url).await {
            Ok(talk) => Ok(Arc::clone(link.talk.insert(Arc::new(talk)))),
            Err(error) => {
                link.next_url = link.next_url.wrapping_add(1);
                if let PeerError::Unreachable(why) = &error {
                    let why = why.strip_prefix(url).unwrap_or(why);
                    self.failed(address, why.trim_start_matches(": "));
                }
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
        let talk = self.talk(&slot, address).await?;
        match talk.call(request).await {
            Ok(response) => {
                self.answered(address);
                Ok(response)
            }
            Err(status) => {
                let mut link = slot.lock().await;
                // Another caller may have made a new one by now.
                link.talk.take_if(|newest| Arc::ptr_eq(newest, &talk));
                drop(link);
                self.failed(address, &reason(&status));
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

/// Why a stream ended, or did not begin.
fn reason(status: &Status) -> String {
    status.source().map_or_else(|| status.message().to_owned(), reasons)
}

/// An error with what caused it, and what caused that.
fn reasons(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.ends_with(&reason) {
            text = format!("{text}: {reason}");
        }
        cause = error.source();
    }
    text
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
    type StreamStream = BoxStream<'static, Result<CallResponse, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<CallRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let member = self.member.clone();
        let answer = move |request: Result<CallRequest, Status>| {
            let member = member.clone();
            async move { Ok(member.serve_peer(request?).await) }
        };
        let answers = request.into_inner().map(answer).buffer_unordered(SERVED_AT_ONCE);
        Ok(Response::new(answers.boxed()))
    }
}
