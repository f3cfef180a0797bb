//! The KV service: reads, writes, transactions, compaction.
//!
//! Writes are checked here as far as that needs no state, and proposed. Reads are never proposed:
//! a linearizable one waits for the member to catch up and then reads its newest view, as a
//! serializable one does at once. A transaction that only reads is a read.
//!
//! A read of one key runs where it is (the answer is nearly always in memory). A read of a range
//! can be long whatever its limit says, for the answer holds a count of all its keys; it runs as
//! a job, so that it never holds up other requests.

use kstore_machine::command::{self, Command};
use kstore_machine::range::SnapshotReads;
use kstore_machine::{self as machine, TxnLimits};
use kstore_mvcc::Snapshot;
use kstore_proto::etcdserverpb::request_op::Request as Operation;
use kstore_proto::etcdserverpb::{self as etcd, kv_server::Kv};
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
        let limits = TxnLimits { operations: self.settings().max_txn_ops };
        machine::check_txn(&txn, limits).map_err(error::rejected)?;
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
        let command = Command::Compact(command::Compact { revision: request.revision });
        let (header, _) = self.propose(command).await?;
        Ok(Response::new(etcd::CompactionResponse { header }))
    }
}

impl Api {
    /// Reads a range of one view.
    pub(crate) async fn read_range(
        &self,
        snapshot: Snapshot,
        range: command::Range,
    ) -> Result<machine::RangeReply, Status> {
        let single = range.range_end.is_empty();
        let query = move |snapshot: &Snapshot, access| {
            machine::range::answer(&SnapshotReads { snapshot, access }, &range)
        };
        let answer = match single {
            true => self.member().read(snapshot, query).await,
            false => self.member().read_as_job(snapshot, query).await,
        };
        answer.map_err(|why| error::read_failure(&why))
    }

    /// Runs a transaction that only reads, on one view.
    async fn read_txn(
        &self,
        txn: command::Txn,
    ) -> Result<(Option<etcd::ResponseHeader>, machine::Reply), Status> {
        let snapshot = self.member().snapshot();
        let header = self.header(snapshot.revision(), self.pulse().term());
        let query = move |snapshot: &Snapshot, access| {
            machine::answer_read_only(&SnapshotReads { snapshot, access }, &txn)
        };
        let answer = self.member().read_as_job(snapshot, query).await;
        Ok((Some(header), answer.map_err(|why| error::read_failure(&why))?))
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
    /// It may write.
    No,
    /// It reads what was acknowledged before it.
    Linearizable,
    /// It is content with this member's own state.
    Serializable,
}

fn reads_of(request: &etcd::TxnRequest) -> Reads {
    // Comparisons alone say nothing about how stale they may be: etcd takes a transaction without
    // operations for serializable.
    let mut reads = Reads::Serializable;
    for operation in request.success.iter().chain(&request.failure) {
        let step = match &operation.request {
            Some(Operation::RequestRange(range)) if range.serializable => Reads::Serializable,
            Some(Operation::RequestRange(_)) => Reads::Linearizable,
            Some(Operation::RequestTxn(nested)) => reads_of(nested),
            _ => Reads::No,
        };
        match step {
            Reads::No => return Reads::No,
            Reads::Linearizable => reads = Reads::Linearizable,
            Reads::Serializable => {}
        }
    }
    reads
}
