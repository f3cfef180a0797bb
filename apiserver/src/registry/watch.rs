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
//! Invariant: every event of a revision comes before any of a later one, and a bookmark's revision
//! is one up to which everything was told.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep, sleep_until};

use super::list::{Filter, ListOptions, Rest, too_large};
use super::{Call, Registry, failure, object_of, stored};
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
}

/// What a client is told.
#[derive(Debug, Clone)]
pub(crate) enum WatchEvent {
    Added(Shown),
    Modified(Shown),
    Deleted(Shown),
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
    registry: std::sync::Arc<Registry>,
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
    Changes(WatchStream),
    Over,
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
        self: &std::sync::Arc<Self>,
        call: &Call<'_>,
        options: WatchOptions,
    ) -> Answer<Watcher> {
        check(&options)?;
        let from = revision_of(&options)?;
        let wants_state = options.initial_events.unwrap_or(from == 0);
        let now = Instant::now();
        let mut watcher = Watcher {
            registry: std::sync::Arc::clone(self),
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
            return Err(too_large(now));
        }
        let stream = self.open(from).await.map_err(|error| too_old(error, from))?;
        self.phase = Phase::Changes(stream);
        Ok(())
    }

    /// The store's own watch of what comes after a revision.
    #[expect(
        clippy::needless_pass_by_ref_mut,
        reason = "shared across an await, the store's stream would have to be Sync"
    )]
    async fn open(&mut self, after: u64) -> Result<WatchStream, StorageError> {
        let prefix = stored::prefix(self.kind, &self.namespace);
        let end = stored::behind(&prefix);
        let mut range = (Bytes::from(prefix), end);
        if let Some(name) = self.options.filter.only_name()
            && (!self.kind.is_namespaced() || !self.namespace.is_empty())
        {
            let key = stored::key(self.kind, &self.namespace, name);
            let behind = Bytes::from([key.as_ref(), b"\0"].concat());
            range = (key, behind);
        }
        let from = if after == 0 { 0 } else { after + 1 };
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
                Phase::Changes(stream) => self.read_changes(stream).await,
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
        let told = self.told;
        match self.open(told).await {
            Ok(stream) => self.phase = Phase::Changes(stream),
            Err(error) => self.ready.push_back(WatchEvent::Failed(too_old(error, self.told))),
        }
    }

    async fn read_changes(&mut self, mut stream: WatchStream) {
        tokio::select! {
            biased;
            item = stream.next() => match item {
                Some(Ok(item)) => {
                    self.phase = Phase::Changes(stream);
                    if let Err(status) = self.take(item) {
                        self.phase = Phase::Over;
                        self.ready.push_back(WatchEvent::Failed(status));
                    }
                }
                Some(Err(error)) => {
                    self.ready.push_back(WatchEvent::Failed(too_old(error, self.told)));
                }
                None => {}
            },
            () = sleep_until(self.next_bookmark), if self.options.bookmarks => {
                self.next_bookmark = Instant::now() + BOOKMARKS;
                let revision = self.told;
                if revision > 0 {
                    self.ready.push_back(WatchEvent::Bookmark { revision, ends_initial: false });
                }
                self.phase = Phase::Changes(stream);
            }
            () = sleep_until(self.deadline) => {
                // One more, so that the client goes on from here and not from the last change.
                if self.options.bookmarks && self.told > 0 {
                    let revision = self.told;
                    self.ready.push_back(WatchEvent::Bookmark { revision, ends_initial: false });
                }
            }
        }
    }

    fn take(&mut self, item: WatchItem) -> Answer<()> {
        match item {
            WatchItem::Progress(revision) => self.told = self.told.max(revision),
            WatchItem::Changes(changes) => {
                for change in changes {
                    self.told = self.told.max(change.revision);
                    if let Some(event) = self.event_of(change)? {
                        self.ready.push_back(event);
                    }
                }
            }
        }
        Ok(())
    }

    /// What a change is to this watch.
    fn event_of(&self, change: Change) -> Answer<Option<WatchEvent>> {
        let revision = change.revision;
        let taken = |value: &Option<Bytes>| match value {
            None => Ok(false),
            Some(_) if self.options.filter.takes_all() => Ok(true),
            Some(value) => {
                let object = object_of(self.kind, value, revision)?;
                Ok::<_, Box<Status>>(self.options.filter.takes(self.kind, &object))
            }
        };
        let (before, now) = (taken(&change.previous)?, taken(&change.value)?);
        let shown = |value: Option<Bytes>| value.map(|value| Shown { value, revision });
        Ok(match (before, now) {
            (false, false) => None,
            (false, true) => shown(change.value).map(WatchEvent::Added),
            (true, true) => shown(change.value).map(WatchEvent::Modified),
            (true, false) => shown(change.previous).map(WatchEvent::Deleted),
        })
    }
}

fn added(stored: crate::storage::Stored) -> WatchEvent {
    WatchEvent::Added(Shown { value: stored.value, revision: stored.mod_revision })
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
    match options.resource_version.as_str() {
        "" => Ok(0),
        text => text.parse().map_err(|_| {
            Box::new(Status::bad_request(format!("invalid resource version \"{text}\"")))
        }),
    }
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
