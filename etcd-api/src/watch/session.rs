//! One gRPC watch stream: what its client asks, what its watches tell, in one order.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use kstore_mvcc::{KeyRange, Revision};
use kstore_proto::etcdserverpb::watch_request::RequestUnion;
use kstore_proto::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchRequest, WatchResponse};
use kstore_proto::mvccpb;
use kstore_raft::{Event, SubscriptionId, WatchItem, WatchStream};
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use tonic::{Status, Streaming};

use super::create::{self, NO_WATCH, NewWatch, Wants};
use super::events;
use crate::api::Api;
use crate::convert::signed;
use crate::error::{self, watch_reason};
use crate::settings::Settings;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// See the head of the module.
pub struct Session {
    api: Api,
    /// `None` once the client has said all it had to say. Events go on.
    requests: Option<Streaming<WatchRequest>>,
    stream: WatchStream,
    /// The watches, by the ids that the client knows.
    watches: BTreeMap<i64, Watch>,
    /// The same by the ids that the stream knows.
    ids: BTreeMap<SubscriptionId, i64>,
    /// The least id that this server has not given out.
    next_id: i64,
    /// What is to be sent, in order. See the invariants of the module.
    outbox: VecDeque<WatchResponse>,
    /// Events that wait for their previous values; nothing overtakes them.
    lookup: Option<Lookup>,
    /// Ticks for the watches that want progress; there is none until one does.
    ticks: Option<Interval>,
    /// Is ready when the leader has been gone for too long, if the client cares.
    lost_leader: Option<BoxFuture<()>>,
    /// How the stream ends after what is in the outbox.
    end: Option<Result<(), Status>>,
}

/// Events of one watch on their way to their previous values.
struct Lookup {
    watch: i64,
    events: BoxFuture<Result<Vec<mvccpb::Event>, Status>>,
}

/// One watch of a session.
struct Watch {
    subscription: SubscriptionId,
    wants: Wants,
    /// Whether nothing was sent since the last tick.
    silent: bool,
}

impl Session {
    pub(crate) fn new(api: Api, requests: Streaming<WatchRequest>, needs_leader: bool) -> Self {
        let stream = api.member().watch_stream();
        let lost_leader = needs_leader.then(|| {
            let mut lost = api.pulse().lost_leader();
            let lost: BoxFuture<()> = Box::pin(async move {
                // An error means that the API has gone, and with it this session.
                drop(lost.changed().await);
            });
            lost
        });
        api.metrics().watch_streams.up();
        Self {
            api,
            requests: Some(requests),
            stream,
            watches: BTreeMap::new(),
            ids: BTreeMap::new(),
            next_id: 0,
            outbox: VecDeque::new(),
            lookup: None,
            ticks: None,
            lost_leader,
            end: None,
        }
    }

    fn header(&self, revision: Revision) -> Option<ResponseHeader> {
        Some(self.api.header(revision, self.api.pulse().term()))
    }

    fn header_now(&self) -> Option<ResponseHeader> {
        self.header(self.api.member().revision())
    }

    /// Takes one step; ready when it did something, pending when there is nothing to do.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(Lookup { watch, events }) = &mut self.lookup {
            let id = *watch;
            let events = ready!(events.as_mut().poll(cx));
            self.lookup = None;
            match events {
                Ok(events) => self.tell(id, events),
                Err(status) => self.fail(id, status.message()),
            }
            return Poll::Ready(());
        }
        if let Some(lost) = &mut self.lost_leader
            && lost.as_mut().poll(cx).is_ready()
        {
            self.lost_leader = None;
            self.end = Some(Err(error::NO_LEADER.into()));
            return Poll::Ready(());
        }
        if let Some(requests) = &mut self.requests
            && let Poll::Ready(request) = Pin::new(requests).poll_next(cx)
        {
            match request {
                Some(Ok(request)) => self.take(request),
                Some(Err(status)) => self.end = Some(Err(status)),
                None => self.requests = None,
            }
            return Poll::Ready(());
        }
        if let Some(ticks) = &mut self.ticks
            && ticks.poll_tick(cx).is_ready()
        {
            self.tick();
            return Poll::Ready(());
        }
        let (subscription, item) = ready!(self.stream.poll_next(cx));
        if let Some(id) = self.ids.get(&subscription) {
            self.take_item(*id, item);
        }
        Poll::Ready(())
    }

    fn take(&mut self, request: WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => self.create(request),
            Some(RequestUnion::CancelRequest(request)) => self.cancel(request.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => self.tell_progress_of_all(),
            // A kind of request that this server does not know is passed over, as etcd does.
            None => {}
        }
    }

    fn create(&mut self, request: WatchCreateRequest) {
        let now = self.api.member().revision();
        let made = create::decide(request, &self.watches, &mut self.next_id)
            .and_then(|new| self.begin(new, now));
        let (revision, watch_id, cancel_reason) = match made {
            Ok((id, revision)) => (revision, id, String::new()),
            Err(reason) => (now, NO_WATCH, reason),
        };
        self.outbox.push_back(WatchResponse {
            header: self.header(revision),
            watch_id,
            created: true,
            canceled: !cancel_reason.is_empty(),
            cancel_reason,
            ..WatchResponse::default()
        });
    }

    /// Begins a watch; answers its id and the revision that its client is told.
    fn begin(&mut self, new: NewWatch, now: Revision) -> Result<(i64, Revision), String> {
        let NewWatch { id, range, from, wants } = new;
        let (subscription, revision) = match from {
            Some(_) => (self.subscribe(range, from)?, now),
            None => self.subscribe_from_now(range, now)?,
        };
        if wants.progress && self.ticks.is_none() {
            let period = self.api.settings().progress_interval;
            let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            self.ticks = Some(ticks);
        }
        self.ids.insert(subscription, id);
        self.watches.insert(id, Watch { subscription, wants, silent: true });
        Ok((id, revision))
    }

    fn subscribe(
        &mut self,
        range: KeyRange,
        from: Option<Revision>,
    ) -> Result<SubscriptionId, String> {
        let subscription = self.stream.subscribe(range, from);
        subscription.ok_or_else(|| watch_reason::EMPTY_RANGE.to_owned())
    }

    /// A watch from now on, and the revision that "now" is: the client may count on hearing of
    /// everything above it, and of nothing else.
    fn subscribe_from_now(
        &mut self,
        range: KeyRange,
        before: Revision,
    ) -> Result<(SubscriptionId, Revision), String> {
        let subscription = self.subscribe(range.clone(), None)?;
        if let Some(now) = self.stream.progress(subscription) {
            return Ok((subscription, now));
        }
        // Something happened to the range since, so "now" is no longer to be had: begin after the
        // revision that was the newest just before.
        self.stream.cancel(subscription);
        Ok((self.subscribe(range, Some(before.next()))?, before))
    }

    /// A watch that is not there is passed over, as etcd does.
    fn cancel(&mut self, id: i64) {
        if let Some(subscription) = self.forget(id) {
            self.stream.cancel(subscription);
            self.outbox.push_back(WatchResponse {
                header: self.header_now(),
                watch_id: id,
                canceled: true,
                ..WatchResponse::default()
            });
        }
    }

    fn forget(&mut self, id: i64) -> Option<SubscriptionId> {
        let watch = self.watches.remove(&id)?;
        self.ids.remove(&watch.subscription);
        Some(watch.subscription)
    }

    fn take_item(&mut self, id: i64, item: WatchItem) {
        match item {
            WatchItem::Events(events) => self.take_events(id, &events),
            WatchItem::Compacted(revision) => {
                self.forget(id);
                self.outbox.push_back(WatchResponse {
                    header: self.header(Revision(0)),
                    watch_id: id,
                    canceled: true,
                    compact_revision: signed(revision.0),
                    ..WatchResponse::default()
                });
            }
            WatchItem::Failed(why) => self.fail(id, &why),
        }
    }

    fn take_events(&mut self, id: i64, events: &[Event]) {
        let Some(watch) = self.watches.get(&id) else { return };
        let wants = watch.wants;
        let wanted = events.iter().filter(|event| events::wanted(event, wants));
        if !wants.previous {
            let events = wanted.map(|event| events::event(event, None)).collect();
            self.tell(id, events);
            return;
        }
        let snapshot = self.api.member().snapshot();
        let wanted: Vec<Event> = wanted.cloned().collect();
        match events::with_previous_at_once(&snapshot, &wanted) {
            Some(events) => self.tell(id, events),
            None => {
                let api = self.api.clone();
                let events = Box::pin(events::with_previous(api, snapshot, wanted));
                self.lookup = Some(Lookup { watch: id, events });
            }
        }
    }

    /// Sends events of one watch; what was filtered away altogether is not told of.
    fn tell(&mut self, id: i64, events: Vec<mvccpb::Event>) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        let Some(last) = events.last() else { return };
        watch.silent = false;
        let fragments = watch.wants.fragments;
        let revision = last.kv.as_ref().map_or(0, |kv| kv.mod_revision);
        let header = self.header(Revision(u64::try_from(revision).unwrap_or(0)));
        let response = WatchResponse { header, watch_id: id, events, ..WatchResponse::default() };
        if fragments {
            let limit = self.api.settings().max_request_bytes + Settings::GRPC_OVERHEAD;
            self.outbox.extend(events::fragments(response, limit));
        } else {
            self.outbox.push_back(response);
        }
    }

    /// Ends a watch whose history cannot be read.
    fn fail(&mut self, id: i64, why: &str) {
        let Some(subscription) = self.forget(id) else { return };
        self.stream.cancel(subscription);
        self.outbox.push_back(WatchResponse {
            header: self.header_now(),
            watch_id: id,
            canceled: true,
            cancel_reason: format!("etcdserver: {why}"),
            ..WatchResponse::default()
        });
    }

    /// Tells each watch that wants it, and was silent for an interval, how far it is. One that is
    /// behind is told nothing.
    fn tick(&mut self) {
        let mut progress = Vec::new();
        for (id, watch) in &mut self.watches {
            if !watch.wants.progress {
                continue;
            }
            if watch.silent
                && let Some(revision) = self.stream.progress(watch.subscription)
            {
                progress.push((*id, revision));
            }
            watch.silent = true;
        }
        for (id, revision) in progress {
            self.tell_progress(id, revision);
        }
    }

    /// One answer for the whole stream, and none at all unless every watch is up to date.
    fn tell_progress_of_all(&mut self) {
        if !self.watches.is_empty()
            && let Some(revision) = self.stream.progress_of_all()
        {
            self.tell_progress(NO_WATCH, revision);
        }
    }

    fn tell_progress(&mut self, watch_id: i64, revision: Revision) {
        let header = self.header(revision);
        self.outbox.push_back(WatchResponse { header, watch_id, ..WatchResponse::default() });
    }
}

impl Stream for Session {
    type Item = Result<WatchResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let session = self.get_mut();
        loop {
            if let Some(response) = session.outbox.pop_front() {
                return Poll::Ready(Some(Ok(response)));
            }
            match &mut session.end {
                Some(Ok(())) => return Poll::Ready(None),
                Some(end @ Err(_)) => {
                    let status = std::mem::replace(end, Ok(()));
                    return Poll::Ready(status.err().map(Err));
                }
                None => ready!(session.step(cx)),
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.api.metrics().watch_streams.down();
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("watches", &self.watches.len()).finish_non_exhaustive()
    }
}
