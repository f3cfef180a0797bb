//! A watch over etcd's API, on a stream of its own.
//!
//! ```text
//!   create (start revision, previous values, fragments) ─► created ─► events ... ─► canceled
//!                                       silent for a second: progress request ─► progress
//! ```
//!
//! A stream for each watch, so that a slow reader holds up nobody: streams of one connection have
//! windows of their own. It asks for a leader, so that a member that lost its quorum ends the watch
//! rather than being silent for ever.

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use kstore_proto::etcdserverpb::watch_request::RequestUnion;
use kstore_proto::etcdserverpb::{
    WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use kstore_proto::mvccpb::Event;
use kstore_proto::mvccpb::event::EventType;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep_until};
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

use super::wire::{Effect, Wire, Wires};
use super::{failed, revision_of, signed, unsigned};
use crate::storage::{Change, StorageError, WatchItem, WatchStream};

/// How often a silent watch asks how far it is.
const PROGRESS: Duration = Duration::from_secs(1);

/// Requests on their way: the first, and one for progress. A further one is not sent.
const REQUESTS: usize = 2;

/// A watch under way.
struct Watching {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
    /// When it asks next how far it is.
    progress: Instant,
    /// The fragments so far of what comes in several: whole revisions are told. Bounded by what
    /// etcd tells at a time.
    fragments: Vec<Change>,
    over: bool,
}

/// Opens a watch; it is there when this returns.
pub(super) async fn open(
    wires: &Wires,
    start: Bytes,
    end: Bytes,
    from: u64,
) -> Result<WatchStream, StorageError> {
    let create = WatchCreateRequest {
        key: start,
        range_end: end,
        start_revision: signed(from),
        prev_kv: true,
        fragment: true,
        progress_notify: true,
        ..WatchCreateRequest::default()
    };
    let rpc = async |wire: Wire, create| begin(wire, create).await.map(Response::new);
    let opened = wires.call(Effect::Reads, create, rpc).await;
    let (mut watching, first) = opened.map_err(|status| failed(&status))?;
    let first = watching.item_of(first)?;
    let rest = stream::unfold(watching, |mut watching| async move {
        let item = watching.next().await?;
        watching.over = item.is_err();
        Some((item, watching))
    });
    Ok(stream::iter(first.map(Ok)).chain(rest).boxed())
}

/// Sends the request and reads the first answer.
async fn begin(
    wire: Wire,
    create: WatchCreateRequest,
) -> Result<(Watching, WatchResponse), Status> {
    let (requests, queue) = mpsc::channel(REQUESTS);
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    // There is room for it: the queue is empty.
    let _sent = requests.try_send(create);
    let mut request = Request::new(stream_of(queue));
    request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    let mut answers = wire.watch().watch(request).await?.into_inner();
    let first = answers.message().await?;
    let first = first.ok_or_else(|| Status::unavailable("the watch ended before it began"))?;
    let progress = Instant::now() + PROGRESS;
    Ok((Watching { requests, answers, progress, fragments: Vec::new(), over: false }, first))
}

fn stream_of(queue: mpsc::Receiver<WatchRequest>) -> impl Stream<Item = WatchRequest> {
    stream::unfold(queue, |mut queue| async move { Some((queue.recv().await?, queue)) })
}

impl Watching {
    async fn next(&mut self) -> Option<Result<WatchItem, StorageError>> {
        if self.over {
            return None;
        }
        loop {
            tokio::select! {
                biased;
                answer = self.answers.message() => {
                    let item = match answer {
                        Ok(Some(answer)) => self.item_of(answer),
                        Ok(None) => Err(StorageError::Unavailable("the watch ended".to_owned())),
                        Err(status) => Err(failed(&status)),
                    };
                    if let Some(item) = item.transpose() {
                        return Some(item);
                    }
                }
                () = sleep_until(self.progress) => {
                    self.progress = Instant::now() + PROGRESS;
                    let ask = RequestUnion::ProgressRequest(WatchProgressRequest {});
                    // If there is no room the one before was not even sent.
                    let _sent = self.requests.try_send(WatchRequest { request_union: Some(ask) });
                }
            }
        }
    }

    /// What an answer tells, if it tells something.
    fn item_of(&mut self, answer: WatchResponse) -> Result<Option<WatchItem>, StorageError> {
        self.progress = Instant::now() + PROGRESS;
        if answer.compact_revision > 0 {
            return Err(StorageError::Compacted(unsigned(answer.compact_revision)));
        }
        if answer.canceled {
            return Err(StorageError::Unavailable(answer.cancel_reason));
        }
        if !answer.events.is_empty() {
            for event in answer.events {
                self.fragments.push(change(event)?);
            }
            let is_whole = !answer.fragment;
            return Ok(is_whole.then(|| WatchItem::Changes(std::mem::take(&mut self.fragments))));
        }
        // The first answer has a revision, too, but says nothing about what was told.
        let is_progress = !answer.created;
        Ok(is_progress.then(|| WatchItem::Progress(revision_of(&answer.header))))
    }
}

/// What an event tells. What was there before is missing only if it is compacted already, and then
/// nobody can tell what the change is to a selector: the client must begin anew.
fn change(event: Event) -> Result<Change, StorageError> {
    let is_put = event.r#type() == EventType::Put;
    let Some(kv) = event.kv else {
        return Err(StorageError::Unavailable("an event without a key".to_owned()));
    };
    let revision = unsigned(kv.mod_revision);
    let is_new = is_put && kv.create_revision == kv.mod_revision;
    if event.prev_kv.is_none() && !is_new {
        return Err(StorageError::Compacted(revision));
    }
    Ok(Change {
        key: kv.key,
        value: is_put.then_some(kv.value),
        previous: event.prev_kv.map(|previous| previous.value),
        revision,
    })
}

#[cfg(test)]
mod tests {
    use kstore_proto::mvccpb::KeyValue;

    use super::*;

    fn event(kind: EventType, created: i64, previous: Option<&'static str>) -> Event {
        let kv = KeyValue {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"new"),
            create_revision: created,
            mod_revision: 7,
            ..KeyValue::default()
        };
        let previous =
            previous.map(|value| KeyValue { value: value.into(), ..KeyValue::default() });
        Event { r#type: kind.into(), kv: Some(kv), prev_kv: previous }
    }

    #[test]
    fn an_event_tells_what_was_there_before() {
        let made = change(event(EventType::Put, 7, None));
        assert_eq!(made.map(|change| change.previous), Ok(None));
        let changed = change(event(EventType::Put, 3, Some("old")));
        assert_eq!(changed.map(|change| change.previous), Ok(Some("old".into())));
        let gone = change(event(EventType::Delete, 0, Some("old")));
        assert_eq!(gone.map(|change| change.value), Ok(None));
    }

    #[test]
    fn a_change_of_something_compacted_ends_the_watch() {
        let lost = change(event(EventType::Put, 3, None));
        assert_eq!(lost, Err(StorageError::Compacted(7)));
    }
}
