//! Between etcd's messages and the machine's commands and replies: fields move, nothing is copied.

use kstore_machine::command;
use kstore_machine::{Body, RangeReply, Reply};
use kstore_mvcc::{KeyValue, Revision};
use kstore_proto::{etcdserverpb as etcd, mvccpb};
use tonic::Status;

use crate::error;

/// A count or a number of the store as the protocol's signed one. The store's numbers grow by one
/// at a time and never come near the end of either.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A client's revision: zero and below mean the newest.
pub(crate) fn revision(number: i64) -> Option<Revision> {
    u64::try_from(number).ok().filter(|n| *n > 0).map(Revision)
}

pub(crate) fn key_value(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: signed(kv.create.0),
        mod_revision: signed(kv.modified.revision.0),
        version: signed(kv.version),
        value: kv.value,
        lease: kv.lease.map_or(0, |lease| lease.0),
    }
}

pub(crate) fn range(request: etcd::RangeRequest) -> command::Range {
    command::Range {
        key: request.key,
        range_end: request.range_end,
        limit: request.limit,
        revision: request.revision,
        sort_order: request.sort_order,
        sort_target: request.sort_target,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
    }
}

pub(crate) fn put(request: etcd::PutRequest) -> command::Put {
    command::Put {
        key: request.key,
        value: request.value,
        lease: request.lease,
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

pub(crate) fn delete_range(request: etcd::DeleteRangeRequest) -> command::DeleteRange {
    command::DeleteRange {
        key: request.key,
        range_end: request.range_end,
        prev_kv: request.prev_kv,
    }
}

/// A transaction with all that is nested in it. The decoder has bounded the depth.
pub(crate) fn txn(request: etcd::TxnRequest) -> command::Txn {
    command::Txn {
        compare: request.compare.into_iter().map(compare).collect(),
        success: request.success.into_iter().map(operation).collect(),
        failure: request.failure.into_iter().map(operation).collect(),
    }
}

/// An operand that does not belong to the target counts as zero, or as no bytes.
fn compare(request: etcd::Compare) -> command::Compare {
    use etcd::compare::{CompareTarget, TargetUnion};
    let target = CompareTarget::try_from(request.target).ok();
    let mut value = bytes::Bytes::new();
    let mut number = 0;
    match (target, request.target_union) {
        (Some(CompareTarget::Version), Some(TargetUnion::Version(n)))
        | (Some(CompareTarget::Create), Some(TargetUnion::CreateRevision(n)))
        | (Some(CompareTarget::Mod), Some(TargetUnion::ModRevision(n)))
        | (Some(CompareTarget::Lease), Some(TargetUnion::Lease(n))) => number = n,
        (Some(CompareTarget::Value), Some(TargetUnion::Value(bytes))) => value = bytes,
        _ => {}
    }
    command::Compare {
        key: request.key,
        range_end: request.range_end,
        target: request.target,
        result: request.result,
        number,
        value,
    }
}

fn operation(request: etcd::RequestOp) -> command::Operation {
    use command::Step;
    use etcd::request_op::Request;
    let step = request.request.map(|request| match request {
        Request::RequestRange(request) => Step::Range(range(request)),
        Request::RequestPut(request) => Step::Put(put(request)),
        Request::RequestDeleteRange(request) => Step::DeleteRange(delete_range(request)),
        Request::RequestTxn(request) => Step::Txn(txn(request)),
    });
    command::Operation { step }
}

pub(crate) fn range_response(
    header: Option<etcd::ResponseHeader>,
    reply: RangeReply,
) -> etcd::RangeResponse {
    etcd::RangeResponse {
        header,
        kvs: reply.kvs.into_iter().map(key_value).collect(),
        more: reply.more,
        count: signed(reply.count),
    }
}

pub(crate) fn put_response(
    header: Option<etcd::ResponseHeader>,
    body: Body,
) -> Result<etcd::PutResponse, Status> {
    let Body::Put { previous } = body else { return Err(error::reply_mismatch()) };
    Ok(etcd::PutResponse { header, prev_kv: previous.map(key_value) })
}

pub(crate) fn delete_range_response(
    header: Option<etcd::ResponseHeader>,
    body: Body,
) -> Result<etcd::DeleteRangeResponse, Status> {
    let Body::DeleteRange { deleted, previous } = body else {
        return Err(error::reply_mismatch());
    };
    Ok(etcd::DeleteRangeResponse {
        header,
        deleted: signed(deleted),
        prev_kvs: previous.into_iter().map(key_value).collect(),
    })
}

pub(crate) fn txn_response(
    header: Option<etcd::ResponseHeader>,
    body: Body,
) -> Result<etcd::TxnResponse, Status> {
    let Body::Txn { succeeded, responses } = body else { return Err(error::reply_mismatch()) };
    let responses = responses.into_iter().map(response_op).collect::<Result<_, _>>()?;
    Ok(etcd::TxnResponse { header, succeeded, responses })
}

/// The answer to one operation of a transaction. Its header says the revision and nothing else;
/// a nested transaction's says nothing at all.
fn response_op(reply: Reply) -> Result<etcd::ResponseOp, Status> {
    use etcd::response_op::Response;
    let header = Some(etcd::ResponseHeader {
        revision: signed(reply.revision.0),
        ..etcd::ResponseHeader::default()
    });
    let response = match reply.body {
        Body::Range(range) => Response::ResponseRange(range_response(header, range)),
        body @ Body::Put { .. } => Response::ResponsePut(put_response(header, body)?),
        body @ Body::DeleteRange { .. } => {
            Response::ResponseDeleteRange(delete_range_response(header, body)?)
        }
        body @ Body::Txn { .. } => {
            let header = Some(etcd::ResponseHeader::default());
            Response::ResponseTxn(txn_response(header, body)?)
        }
        _ => return Err(error::reply_mismatch()),
    };
    Ok(etcd::ResponseOp { response: Some(response) })
}
