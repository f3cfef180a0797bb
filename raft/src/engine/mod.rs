//! The one module that names openraft: consensus behind a small face without type parameters.
//!
//! ```text
//!   Member ──► dyn Engine ──► Raft<TypeConfig<R>, StateMachine>      openraft's tasks, on R
//!                                  │            │           │
//!                             LogStore     StateMachine    Peers
//!                                  │            │           │
//!                                 wal        Applier     PeerNet
//! ```
//!
//! What another engine would have to bring is the trait [`Engine`]: take a proposal, tell when a
//! read may be served, answer a peer's message, say where it stands.

mod codec;
mod config;
mod log_store;
mod network;
mod state_machine;
#[cfg(test)]
mod suite;
mod types;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use kstore_host::Jobs;
use kstore_mvcc::{Index, Term};
use openraft::errors::{ClientWriteError, ForwardToLeader, LinearizableReadError, RaftError};
use openraft::raft::ClientWriteResult;
use openraft::type_config::async_runtime::watch::WatchReceiver;
use openraft::{AsyncRuntime, Instant, Raft, ReadPolicy, ServerState};
use prost::Message;

pub(crate) use codec::COMMAND;
use codec::decode_stored_membership;
pub(crate) use config::Seat;
pub use config::Timing;
pub(crate) use network::Limits;
pub(crate) use state_machine::MembershipEntry;
use state_machine::{ImageSource, StateMachine};
pub use types::PeerAddress;
use types::{Completion, Proposal, TypeConfig, why_ended};
use wire::{Append, Appended, Ballot, Balloted, ImagePiece, Transfer, Transferred};

use crate::apply::Applier;
use crate::incoming::Incoming;
use crate::peer::{Caller, Kind};
use crate::tasks::BoxFuture;
use crate::types::{MemberId, Role};
use crate::wal::Wal;

/// Why the engine did not take a proposal or could not vouch for a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Nothing was appended; the leader is another member, or not known. Safe to try again.
    NotLeader,
    /// The entry was appended, and then a new leader's log took its place or will do so.
    Unknown,
    /// No quorum has confirmed this leader in time.
    NoQuorum,
    /// The engine has ended.
    Stopped,
}

/// What happens when a proposal that was handed over is refused after all.
pub(crate) type OnRefused = Box<dyn FnOnce(Refused) + Send>;

/// Where the engine stands.
#[derive(Debug, Clone)]
pub(crate) struct EngineState {
    pub(crate) role: Role,
    pub(crate) leader: Option<MemberId>,
    pub(crate) term: Term,
    pub(crate) last_index: Option<Index>,
    pub(crate) committed: Option<Index>,
    /// On a leader: how long ago a quorum last acknowledged it.
    pub(crate) quorum_acknowledged: Option<Duration>,
    /// On a leader: how far each other member's log is known to match.
    pub(crate) matching: BTreeMap<MemberId, Option<Index>>,
    pub(crate) voters: Vec<MemberId>,
    pub(crate) learners: Vec<MemberId>,
    pub(crate) addresses: BTreeMap<MemberId, PeerAddress>,
    pub(crate) purged: Option<Index>,
    /// Why the engine ended, if it did.
    pub(crate) fatal: Option<String>,
}

/// Consensus, as a member uses it.
pub(crate) trait Engine: Send + Sync {
    /// Hands a payload over for replication. `Ok` means that the engine has it; should it be
    /// refused later, `on_refused` is called. Success is told by applying it.
    fn propose(&self, payload: Bytes, on_refused: OnRefused) -> BoxFuture<'_, Result<(), Refused>>;

    /// The index that a linearizable read must have applied, confirmed by a quorum.
    fn read_index(&self) -> BoxFuture<'_, Result<Index, Refused>>;

    /// Answers a peer's message. The error is a refusal to tell the peer.
    fn serve(&self, kind: Kind, body: Bytes) -> BoxFuture<'_, Result<Bytes, String>>;

    /// Makes the first membership of a cluster. Every first member calls it with the same one.
    fn initialize(&self, members: BTreeMap<u64, PeerAddress>) -> BoxFuture<'_, Result<(), String>>;

    /// Stands for election at once.
    fn elect(&self) -> BoxFuture<'_, ()>;

    /// Asks another member to take leadership over.
    fn transfer(&self, to: MemberId) -> BoxFuture<'_, ()>;

    /// Takes note of the newest durable root, so that the log below it may be purged.
    fn note_checkpoint(&self) -> BoxFuture<'_, ()>;

    /// Drops the head of the log, up to and with `upto`.
    fn purge(&self, upto: Index) -> BoxFuture<'_, ()>;

    /// Where it stands now.
    fn state(&self) -> EngineState;

    /// Its term.
    fn term(&self) -> Term;

    /// Whether it leads, and in which term. Cheaper than [`Engine::state`].
    fn leads(&self) -> Option<Term>;

    /// The leader that it knows of, and its address.
    fn leader(&self) -> Option<(MemberId, Option<PeerAddress>)>;

    /// Is ready when the state has changed since this call.
    fn changed(&self) -> BoxFuture<'static, ()>;

    /// Ends it.
    fn shutdown(&self) -> BoxFuture<'_, ()>;
}

/// What the engine is made of.
pub(crate) struct Parts {
    pub(crate) member: MemberId,
    pub(crate) cluster_name: String,
    pub(crate) timing: Timing,
    pub(crate) seat: Seat,
    pub(crate) limits: Limits,
    pub(crate) wal: Wal,
    pub(crate) jobs: Arc<dyn Jobs>,
    pub(crate) applier: Arc<Applier>,
    pub(crate) caller: Caller,
    pub(crate) incoming: Arc<Incoming>,
}

/// openraft on runtime `R`.
struct OpenRaft<R: AsyncRuntime> {
    raft: Raft<TypeConfig<R>, StateMachine>,
    incoming: Arc<Incoming>,
}

/// Recovers the state and starts the engine's tasks on the current runtime, which must be `R`.
/// Returns once every entry known to be committed is applied.
pub(crate) async fn start<R: AsyncRuntime>(parts: Parts) -> Result<Arc<dyn Engine>, String> {
    let config = config::engine_config(parts.cluster_name, parts.timing, parts.seat)?;
    let log = log_store::LogStore::new(parts.wal, Arc::clone(&parts.jobs));
    let peers = network::Peers {
        caller: parts.caller,
        limits: parts.limits,
        member: parts.member,
        transfers: Arc::new(AtomicU64::new(1)),
    };
    let machine = StateMachine::new(parts.applier, parts.jobs);
    let raft = Raft::<TypeConfig<R>, StateMachine>::build(
        parts.member.0,
        Arc::new(config),
        peers,
        log,
        machine,
    )
    .await
    .map_err(|error| error.to_string())?;
    raft.run();
    Ok(Arc::new(OpenRaft { raft, incoming: parts.incoming }))
}

impl<R: AsyncRuntime> OpenRaft<R> {
    async fn serve_kind(&self, kind: Kind, body: Bytes) -> Result<Bytes, String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        match kind {
            Kind::Append => {
                let request = Append::decode(body).map_err(|e| text(&e))?;
                let request = request.into_engine::<R>().map_err(|e| text(&e))?;
                let answer = self.raft.append_entries(request).await.map_err(|e| text(&e))?;
                Ok(Appended::from_engine(answer).encode_to_vec().into())
            }
            Kind::Vote | Kind::PreVote => {
                let request = Ballot::decode(body).map_err(|e| text(&e))?;
                let request = request.into_engine::<R>().map_err(|e| text(&e))?;
                let answer = match kind {
                    Kind::Vote => self.raft.vote(request).await,
                    _ => self.raft.pre_vote(request).await,
                };
                let answer = answer.map_err(|e| text(&e))?;
                Ok(Balloted::from_engine(&answer).encode_to_vec().into())
            }
            Kind::Transfer => {
                let request = Transfer::decode(body).map_err(|e| text(&e))?;
                let request = request.into_engine::<R>().map_err(|e| text(&e))?;
                let answer = self.raft.handle_transfer_leader(request).await;
                let accepted = answer.map_err(|e| text(&e))?.is_ok();
                Ok(Transferred { accepted }.encode_to_vec().into())
            }
            Kind::ImagePiece => {
                let piece = ImagePiece::decode(body).map_err(|e| text(&e))?;
                let taken = self.take_piece(piece).await?;
                Ok(taken.encode_to_vec().into())
            }
            Kind::Propose | Kind::ReadIndex | Kind::KeepAlive | Kind::LeaseTimes => {
                Err("not a message between engines".to_owned())
            }
        }
    }

    async fn take_piece(&self, piece: ImagePiece) -> Result<wire::ImageTaken, String> {
        let vote = wire::vote_of(piece.vote).map_err(|e| e.to_string())?;
        let last = piece.last;
        let membership = piece.membership.clone();
        let position = piece.position;
        if !last {
            let length = self.incoming.take(piece.transfer, piece.offset, piece.bytes).await?;
            return Ok(wire::ImageTaken { length, vote: None });
        }
        let length = piece.offset;
        let received = self.incoming.finish(piece.transfer, length).await?;
        let last_membership = decode_stored_membership(&membership).map_err(|e| e.to_string())?;
        let meta = openraft::SnapshotMeta {
            last_log_id: position.map(|p| types::log_id_at(p.into())),
            last_membership,
        };
        let snapshot = openraft::Snapshot { meta, snapshot: ImageSource::received(received) };
        let answer = self.raft.install_full_snapshot(vote, snapshot).await;
        let answer = answer.map_err(|e| e.to_string())?;
        Ok(wire::ImageTaken { length, vote: Some(codec::WireVote::from(&answer.vote)) })
    }
}

fn refused_write<R: AsyncRuntime>(error: &ClientWriteError<TypeConfig<R>>) -> Refused {
    match error {
        ClientWriteError::ForwardToLeader(_) => Refused::NotLeader,
        _ => Refused::Unknown,
    }
}

impl<R: AsyncRuntime> Engine for OpenRaft<R> {
    fn propose(&self, payload: Bytes, on_refused: OnRefused) -> BoxFuture<'_, Result<(), Refused>> {
        let completion = Completion(Box::new(move |result: ClientWriteResult<TypeConfig<R>>| {
            if let Err(error) = result {
                on_refused(refused_write(&error));
            }
        }));
        Box::pin(async move {
            let handed = self.raft.client_write_ff(Proposal(payload), Some(completion)).await;
            handed.map_err(|_| Refused::Stopped)
        })
    }

    fn read_index(&self) -> BoxFuture<'_, Result<Index, Refused>> {
        Box::pin(async move {
            match self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
                Ok(linearizer) => Ok(Index(linearizer.read_log_id().index())),
                Err(RaftError::Fatal(_)) => Err(Refused::Stopped),
                Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                    Err(Refused::NoQuorum)
                }
                Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(
                    ForwardToLeader { .. },
                ))) => Err(Refused::NotLeader),
            }
        })
    }

    fn serve(&self, kind: Kind, body: Bytes) -> BoxFuture<'_, Result<Bytes, String>> {
        Box::pin(self.serve_kind(kind, body))
    }

    fn initialize(&self, members: BTreeMap<u64, PeerAddress>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move { self.raft.initialize(members).await.map_err(|e| e.to_string()) })
    }

    fn elect(&self) -> BoxFuture<'_, ()> {
        // An engine that has ended is noticed by its state.
        Box::pin(async move { drop(self.raft.trigger().elect(false).await) })
    }

    fn transfer(&self, to: MemberId) -> BoxFuture<'_, ()> {
        Box::pin(async move { drop(self.raft.trigger().transfer_leader(to.0).await) })
    }

    fn note_checkpoint(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move { drop(self.raft.trigger().snapshot().await) })
    }

    fn purge(&self, upto: Index) -> BoxFuture<'_, ()> {
        Box::pin(async move { drop(self.raft.trigger().purge_log(upto.0).await) })
    }

    fn state(&self) -> EngineState {
        let receiver = self.raft.metrics();
        let metrics = receiver.borrow_watched();
        let membership = metrics.membership_config.membership();
        let role = match metrics.state {
            ServerState::Leader => Role::Leader,
            ServerState::Candidate => Role::Candidate,
            ServerState::Learner if membership.nodes().next().is_some() => Role::Learner,
            _ => Role::Follower,
        };
        EngineState {
            role,
            leader: metrics.current_leader.map(MemberId),
            term: Term(metrics.current_term),
            last_index: metrics.last_log_index.map(Index),
            committed: metrics.local_committed.as_ref().map(|id| Index(id.index)),
            quorum_acknowledged: metrics.last_quorum_acked.as_ref().map(|at| at.elapsed()),
            matching: metrics.replication.iter().flatten().map(matching).collect(),
            voters: membership.voter_ids().map(MemberId).collect(),
            learners: membership.learner_ids().map(MemberId).collect(),
            addresses: membership.nodes().map(|(id, a)| (MemberId(*id), a.clone())).collect(),
            purged: metrics.purged.as_ref().map(|id| Index(id.index)),
            fatal: metrics.running_state.as_ref().err().map(why_ended),
        }
    }

    fn term(&self) -> Term {
        let receiver = self.raft.server_metrics();
        let metrics = receiver.borrow_watched();
        Term(metrics.vote.leader_id.term)
    }

    fn leads(&self) -> Option<Term> {
        let receiver = self.raft.server_metrics();
        let metrics = receiver.borrow_watched();
        (metrics.state == ServerState::Leader).then(|| Term(metrics.vote.leader_id.term))
    }

    fn leader(&self) -> Option<(MemberId, Option<PeerAddress>)> {
        let receiver = self.raft.server_metrics();
        let metrics = receiver.borrow_watched();
        let leader = metrics.current_leader?;
        let address = metrics.membership_config.membership().get_node(&leader).cloned();
        Some((MemberId(leader), address))
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let mut receiver = self.raft.server_metrics();
        // A new receiver has seen nothing yet, so without this it would be ready at once, always.
        drop(receiver.borrow_and_update());
        Box::pin(async move {
            // The sender is gone when the engine has ended: that is a change, too.
            let _ = receiver.changed().await;
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move { drop(self.raft.shutdown().await) })
    }
}

fn matching(entry: (&u64, &Option<types::LogId>)) -> (MemberId, Option<Index>) {
    (MemberId(*entry.0), entry.1.as_ref().map(|id| Index(id.index)))
}
