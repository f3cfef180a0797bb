//! Members talking to each other: the messages' envelope, and the seam between a member and the
//! network that carries them.
//!
//! ```text
//!   engine, member ── Caller::call(to, channel, kind, body) ──► PeerNet::call(address, request)
//!                                                                   │  tonic over TCP, or the
//!                                                                   ▼  simulator's links
//!   Member::serve_peer(request) ◄────────────────────────────── the other member's server
//! ```
//!
//! Every request names the cluster, both members and the range of protocol versions that the
//! sender speaks; the receiver refuses it unless all of them fit. So a wrong address or a stale
//! one can never make two clusters, or two members, mistake each other.

mod talk;
pub mod tonic_net;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kstore_proto::peer::{CallRequest, CallResponse};

use crate::engine::PeerAddress;
use crate::tasks::BoxFuture;
use crate::types::{ClusterId, MemberId};

/// The version of the peer protocol that this program speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// Which of the connections to a peer carries a message. What must not wait for something large
/// has a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// Entries of the log.
    Append,
    /// Heartbeats and elections.
    Heartbeat,
    /// Images.
    Image,
    /// Forwarded proposals, read indexes and lease renewals.
    Forward,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerError {
    /// The peer cannot be reached: there is no use in trying again at once.
    Unreachable(String),
    /// No answer came in time; whether the peer has seen the request is unknown.
    TimedOut,
    /// The peer has read the request and wants none of it.
    Refused(String),
}

impl std::fmt::Display for PeerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "peer is unreachable: {why}"),
            Self::TimedOut => f.write_str("peer did not answer in time"),
            Self::Refused(why) => write!(f, "peer refused: {why}"),
        }
    }
}

impl std::error::Error for PeerError {}

/// The network between members.
pub trait PeerNet: Send + Sync + 'static {
    /// Sends `request` to the member at `address` and waits no longer than `limit` for the answer.
    /// Requests on one channel to one peer arrive in the order of the calls, or not at all.
    fn call(
        &self,
        address: &PeerAddress,
        channel: Channel,
        request: CallRequest,
        limit: Duration,
    ) -> BoxFuture<'static, Result<CallResponse, PeerError>>;
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    Append = 1,
    Vote = 2,
    PreVote = 3,
    Transfer = 4,
    ImagePiece = 5,
    Propose = 6,
    ReadIndex = 7,
    KeepAlive = 8,
    LeaseTimes = 9,
}

impl Kind {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Append,
            2 => Self::Vote,
            3 => Self::PreVote,
            4 => Self::Transfer,
            5 => Self::ImagePiece,
            6 => Self::Propose,
            7 => Self::ReadIndex,
            8 => Self::KeepAlive,
            9 => Self::LeaseTimes,
            _ => return None,
        })
    }
}

/// The refusal of a member of another cluster; the texts of the others are free.
pub(crate) const WRONG_CLUSTER: &str = "cluster id mismatch";

/// Calls peers in the name of one member.
#[derive(Clone)]
pub(crate) struct Caller {
    cluster: ClusterId,
    from: MemberId,
    net: Arc<dyn PeerNet>,
    contact: Arc<Mutex<Contact>>,
}

/// What a member has learnt of its peers since it started.
#[derive(Default)]
struct Contact {
    /// Whether any peer has ever answered.
    answered: bool,
    /// The peers that said that they belong to another cluster, and what they said.
    strangers: BTreeMap<MemberId, String>,
}

impl Caller {
    pub(crate) fn new(cluster: ClusterId, from: MemberId, net: Arc<dyn PeerNet>) -> Self {
        Self { cluster, from, net, contact: Arc::default() }
    }

    /// Sends one request and returns the body of the answer.
    pub(crate) async fn call(
        &self,
        to: MemberId,
        address: &PeerAddress,
        channel: Channel,
        kind: Kind,
        body: Bytes,
        limit: Duration,
    ) -> Result<Bytes, PeerError> {
        let request = CallRequest {
            cluster: self.cluster.0,
            from: self.from.0,
            to: to.0,
            lowest_version: PROTOCOL_VERSION,
            highest_version: PROTOCOL_VERSION,
            kind: kind as u32,
            sequence: 0,
            body,
        };
        let response = self.net.call(address, channel, request, limit).await?;
        let mut contact = self.contact.lock().unwrap_or_else(PoisonError::into_inner);
        if response.refusal.is_empty() {
            contact.answered = true;
            return Ok(response.body);
        }
        if response.refusal.starts_with(WRONG_CLUSTER) {
            let known = contact.strangers.insert(to, response.refusal.clone());
            if known.is_none() {
                tracing::warn!(peer = %to, refusal = response.refusal, "a peer is of another cluster");
            }
        }
        Err(PeerError::Refused(response.refusal))
    }

    /// What a peer said, if it is this member that was started with the wrong identity: as many
    /// peers as make a majority of the `voters` (or all there are) said that they belong to another
    /// cluster, and none has ever answered. Fewer prove nothing: they may be the wrong ones.
    pub(crate) fn estranged(&self, voters: usize) -> Option<String> {
        let enough = (voters / 2 + 1).min(voters.saturating_sub(1)).max(1);
        let contact = self.contact.lock().unwrap_or_else(PoisonError::into_inner);
        let is_stranger = !contact.answered && contact.strangers.len() >= enough;
        contact.strangers.values().next().filter(|_| is_stranger).cloned()
    }
}

/// Why a request must not be served, if so.
pub(crate) fn refusal(cluster: ClusterId, me: MemberId, request: &CallRequest) -> Option<String> {
    if request.cluster != cluster.0 {
        return Some(format!("{WRONG_CLUSTER}: got {:x}, have {cluster}", request.cluster));
    }
    if request.to != me.0 {
        return Some(format!("member id mismatch: called {:x}, this is {me}", request.to));
    }
    if request.from == me.0 {
        return Some("a member does not call itself".to_owned());
    }
    if request.lowest_version > PROTOCOL_VERSION || request.highest_version < PROTOCOL_VERSION {
        return Some(format!(
            "peer protocol versions {} to {} spoken, {PROTOCOL_VERSION} needed",
            request.lowest_version, request.highest_version
        ));
    }
    None
}
