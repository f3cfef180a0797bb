//! What the members know of one another: names and addresses, the membership, alarms, the version
//! that all speak. Side tables, drawn in `docs/formats/command.md`:
//!
//! ```text
//!   Member  id                 ─► name, peer URLs, client URLs, role
//!   Alarm   member, kind       ─► (nothing)
//!   Meta    "membership"       ─► the newest membership as the consensus layer encodes it, its position
//!   Meta    "cluster-version"  ─► text
//! ```
//!
//! The consensus layer decides who votes; its membership entries pass through here so that they lie
//! in the same state as everything else, and are never younger or older than it.
//!
//! Invariant: a member that was removed keeps its row, so that its id is never used again.

use bytes::Bytes;
use kstore_mvcc::{Access, Index, NoteKind, Position, ReadError, Snapshot, Table, Term};
use prost::Message as _;

use crate::applying::{Applying, tag};
use crate::check::after;
use crate::command::{Alarm, AlarmAction, AlarmKind, MemberAttributes, SetClusterVersion};
use crate::machine::{Membership, Notice};
use crate::reply::{Body, RaisedAlarm, Rejected, Reply};
use crate::stop::{Fatal, Stop};

/// What is known of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Its name; empty until it has started.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// What it is in the newest membership.
    pub role: Role,
}

/// What a member is in the newest membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Role {
    /// It is known, but was never in a membership.
    Announced = 0,
    /// It votes.
    Voter = 1,
    /// It follows.
    Learner = 2,
    /// It was in a membership and is no more.
    Removed = 3,
}

/// The row of a member.
#[derive(Clone, PartialEq, prost::Message)]
struct MemberRow {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "2")]
    peer_urls: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    client_urls: Vec<String>,
    #[prost(enumeration = "Role", tag = "4")]
    role: i32,
}

/// The row of the membership.
#[derive(Clone, PartialEq, prost::Message)]
struct MembershipRow {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    index: u64,
    #[prost(bytes = "bytes", tag = "3")]
    encoded: Bytes,
}

const MEMBERSHIP: &[u8] = b"membership";
const CLUSTER_VERSION: &[u8] = b"cluster-version";

/// Rows read at once from a table.
const PAGE: usize = 256;

/// All members that ever were, by id.
///
/// # Errors
/// The read fails.
pub fn members(snapshot: &Snapshot, access: Access) -> Result<Vec<Member>, ReadError> {
    let mut members = Vec::new();
    let mut from = Bytes::new();
    loop {
        let rows = snapshot.table_scan(Table::Member, &[], &from, PAGE, access)?;
        members.extend(rows.iter().filter_map(|(key, row)| member_of(key, row)));
        match rows.last() {
            Some((last, _)) if rows.len() == PAGE => from = after(last),
            _ => return Ok(members),
        }
    }
}

/// The alarms that are up.
///
/// # Errors
/// The read fails.
pub fn alarms(snapshot: &Snapshot, access: Access) -> Result<Vec<RaisedAlarm>, ReadError> {
    // A row for each member and kind of alarm, so there are few.
    let rows = snapshot.table_scan(Table::Alarm, &[], &[], ALARMS_MAX, access)?;
    Ok(rows.iter().filter_map(|(key, _)| alarm_of(key)).collect())
}

/// More alarms than this are not raised.
const ALARMS_MAX: usize = 1000;

/// The newest membership as the consensus layer encoded it, and the entry that it came with.
///
/// # Errors
/// The read fails.
pub fn membership(
    snapshot: &Snapshot,
    access: Access,
) -> Result<Option<(Position, Bytes)>, ReadError> {
    let row = snapshot.table(Table::Meta, MEMBERSHIP, access)?;
    Ok(row
        .and_then(|row| MembershipRow::decode(row).ok())
        .map(|row| (Position { term: Term(row.term), index: Index(row.index) }, row.encoded)))
}

/// The version that the whole cluster speaks, once it is known.
///
/// # Errors
/// The read fails.
pub fn cluster_version(snapshot: &Snapshot, access: Access) -> Result<Option<String>, ReadError> {
    let row = snapshot.table(Table::Meta, CLUSTER_VERSION, access)?;
    Ok(row.map(|row| String::from_utf8_lossy(&row).into_owned()))
}

fn member_of(key: &[u8], row: &[u8]) -> Option<Member> {
    let id = u64::from_be_bytes(key.try_into().ok()?);
    let row = MemberRow::decode(row).ok()?;
    let role = row.role();
    let MemberRow { name, peer_urls, client_urls, .. } = row;
    Some(Member { id, name, peer_urls, client_urls, role })
}

fn alarm_key(alarm: RaisedAlarm) -> [u8; 9] {
    let mut key = [0; 9];
    key[..8].copy_from_slice(&alarm.member.to_be_bytes());
    key[8] = match alarm.alarm {
        AlarmKind::None => 0,
        AlarmKind::NoSpace => 1,
        AlarmKind::Corrupt => 2,
    };
    key
}

fn alarm_of(key: &[u8]) -> Option<RaisedAlarm> {
    let (kind, member) = key.split_last()?;
    let member = u64::from_be_bytes(member.try_into().ok()?);
    let alarm = AlarmKind::try_from(i32::from(*kind)).ok()?;
    Some(RaisedAlarm { member, alarm })
}

impl Applying<'_, '_> {
    pub(crate) fn member_attributes(&mut self, given: &MemberAttributes) -> Result<Reply, Stop> {
        let mut row = self.member_row(given.id)?;
        if row.role() == Role::Removed {
            return Err(Rejected::MemberNotFound.into());
        }
        if !given.name.is_empty() {
            row.name.clone_from(&given.name);
        }
        if !given.peer_urls.is_empty() {
            row.peer_urls.clone_from(&given.peer_urls);
        }
        if !given.client_urls.is_empty() {
            row.client_urls.clone_from(&given.client_urls);
        }
        self.write_member(given.id, &row)?;
        self.notices.push(Notice::MembersChanged);
        self.outcome.tag(tag::MEMBER_ATTRIBUTES);
        Ok(self.reply(Body::Done))
    }

    fn member_row(&self, id: u64) -> Result<MemberRow, Stop> {
        let Some(row) = self.write.table(Table::Member, &id.to_be_bytes())? else {
            return Ok(MemberRow::default());
        };
        let row = MemberRow::decode(row)
            .map_err(|error| Fatal::Row { table: Table::Member, what: error.to_string() })?;
        Ok(row)
    }

    fn write_member(&mut self, id: u64, row: &MemberRow) -> Result<(), Stop> {
        let row = row.encode_to_vec();
        self.write.table_put(Table::Member, &id.to_be_bytes(), &row)?;
        self.note(NoteKind::Member, &id.to_be_bytes(), &row)
    }

    /// Stores the membership and brings the members' roles in line with it.
    pub(crate) fn membership(
        &mut self,
        position: Position,
        membership: &Membership,
    ) -> Result<Reply, Stop> {
        let row = MembershipRow {
            term: position.term.0,
            index: position.index.0,
            encoded: membership.encoded.clone(),
        };
        let row = row.encode_to_vec();
        self.write.table_put(Table::Meta, MEMBERSHIP, &row)?;
        self.note(NoteKind::Member, MEMBERSHIP, &row)?;
        let mut ids: Vec<u64> =
            membership.voters.iter().chain(&membership.learners).copied().collect();
        let mut from = Bytes::new();
        loop {
            let rows = self.write.table_scan(Table::Member, &[], &from, PAGE)?;
            ids.extend(rows.iter().filter_map(|(key, row)| Some(member_of(key, row)?.id)));
            match rows.last() {
                Some((last, _)) if rows.len() == PAGE => from = after(last),
                _ => break,
            }
        }
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let mut row = self.member_row(id)?;
            let role = if membership.voters.contains(&id) {
                Role::Voter
            } else if membership.learners.contains(&id) {
                Role::Learner
            } else if row.role() == Role::Announced {
                Role::Announced
            } else {
                Role::Removed
            };
            if row.role() != role {
                row.set_role(role);
                self.write_member(id, &row)?;
            }
        }
        self.notices.push(Notice::MembersChanged);
        self.outcome.tag(tag::MEMBERSHIP);
        Ok(self.reply(Body::Done))
    }

    pub(crate) fn set_cluster_version(&mut self, given: &SetClusterVersion) -> Result<Reply, Stop> {
        self.write.table_put(Table::Meta, CLUSTER_VERSION, given.version.as_bytes())?;
        self.note(NoteKind::Cluster, CLUSTER_VERSION, given.version.as_bytes())?;
        self.notices.push(Notice::ClusterVersion(given.version.clone()));
        self.outcome.tag(tag::CLUSTER_VERSION);
        Ok(self.reply(Body::Done))
    }

    /// `up` are the alarms that are up.
    pub(crate) fn alarm(&mut self, alarm: &Alarm, up: &[RaisedAlarm]) -> Result<Reply, Stop> {
        let kind = AlarmKind::try_from(alarm.alarm).map_err(|_| Rejected::UnknownAlarm)?;
        let alarms = match AlarmAction::try_from(alarm.action) {
            Ok(AlarmAction::Activate) => {
                if kind == AlarmKind::None || up.len() >= ALARMS_MAX {
                    return Err(Rejected::UnknownAlarm.into());
                }
                let raised = RaisedAlarm { member: alarm.member, alarm: kind };
                if !up.contains(&raised) {
                    self.write.table_put(Table::Alarm, &alarm_key(raised), &[])?;
                    self.note(NoteKind::Alarm, &alarm_key(raised), b"raised")?;
                }
                vec![raised]
            }
            Ok(AlarmAction::Deactivate) => {
                let meant = |up: &&RaisedAlarm| {
                    (alarm.member == 0 || alarm.member == up.member)
                        && (kind == AlarmKind::None || kind == up.alarm)
                };
                let cleared: Vec<RaisedAlarm> = up.iter().filter(meant).copied().collect();
                for cleared in &cleared {
                    self.write.table_delete(Table::Alarm, &alarm_key(*cleared))?;
                    self.note(NoteKind::Alarm, &alarm_key(*cleared), b"cleared")?;
                }
                cleared
            }
            Err(_) => return Err(Rejected::UnknownAlarm.into()),
        };
        let mut after = up.to_vec();
        match AlarmAction::try_from(alarm.action) {
            Ok(AlarmAction::Activate) => after.extend(&alarms),
            _ => after.retain(|raised| !alarms.contains(raised)),
        }
        after.sort_unstable();
        after.dedup();
        self.alarms = Some(after);
        self.notices.push(Notice::AlarmsChanged);
        self.outcome.tag(tag::ALARM);
        self.outcome.number(alarms.len() as u64);
        Ok(self.reply(Body::Alarm { alarms }))
    }
}
