//! RangeStream: a range too large for one message, in chunks of one view.
//!
//! ```text
//!   [kvs] [kvs kvs] [kvs kvs kvs kvs] ... [kvs + header, more, count]
//!    10      20            40                  the last one alone says the sums
//! ```
//!
//! Each chunk is read by a job of its own, so that a slow client holds a view, not a thread, and
//! no more than one chunk of memory. The number of keys doubles until a chunk comes near the
//! largest request and is halved when one was larger.
//!
//! Deliberately missing, as in etcd: sorting and filters by revision, which need all keys at once.

use std::pin::Pin;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, stream};
use kstore_machine::command;
use kstore_mvcc::{Content, KeyRange, RangeAnswer, RangeQuery, Revision, Snapshot};
use kstore_proto::etcdserverpb as etcd;
use tonic::Status;

use crate::api::Api;
use crate::convert::{self, signed};
use crate::error;

/// The chunks of one answer.
pub(crate) type RangeStream =
    Pin<Box<dyn Stream<Item = Result<etcd::RangeStreamResponse, Status>> + Send>>;

/// Keys in the first chunk (etcd's number).
const FIRST_CHUNK: u64 = 10;

/// Keys in a chunk at most, however small they are.
const LARGEST_CHUNK: u64 = 64 * 1024;

/// Refuses what cannot be streamed.
pub(crate) fn check(request: &etcd::RangeRequest) -> Result<(), Status> {
    use etcd::range_request::{SortOrder, SortTarget};
    let by_key = request.sort_target == SortTarget::Key as i32;
    if !by_key || request.sort_order == SortOrder::Descend as i32 {
        return Err(error::STREAM_SORT.into());
    }
    let filters = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if filters.iter().any(|bound| *bound != 0) {
        return Err(error::STREAM_FILTER.into());
    }
    Ok(())
}

/// What is left to send.
struct Rest {
    api: Api,
    snapshot: Snapshot,
    query: RangeQuery,
    /// Keys that the next chunk may hold.
    chunk: u64,
    /// Keys in the whole range, once the first chunk was read.
    count: Option<u64>,
}

/// The chunks of `range`, all of the view that is the newest now.
pub(crate) fn open(api: Api, range: command::Range) -> Result<RangeStream, Status> {
    let snapshot = api.member().snapshot();
    let at = convert::revision(range.revision).or(Some(snapshot.revision()));
    let query = RangeQuery {
        range: KeyRange::from_request(range.key, range.range_end),
        at,
        limit: u64::try_from(range.limit).ok().filter(|limit| *limit > 0),
        content: match (range.count_only, range.keys_only) {
            (true, _) => Content::CountOnly,
            (false, true) => Content::KeysOnly,
            (false, false) => Content::Values,
        },
    };
    let rest = Rest { api, snapshot, query, chunk: FIRST_CHUNK, count: None };
    Ok(Box::pin(stream::unfold(Some(rest), |rest| async {
        let mut rest = rest?;
        match rest.next_chunk().await {
            Ok(Chunk::Middle(response)) => Some((Ok(response), Some(rest))),
            Ok(Chunk::Last(response)) => Some((Ok(response), None)),
            Err(status) => Some((Err(status), None)),
        }
    })))
}

enum Chunk {
    Middle(etcd::RangeStreamResponse),
    Last(etcd::RangeStreamResponse),
}

impl Rest {
    async fn next_chunk(&mut self) -> Result<Chunk, Status> {
        let asked = self.chunk.min(self.query.limit.unwrap_or(u64::MAX));
        let query = RangeQuery { limit: Some(asked), ..self.query.clone() };
        // Once is enough to count the whole range.
        let is_first = self.count.is_none();
        let answer = self
            .api
            .member()
            .read_as_job(self.snapshot.clone(), move |snapshot, access| match is_first {
                true => snapshot.range(&query, access),
                false => snapshot.page(&query, access),
            })
            .await
            .map_err(|why| error::read_failure(&why))?;
        let count = *self.count.get_or_insert(answer.count);
        self.adapt(&answer);
        let left = self.query.limit.map(|limit| limit - answer.kvs.len() as u64);
        self.query.limit = left;
        match answer.kvs.last() {
            Some(last) if answer.more && left != Some(0) => {
                self.query.range.start = just_after(&last.key);
                Ok(Chunk::Middle(chunk(None, answer.kvs, Sums::default())))
            }
            _ => {
                let header = self.api.header(self.pinned(), self.api.pulse().term());
                let sums = Sums { more: answer.more, count };
                Ok(Chunk::Last(chunk(Some(header), answer.kvs, sums)))
            }
        }
    }

    /// The revision that the whole stream is about.
    fn pinned(&self) -> Revision {
        self.snapshot.revision()
    }

    fn adapt(&mut self, answer: &RangeAnswer) {
        let target = self.api.settings().max_request_bytes;
        let bytes: usize = answer.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
        if bytes > target {
            self.chunk = (self.chunk / 2).max(1);
        } else if bytes * 2 <= target {
            self.chunk = (self.chunk * 2).min(LARGEST_CHUNK);
        }
    }
}

#[derive(Default)]
struct Sums {
    more: bool,
    count: u64,
}

fn chunk(
    header: Option<etcd::ResponseHeader>,
    kvs: Vec<kstore_mvcc::KeyValue>,
    sums: Sums,
) -> etcd::RangeStreamResponse {
    let response = etcd::RangeResponse {
        header,
        kvs: kvs.into_iter().map(convert::key_value).collect(),
        more: sums.more,
        count: signed(sums.count),
    };
    etcd::RangeStreamResponse { range_response: Some(response) }
}

/// The least key above `key`.
fn just_after(key: &Bytes) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
