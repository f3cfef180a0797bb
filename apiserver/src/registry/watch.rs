//! Watch: what happens to the objects of a kind from a revision on.
//!
//! ```text
//!   [state as ADDED ─► BOOKMARK that says so] ─► changes, each by what the selector made of it:
//!
//!     before ╲ now   matches      does not
//!     matches        MODIFIED     DELETED (as it was)
//!     does not       ADDED        –
//! ```
//!
//! Changes come from the kind's feed, which many share; who begins further back than it reaches, or
//! cannot keep up with it, reads the store by himself until he has caught up.
//!
//! Invariant: every event of a revision comes before any of a later one, and a bookmark's revision
//! is one up to which everything was told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep, sleep_until};

use super::feed::{Batch, Bucket, Event, Feed, Forms, Subscription, Told, Version};
use super::list::{Filter, ListOptions, Rest, too_large};
use super::{Call, Registry, failure, revision, stored};
use crate::auth::lookup::Answer;
use crate::kinds::Kind;
use crate::status::Status;
use crate::storage::{Change, StorageError, WatchItem, WatchStream};

/// How often a bookmark comes (upstream's number).
const BOOKMARKS: Duration = Duration::from_secs(60);

/// How long a revision that is yet to come is waited for (upstream's number).
const WAIT: Duration = Duration::from_secs(3);

/// How often it is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// What to watch.
#[derive(Debug, Clone, Default)]
pub(crate) struct WatchOptions {
    pub(crate) filter: Filter,
    /// As the client wrote it.
    pub(crate) resource_version: String,
    /// `NotOlderThan` or nothing.
    pub(crate) version_match: String,
    /// Whether the state comes first; if not said, the resourceVersion decides.
    pub(crate) initial_events: Option<bool>,
    /// Whether bookmarks are welcome.
    pub(crate) bookmarks: bool,
    /// When it ends by itself.
    pub(crate) timeout: Duration,
}

/// An object as it was at a revision.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) value: Bytes,
    pub(crate) revision: u64,
    /// How others that are told the same have it, if there are others.
    pub(crate) forms: Option<Arc<Forms>>,
}

/// What a client is told.
#[derive(Debug, Clone)]
pub(crate) enum WatchEvent {
    /// What happened to an object.
    Change(Told, Shown),
    /// Everything up to the revision was told.
    Bookmark {
        revision: u64,
        /// Whether this is the end of the state that came first.
        ends_initial: bool,
    },
    Failed(Box<Status>),
}

/// A watch under way.
pub(crate) struct Watcher {
    registry: Arc<Registry>,
    feed: Arc<Feed>,
    kind: &'static Kind,
    namespace: String,
    options: WatchOptions,
    /// What is to be told next; bounded by one page of the state or one batch of the store.
    ready: VecDeque<WatchEvent>,
    phase: Phase,
    /// Up to where everything was told.
    told: u64,
    next_bookmark: Instant,
    deadline: Instant,
}

enum Phase {
    /// The state is being told.
    State(Rest),
    /// It has been told.
    StateTold,
    /// Changes are being told.
    Changes(Source),
    Over,
}

/// Where changes come from.
enum Source {
    /// From the feed that many share.
    Fed(Subscription),
    /// From a watch of its own.
    Own(WatchStream),
}

impl Source {
    async fn next(&mut self) -> Next {
        match self {
            Self::Fed(subscription) => match subscription.next().await {
                Some(batch) => Next::Events(batch),
                None => Next::LeftBehind,
            },
            Self::Own(stream) => match stream.next().await {
                Some(Ok(WatchItem::Changes(changes))) => Next::Events(
                    changes.into_iter().map(|change| Arc::new(event(change))).collect(),
                ),
                Some(Ok(WatchItem::Progress(revision))) => Next::Progress(revision),
                Some(Err(error)) => Next::Failed(error),
                None => Next::Over,
            },
        }
    }

    /// Up to where everything was told, if it is known without asking.
    fn told(&self) -> Option<u64> {
        match self {
            Self::Fed(subscription) => subscription.told(),
            Self::Own(_) => None,
        }
    }
}

/// What a source tells.
enum Next {
    Events(Batch),
    Progress(u64),
    LeftBehind,
    Failed(StorageError),
    Over,
}

/// A change of which nobody else is told.
fn event(change: Change) -> Event {
    let version = |value: Option<Bytes>| value.map(|value| Arc::new(Version::new(value)));
    Event::new(change.key, change.revision, version(change.value), version(change.previous))
}

impl Registry {
    /// Whether the store reaches a revision soon.
    pub(crate) async fn reaches(&self, revision: u64) -> bool {
        let deadline = Instant::now() + WAIT;
        loop {
            match self.storage.current_revision().await {
                Ok(now) if now >= revision => return true,
                _ if Instant::now() >= deadline => return false,
                _ => sleep(LOOK).await,
            }
        }
    }

    /// Begins to watch.
    pub(crate) async fn watch(
        self: &Arc<Self>,
        call: &Call<'_>,
        options: WatchOptions,
    ) -> Answer<Watcher> {
        check(&options)?;
        let from = revision_of(&options)?;
        let wants_state = options.initial_events.unwrap_or(from == 0);
        let now = Instant::now();
        let mut watcher = Watcher {
            registry: Arc::clone(self),
            feed: self.feeds.of(call.kind),
            kind: call.kind,
            namespace: call.namespace.to_owned(),
            deadline: now + options.timeout,
            next_bookmark: now + BOOKMARKS,
            options,
            ready: VecDeque::new(),
            phase: Phase::Over,
            told: from,
        };
        if wants_state {
            watcher.begin_with_state(call).await?;
        } else {
            watcher.begin_with_changes().await?;
        }
        Ok(watcher)
    }
}

impl Watcher {
    async fn begin_with_state(&mut self, call: &Call<'_>) -> Answer<()> {
        let options = ListOptions {
            filter: self.options.filter.clone(),
            resource_version: match self.options.resource_version.as_str() {
                "0" => String::new(),
                other => other.to_owned(),
            },
            ..ListOptions::default()
        };
        let page = self.registry.list(call, &options).await?;
        self.told = page.revision;
        self.ready.extend(page.items.into_iter().map(added));
        self.phase = match page.rest {
            Some(rest) => Phase::State(rest),
            None => Phase::StateTold,
        };
        Ok(())
    }

    async fn begin_with_changes(&mut self) -> Answer<()> {
        let from = self.told;
        if from > 0 && !self.registry.reaches(from).await {
            let now = self.registry.storage.current_revision().await.map_err(failure)?;
            return Err(too_large(from, now));
        }
        let source = self.source().await.map_err(|error| too_old(error, from))?;
        self.phase = Phase::Changes(source);
        Ok(())
    }

    /// Whatever comes after what was told: from the feed, if that reaches back so far.
    async fn source(&mut self) -> Result<Source, StorageError> {
        // If the feed cannot start, a watch of its own says why, if that cannot either.
        let started = self.feed.start(&*self.registry.storage).await;
        if started.is_ok()
            && let Some(subscription) = self.join()
        {
            return Ok(Source::Fed(subscription));
        }
        self.open().await.map(Source::Own)
    }

    /// A place in the feed behind what was told, if it reaches back that far.
    fn join(&self) -> Option<Subscription> {
        // Who has been told nothing wants what comes next; the store knows what that is.
        if self.told == 0 {
            return None;
        }
        self.feed.join(self.told, self.bucket())
    }

    fn bucket(&self) -> Bucket {
        let filter = &self.options.filter;
        let indexed = self.kind.indexed.and_then(|field| filter.fields.exact(field));
        match (self.only_name(), indexed) {
            (Some(name), _) => Bucket::Object(self.namespace.clone(), name.to_owned()),
            (None, Some(value)) => Bucket::Indexed(value.to_owned()),
            (None, None) if self.namespace.is_empty() => Bucket::All,
            (None, None) => Bucket::Namespace(self.namespace.clone()),
        }
    }

    /// The name of the one object that can be wanted, if it is known where that lies.
    fn only_name(&self) -> Option<&str> {
        let is_known = !self.kind.is_namespaced() || !self.namespace.is_empty();
        self.options.filter.only_name().filter(|_| is_known)
    }

    /// The store's own watch of what comes after what was told.
    #[expect(
        clippy::needless_pass_by_ref_mut,
        reason = "shared across an await, the store's stream would have to be Sync"
    )]
    async fn open(&mut self) -> Result<WatchStream, StorageError> {
        let prefix = stored::prefix(self.kind, &self.namespace);
        let end = stored::behind(&prefix);
        let mut range = (Bytes::from(prefix), end);
        if let Some(name) = self.only_name() {
            let key = stored::key(self.kind, &self.namespace, name);
            let behind = Bytes::from([key.as_ref(), b"\0"].concat());
            range = (key, behind);
        }
        let from = if self.told == 0 { 0 } else { self.told + 1 };
        self.registry.storage.watch(range.0, range.1, from).await
    }

    /// The next event; `None` when the watch is over.
    pub(crate) async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Over => return None,
                Phase::State(rest) => self.read_state(rest).await,
                Phase::StateTold => self.end_state().await,
                Phase::Changes(source) => self.read_changes(source).await,
            }
        }
    }

    async fn read_state(&mut self, mut rest: Rest) {
        match self.registry.more(&mut rest).await {
            Ok(items) if items.is_empty() => self.phase = Phase::StateTold,
            Ok(items) => {
                self.ready.extend(items.into_iter().map(added));
                self.phase = Phase::State(rest);
            }
            Err(status) => self.ready.push_back(WatchEvent::Failed(status)),
        }
    }

    async fn end_state(&mut self) {
        if self.options.initial_events == Some(true) && self.options.bookmarks {
            let revision = self.told;
            self.ready.push_back(WatchEvent::Bookmark { revision, ends_initial: true });
        }
        self.go_on().await;
    }

    /// Goes on behind what was told.
    async fn go_on(&mut self) {
        match self.source().await {
            Ok(source) => self.phase = Phase::Changes(source),
            Err(error) => self.ready.push_back(WatchEvent::Failed(too_old(error, self.told))),
        }
    }

    async fn read_changes(&mut self, mut source: Source) {
        tokio::select! {
            biased;
            next = source.next() => self.take(next, source).await,
            () = sleep_until(self.next_bookmark), if self.options.bookmarks => {
                self.next_bookmark = Instant::now() + BOOKMARKS;
                self.told = self.told.max(source.told().unwrap_or(0));
                self.push_bookmark();
                self.phase = Phase::Changes(source);
            }
            () = sleep_until(self.deadline) => {
                // One more, so that the client goes on from here and not from the last change.
                self.told = self.told.max(source.told().unwrap_or(0));
                if self.options.bookmarks {
                    self.push_bookmark();
                }
            }
        }
    }

    fn push_bookmark(&mut self) {
        let revision = self.told;
        if revision > 0 {
            self.ready.push_back(WatchEvent::Bookmark { revision, ends_initial: false });
        }
    }

    /// Takes what a source told, and goes on with it, or with another.
    async fn take(&mut self, next: Next, source: Source) {
        match next {
            Next::Events(batch) => {
                if let Err(status) = self.take_all(&batch) {
                    self.ready.push_back(WatchEvent::Failed(status));
                    return;
                }
            }
            Next::Progress(revision) => self.told = self.told.max(revision),
            Next::LeftBehind => {
                drop(source);
                return self.go_on().await;
            }
            Next::Failed(error) => {
                self.ready.push_back(WatchEvent::Failed(too_old(error, self.told)));
                return;
            }
            Next::Over => return,
        }
        self.phase = Phase::Changes(match source {
            Source::Own(stream) => match self.join() {
                Some(subscription) => Source::Fed(subscription),
                None => Source::Own(stream),
            },
            fed @ Source::Fed(_) => fed,
        });
    }

    fn take_all(&mut self, batch: &Batch) -> Answer<()> {
        for event in batch {
            self.told = self.told.max(event.revision);
            if let Some(told) = self.event_of(event)? {
                self.ready.push_back(told);
            }
        }
        Ok(())
    }

    /// What a change is to this watch.
    fn event_of(&self, event: &Event) -> Answer<Option<WatchEvent>> {
        let taken = |version: &Option<Arc<Version>>| match version {
            None => Ok(false),
            Some(version) => version.is_taken(self.kind, &self.options.filter),
        };
        let (told, version) = match (taken(&event.before)?, taken(&event.now)?) {
            (false, false) => return Ok(None),
            (false, true) => (Told::Added, &event.now),
            (true, true) => (Told::Modified, &event.now),
            (true, false) => (Told::Deleted, &event.before),
        };
        Ok(version.as_ref().map(|version| {
            let (value, revision) = (version.value().clone(), event.revision);
            WatchEvent::Change(
                told,
                Shown { value, revision, forms: Some(Arc::clone(&event.forms)) },
            )
        }))
    }
}

fn added(stored: crate::storage::Stored) -> WatchEvent {
    let (value, revision) = (stored.value, stored.mod_revision);
    WatchEvent::Change(Told::Added, Shown { value, revision, forms: None })
}

fn too_old(error: StorageError, from: u64) -> Box<Status> {
    match error {
        StorageError::Compacted(first) => {
            Box::new(Status::expired(format!("too old resource version: {from} ({first})")))
        }
        error => failure(error),
    }
}

fn revision_of(options: &WatchOptions) -> Answer<u64> {
    revision::of_read(&options.resource_version)
}

/// What is wrong with the options (apimachinery `internalversion/validation`).
fn check(options: &WatchOptions) -> Answer<()> {
    use crate::field::{FieldErrors, Path};
    let mut errors = FieldErrors::default();
    let path = Path::new("resourceVersionMatch");
    let wanted = options.version_match.as_str();
    if options.initial_events.is_some() {
        if wanted.is_empty() {
            let why = "resourceVersionMatch is required when sendInitialEvents is set";
            errors.forbidden(&Path::new("resourceVersionMatch"), why);
        } else if wanted != "NotOlderThan" {
            errors.not_supported(&path, wanted, &["NotOlderThan"]);
        }
    } else if !wanted.is_empty() {
        errors.forbidden(
            &path,
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        );
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Box::new(Status::invalid("meta.k8s.io", "ListOptions", "", &errors)))
}
