//! openraft's calls to the other members, as messages over [`PeerNet`](crate::peer::PeerNet).
//!
//! Time limits are ours: openraft asks for an answer within a heartbeat interval, but an append is
//! acknowledged only after the peer's sync, so it gets an election timeout; a link that lost a
//! message is tried again after that.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use openraft::{AsyncRuntime, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use prost::Message;

use super::codec::{WirePosition, WireVote, encode_stored_membership};
use super::state_machine::ImageSource;
use super::types::{PeerAddress, TypeConfig, Vote, position_of};
use super::wire::{
    Append, Appended, Ballot, Balloted, ImagePiece, ImageTaken, Transfer, Transferred, vote_of,
};
use crate::peer::{Caller, Channel, Kind, PeerError};
use crate::types::MemberId;

/// How long peers may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// For an append: the peer syncs before it answers.
    pub(crate) append: Duration,
    /// For a heartbeat or a ballot.
    pub(crate) heartbeat: Duration,
    /// For one piece of an image.
    pub(crate) piece: Duration,
}

/// Makes a [`Peer`] for each other member.
pub(crate) struct Peers {
    pub(crate) caller: Caller,
    pub(crate) limits: Limits,
    pub(crate) member: MemberId,
    /// Numbers the image transfers of this run of the member.
    pub(crate) transfers: Arc<std::sync::atomic::AtomicU64>,
}

/// One other member on one of its channels.
pub(crate) struct Peer {
    caller: Caller,
    limits: Limits,
    from: MemberId,
    to: MemberId,
    address: PeerAddress,
    channel: Channel,
    transfers: Arc<std::sync::atomic::AtomicU64>,
}

impl Peers {
    fn peer(&self, target: u64, address: &PeerAddress, channel: Channel) -> Peer {
        Peer {
            caller: self.caller.clone(),
            limits: self.limits,
            from: self.member,
            to: MemberId(target),
            address: address.clone(),
            channel,
            transfers: Arc::clone(&self.transfers),
        }
    }
}

impl<R: AsyncRuntime> RaftNetworkFactory<TypeConfig<R>> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &PeerAddress) -> Peer {
        self.peer(target, node, Channel::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &PeerAddress) -> Peer {
        self.peer(target, node, Channel::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &PeerAddress) -> Peer {
        self.peer(target, node, Channel::Image)
    }
}

impl Peer {
    async fn ask<R: AsyncRuntime, M: Message + Default>(
        &self,
        channel: Channel,
        kind: Kind,
        body: impl Message,
        limit: Duration,
        action: RPCTypes,
    ) -> Result<M, RPCError<TypeConfig<R>>> {
        let body = Bytes::from(body.encode_to_vec());
        let answer = self.caller.call(self.to, &self.address, channel, kind, body, limit).await;
        let answer = answer.map_err(|error| match error {
            PeerError::Unreachable(_) | PeerError::Refused(_) => {
                RPCError::Unreachable(Unreachable::new(&error))
            }
            PeerError::TimedOut => RPCError::Timeout(Timeout {
                action,
                id: self.from.0,
                target: self.to.0,
                timeout: limit,
            }),
        })?;
        M::decode(answer).map_err(|e| RPCError::Network(NetworkError::new(&e)))
    }

    async fn ballot<R: AsyncRuntime>(
        &self,
        kind: Kind,
        request: &VoteRequest<TypeConfig<R>>,
    ) -> Result<VoteResponse<TypeConfig<R>>, RPCError<TypeConfig<R>>> {
        let answer: Balloted = self
            .ask::<R, _>(
                Channel::Heartbeat,
                kind,
                Ballot::from_engine(request),
                self.limits.append,
                RPCTypes::Vote,
            )
            .await?;
        answer.into_engine().map_err(|e| RPCError::Network(NetworkError::new(&e)))
    }

    async fn send_image<R: AsyncRuntime>(
        &self,
        vote: &Vote,
        image: &SnapshotOf<TypeConfig<R>, ImageSource>,
    ) -> Result<Vote, RPCError<TypeConfig<R>>> {
        let network = |e: &dyn std::fmt::Display| RPCError::Network(NetworkError::from_string(e));
        let transfer = self.transfers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut reader = image.snapshot.reader().map_err(|e| network(&e))?;
        let mut offset = 0;
        loop {
            let bytes = reader.next().await.map_err(|e| network(&e))?;
            let last = bytes.is_none();
            let bytes = bytes.unwrap_or_default();
            let length = bytes.len() as u64;
            let piece = ImagePiece {
                vote: Some(WireVote::from(vote)),
                transfer,
                offset,
                bytes,
                last,
                position: last
                    .then(|| image.meta.last_log_id.as_ref().map(|id| position_of(id).into()))
                    .flatten()
                    .map(|position: WirePosition| position),
                membership: if last {
                    encode_stored_membership(&image.meta.last_membership)
                } else {
                    Bytes::new()
                },
            };
            // The last piece is answered after the receiver has installed the image.
            let limit = if last { self.limits.piece * 10 } else { self.limits.piece };
            let taken: ImageTaken = self
                .ask::<R, _>(
                    Channel::Image,
                    Kind::ImagePiece,
                    piece,
                    limit,
                    RPCTypes::InstallSnapshot,
                )
                .await?;
            offset += length;
            if last {
                return vote_of(taken.vote).map_err(|e| network(&e));
            }
            if taken.length != offset {
                return Err(network(&"receiver lost its place in the image"));
            }
        }
    }
}

impl<R: AsyncRuntime> RaftNetworkV2<TypeConfig<R>> for Peer {
    type SnapshotData = ImageSource;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig<R>>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig<R>>, RPCError<TypeConfig<R>>> {
        let limit = match self.channel {
            Channel::Heartbeat => self.limits.heartbeat,
            _ => self.limits.append,
        };
        let answer: Appended = self
            .ask::<R, _>(
                self.channel,
                Kind::Append,
                Append::from_engine(rpc),
                limit,
                RPCTypes::AppendEntries,
            )
            .await?;
        answer.into_engine().map_err(|e| RPCError::Network(NetworkError::new(&e)))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig<R>>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig<R>>, RPCError<TypeConfig<R>>> {
        self.ballot(Kind::Vote, &rpc).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig<R>>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig<R>>, RPCError<TypeConfig<R>>> {
        self.ballot(Kind::PreVote, &rpc).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig<R>, ImageSource>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig<R>>, StreamingError<TypeConfig<R>>> {
        let sending = self.send_image::<R>(&vote, &snapshot);
        futures_util::pin_mut!(sending, cancel);
        match futures_util::future::select(sending, cancel).await {
            futures_util::future::Either::Left((vote, _)) => Ok(SnapshotResponse::new(vote?)),
            futures_util::future::Either::Right((closed, _)) => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig<R>>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig<R>>, RPCError<TypeConfig<R>>> {
        let body = Transfer::from_engine(&request);
        let limit = self.limits.append;
        let answer: Transferred = self
            .ask::<R, _>(Channel::Heartbeat, Kind::Transfer, body, limit, RPCTypes::TransferLeader)
            .await?;
        if answer.accepted {
            return Ok(Ok(()));
        }
        Err(RPCError::Network(NetworkError::from_string("peer does not take leadership over")))
    }
}
