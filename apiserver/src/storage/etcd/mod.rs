//! The store behind etcd's v3 API: an etcd, or a kstore member elsewhere.
//!
//! ```text
//!   Freshness        request                                     if the member lags behind
//!   ──────────────   ─────────────────────────────────────────   ─────────────────────────
//!   Latest           linearizable Range                          –
//!   NotOlderThan(r)  serializable Range, header.revision ≥ r     linearizable Range
//!   Exactly(r)       serializable Range at r, which never        linearizable Range at r
//!                    changes once it is there
//!   write            Txn: every ModRevision as expected, then all writes, else a look at the keys
//!   watch            Watch with previous values, in fragments, on a stream of its own
//! ```
//!
//! Invariant: a write is sent to another endpoint only if it never left this process. What the
//! caller hears otherwise is [`StorageError::Unavailable`], which says that nobody knows.
//!
//! Deliberately missing: a login by user and password. Like upstream's API server this one proves
//! itself with a certificate, or is let in by the network.

mod watch;
mod wire;

use bytes::Bytes;
use kstore_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use kstore_proto::etcdserverpb::request_op::Request as Step;
use kstore_proto::etcdserverpb::response_op::Response as StepAnswer;
use kstore_proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest,
    RangeResponse, RequestOp, ResponseHeader, TxnRequest,
};
use kstore_proto::mvccpb::KeyValue;
use tonic::{Code, Status};

pub use wire::{EtcdSettings, Identity};

use super::{
    Freshness, Got, Guarded, ListQuery, Listed, Storage, StorageError, StorageFuture, Stored,
    WatchStream, Written,
};
use wire::{Effect, Wires};

/// A key that nobody has, to ask for revisions by.
const NOBODYS: &[u8] = b"\0";

/// A store behind etcd's v3 API.
#[derive(Debug)]
pub struct EtcdStorage {
    wires: Wires,
}

impl EtcdStorage {
    /// Takes the settings apart. Connections are made when they are needed.
    ///
    /// # Errors
    /// One line if an endpoint or a certificate is none.
    pub fn new(settings: &EtcdSettings) -> Result<Self, String> {
        Ok(Self { wires: Wires::new(settings)? })
    }

    /// Reads a range as fresh as asked, and says of which revision it is.
    async fn range(
        &self,
        mut request: RangeRequest,
        freshness: Freshness,
    ) -> Result<(RangeResponse, u64), StorageError> {
        let at_least = match freshness {
            Freshness::Latest => None,
            Freshness::NotOlderThan(revision) => Some(revision),
            Freshness::Exactly(revision) => {
                request.revision = signed(revision);
                Some(revision)
            }
        };
        if let Some(at_least) = at_least {
            request.serializable = true;
            match self.ask(request.clone()).await {
                Ok(answer) if revision_of(&answer.header) >= at_least => {
                    return Ok(answered(answer, freshness));
                }
                Ok(_) => {}
                Err(status) if is_future(&status) => {}
                Err(status) => return Err(read_error(&status, freshness)),
            }
        }
        request.serializable = false;
        let answer = match self.ask(request).await {
            Err(status) if is_future(&status) => {
                return Err(StorageError::Future(self.newest().await?));
            }
            answer => answer.map_err(|status| read_error(&status, freshness))?,
        };
        let newest = revision_of(&answer.header);
        if at_least.is_some_and(|revision| newest < revision) {
            return Err(StorageError::Future(newest));
        }
        Ok(answered(answer, freshness))
    }

    async fn ask(&self, request: RangeRequest) -> Result<RangeResponse, Status> {
        let rpc = async |wire: wire::Wire, request| wire.kv().range(request).await;
        self.wires.call(Effect::Reads, request, rpc).await
    }

    async fn newest(&self) -> Result<u64, StorageError> {
        let request =
            RangeRequest { key: Bytes::from_static(NOBODYS), limit: 1, ..RangeRequest::default() };
        let answer = self.ask(request).await.map_err(|status| failed(&status))?;
        Ok(revision_of(&answer.header))
    }

    async fn get_one(&self, key: Bytes, freshness: Freshness) -> Result<Got, StorageError> {
        let request = RangeRequest { key, limit: 1, ..RangeRequest::default() };
        let (answer, revision) = self.range(request, freshness).await?;
        Ok(Got { stored: answer.kvs.into_iter().next().map(stored), revision })
    }

    async fn list_all(&self, query: ListQuery) -> Result<Listed, StorageError> {
        let request = RangeRequest {
            key: query.start,
            range_end: query.end,
            limit: i64::try_from(query.limit).unwrap_or(i64::MAX),
            ..RangeRequest::default()
        };
        let (answer, revision) = self.range(request, query.freshness).await?;
        Ok(Listed {
            items: answer.kvs.into_iter().map(stored).collect(),
            revision,
            more: answer.more,
            // etcd counts the whole range, whether it is asked to or not.
            count: unsigned(answer.count),
        })
    }

    async fn write_all(&self, writes: Vec<Guarded>) -> Result<Written, StorageError> {
        let rpc = async |wire: wire::Wire, request| wire.kv().txn(request).await;
        let answer = self.wires.call(Effect::Changes, txn(writes), rpc).await;
        let answer = answer.map_err(|status| failed(&status))?;
        if answer.succeeded {
            return Ok(Written::Done { revision: revision_of(&answer.header) });
        }
        let current = answer.responses.into_iter().map(|response| match response.response {
            Some(StepAnswer::ResponseRange(found)) => found.kvs.into_iter().next().map(stored),
            _ => None,
        });
        Ok(Written::Refused { current: current.collect() })
    }

    async fn compact_to(&self, revision: u64) -> Result<(), StorageError> {
        let request = CompactionRequest { revision: signed(revision), physical: false };
        let rpc = async |wire: wire::Wire, request| wire.kv().compact(request).await;
        // Sent twice, the second one is told that it is compacted already.
        let answer = self.wires.call(Effect::Changes, request, rpc).await;
        answer.map(drop).map_err(|status| read_error(&status, Freshness::Exactly(revision)))
    }

    async fn grant(&self, seconds: i64) -> Result<i64, StorageError> {
        let request = LeaseGrantRequest { ttl: seconds, id: 0 };
        let rpc = async |wire: wire::Wire, request| wire.lease().lease_grant(request).await;
        // A lease that nobody heard of ends by itself.
        let answer = self.wires.call(Effect::Reads, request, rpc).await;
        answer.map(|granted| granted.id).map_err(|status| failed(&status))
    }
}

impl Storage for EtcdStorage {
    fn get(&self, key: Bytes, freshness: Freshness) -> StorageFuture<'_, Got> {
        Box::pin(self.get_one(key, freshness))
    }

    fn list(&self, query: ListQuery) -> StorageFuture<'_, Listed> {
        Box::pin(self.list_all(query))
    }

    fn write(&self, writes: Vec<Guarded>) -> StorageFuture<'_, Written> {
        Box::pin(self.write_all(writes))
    }

    fn watch(&self, start: Bytes, end: Bytes, from: u64) -> StorageFuture<'_, WatchStream> {
        Box::pin(watch::open(&self.wires, start, end, from))
    }

    fn current_revision(&self) -> StorageFuture<'_, u64> {
        Box::pin(self.newest())
    }

    fn compact(&self, revision: u64) -> StorageFuture<'_, ()> {
        Box::pin(self.compact_to(revision))
    }

    fn grant_lease(&self, seconds: i64) -> StorageFuture<'_, i64> {
        Box::pin(self.grant(seconds))
    }
}

/// An answer and the revision that it shows.
fn answered(answer: RangeResponse, freshness: Freshness) -> (RangeResponse, u64) {
    let revision = match freshness {
        Freshness::Exactly(revision) => revision,
        Freshness::Latest | Freshness::NotOlderThan(_) => revision_of(&answer.header),
    };
    (answer, revision)
}

/// All of the writes if every key is as expected, else a look at the keys.
fn txn(writes: Vec<Guarded>) -> TxnRequest {
    let mut txn = TxnRequest::default();
    for write in writes {
        let Guarded { key, expected, value, lease } = write;
        txn.compare.push(Compare {
            key: key.clone(),
            target: CompareTarget::Mod.into(),
            result: CompareResult::Equal.into(),
            target_union: Some(TargetUnion::ModRevision(signed(expected))),
            ..Compare::default()
        });
        let read = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        let step = match value {
            Some(value) => {
                Step::RequestPut(PutRequest { key, value, lease, ..PutRequest::default() })
            }
            None => Step::RequestDeleteRange(DeleteRangeRequest {
                key,
                ..DeleteRangeRequest::default()
            }),
        };
        txn.success.push(RequestOp { request: Some(step) });
        txn.failure.push(RequestOp { request: Some(Step::RequestRange(read)) });
    }
    txn
}

fn stored(found: KeyValue) -> Stored {
    Stored {
        key: found.key,
        value: found.value,
        mod_revision: unsigned(found.mod_revision),
        lease: found.lease,
    }
}

fn revision_of(header: &Option<ResponseHeader>) -> u64 {
    header.as_ref().map_or(0, |header| unsigned(header.revision))
}

/// Revisions are never negative.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";

fn is_future(status: &Status) -> bool {
    status.message() == FUTURE
}

/// What became of a read. etcd does not say what is left, but that it is later than was asked for.
fn read_error(status: &Status, freshness: Freshness) -> StorageError {
    match freshness {
        Freshness::Exactly(revision) if status.message() == COMPACTED => {
            StorageError::Compacted(revision.saturating_add(1))
        }
        _ => failed(status),
    }
}

/// What a status means. Clients of etcd go by the texts, so they are as stable as the codes.
fn failed(status: &Status) -> StorageError {
    match (status.code(), status.message()) {
        (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded") => {
            StorageError::NoSpace
        }
        // The second is gRPC's own, for messages that are larger than its bound.
        (Code::InvalidArgument, "etcdserver: request is too large")
        | (Code::ResourceExhausted, _) => StorageError::TooLarge,
        (Code::DataLoss, why) => StorageError::Damaged(why.to_owned()),
        _ => StorageError::Unavailable(wire::cause(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_by_its_text() {
        let of = |code, text| failed(&Status::new(code, text));
        let full = "etcdserver: mvcc: database space exceeded";
        assert_eq!(of(Code::ResourceExhausted, full), StorageError::NoSpace);
        let large = "grpc: received message larger than max (2097209 vs. 2097152)";
        assert_eq!(of(Code::ResourceExhausted, large), StorageError::TooLarge);
        let large = "etcdserver: request is too large";
        assert_eq!(of(Code::InvalidArgument, large), StorageError::TooLarge);
        let corrupt = "etcdserver: corrupt cluster";
        assert_eq!(of(Code::DataLoss, corrupt), StorageError::Damaged(corrupt.to_owned()));
        let busy = "etcdserver: too many requests";
        assert_eq!(of(Code::Unknown, busy), StorageError::Unavailable(busy.to_owned()));
    }

    #[test]
    fn a_write_compares_each_key_and_looks_at_it_if_it_is_refused() {
        let key = Bytes::from_static(b"/registry/a");
        let gone = Guarded { key: key.clone(), expected: 7, value: None, lease: 0 };
        let txn = txn(vec![gone]);
        assert_eq!(txn.compare[0].target_union, Some(TargetUnion::ModRevision(7)));
        assert_eq!(txn.compare[0].target(), CompareTarget::Mod);
        assert!(matches!(txn.success[0].request, Some(Step::RequestDeleteRange(_))));
        assert!(
            matches!(&txn.failure[0].request, Some(Step::RequestRange(look)) if look.key == key)
        );
    }
}
