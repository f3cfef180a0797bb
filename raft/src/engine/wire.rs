//! What members say to each other about Raft, as protobuf messages, and the way from and to
//! openraft's types. Drawn in `docs/formats/peer.md`.

use bytes::Bytes;
use openraft::AsyncRuntime;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use prost::Message;

use super::codec::{Malformed, WirePosition, WireVote, decode_entry, encode_payload};
use super::types::{LogId, TypeConfig, Vote, log_id_at, position_of};
use crate::wal;

/// One entry of the Raft log.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WireEntry {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) index: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) payload: Bytes,
}

/// Take these entries (or, without any, know that I lead).
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Append {
    #[prost(message, optional, tag = "1")]
    pub(crate) vote: Option<WireVote>,
    #[prost(message, optional, tag = "2")]
    pub(crate) previous: Option<WirePosition>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) entries: Vec<WireEntry>,
    #[prost(message, optional, tag = "4")]
    pub(crate) committed: Option<WirePosition>,
}

/// The answer to an [`Append`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Appended {
    #[prost(enumeration = "AppendResult", tag = "1")]
    pub(crate) result: i32,
    /// With a partial success: up to where.
    #[prost(message, optional, tag = "2")]
    pub(crate) position: Option<WirePosition>,
    /// With a higher vote: which.
    #[prost(message, optional, tag = "3")]
    pub(crate) vote: Option<WireVote>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum AppendResult {
    Unknown = 0,
    Success = 1,
    PartialSuccess = 2,
    Conflict = 3,
    HigherVote = 4,
}

/// Vote for me, or tell me whether you would.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ballot {
    #[prost(message, optional, tag = "1")]
    pub(crate) vote: Option<WireVote>,
    #[prost(message, optional, tag = "2")]
    pub(crate) last: Option<WirePosition>,
    #[prost(bool, tag = "3")]
    pub(crate) leadership_transfer: bool,
}

/// The answer to a [`Ballot`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Balloted {
    #[prost(message, optional, tag = "1")]
    pub(crate) vote: Option<WireVote>,
    #[prost(bool, tag = "2")]
    pub(crate) granted: bool,
    #[prost(message, optional, tag = "3")]
    pub(crate) last: Option<WirePosition>,
}

/// Lead in my place.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Transfer {
    #[prost(message, optional, tag = "1")]
    pub(crate) from: Option<WireVote>,
    #[prost(fixed64, tag = "2")]
    pub(crate) to: u64,
    #[prost(message, optional, tag = "3")]
    pub(crate) last: Option<WirePosition>,
}

/// The answer to a [`Transfer`]: whether the target will try.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Transferred {
    #[prost(bool, tag = "1")]
    pub(crate) accepted: bool,
}

/// A piece of an image for a member that is far behind. Pieces come in order, one at a time.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ImagePiece {
    /// Who leads, by the sender's knowledge.
    #[prost(message, optional, tag = "1")]
    pub(crate) vote: Option<WireVote>,
    /// Chosen by the sender for this transfer.
    #[prost(uint64, tag = "2")]
    pub(crate) transfer: u64,
    /// Where in the stream the bytes belong.
    #[prost(uint64, tag = "3")]
    pub(crate) offset: u64,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) bytes: Bytes,
    /// Whether this is the last piece.
    #[prost(bool, tag = "5")]
    pub(crate) last: bool,
    /// The entry up to which the image goes, and the membership there, with the last piece.
    #[prost(message, optional, tag = "6")]
    pub(crate) position: Option<WirePosition>,
    #[prost(bytes = "bytes", tag = "7")]
    pub(crate) membership: Bytes,
}

/// The answer to an [`ImagePiece`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ImageTaken {
    /// Where the receiver's copy ends now.
    #[prost(uint64, tag = "1")]
    pub(crate) length: u64,
    /// After the last piece: the receiver's vote.
    #[prost(message, optional, tag = "2")]
    pub(crate) vote: Option<WireVote>,
}

fn wire_position(id: Option<&LogId>) -> Option<WirePosition> {
    id.map(|id| position_of(id).into())
}

fn log_id(position: Option<WirePosition>) -> Option<LogId> {
    position.map(|position| log_id_at(position.into()))
}

/// The vote that a message must carry.
pub(crate) fn vote_of(vote: Option<WireVote>) -> Result<Vote, Malformed> {
    vote.map(Vote::from).ok_or(Malformed("message without a vote"))
}

impl Append {
    pub(crate) fn from_engine<R: AsyncRuntime>(
        request: AppendEntriesRequest<TypeConfig<R>>,
    ) -> Self {
        let entries = request
            .entries
            .iter()
            .map(|entry| WireEntry {
                term: entry.log_id.leader_id.term,
                index: entry.log_id.index,
                payload: encode_payload(&entry.payload),
            })
            .collect();
        Self {
            vote: Some(WireVote::from(&request.vote)),
            previous: wire_position(request.prev_log_id.as_ref()),
            entries,
            committed: wire_position(request.leader_commit.as_ref()),
        }
    }

    pub(crate) fn into_engine<R: AsyncRuntime>(
        self,
    ) -> Result<AppendEntriesRequest<TypeConfig<R>>, Malformed> {
        let entries = self
            .entries
            .into_iter()
            .map(|wire| {
                let position = WirePosition { term: wire.term, index: wire.index }.into();
                decode_entry(wal::Entry { position, payload: wire.payload })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(AppendEntriesRequest {
            vote: vote_of(self.vote)?,
            prev_log_id: log_id(self.previous),
            entries,
            leader_commit: log_id(self.committed),
        })
    }
}

impl Appended {
    pub(crate) fn from_engine<R: AsyncRuntime>(
        response: AppendEntriesResponse<TypeConfig<R>>,
    ) -> Self {
        let (result, position, vote) = match response {
            AppendEntriesResponse::Success => (AppendResult::Success, None, None),
            AppendEntriesResponse::PartialSuccess(id) => {
                (AppendResult::PartialSuccess, wire_position(id.as_ref()), None)
            }
            AppendEntriesResponse::Conflict => (AppendResult::Conflict, None, None),
            AppendEntriesResponse::HigherVote(vote) => {
                (AppendResult::HigherVote, None, Some(WireVote::from(&vote)))
            }
        };
        Self { result: result.into(), position, vote }
    }

    pub(crate) fn into_engine<R: AsyncRuntime>(
        self,
    ) -> Result<AppendEntriesResponse<TypeConfig<R>>, Malformed> {
        Ok(match self.result() {
            AppendResult::Success => AppendEntriesResponse::Success,
            AppendResult::PartialSuccess => {
                AppendEntriesResponse::PartialSuccess(log_id(self.position))
            }
            AppendResult::Conflict => AppendEntriesResponse::Conflict,
            AppendResult::HigherVote => AppendEntriesResponse::HigherVote(vote_of(self.vote)?),
            AppendResult::Unknown => return Err(Malformed("answer to an append")),
        })
    }
}

impl Ballot {
    pub(crate) fn from_engine<R: AsyncRuntime>(request: &VoteRequest<TypeConfig<R>>) -> Self {
        Self {
            vote: Some(WireVote::from(&request.vote)),
            last: wire_position(request.last_log_id.as_ref()),
            leadership_transfer: request.leadership_transfer,
        }
    }

    pub(crate) fn into_engine<R: AsyncRuntime>(
        self,
    ) -> Result<VoteRequest<TypeConfig<R>>, Malformed> {
        Ok(VoteRequest {
            vote: vote_of(self.vote)?,
            last_log_id: log_id(self.last),
            leadership_transfer: self.leadership_transfer,
        })
    }
}

impl Balloted {
    pub(crate) fn from_engine<R: AsyncRuntime>(response: &VoteResponse<TypeConfig<R>>) -> Self {
        Self {
            vote: Some(WireVote::from(&response.vote)),
            granted: response.vote_granted,
            last: wire_position(response.last_log_id.as_ref()),
        }
    }

    pub(crate) fn into_engine<R: AsyncRuntime>(
        self,
    ) -> Result<VoteResponse<TypeConfig<R>>, Malformed> {
        Ok(VoteResponse {
            vote: vote_of(self.vote)?,
            vote_granted: self.granted,
            last_log_id: log_id(self.last),
        })
    }
}

impl Transfer {
    pub(crate) fn from_engine<R: AsyncRuntime>(
        request: &TransferLeaderRequest<TypeConfig<R>>,
    ) -> Self {
        Self {
            from: Some(WireVote::from(request.from_leader())),
            to: *request.to_node_id(),
            last: wire_position(request.last_log_id()),
        }
    }

    pub(crate) fn into_engine<R: AsyncRuntime>(
        self,
    ) -> Result<TransferLeaderRequest<TypeConfig<R>>, Malformed> {
        Ok(TransferLeaderRequest::new(vote_of(self.from)?, self.to, log_id(self.last)))
    }
}
