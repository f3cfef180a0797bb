//! The KV service: reads, writes, transactions, compaction.
//!
//! Writes are checked here as far as that needs no state, and proposed. Reads are never proposed:
//! a linearizable one waits for the member to catch up and then reads its newest view, as a
//! serializable one does at once. A transaction that only reads is a read.
//!
//! A read of one key runs where it is (the answer is nearly always in memory). A read of a range
//! can be long whatever its limit says, for the answer holds a count of all its keys; it runs as
//! a job, so that it never holds up other requests.

use kstore_machine::{self as machine, Command};
use kstore_mvcc::{ReadError, Snapshot};
use kstore_proto::etcdserverpb::request_op::Request as Operation;
use kstore_proto::etcdserverpb::{self as etcd, kv_server::Kv};
use kstore_raft::ReadFailure;
use prost::Message;
use tonic::{Request, Response, Status};

use crate::api::Api;
use crate::range_stream::{self, RangeStream};
use crate::{convert, error};

/// What etcd adds to the sizes of key and value for a put's share of the quota.
const PUT_OVERHEAD: u64 = 256;

#[tonic::async_trait]
impl Kv for Api {
    async fn range(
        &self,
        request: Request<etcd::RangeRequest>,
    ) -> Result<Response<etcd::RangeResponse>, Status> {
        let request = self.admit(request)?;
        check_range(&request)?;
        if !request.serializable {
            self.read_barrier().await?;
        }
        let snapshot = self.member().snapshot();
        let header = self.header(snapshot.revision(), self.pulse().term());
        let reply = self.read_range(snapshot, convert::range(request)).await?;
        Ok(Response::new(convert::range_response(Some(header), reply)))
    }

    type RangeStreamStream = RangeStream;

    async fn range_stream(
        &self,
        request: Request<etcd::RangeRequest>,
    ) -> Result<Response<RangeStream>, Status> {
        let request = self.admit(request)?;
        check_range(&request)?;
        range_stream::check(&request)?;
        if !request.serializable {
            self.read_barrier().await?;
        }
        Ok(Response::new(range_stream::open(self.clone(), convert::range(request))?))
    }

    async fn put(
        &self,
        request: Request<etcd::PutRequest>,
    ) -> Result<Response<etcd::PutResponse>, Status> {
        let request = self.admit(request)?;
        check_put(&request)?;
        self.check_room(put_bytes(&request))?;
        self.check_size(request.encoded_len())?;
        let (header, reply) = self.propose(Command::Put(convert::put(request))).await?;
        Ok(Response::new(convert::put_response(header, reply.body)?))
    }

    async fn delete_range(
        &self,
        request: Request<etcd::DeleteRangeRequest>,
    ) -> Result<Response<etcd::DeleteRangeResponse>, Status> {
        let request = self.admit(request)?;
        if request.key.is_empty() {
            return Err(error::EMPTY_KEY.into());
        }
        self.check_size(request.encoded_len())?;
        let command = Command::DeleteRange(convert::delete_range(request));
        let (header, reply) = self.propose(command).await?;
        Ok(Response::new(convert::delete_range_response(header, reply.body)?))
    }

    async fn txn(
        &self,
        request: Request<etcd::TxnRequest>,
    ) -> Result<Response<etcd::TxnResponse>, Status> {
        let request = self.admit(request)?;
        self.check_room(txn_put_bytes(&request))?;
        self.check_size(request.encoded_len())?;
        let reads = reads_of(&request);
        let txn = convert::txn(request);
        machine::check_txn(&txn, self.settings().max_txn_ops).map_err(error::rejected)?;
        let (header, reply) = match reads {
            Reads::No => self.propose(Command::Txn(txn)).await?,
            Reads::Linearizable => {
                self.read_barrier().await?;
                self.read_txn(txn).await?
            }
            Reads::Serializable => self.read_txn(txn).await?,
        };
        Ok(Response::new(convert::txn_response(header, reply.body)?))
    }

    async fn compact(
        &self,
        request: Request<etcd::CompactionRequest>,
    ) -> Result<Response<etcd::CompactionResponse>, Status> {
        let request = self.admit(request)?;
        // With `physical` a client wants to know that space is being given back. That is done in
        // small steps by the store, all the time, so there is no moment to wait for.
        let command = Command::Compact(machine::Compact { revision: request.revision });
        let (header, _) = self.propose(command).await?;
        Ok(Response::new(etcd::CompactionResponse { header }))
    }
}

impl Api {
    /// Reads a range of one view.
    pub(crate) async fn read_range(
        &self,
        snapshot: Snapshot,
        range: machine::Range,
    ) -> Result<machine::RangeReply, Status> {
        let single = range.range_end.is_empty();
        let query = move |snapshot: &Snapshot, access| {
            flatten(machine::read_range(snapshot, &range, access))
        };
        let answer = match single {
            true => self.member().read(snapshot, query).await,
            false => self.member().read_as_job(snapshot, query).await,
        };
        settle(answer)
    }

    /// Runs a transaction that only reads, on one view.
    async fn read_txn(
        &self,
        txn: machine::Txn,
    ) -> Result<(Option<etcd::ResponseHeader>, machine::Reply), Status> {
        let snapshot = self.member().snapshot();
        let header = self.header(snapshot.revision(), self.pulse().term());
        let query = move |snapshot: &Snapshot, access| {
            flatten(machine::read_txn(snapshot, &txn, access))
        };
        let reply = settle(self.member().read_as_job(snapshot, query).await)?;
        Ok((Some(header), reply))
    }

    /// Refuses what would make the live data outgrow the quota.
    fn check_room(&self, bytes: u64) -> Result<(), Status> {
        if bytes == 0 || self.pulse().has_room(self.settings().quota_bytes, bytes) {
            return Ok(());
        }
        Err(error::NO_SPACE.into())
    }

    /// The same for a lease (etcd counts 64 bytes).
    pub(crate) fn check_room_for_lease(&self) -> Result<(), Status> {
        self.check_room(64)
    }
}

fn check_range(request: &etcd::RangeRequest) -> Result<(), Status> {
    use etcd::range_request::{SortOrder, SortTarget};
    if request.key.is_empty() {
        return Err(error::EMPTY_KEY.into());
    }
    let known = SortOrder::try_from(request.sort_order).is_ok()
        && SortTarget::try_from(request.sort_target).is_ok();
    if !known {
        return Err(error::INVALID_SORT_OPTION.into());
    }
    Ok(())
}

fn check_put(request: &etcd::PutRequest) -> Result<(), Status> {
    if request.key.is_empty() {
        return Err(error::EMPTY_KEY.into());
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(error::VALUE_PROVIDED.into());
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(error::LEASE_PROVIDED.into());
    }
    Ok(())
}

fn put_bytes(request: &etcd::PutRequest) -> u64 {
    PUT_OVERHEAD + (request.key.len() + request.value.len()) as u64
}

/// What the larger branch of a transaction may write; nested transactions count too.
fn txn_put_bytes(request: &etcd::TxnRequest) -> u64 {
    let branch = |operations: &[etcd::RequestOp]| -> u64 {
        let bytes = operations.iter().map(|operation| match &operation.request {
            Some(Operation::RequestPut(put)) => put_bytes(put),
            Some(Operation::RequestTxn(txn)) => txn_put_bytes(txn),
            _ => 0,
        });
        bytes.sum()
    };
    branch(&request.success).max(branch(&request.failure))
}

/// Whether a transaction only reads, and from how fresh a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// It may write, or holds a transaction (whose reads etcd orders like writes).
    No,
    /// It reads what was acknowledged before it.
    Linearizable,
    /// It is content with this member's own state.
    Serializable,
}

fn reads_of(request: &etcd::TxnRequest) -> Reads {
    let mut reads = Reads::Serializable;
    for operation in request.success.iter().chain(&request.failure) {
        match &operation.request {
            Some(Operation::RequestRange(range)) if range.serializable => {}
            Some(Operation::RequestRange(_)) => reads = Reads::Linearizable,
            _ => return Reads::No,
        }
    }
    // Comparisons alone say nothing about how stale they may be: etcd takes an empty list of
    // operations for serializable.
    reads
}

/// A refusal of the machine inside a read that the store could do, as one result with two kinds
/// of failure, the second boxed into the value.
fn flatten<T>(
    answer: Result<Result<T, machine::Rejected>, ReadError>,
) -> Result<Result<T, machine::Rejected>, ReadError> {
    answer
}

fn settle<T>(
    answer: Result<Result<T, machine::Rejected>, ReadFailure>,
) -> Result<T, Status> {
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(why)) => Err(error::rejected(why)),
        Err(why) => Err(error::read_failure(&why)),
    }
}
