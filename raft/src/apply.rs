//! The apply lane: where committed entries become state, one batch after the other.
//!
//! ```text
//!   openraft ──apply(batch)──► lane ──► Machine::apply, entry by entry
//!                                          │
//!                              publish the view (one swap)
//!                                          │
//!             ┌──────────────┬─────────────┼──────────────┐
//!          Applied        Pending         Hub           Lessor
//!       (read barriers)  (answers)      (watches)   (lease clock)
//! ```
//!
//! Invariant: answers and events of an entry leave only after the view that contains it was
//! published, so that whoever hears of a write can read it here.
//!
//! Invariant: after a [`kstore_machine::Fatal`] nothing more is applied; the engine is told and
//! ends.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use kstore_host::{Clock, Disk, Jobs, Lane, Random};
use kstore_machine::{
    Applied as AppliedEntry, EventBatch, Machine, Membership, Notice, Published, Wants, cluster,
    lease,
};
use kstore_mvcc::{
    Access, CheckpointDone, CheckpointJob, DurableRoots, ImageReceiver, LeaseId, Lineage, Options,
    Position, ReceivedImage, Restart, Snapshot, Store, StoreId, StoreIdentity,
};
use kstore_watch::Batch;
use tokio::sync::oneshot;

use crate::applied::Applied;
use crate::engine::{COMMAND, MembershipEntry};
use crate::event::Event;
use crate::image::PinnedImage;
use crate::lessor::Lessor;
use crate::outcome::Outcome;
use crate::pending::Pending;
use crate::types::MemberId;
use crate::wal::Wal;
use crate::watch_stream::{SharedHub, lock};

/// A committed entry on its way to the lane.
pub(crate) struct EntryToApply {
    position: Position,
    content: Content,
}

enum Content {
    /// As it lies in the log, with its kind byte.
    Payload(Bytes),
    Membership(MembershipEntry),
}

impl EntryToApply {
    pub(crate) fn payload(position: Position, payload: Bytes) -> Self {
        Self { position, content: Content::Payload(payload) }
    }

    pub(crate) fn membership(position: Position, membership: MembershipEntry) -> Self {
        Self { position, content: Content::Membership(membership) }
    }

    /// About how many bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        match &self.content {
            Content::Payload(payload) => payload.len(),
            Content::Membership(membership) => membership.encoded.len(),
        }
    }
}

/// Where a store lives and how it is opened.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) data_dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) lineage: Lineage,
}

/// What applying tells, and whom.
pub(crate) struct Listeners {
    pub(crate) pending: Arc<Pending>,
    pub(crate) applied: Arc<Applied>,
    pub(crate) hub: SharedHub,
    pub(crate) lessor: Arc<Lessor>,
    pub(crate) clock: Arc<dyn Clock>,
    /// This run's number: commands with it are answered here.
    pub(crate) origin: u64,
}

/// How many cells of the state tree are looked at for dead ones after each batch.
const SWEEP_CELLS: u64 = 512;

/// See the module.
pub(crate) struct Applier {
    lane: Arc<dyn Lane>,
    state: Arc<State>,
    /// Held while a checkpoint is written, and while an image takes the store's place: a checkpoint
    /// writes into the home that an image removes, and its outcome belongs to the store that it
    /// was prepared from.
    store_in_place: tokio::sync::Mutex<()>,
}

struct State {
    home: Home,
    listeners: Listeners,
    /// Taken only by jobs of the lane, so nobody ever waits for it. `None` while an image is
    /// installed, and after that failed.
    machine: Mutex<Option<Machine>>,
    /// The newest published view.
    view: RwLock<Snapshot>,
    /// The membership at the newest durable root, and at the one that is being written.
    memberships: Mutex<Memberships>,
    random: Arc<dyn Random>,
    wal: Wal,
}

/// Which membership belongs to which root: an image is sent with that of its own root.
#[derive(Default)]
struct Memberships {
    durable: RootMembership,
    prepared: RootMembership,
}

/// Where a root stands, and the newest membership there. Both are absent in a new store.
#[derive(Default, Clone)]
struct RootMembership {
    position: Option<Position>,
    encoded: Option<Bytes>,
}

/// What a batch did, ready to be shown.
struct Ready {
    snapshot: Snapshot,
    batches: Vec<EventBatch>,
    last: Position,
    results: Vec<(Position, AppliedEntry)>,
}

fn ended() -> io::Error {
    io::Error::other("the apply lane has ended")
}

impl State {
    fn machine(&self) -> MutexGuard<'_, Option<Machine>> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish_view(&self, view: Snapshot) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view;
    }

    fn view(&self) -> Snapshot {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Applies a batch. Nothing of it shows before [`Self::release`].
    fn apply(&self, batch: Vec<EntryToApply>) -> io::Result<Option<Ready>> {
        let mut machine = self.machine();
        let machine = machine.as_mut().ok_or_else(ended)?;
        let mut results = Vec::with_capacity(batch.len());
        for entry in batch {
            let result = self.apply_one(machine, &entry).map_err(io::Error::other)?;
            results.push((entry.position, result));
        }
        let Some((last, _)) = results.last() else { return Ok(None) };
        let last = *last;
        let Published { snapshot, batches } = machine.publish();
        // A little of the tree's dead cells goes with each batch, so that none has to wait long.
        if machine.store().sweep_due() {
            machine.store_mut().sweep(SWEEP_CELLS).map_err(io::Error::other)?;
        }
        Ok(Some(Ready { snapshot, batches, last, results }))
    }

    /// Shows what a batch did: the view first, then everything that tells of it.
    fn release(&self, ready: Ready) {
        self.publish_view(ready.snapshot);
        self.tell_hub(ready.batches);
        self.listeners.applied.advance(ready.last.index);
        self.answer(ready.results);
    }

    fn apply_one(
        &self,
        machine: &mut Machine,
        entry: &EntryToApply,
    ) -> Result<AppliedEntry, kstore_machine::Fatal> {
        match &entry.content {
            Content::Payload(payload) if payload.first() == Some(&COMMAND) => {
                let wants = Wants::ReplyTo { origin: self.listeners.origin };
                machine.apply(entry.position, &payload.slice(1..), wants)
            }
            Content::Payload(_) => machine.apply(entry.position, &Bytes::new(), Wants::Nothing),
            Content::Membership(membership) => {
                let membership = Membership {
                    encoded: membership.encoded.clone(),
                    voters: membership.voters.clone(),
                    learners: membership.learners.clone(),
                };
                machine.apply_membership(entry.position, &membership)
            }
        }
    }

    fn tell_hub(&self, batches: Vec<EventBatch>) {
        for batch in batches {
            let batch = match batch {
                EventBatch::Events { revision, events } => Batch::Events {
                    revision: revision.0,
                    events: events.into_iter().map(Event).collect(),
                },
                EventBatch::Named { revision, first, last, .. } => {
                    Batch::Named { revision: revision.0, first, last }
                }
            };
            let wakes = lock(&self.listeners.hub).publish(batch);
            wakes.wake();
        }
    }

    fn answer(&self, results: Vec<(Position, AppliedEntry)>) {
        let listeners = &self.listeners;
        let now = listeners.clock.monotonic();
        for (position, result) in results {
            for notice in result.notices {
                match notice {
                    Notice::LeaseGranted { id, ttl } => {
                        listeners.lessor.granted(id, u64::try_from(ttl).unwrap_or(0), now);
                    }
                    Notice::LeaseRevoked { id } => listeners.lessor.revoked(id),
                    Notice::Compacted(revision) => lock(&listeners.hub).compact(revision.0),
                    _ => {}
                }
            }
            if let Some(request) = result.request
                && request.origin == listeners.origin
            {
                let outcome = Outcome { reply: result.reply, position };
                listeners.pending.done(request.sequence, outcome);
            }
        }
    }

    /// Replaces the store by a received image.
    fn install(&self, received: &ReceivedImage) -> io::Result<()> {
        let mut machine = self.machine();
        // The old store is closed first: its files go with the new one's opening.
        drop(machine.take());
        let store = StoreId(random_u128(&*self.random));
        let disk = &*self.home.disk;
        let restart = Restart::SameCluster;
        kstore_mvcc::install(disk, &self.home.data_dir, received, store, restart)
            .map_err(io::Error::other)?;
        let opened = open_machine(&self.home, &*self.random).map_err(io::Error::other)?;
        let view = opened.store().reader().snapshot();
        let (current, compacted) = (view.revision().0, view.compacted().0);
        let position = opened.applied();
        self.memberships().durable = membership_at(&view)?;
        *machine = Some(opened);
        self.publish_view(view);
        let wakes = lock(&self.listeners.hub).reset(current, compacted);
        wakes.wake();
        if let Some(position) = position {
            self.listeners.applied.advance(position.index);
        }
        Ok(())
    }

    fn memberships(&self) -> MutexGuard<'_, Memberships> {
        self.memberships.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepare_checkpoint(&self) -> io::Result<Option<CheckpointJob>> {
        let mut machine = self.machine();
        let machine = machine.as_mut().ok_or_else(ended)?;
        let job = machine.store_mut().prepare_checkpoint().map_err(io::Error::other)?;
        if job.is_some() {
            // What is prepared is what the store has published.
            let published = machine.store().reader().snapshot();
            self.memberships().prepared = membership_at(&published)?;
        }
        Ok(job)
    }

    fn finish_checkpoint(&self, done: CheckpointDone) -> io::Result<DurableRoots> {
        let mut machine = self.machine();
        let store = machine.as_mut().ok_or_else(ended)?.store_mut();
        store.finish_checkpoint(done).map_err(io::Error::other)?;
        let mut memberships = self.memberships();
        memberships.durable = memberships.prepared.clone();
        Ok(store.durable())
    }

    fn pin_image(&self, jobs: Arc<dyn Jobs>) -> io::Result<PinnedImage> {
        let mut machine = self.machine();
        let store = machine.as_mut().ok_or_else(ended)?.store_mut();
        let RootMembership { position, encoded } = self.memberships().durable.clone();
        let image = store.image().map_err(io::Error::other)?;
        assert_eq!(image.info().position, position, "memberships follow the roots");
        Ok(PinnedImage { position, membership: encoded, image: Arc::new(image), jobs })
    }
}

/// Where a view stands, and the newest membership there.
fn membership_at(view: &Snapshot) -> io::Result<RootMembership> {
    let position = view.position();
    if position.is_none() {
        // A restored store: the members that it knows are those of the cluster it comes from.
        return Ok(RootMembership { position, encoded: None });
    }
    let membership = cluster::membership(view, Access::Disk).map_err(io::Error::other)?;
    let encoded = membership.map(|(_, encoded)| encoded);
    Ok(RootMembership { position, encoded })
}

/// A random number of 128 bits.
pub(crate) fn random_u128(random: &dyn Random) -> u128 {
    u128::from(random.next_u64()) << 64 | u128::from(random.next_u64())
}

/// Opens the newest store of a data directory and the machine on it.
pub(crate) fn open_machine(home: &Home, random: &dyn Random) -> Result<Machine, String> {
    // A store's id tells the roots of one opening from those of another.
    let identity = StoreIdentity { lineage: home.lineage, store: StoreId(random_u128(random)) };
    let (store, opening) =
        Store::open(Arc::clone(&home.disk), &home.data_dir, home.options.clone(), identity)
            .map_err(|e| e.to_string())?;
    if let Some(why) = &opening.fell_back {
        tracing::warn!(%why, "the newest root of the store is unusable; falling back to the one before");
    }
    Machine::open(store).map_err(|e| e.to_string())
}

impl Applier {
    /// Takes a machine over; everything happens on `lane` from now on.
    pub(crate) fn new(
        lane: Arc<dyn Lane>,
        home: Home,
        machine: Machine,
        listeners: Listeners,
        random: Arc<dyn Random>,
        wal: Wal,
    ) -> io::Result<Self> {
        let view = machine.store().reader().snapshot();
        // What was opened is a durable root.
        let memberships =
            Memberships { durable: membership_at(&view)?, prepared: RootMembership::default() };
        let state = State {
            home,
            listeners,
            machine: Mutex::new(Some(machine)),
            view: RwLock::new(view),
            memberships: Mutex::new(memberships),
            random,
            wal,
        };
        Ok(Self { lane, state: Arc::new(state), store_in_place: tokio::sync::Mutex::new(()) })
    }

    /// The newest published view.
    pub(crate) fn view(&self) -> Snapshot {
        self.state.view()
    }

    /// Runs `work` with the machine on the lane.
    async fn on_lane<T: Send + 'static>(
        &self,
        work: impl FnOnce(&State) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (sender, receiver) = oneshot::channel();
        let state = Arc::clone(&self.state);
        self.lane.push(Box::new(move || drop(sender.send(work(&state)))));
        receiver.await.map_err(|_| ended())?
    }

    async fn with_machine<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Machine) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.on_lane(|state| work(state.machine().as_mut().ok_or_else(ended)?)).await
    }

    /// Applies committed entries and publishes what they made.
    pub(crate) async fn apply(&self, batch: Vec<EntryToApply>) -> io::Result<()> {
        if crate::planted::event_before_publish() {
            return self.apply_telling_first(batch).await;
        }
        self.on_lane(move |state| {
            if let Some(ready) = state.apply(batch)? {
                state.release(ready);
            }
            Ok(())
        })
        .await
    }

    /// The planted bug: events leave one job of the lane before their view is published.
    async fn apply_telling_first(&self, batch: Vec<EntryToApply>) -> io::Result<()> {
        let ready = self
            .on_lane(move |state| {
                let mut ready = state.apply(batch)?;
                if let Some(ready) = &mut ready {
                    state.tell_hub(std::mem::take(&mut ready.batches));
                }
                Ok(ready)
            })
            .await?;
        self.on_lane(move |state| {
            if let Some(ready) = ready {
                state.release(ready);
            }
            Ok(())
        })
        .await
    }

    /// The last applied entry, and the newest membership as the engine encoded it.
    pub(crate) async fn applied_state(&self) -> io::Result<(Option<Position>, Option<Bytes>)> {
        self.with_machine(|machine| {
            let view = machine.store().reader().snapshot();
            Ok((machine.applied(), membership_at(&view)?.encoded))
        })
        .await
    }

    /// Keeps images from being installed while the result lives.
    pub(crate) async fn hold_store(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.store_in_place.lock().await
    }

    /// Replaces everything by an image that another member sent, once no checkpoint is under way.
    pub(crate) async fn install(
        &self,
        received: ReceivedImage,
        position: Option<Position>,
    ) -> io::Result<()> {
        if received.info().position != position {
            return Err(io::Error::other(
                "the image is not of the entry that it was announced for",
            ));
        }
        if let Some(position) = position {
            // From here on the store may be ahead of this member's own log.
            let (sender, is_flushed) = oneshot::channel();
            let announced = Box::new(move |result| drop(sender.send(result)));
            self.state.wal.expect_image(position, announced);
            is_flushed.await.map_err(|_| ended())??;
        }
        let _held = self.hold_store().await;
        self.on_lane(move |state| state.install(&received)).await
    }

    /// Keeps the files of the newest durable root, for as long as the result lives.
    pub(crate) async fn pin_image(&self, jobs: Arc<dyn Jobs>) -> io::Result<PinnedImage> {
        self.on_lane(move |state| state.pin_image(jobs)).await
    }

    /// Receives an image that another store of this process holds.
    pub(crate) async fn copy_image(&self, image: Arc<PinnedImage>) -> io::Result<ReceivedImage> {
        self.on_lane(move |state| {
            let (disk, dir) = (Arc::clone(&state.home.disk), state.home.data_dir.join("incoming"));
            let mut receiver = ImageReceiver::begin(disk, &dir).map_err(io::Error::other)?;
            let mut reader = image.image.reader();
            while let Some(piece) = reader.next_piece().map_err(io::Error::other)? {
                receiver.write(&piece).map_err(io::Error::other)?;
            }
            receiver.finish().map_err(io::Error::other)
        })
        .await
    }

    /// Whether a checkpoint is due.
    pub(crate) async fn checkpoint_due(
        &self,
        log_bytes: u64,
        since_last: std::time::Duration,
        none_yet: bool,
    ) -> io::Result<bool> {
        self.with_machine(move |machine| {
            Ok(machine.store().checkpoint_due(log_bytes, since_last, none_yet))
        })
        .await
    }

    /// Begins a checkpoint of the newest view; `None` if there is nothing to write.
    pub(crate) async fn prepare_checkpoint(&self) -> io::Result<Option<CheckpointJob>> {
        self.on_lane(State::prepare_checkpoint).await
    }

    /// Takes note of a checkpoint that was written.
    pub(crate) async fn finish_checkpoint(&self, done: CheckpointDone) -> io::Result<DurableRoots> {
        self.on_lane(|state| state.finish_checkpoint(done)).await
    }

    /// Writes a checkpoint on the apply lane itself, when everything in the log is flushed: only
    /// where nothing else is going on.
    pub(crate) async fn checkpoint(&self) -> io::Result<()> {
        self.on_lane(|state| {
            let Some(job) = state.prepare_checkpoint()? else { return Ok(()) };
            let done = job.run().map_err(io::Error::other)?;
            state.finish_checkpoint(done).map(drop)
        })
        .await
    }

    /// The newest and second newest durable roots.
    pub(crate) async fn durable(&self) -> io::Result<DurableRoots> {
        self.with_machine(|machine| Ok(machine.store().durable())).await
    }

    /// Names and client URLs of the members, as far as they have told them.
    pub(crate) fn member_attributes(&self) -> BTreeMap<MemberId, (String, Vec<String>)> {
        let members = cluster::members(&self.view(), Access::Disk).unwrap_or_default();
        members.into_iter().map(|m| (MemberId(m.id), (m.name, m.client_urls))).collect()
    }

    /// Every lease of the newest view: its id, its time to live, and what a checkpoint of the
    /// clock says is left of it.
    pub(crate) fn leases(&self) -> Vec<(LeaseId, u64, u64)> {
        let leases = lease::all(&self.view(), Access::Disk).unwrap_or_default();
        let seconds = |n: i64| u64::try_from(n).unwrap_or(0);
        let of = |lease: lease::Lease| {
            (lease.id, seconds(lease.granted), seconds(lease.remaining.unwrap_or(lease.granted)))
        };
        leases.into_iter().map(of).collect()
    }
}
