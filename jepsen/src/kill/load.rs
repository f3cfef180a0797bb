//! The clients that are at work while members die, and the prober that waits for the next write.
//!
//! Invariant: a write whose outcome is unknown is never sent again. The next attempt is another
//! write, with a value of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kstore_host::Clock;
use kstore_host::os::OsClock;
use kstore_proto::etcdserverpb as etcd;
use kstore_testkit::Prng;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;

use super::ledger::{self, Get, Ledger};
use super::members::{self, Members};

/// How many keys there are: few, so that each has many versions.
const KEYS: u64 = 300;

/// How long a client waits for an answer before it calls the outcome unknown.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a client waits after a failure before it goes on, with another member.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// Leases live longer than any run: one that is gone was lost.
const LEASE_SECONDS: i64 = 24 * 3600;

/// How often the prober sends a write, and how many of them may be under way.
const PROBE_EVERY: Duration = Duration::from_millis(5);
const PROBES_MAX: usize = 256;

/// How long the prober goes on.
const PROBE_FOR: Duration = Duration::from_secs(60);

/// What the clients and their judge share.
#[derive(Debug)]
pub(super) struct Shared {
    ledger: Mutex<Ledger>,
    clock: OsClock,
    /// Rung when an outage is over.
    over: Notify,
    stop: AtomicBool,
}

impl Shared {
    /// For so many clients, and the prober.
    pub(super) fn new(clients: usize) -> Arc<Self> {
        Arc::new(Self {
            ledger: Mutex::new(Ledger::new(clients + 1)),
            clock: OsClock::start(),
            over: Notify::new(),
            stop: AtomicBool::new(false),
        })
    }

    /// The ledger; nobody waits for anything while he has it.
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Tells the clients to end with the request that they are at.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Sends one write and notes what comes of it.
    async fn put(
        &self,
        channel: Channel,
        writer: usize,
        key: u64,
        lease: i64,
    ) -> Result<(), Status> {
        let now = self.now();
        let Some(id) = self.ledger().begin(writer, key, lease, now) else {
            return Err(Status::cancelled("there have been enough writes"));
        };
        let request = etcd::PutRequest {
            key: ledger::key(key).into(),
            value: ledger::value(id).into(),
            lease,
            ..etcd::PutRequest::default()
        };
        let answer = patiently(members::kv(channel).put(request)).await?;
        let revision = members::revision(answer.header.as_ref());
        let now = self.now();
        if self.ledger().acknowledge(id, revision, now) {
            self.over.notify_one();
        }
        Ok(())
    }

    async fn grant(&self, channel: Channel) -> Result<i64, Status> {
        let request = etcd::LeaseGrantRequest { ttl: LEASE_SECONDS, id: 0 };
        let answer = patiently(members::lease(channel).lease_grant(request)).await?;
        self.ledger().granted(answer.id);
        Ok(answer.id)
    }

    async fn get(&self, channel: Channel, key: u64) -> Result<(), Status> {
        let floor = self.ledger().highest();
        let request =
            etcd::RangeRequest { key: ledger::key(key).into(), ..etcd::RangeRequest::default() };
        let answer = patiently(members::kv(channel).range(request)).await?;
        let revision = members::revision(answer.header.as_ref());
        let found = answer.kvs.into_iter().next();
        self.ledger().answered(Get { key, floor, revision, found });
        Ok(())
    }
}

/// An answer that comes within the clients' patience.
async fn patiently<T>(
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
    }
}

/// One client: one request at a time, of a random kind, to one member until that one fails it.
pub(super) async fn client(
    shared: Arc<Shared>,
    writer: usize,
    endpoints: Vec<String>,
    mut prng: Prng,
) {
    let channels = Members::connect(&endpoints);
    let mut member = writer % endpoints.len();
    let mut lease = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        let channel = channels.channel(member);
        let key = prng.below(KEYS);
        let outcome = match prng.below(100) {
            0..2 => shared.grant(channel).await.map(|granted| lease = granted),
            2..12 => shared.get(channel, key).await,
            12..32 => shared.put(channel, writer, key, lease).await,
            _ => shared.put(channel, writer, key, 0).await,
        };
        if outcome.is_err() {
            member = (member + 1) % endpoints.len();
            tokio::time::sleep(AFTER_FAILURE).await;
        }
    }
}

/// Sends writes to all members in turn until one is acknowledged that was sent after the last kill.
/// From the kill to then, or `None` if the time is up.
///
/// The clients alone would not do: each waits for its answer, and none may be sending a write at the
/// moment at which one would succeed.
pub(super) async fn probe(
    shared: &Arc<Shared>,
    members: &Members,
    prng: &mut Prng,
    writer: usize,
) -> Option<Duration> {
    let end = shared.now() + PROBE_FOR;
    let mut probes = JoinSet::new();
    let mut tick = tokio::time::interval(PROBE_EVERY);
    let mut turn = 0;
    while shared.ledger().outage().is_none() && shared.now() < end {
        tokio::select! {
            () = shared.over.notified() => {}
            Some(_) = probes.join_next() => {}
            _ = tick.tick(), if probes.len() < PROBES_MAX => {
                turn += 1;
                let channel = members.channel(turn % members.count());
                let (shared, key) = (Arc::clone(shared), prng.below(KEYS));
                probes.spawn(async move { shared.put(channel, writer, key, 0).await });
            }
        }
    }
    shared.ledger().outage()
}
