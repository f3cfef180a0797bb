//! Events as clients see them: with or without what was there before, whole or in fragments.

use kstore_mvcc::{Access, ReadError, Record, RecordKind, Revision, Snapshot};
use kstore_proto::etcdserverpb::WatchResponse;
use kstore_proto::mvccpb::{self, event::EventType};
use kstore_raft::Event;
use prost::Message;
use tonic::Status;

use super::create::Wants;
use crate::api::Api;
use crate::convert::signed;
use crate::error;

/// Whether a watch wants to hear of this kind of event.
pub(crate) fn wanted(event: &Event, wants: Wants) -> bool {
    match event.kind {
        RecordKind::Put => wants.puts,
        RecordKind::Delete => wants.deletes,
        RecordKind::Note(_) => false,
    }
}

/// An event for the wire. A deleted key has neither value nor history: etcd tells its name and
/// the revision of the deletion.
pub(crate) fn event(event: &Record, previous: Option<mvccpb::KeyValue>) -> mvccpb::Event {
    let (kind, kv) = match event.kind {
        RecordKind::Put => (EventType::Put, key_value(event)),
        RecordKind::Delete | RecordKind::Note(_) => {
            let kv = mvccpb::KeyValue {
                key: event.key.clone(),
                mod_revision: signed(event.id.revision.0),
                ..mvccpb::KeyValue::default()
            };
            (EventType::Delete, kv)
        }
    };
    mvccpb::Event { r#type: kind.into(), kv: Some(kv), prev_kv: previous }
}

fn key_value(record: &Record) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: record.key.clone(),
        create_revision: signed(record.create.0),
        mod_revision: signed(record.id.revision.0),
        version: signed(record.version),
        value: record.value.clone(),
        lease: record.lease.map_or(0, |lease| lease.0),
    }
}

/// What the key was before the event. There is nothing for a new key, and nothing that a client
/// could not read any more: the revision before the event may be compacted.
fn previous(
    snapshot: &Snapshot,
    event: &Record,
    access: Access,
) -> Result<Option<mvccpb::KeyValue>, ReadError> {
    let Some(id) = event.previous else { return Ok(None) };
    if Revision(event.id.revision.0 - 1) < snapshot.compacted() {
        return Ok(None);
    }
    let record = snapshot.record(id, access)?;
    Ok(record.filter(|record| record.kind == RecordKind::Put).map(|record| key_value(&record)))
}

fn all_with_previous(
    snapshot: &Snapshot,
    events: &[Event],
    access: Access,
) -> Result<Vec<mvccpb::Event>, ReadError> {
    let each = events.iter().map(|record| {
        let previous = previous(snapshot, record, access)?;
        Ok(event(record, previous))
    });
    each.collect()
}

/// The events with what was there before, if all of that is in memory.
pub(crate) fn with_previous_at_once(
    snapshot: &Snapshot,
    events: &[Event],
) -> Option<Vec<mvccpb::Event>> {
    all_with_previous(snapshot, events, Access::Cached).ok()
}

/// The same from the disk.
pub(crate) async fn with_previous(
    api: Api,
    snapshot: Snapshot,
    events: Vec<Event>,
) -> Result<Vec<mvccpb::Event>, Status> {
    let read =
        move |snapshot: &Snapshot, access: Access| all_with_previous(snapshot, &events, access);
    let answer = api.member().read_as_job(snapshot, read).await;
    answer.map_err(|why| error::read_failure(&why))
}

/// A response in pieces of at most `limit` bytes. A piece holds one event at least, so one that
/// is larger than the limit goes alone.
pub(crate) fn fragments(response: WatchResponse, limit: usize) -> Vec<WatchResponse> {
    if response.events.len() < 2 || response.encoded_len() < limit {
        return vec![response];
    }
    let head = WatchResponse { events: Vec::new(), fragment: true, ..response };
    let mut pieces = Vec::new();
    let mut piece = head.clone();
    let mut bytes = head.encoded_len();
    for event in response.events {
        // The event itself, its tag and the length of its length.
        let more = event.encoded_len() + 6;
        if !piece.events.is_empty() && bytes + more >= limit {
            pieces.push(std::mem::replace(&mut piece, head.clone()));
            bytes = head.encoded_len();
        }
        bytes += more;
        piece.events.push(event);
    }
    pieces.push(WatchResponse { fragment: false, ..piece });
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use kstore_mvcc::{Index, LeaseId, RecordId, Sub};

    fn record(kind: RecordKind) -> Record {
        Record {
            index: Index(9),
            id: RecordId { revision: Revision(7), sub: Sub(1) },
            kind,
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"v"),
            create: Revision(5),
            version: 2,
            lease: Some(LeaseId(11)),
            previous: None,
        }
    }

    #[test]
    fn a_put_is_told_in_full() {
        let told = event(&record(RecordKind::Put), None);
        let kv = told.kv.unwrap();
        assert_eq!(told.r#type, EventType::Put as i32);
        assert_eq!((kv.create_revision, kv.mod_revision, kv.version, kv.lease), (5, 7, 2, 11));
        assert_eq!(kv.value.as_ref(), b"v");
    }

    #[test]
    fn a_delete_tells_the_key_and_its_own_revision_only() {
        let kv = event(&record(RecordKind::Delete), None).kv.unwrap();
        let expected = mvccpb::KeyValue {
            key: Bytes::from_static(b"k"),
            mod_revision: 7,
            ..Default::default()
        };
        assert_eq!(kv, expected);
    }

    fn response(values: &[usize]) -> WatchResponse {
        let with = |length: &usize| mvccpb::Event {
            kv: Some(mvccpb::KeyValue {
                value: Bytes::from(vec![0; *length]),
                ..Default::default()
            }),
            ..Default::default()
        };
        let events = values.iter().map(with).collect();
        WatchResponse { watch_id: 3, events, ..Default::default() }
    }

    #[test]
    fn a_response_below_the_limit_stays_whole() {
        let pieces = fragments(response(&[10, 10]), 1000);
        assert_eq!(pieces.len(), 1);
        assert!(!pieces[0].fragment);
    }

    #[test]
    fn a_large_response_comes_in_pieces_all_but_the_last_marked() {
        let pieces = fragments(response(&[400, 400, 400, 2000, 5]), 1000);
        let sizes: Vec<usize> = pieces.iter().map(|piece| piece.events.len()).collect();
        assert_eq!(sizes, [2, 1, 1, 1]);
        let marks: Vec<bool> = pieces.iter().map(|piece| piece.fragment).collect();
        assert_eq!(marks, [true, true, true, false]);
        assert!(pieces.iter().all(|piece| piece.watch_id == 3));
    }
}
