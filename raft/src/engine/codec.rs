//! The bytes of entries, votes and memberships, on disk and between members.
//!
//! openraft's own serialised forms are not stable across its releases, so none of them is ever
//! stored or sent. Drawn in `docs/formats/peer.md`; an entry's payload is
//!
//! ```text
//!   byte 0   kind: 0 blank, 1 command, 2 membership
//!   rest     nothing | the command's envelope | a StoredConfiguration message
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use kstore_mvcc::Position;
use openraft::EntryPayload;
use prost::Message;

use super::types::{
    Entry, LeaderId, Membership, PeerAddress, Proposal, StoredMembership, Vote, log_id_at,
    position_of,
};
use crate::wal;

/// The kind byte of an entry that changes nothing.
pub(crate) const BLANK: u8 = 0;
/// The kind byte of an entry that holds a command.
pub(crate) const COMMAND: u8 = 1;
/// The kind byte of an entry that sets the membership.
pub(crate) const MEMBERSHIP: u8 = 2;

/// The bytes are not what any version of kstore wrote there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "malformed {}", self.0)
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for std::io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, malformed)
    }
}

/// A position on the wire.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct WirePosition {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) index: u64,
}

/// A vote on the wire and in the write-ahead log.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct WireVote {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(fixed64, tag = "2")]
    pub(crate) member: u64,
    #[prost(bool, tag = "3")]
    pub(crate) committed: bool,
}

/// One voter set of a configuration.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WireVoters {
    #[prost(fixed64, repeated, tag = "1")]
    pub(crate) members: Vec<u64>,
}

/// One member's address.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WireAddress {
    #[prost(fixed64, tag = "1")]
    pub(crate) member: u64,
    #[prost(string, repeated, tag = "2")]
    pub(crate) urls: Vec<String>,
}

/// A membership, and in a store the position of the entry that set it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredConfiguration {
    #[prost(message, optional, tag = "1")]
    pub(crate) position: Option<WirePosition>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) voters: Vec<WireVoters>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) addresses: Vec<WireAddress>,
}

impl From<Position> for WirePosition {
    fn from(position: Position) -> Self {
        Self { term: position.term.0, index: position.index.0 }
    }
}

impl From<WirePosition> for Position {
    fn from(wire: WirePosition) -> Self {
        Self { term: kstore_mvcc::Term(wire.term), index: kstore_mvcc::Index(wire.index) }
    }
}

impl From<&Vote> for WireVote {
    fn from(vote: &Vote) -> Self {
        Self {
            term: vote.leader_id.term,
            member: vote.leader_id.voted_for,
            committed: vote.committed,
        }
    }
}

impl From<WireVote> for Vote {
    fn from(wire: WireVote) -> Self {
        let leader_id = LeaderId { term: wire.term, voted_for: wire.member };
        Self { leader_id, committed: wire.committed }
    }
}

/// A vote as the write-ahead log keeps it.
pub(crate) fn encode_vote(vote: &Vote) -> Bytes {
    WireVote::from(vote).encode_to_vec().into()
}

pub(crate) fn decode_vote(bytes: &[u8]) -> Result<Vote, Malformed> {
    WireVote::decode(bytes).map(Vote::from).map_err(|_| Malformed("vote"))
}

/// A membership with the position of its entry, as the store keeps it.
pub(crate) fn encode_stored_membership(stored: &StoredMembership) -> Bytes {
    let position = stored.log_id().as_ref().map(|id| position_of(id).into());
    let configuration = configuration_of(stored.membership(), position);
    configuration.encode_to_vec().into()
}

pub(crate) fn decode_stored_membership(bytes: &[u8]) -> Result<StoredMembership, Malformed> {
    let wire = StoredConfiguration::decode(bytes).map_err(|_| Malformed("membership"))?;
    let log_id = wire.position.map(|position| log_id_at(position.into()));
    Ok(StoredMembership::new(log_id, membership_of(wire)?))
}

fn configuration_of(
    membership: &Membership,
    position: Option<WirePosition>,
) -> StoredConfiguration {
    let voters = membership
        .get_joint_config()
        .iter()
        .map(|set| WireVoters { members: set.iter().copied().collect() })
        .collect();
    let addresses = membership
        .nodes()
        .map(|(id, address)| WireAddress { member: *id, urls: address.urls.clone() })
        .collect();
    StoredConfiguration { position, voters, addresses }
}

fn membership_of(wire: StoredConfiguration) -> Result<Membership, Malformed> {
    let voters: Vec<BTreeSet<u64>> =
        wire.voters.into_iter().map(|set| set.members.into_iter().collect()).collect();
    let nodes: BTreeMap<u64, PeerAddress> = wire
        .addresses
        .into_iter()
        .map(|address| (address.member, PeerAddress { urls: address.urls }))
        .collect();
    Membership::new(voters, nodes).map_err(|_| Malformed("membership"))
}

/// The payload of an entry. A command's is shared, not copied.
pub(crate) fn encode_payload(payload: &EntryPayload<Proposal, u64, PeerAddress>) -> Bytes {
    match payload {
        EntryPayload::Blank => Bytes::from_static(&[BLANK]),
        EntryPayload::Normal(proposal) => proposal.0.clone(),
        EntryPayload::Membership(membership) => {
            let configuration = configuration_of(membership, None);
            let mut bytes = BytesMut::with_capacity(1 + configuration.encoded_len());
            bytes.put_u8(MEMBERSHIP);
            configuration.encode(&mut bytes).expect("a growing buffer takes any message");
            bytes.freeze()
        }
    }
}

fn decode_payload(bytes: Bytes) -> Result<EntryPayload<Proposal, u64, PeerAddress>, Malformed> {
    match bytes.first() {
        Some(&BLANK) if bytes.len() == 1 => Ok(EntryPayload::Blank),
        Some(&COMMAND) => Ok(EntryPayload::Normal(Proposal(bytes))),
        Some(&MEMBERSHIP) => {
            let wire = StoredConfiguration::decode(&bytes[1..])
                .map_err(|_| Malformed("membership entry"))?;
            Ok(EntryPayload::Membership(membership_of(wire)?))
        }
        _ => Err(Malformed("entry")),
    }
}

/// An entry as the write-ahead log keeps it.
pub(crate) fn encode_entry(entry: &Entry) -> wal::Entry {
    wal::Entry { position: position_of(&entry.log_id), payload: encode_payload(&entry.payload) }
}

pub(crate) fn decode_entry(entry: wal::Entry) -> Result<Entry, Malformed> {
    Ok(Entry { log_id: log_id_at(entry.position), payload: decode_payload(entry.payload)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_membership_survives_its_encoding() {
        let voters = vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])];
        let nodes: BTreeMap<u64, PeerAddress> = (1..=4)
            .map(|id| (id, PeerAddress { urls: vec![format!("http://127.0.0.1:{id}")] }))
            .collect();
        let membership = Membership::new(voters, nodes).unwrap();
        let position = Position { term: kstore_mvcc::Term(3), index: kstore_mvcc::Index(7) };
        let stored = StoredMembership::new(Some(log_id_at(position)), membership);
        let decoded = decode_stored_membership(&encode_stored_membership(&stored)).unwrap();
        assert_eq!(decoded, stored);
    }

    #[test]
    fn bytes_that_are_no_entry_are_refused() {
        assert!(decode_payload(Bytes::new()).is_err());
        assert!(decode_payload(Bytes::from_static(&[BLANK, 1])).is_err());
        assert!(decode_payload(Bytes::from_static(&[9, 1])).is_err());
        assert!(decode_payload(Bytes::from_static(&[MEMBERSHIP, 0xff])).is_err());
    }
}
