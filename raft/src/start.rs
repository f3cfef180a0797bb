//! Starting a member: from a data directory and the machine's parts to a handle that serves.
//!
//! ```text
//!   lock ─► identity ─► store (newest durable root) ─► write-ahead log ─► engine replays the
//!   entries between them ─► first membership, if the log is empty ─► housekeeping tasks
//! ```

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kstore_host::{Clock, DirectoryLock, Disk, Jobs, Random};
use kstore_mvcc::Lineage;
use kstore_watch::{Hub, HubOptions};
use openraft::AsyncRuntime;

use crate::applied::Applied;
use crate::apply::{Applier, Home, Listeners, open_machine};
use crate::barrier::Barrier;
use crate::bootstrap::{InitialMember, cluster_id, member_id};
use crate::checkpointer::{Checkpointer, KEPT_ENTRIES};
use crate::engine::{self, Limits, Parts, PeerAddress, Seat, Timing};
use crate::hearing::Hearing;
use crate::housekeeping;
use crate::identity::Identity;
use crate::incoming::Incoming;
use crate::lessor::Lessor;
use crate::member::{Core, Ending, Member};
use crate::peer::{Caller, PeerNet};
use crate::pending::Pending;
use crate::tasks::tasks_of;
use crate::types::MemberId;
use crate::wal::{self, Wal, WalOptions};
use crate::watch_stream::SharedHub;

/// What a member is told at its start.
#[derive(Debug, Clone)]
pub struct StartOptions {
    /// Its name: one of `cluster`.
    pub name: String,
    /// Where everything that it keeps lies.
    pub data_dir: PathBuf,
    /// The first members of the cluster, this one among them.
    pub cluster: Vec<InitialMember>,
    /// Tells clusters with the same members apart.
    pub token: String,
    /// Heartbeat and election.
    pub timing: Timing,
    /// The store's sizes and triggers.
    pub store: kstore_mvcc::Options,
    /// The log's sizes.
    pub wal: WalOptions,
    /// The hub's bounds.
    pub hub: HubOptions,
    /// Entries of the log that stay behind the newest one for followers that are behind.
    pub kept_entries: u64,
    /// How often the member looks whether something is to be done: expired leases and requests,
    /// a checkpoint, a quiet log.
    pub housekeeping: Duration,
}

impl StartOptions {
    /// Production's bounds for a member of a cluster.
    #[must_use]
    pub fn new(
        name: String,
        data_dir: PathBuf,
        cluster: Vec<InitialMember>,
        token: String,
    ) -> Self {
        Self {
            name,
            data_dir,
            cluster,
            token,
            timing: Timing::default(),
            store: kstore_mvcc::Options::default(),
            wal: WalOptions::default(),
            hub: HubOptions::default(),
            kept_entries: KEPT_ENTRIES,
            housekeeping: Duration::from_millis(100),
        }
    }
}

/// The parts of the machine that a member runs on.
#[derive(Debug, Clone)]
pub struct HostParts {
    /// Its files.
    pub disk: Arc<dyn Disk>,
    /// Its time; the same source as the runtime's.
    pub clock: Arc<dyn Clock>,
    /// Its chance.
    pub random: Arc<dyn Random>,
    /// Its blocking work.
    pub jobs: Arc<dyn Jobs>,
}

/// Why a member does not start. One line each.
#[derive(Debug)]
pub enum StartError {
    /// The flags do not fit together.
    Flags(String),
    /// The data directory is in use by another process.
    InUse(PathBuf),
    /// The disk said no.
    Io {
        /// What was being done.
        what: String,
        /// What it said.
        source: io::Error,
    },
    /// Something in the data directory is not what kstore writes.
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The write-ahead log cannot be used.
    Wal(wal::OpenError),
    /// The store or the engine cannot start.
    Other(String),
}

impl StartError {
    pub(crate) fn io(what: &str, path: &Path, source: io::Error) -> Self {
        Self::Io { what: format!("{what} {}", path.display()), source }
    }
}

impl Display for StartError {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flags(why) | Self::Other(why) => f.write_str(why),
            Self::InUse(path) => {
                write!(f, "data directory {} is in use by another process", path.display())
            }
            Self::Io { what, source } => write!(f, "{what}: {source}"),
            Self::Damaged { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Wal(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

/// Everything on the disk, opened.
struct Opened {
    lock: Box<dyn DirectoryLock>,
    identity: Identity,
    home: Home,
    machine: kstore_machine::Machine,
    wal: Wal,
}

/// Starts a member on runtime `R`, which must be the current one, with `net` between it and its
/// peers. Returns once every entry that is known to be committed is applied.
///
/// # Errors
/// See [`StartError`].
pub async fn start<R: AsyncRuntime, N: PeerNet>(
    options: StartOptions,
    host: HostParts,
    net: N,
) -> Result<Member, StartError> {
    options.timing.check().map_err(StartError::Flags)?;
    let me = own_id(&options)?;
    let opened = open(&options, &host, me)?;
    let timing = options.timing;
    let identity = opened.identity;
    let is_new = opened.wal.last().is_none() && opened.machine.applied().is_none();
    let listeners = Listening::new(&options, &host, &opened);
    let applier = applier_of(&host, opened.home, opened.machine, &opened.wal, &listeners)?;
    let caller = Caller::new(identity.cluster, identity.member, Arc::new(net));
    let incoming = Incoming::new(
        Arc::clone(&host.disk),
        Arc::clone(&host.jobs),
        options.data_dir.join("incoming"),
    );
    let parts = Parts {
        member: identity.member,
        cluster_name: identity.cluster.to_string(),
        timing,
        seat: seat_of(identity.member, &options),
        limits: limits_of(timing),
        wal: opened.wal.clone(),
        jobs: Arc::clone(&host.jobs),
        applier: Arc::clone(&applier),
        caller: caller.clone(),
        incoming: Arc::new(incoming),
    };
    let engine = engine::start::<R>(parts).await.map_err(StartError::Other)?;
    if is_new {
        engine.initialize(first_members(&options)).await.map_err(StartError::Other)?;
    }
    let now = host.clock.monotonic();
    let lane = host.jobs.lane("checkpoint");
    let core = Arc::new(Core {
        identity,
        origin: listeners.origin,
        timing,
        engine: Arc::clone(&engine),
        applier,
        pending: listeners.pending,
        applied: listeners.applied,
        hub: listeners.hub,
        lessor: listeners.lessor,
        barrier: Barrier::default(),
        caller,
        tasks: tasks_of::<R>(),
        clock: host.clock,
        random: host.random,
        jobs: host.jobs,
        wal: opened.wal,
        checkpointer: Checkpointer::new(lane, now, options.kept_entries),
        leader_changes: AtomicU64::new(0),
        hearing: Hearing::default(),
        stopping: AtomicBool::new(false),
        ending: Mutex::new(Ending::default()),
        _lock: opened.lock,
    });
    if engine.state().voters == [identity.member] {
        engine.elect().await;
    }
    housekeeping::spawn(&core, options.housekeeping);
    Ok(Member { core })
}

/// What the apply lane tells, shared with the member's handle.
struct Listening {
    pending: Arc<Pending>,
    applied: Arc<Applied>,
    hub: SharedHub,
    lessor: Arc<Lessor>,
    /// This run's number.
    origin: u64,
}

impl Listening {
    fn new(options: &StartOptions, host: &HostParts, opened: &Opened) -> Self {
        let view = opened.machine.store().reader().snapshot();
        let applied = view.position().map(|position| position.index);
        let hub = Hub::new(options.hub, view.revision().0, view.compacted().0);
        Self {
            pending: Arc::new(Pending::new()),
            applied: Arc::new(Applied::new(applied)),
            hub: Arc::new(Mutex::new(hub)),
            lessor: Arc::new(Lessor::new()),
            origin: host.random.next_u64(),
        }
    }
}

fn applier_of(
    host: &HostParts,
    home: Home,
    machine: kstore_machine::Machine,
    wal: &Wal,
    listening: &Listening,
) -> Result<Arc<Applier>, StartError> {
    let listeners = Listeners {
        pending: Arc::clone(&listening.pending),
        applied: Arc::clone(&listening.applied),
        hub: Arc::clone(&listening.hub),
        lessor: Arc::clone(&listening.lessor),
        clock: Arc::clone(&host.clock),
        origin: listening.origin,
    };
    let random = Arc::clone(&host.random);
    let lane = host.jobs.lane("apply");
    let applier = Applier::new(lane, home, machine, listeners, random, wal.clone());
    applier.map(Arc::new).map_err(|e| StartError::Other(e.to_string()))
}

/// How long peers may take, from the timing flags.
fn limits_of(timing: Timing) -> Limits {
    Limits {
        append: timing.election,
        heartbeat: timing.election.mul_f64(0.3),
        piece: timing.election * 10,
    }
}

fn own_id(options: &StartOptions) -> Result<MemberId, StartError> {
    let own = options.cluster.iter().find(|member| member.name == options.name);
    let own = own.ok_or_else(|| {
        StartError::Flags(format!(
            "couldn't find local name \"{}\" in the initial cluster configuration",
            options.name
        ))
    })?;
    Ok(member_id(&options.token, own))
}

fn first_members(options: &StartOptions) -> BTreeMap<u64, PeerAddress> {
    let member = |member: &InitialMember| {
        let address = PeerAddress { urls: member.peer_urls.clone() };
        (member_id(&options.token, member).0, address)
    };
    options.cluster.iter().map(member).collect()
}

/// The seat of a member among the first members; one that came later has that of a member alone.
fn seat_of(me: MemberId, options: &StartOptions) -> Seat {
    let members = first_members(options);
    let number = members.keys().position(|id| *id == me.0);
    let narrow = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
    number.map_or(Seat { number: 0, of: 1 }, |number| Seat {
        number: narrow(number),
        of: narrow(members.len()),
    })
}

fn open(options: &StartOptions, host: &HostParts, me: MemberId) -> Result<Opened, StartError> {
    let dir = &options.data_dir;
    let disk = &host.disk;
    disk.create_dir(dir).map_err(|e| StartError::io("make data directory", dir, e))?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        disk.sync_dir(parent).map_err(|e| StartError::io("sync directory", parent, e))?;
    }
    let lock = disk.lock(dir).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => StartError::InUse(dir.clone()),
        _ => StartError::io("data directory is not writable:", dir, e),
    })?;
    let cluster = cluster_id(&options.token, &options.cluster);
    let identity = Identity::open(disk, dir, cluster, me, &*host.random)?;
    let home = Home {
        disk: Arc::clone(disk),
        data_dir: dir.clone(),
        options: options.store.clone(),
        lineage: Lineage(identity.lineage),
    };
    let machine = open_machine(&home, &*host.random).map_err(StartError::Other)?;
    let root = machine.applied().map(|position| position.index);
    let (wal, recovered) = Wal::open(
        disk,
        &dir.join("wal"),
        host.jobs.lane("wal"),
        &*host.random,
        options.wal.clone(),
        root,
    )
    .map_err(StartError::Wal)?;
    if let Some(cut) = &recovered.cut {
        tracing::warn!(?cut, "the log ended in an unfinished write; cut it off");
    }
    Ok(Opened { lock, identity, home, machine, wal })
}
