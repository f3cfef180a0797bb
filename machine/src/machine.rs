//! The machine: entry by entry, from a payload to effects, an answer and a hash.
//!
//! Invariant: what an entry does depends on the entry and on the entries before it alone: not on
//! who waits for an answer, not on where the store's pages lie, not on time.
//!
//! Invariant: a refused command leaves no trace but its mark in the chain hash.

use bytes::Bytes;
use kstore_mvcc::{
    Access, ChainHash, LeaseId, NoteKind, Position, ReadError, Revision, Snapshot, Store,
};

use crate::applying::{Applying, tag};
use crate::batch::{EventBatch, EventSpan};
use crate::chain;
use crate::cluster;
use crate::command::{AlarmKind, Command, Compact, Envelope, Operation, Retain, Step, Txn};
use crate::reply::{Body, RaisedAlarm, Rejected, Reply};
use crate::stop::{Fatal, Stop, parted};

/// The replicated state machine over a store. Whoever owns it applies committed entries in order
/// and publishes after a batch of them.
#[derive(Debug)]
pub struct Machine {
    store: Store,
    /// The last entry applied; None in a new store.
    applied: Option<Position>,
    /// Over all entries up to `applied`.
    chain: ChainHash,
    /// The rows of the alarm table, which nearly every command is checked against.
    alarms: Vec<RaisedAlarm>,
    /// The events of entries that were applied and not published yet; as many as the caller applies
    /// between two publishes.
    unpublished: Vec<EventBatch>,
}

/// Whether somebody waits for the answer here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Build all of it.
    Reply,
    /// Build it if this run of a member proposed the command: nobody else waits for it.
    ReplyTo {
        /// The number of the run.
        origin: u64,
    },
    /// Leave out what was read (previous values, ranges); it is built for nobody.
    Nothing,
}

impl Wants {
    /// What it comes to for one request.
    fn of(self, request: RequestId) -> Self {
        match self {
            Self::ReplyTo { origin } if origin == request.origin => Self::Reply,
            Self::ReplyTo { .. } => Self::Nothing,
            settled => settled,
        }
    }
}

/// A membership entry of the consensus layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// As the consensus layer encodes it; the same bytes on every member.
    pub encoded: Bytes,
    /// Who votes.
    pub voters: Vec<u64>,
    /// Who only follows.
    pub learners: Vec<u64>,
}

/// What applying an entry came to.
#[derive(Debug)]
pub struct Applied {
    /// Whose request it was; None for an entry without a command.
    pub request: Option<RequestId>,
    /// The answer.
    pub reply: Result<Reply, Rejected>,
    /// Where its events lie, if it made any.
    pub events: Option<EventSpan>,
    /// What others keep up with.
    pub notices: Vec<Notice>,
}

/// What a proposer finds its request by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId {
    /// The member that proposed it.
    pub origin: u64,
    /// Its own number for the request.
    pub sequence: u64,
}

/// A change that somebody outside the machine keeps up with, such as the lease clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A lease begins.
    LeaseGranted {
        /// Which.
        id: LeaseId,
        /// Seconds to live.
        ttl: i64,
    },
    /// A lease ended.
    LeaseRevoked {
        /// Which.
        id: LeaseId,
    },
    /// A leader says how long a lease had left.
    LeaseCheckpointed {
        /// Which.
        id: LeaseId,
        /// Seconds.
        remaining: i64,
    },
    /// Names, addresses or roles of members.
    MembersChanged,
    /// An alarm was raised or cleared.
    AlarmsChanged,
    /// The version that the whole cluster speaks.
    ClusterVersion(String),
    /// Clients may not read below this any more.
    Compacted(Revision),
}

/// What became visible with a publish.
#[derive(Debug)]
pub struct Published {
    /// The new view.
    pub snapshot: Snapshot,
    /// What happened since the last publish, in order.
    pub batches: Vec<EventBatch>,
}

impl Machine {
    /// The machine on top of an opened store, going on after the entry that the store was left at.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(store: Store) -> Result<Self, ReadError> {
        let snapshot = store.reader().snapshot();
        Ok(Self {
            applied: snapshot.position(),
            chain: snapshot.chain(),
            alarms: cluster::alarms(&snapshot, Access::Disk)?,
            unpublished: Vec::new(),
            store,
        })
    }

    /// The store below, for its checkpoints and images.
    pub fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// The store below, to be read.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Gives the store back, to be closed or replaced.
    #[must_use]
    pub fn into_store(self) -> Store {
        self.store
    }

    /// The last entry applied.
    #[must_use]
    pub fn applied(&self) -> Option<Position> {
        self.applied
    }

    /// The hash over all entries applied.
    #[must_use]
    pub fn chain(&self) -> ChainHash {
        self.chain
    }

    /// Applies an entry with a command; an empty payload is an entry without one.
    ///
    /// # Errors
    /// The member must stop: see [`Fatal`]. The machine may not be used any more.
    ///
    /// # Panics
    /// If entries do not come in order, which is a bug of the caller.
    pub fn apply(
        &mut self,
        position: Position,
        payload: &Bytes,
        wants: Wants,
    ) -> Result<Applied, Fatal> {
        if payload.is_empty() {
            return self.run(position, None, wants, |applying, _| {
                applying.outcome.tag(tag::BLANK);
                Ok(applying.reply(Body::Done))
            });
        }
        let (envelope, command) = Envelope::decode_from_bytes(payload)?;
        let request = RequestId { origin: envelope.origin, sequence: envelope.sequence };
        let guard = envelope.term_guard;
        self.run(position, Some(request), wants.of(request), |applying, alarms| {
            if guard.is_some_and(|term| term != position.term.0) {
                return Err(Rejected::TermChanged.into());
            }
            refuse_under_alarm(&command, alarms)?;
            execute(applying, alarms, &command)
        })
    }

    /// Applies a membership entry of the consensus layer.
    ///
    /// # Errors
    /// The member must stop: see [`Fatal`].
    ///
    /// # Panics
    /// If entries do not come in order, which is a bug of the caller.
    pub fn apply_membership(
        &mut self,
        position: Position,
        membership: &Membership,
    ) -> Result<Applied, Fatal> {
        self.run(position, None, Wants::Nothing, |applying, _| {
            applying.membership(position, membership)
        })
    }

    /// Makes everything applied so far visible at once.
    ///
    /// # Panics
    /// If nothing was ever applied: then there is nothing to publish.
    pub fn publish(&mut self) -> Published {
        let position = self.applied.expect("the caller publishes after it applied something");
        let snapshot = self.store.publish(position, self.chain);
        Published { snapshot, batches: std::mem::take(&mut self.unpublished) }
    }

    /// Runs one entry: all its effects or none, one step of the chain.
    fn run(
        &mut self,
        position: Position,
        request: Option<RequestId>,
        wants: Wants,
        body: impl FnOnce(&mut Applying<'_, '_>, &[RaisedAlarm]) -> Result<Reply, Stop>,
    ) -> Result<Applied, Fatal> {
        assert!(
            self.applied.is_none_or(|applied| applied.index < position.index),
            "entries are applied in order"
        );
        let mut write = self.store.begin(position.index);
        let mut applying = Applying::new(&mut write, position.index, wants);
        let result = parted(body(&mut applying, &self.alarms))?;
        let Applying { events, notices, mut outcome, alarms, .. } = applying;
        let applied = match result {
            Ok(reply) => {
                let finished = write.finish()?;
                self.chain = chain::extended(self.chain, position, Some(&finished), &outcome);
                let batch = events.finish(finished.revision);
                let events = batch.as_ref().map(|batch| EventSpan {
                    revision: finished.revision,
                    first: finished.first_sub,
                    events: batch.events(),
                });
                self.unpublished.extend(batch);
                self.alarms = alarms.unwrap_or_else(|| std::mem::take(&mut self.alarms));
                Applied { request, reply: Ok(reply), events, notices }
            }
            Err(rejected) => {
                write.abandon()?;
                outcome.refused(rejected);
                self.chain = chain::extended(self.chain, position, None, &outcome);
                Applied { request, reply: Err(rejected), events: None, notices: Vec::new() }
            }
        };
        self.applied = Some(position);
        Ok(applied)
    }
}

/// What an alarm keeps from being done. Clearing an alarm, and what the members need to know of one
/// another, always goes.
fn refuse_under_alarm(command: &Command, alarms: &[RaisedAlarm]) -> Result<(), Rejected> {
    if alarms.is_empty() {
        return Ok(());
    }
    let up = |kind| alarms.iter().any(|raised| raised.alarm == kind);
    let of_clients = matches!(
        command,
        Command::Put(_)
            | Command::DeleteRange(_)
            | Command::Txn(_)
            | Command::Compact(_)
            | Command::LeaseGrant(_)
            | Command::LeaseRevoke(_)
    );
    if up(AlarmKind::Corrupt) && of_clients {
        return Err(Rejected::Corrupt);
    }
    let takes_space = match command {
        Command::Put(_) | Command::LeaseGrant(_) => true,
        Command::Txn(txn) => may_put(txn),
        _ => false,
    };
    if up(AlarmKind::NoSpace) && takes_space {
        return Err(Rejected::NoSpace);
    }
    Ok(())
}

/// Whether any branch holds a put.
fn may_put(txn: &Txn) -> bool {
    let puts = |operation: &Operation| match &operation.step {
        Some(Step::Put(_)) => true,
        Some(Step::Txn(nested)) => may_put(nested),
        _ => false,
    };
    txn.success.iter().chain(&txn.failure).any(puts)
}

fn execute(
    applying: &mut Applying<'_, '_>,
    alarms: &[RaisedAlarm],
    command: &Command,
) -> Result<Reply, Stop> {
    match command {
        Command::Put(put) => applying.put(put),
        Command::DeleteRange(delete) => applying.delete_range(delete),
        Command::Txn(txn) => applying.txn(txn),
        Command::Compact(compact) => applying.compact(compact),
        Command::Retain(retain) => applying.retain(retain),
        Command::LeaseGrant(grant) => applying.lease_grant(grant),
        Command::LeaseRevoke(revoke) => applying.lease_revoke(revoke),
        Command::LeaseCheckpoint(checkpoint) => applying.lease_checkpoint(checkpoint),
        Command::MemberAttributes(attributes) => applying.member_attributes(attributes),
        Command::SetClusterVersion(version) => applying.set_cluster_version(version),
        Command::Alarm(alarm) => applying.alarm(alarm, alarms),
    }
}

impl Applying<'_, '_> {
    /// Moves the horizon below which clients may not read.
    fn compact(&mut self, compact: &Compact) -> Result<Reply, Stop> {
        let (compacted, current) = (self.write.compacted(), self.write.revision());
        let to = Revision(u64::try_from(compact.revision).unwrap_or(0));
        if to <= compacted {
            return Err(Rejected::Compacted { compacted }.into());
        }
        if to > current {
            return Err(Rejected::FutureRevision { current }.into());
        }
        self.write.set_compacted(to);
        self.note(NoteKind::Compaction, b"compacted", &to.0.to_be_bytes())?;
        self.notices.push(Notice::Compacted(to));
        self.outcome.tag(tag::COMPACT);
        self.outcome.number(to.0);
        Ok(self.reply(Body::Done))
    }

    /// Moves the horizon below which the store forgets, never beyond what clients may read and
    /// never back.
    fn retain(&mut self, retain: &Retain) -> Result<Reply, Stop> {
        let asked = Revision(u64::try_from(retain.revision).unwrap_or(0));
        let to = asked.min(self.write.compacted());
        if to > self.write.retained() {
            self.write.set_retained(to);
            self.note(NoteKind::Compaction, b"retained", &to.0.to_be_bytes())?;
        }
        self.outcome.tag(tag::RETAIN);
        self.outcome.number(to.0);
        Ok(self.reply(Body::Done))
    }
}
