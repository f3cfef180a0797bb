//! Real processes, killed at random moments under load: does anything get lost?
//!
//! ```text
//!   clients ─ puts, gets, leases ─► m1  m2  m3     real processes, real disks
//!      │                             ▲
//!      ▼                             └─ kill -9 the leader, start it again
//!   ledger ◄──── watches, reads, hashes of all members: compare
//! ```
//!
//! A [`Campaign`] starts a cluster and clients that never rest. Each [`Campaign::strike`] waits a
//! random while, kills the member that leads, takes the time until a write sent after the kill is
//! acknowledged, starts the member again on its data, and compares all members with what the
//! clients were told. [`Campaign::finish`] ends the clients and compares everything once more.
//!
//! What must hold after a kill, by the answers of every member:
//! - a linearizable read, and then a serializable one, is answered at or above every revision that
//!   was acknowledged before it;
//! - each acknowledged write is in the history at the revision, with the key, value and lease that
//!   it was acknowledged with, and once; so is each that was never answered, if it is there at all;
//! - no revision is missing from the history, and all members have the same one;
//! - each acknowledged lease is there.
//!
//! It judges any server with etcd's flags and services, so that etcd itself can calibrate it.
//!
//! Deliberately missing: power loss. A killed process leaves what it wrote in the kernel's hands, so
//! a missing sync cannot be seen here; the simulated disk is for that.

mod ledger;
mod load;
mod members;
mod processes;

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kstore_testkit::Prng;
use tokio::task::JoinSet;
use tonic::Status;

pub use ledger::Counts;
use load::Shared;
use members::{Members, Read};
use processes::Servers;

/// How long a member may take to answer after its start, and a cluster to have a leader.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The pause between two attempts at a question.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// The load runs for so long before a kill.
const QUIET_MS: (u64, u64) = (50, 1_500);

/// A leader of several stays away for up to this long after its followers have gone on.
const AWAY_MS_MAX: u64 = 300;

/// What to start, and how to treat it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server's binary.
    pub binary: PathBuf,
    /// How many members.
    pub members: usize,
    /// How many clients.
    pub clients: usize,
    /// Of the moments of the kills, and of what the clients do.
    pub seed: u64,
    /// Where data and logs go; it must not be there yet.
    pub directory: PathBuf,
}

/// One kill that was survived, or not.
#[derive(Debug)]
pub struct Strike {
    /// The name of the member that was killed.
    pub victim: String,
    /// From the kill to the next acknowledged write.
    pub outage: Duration,
    /// The revision that was compared up to.
    pub revision: i64,
    /// What should not have been.
    pub violations: Vec<String>,
}

/// Why a campaign cannot go on: a member does not come back, or does not answer.
#[derive(Debug)]
pub struct Stuck(String);

impl Display for Stuck {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stuck {}

/// A cluster under load that is being mistreated.
#[derive(Debug)]
pub struct Campaign {
    servers: Servers,
    members: Members,
    shared: Arc<Shared>,
    /// Ended when the campaign is dropped.
    clients: JoinSet<()>,
    /// The prober's number among the writers: the one after the clients'.
    prober: usize,
    prng: Prng,
    /// The last revision of each member's history that was compared.
    compared: Vec<i64>,
}

impl Campaign {
    /// Starts the members, waits for them, and sets the clients going.
    pub async fn start(options: &Options) -> Result<Self, Stuck> {
        let servers = Servers::start(&options.binary, options.members, &options.directory);
        let servers = servers.map_err(|e| Stuck(format!("start the members: {e}")))?;
        let endpoints = servers.endpoints();
        let shared = Shared::new(options.clients);
        let mut this = Self {
            members: Members::connect(&endpoints),
            servers,
            shared: Arc::clone(&shared),
            clients: JoinSet::new(),
            prober: options.clients,
            prng: Prng::of("kills", options.seed),
            compared: vec![0; options.members],
        };
        for member in 0..options.members {
            this.ready(member).await?;
        }
        let prng = Prng::of("clients", options.seed);
        for writer in 0..options.clients {
            let (shared, endpoints) = (Arc::clone(&shared), endpoints.clone());
            let prng = prng.split(writer as u64);
            this.clients.spawn(load::client(shared, writer, endpoints, prng));
        }
        Ok(this)
    }

    /// Kills a member at a random moment, starts it again and compares all members.
    pub async fn strike(&mut self) -> Result<Strike, Stuck> {
        self.pause(QUIET_MS.0, QUIET_MS.1).await;
        let victim = self.leader().await?;
        let now = self.shared.now();
        self.shared.ledger().killed(now);
        self.servers.kill(victim).map_err(|e| Stuck(format!("kill m{}: {e}", victim + 1)))?;
        let alone = self.members.count() == 1;
        if alone {
            self.launch(victim)?;
        }
        let outage = load::probe(&self.shared, &self.members, &mut self.prng, self.prober).await;
        let Some(outage) = outage else {
            let why = self.servers.ended(victim).unwrap_or_default();
            return Err(Stuck(format!("no write succeeds after a kill {why}")));
        };
        if !alone {
            self.pause(0, AWAY_MS_MAX).await;
            self.launch(victim)?;
        }
        self.ready(victim).await?;
        let revision = self.compare().await?;
        let violations = self.shared.ledger().take_violations();
        Ok(Strike { victim: format!("m{}", victim + 1), outage, revision, violations })
    }

    /// Ends the clients and compares everything that there is. What should not have been.
    pub async fn finish(&mut self) -> Result<Vec<String>, Stuck> {
        self.shared.stop();
        while self.clients.join_next().await.is_some() {}
        self.compared.fill(0);
        let last = self.compare().await?;
        for member in 0..self.members.count() {
            for read in [Read::Linearizable, Read::Serializable] {
                let members = &self.members;
                let (revision, keys) = ask("read all keys", || members.keys(member, read)).await?;
                let mut ledger = self.shared.ledger();
                let asked = format!("m{}, {read:?}", member + 1);
                if revision != last {
                    ledger.violate(format!("{asked}: at {revision}, not {last}"));
                }
                ledger.judge_keys(&asked, &keys);
            }
        }
        self.shared.ledger().judge_all();
        Ok(self.shared.ledger().take_violations())
    }

    /// What the clients have done.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.ledger().counts()
    }

    fn launch(&mut self, member: usize) -> Result<(), Stuck> {
        self.servers.launch(member).map_err(|e| Stuck(format!("start m{}: {e}", member + 1)))
    }

    async fn pause(&mut self, low_ms: u64, high_ms: u64) {
        tokio::time::sleep(Duration::from_millis(self.prng.between(low_ms, high_ms))).await;
    }

    /// Waits until a member that was started answers linearizable reads.
    async fn ready(&mut self, member: usize) -> Result<(), Stuck> {
        let end = self.shared.now() + READY_WITHIN;
        loop {
            let Err(status) = self.members.revision(member, Read::Linearizable).await else {
                return Ok(());
            };
            if let Some(why) = self.servers.ended(member) {
                return Err(Stuck(why));
            }
            if self.shared.now() > end {
                return Err(Stuck(format!("m{} does not get ready: {status}", member + 1)));
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// The member that leads by its own account, in the latest term.
    async fn leader(&self) -> Result<usize, Stuck> {
        let end = self.shared.now() + READY_WITHIN;
        while self.shared.now() < end {
            let mut leader = None;
            for member in 0..self.members.count() {
                match self.members.view(member).await {
                    Ok(view) if view.leads => leader = leader.max(Some((view.term, member))),
                    _ => {}
                }
            }
            if let Some((_, member)) = leader {
                return Ok(member);
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        Err(Stuck("no member leads".to_owned()))
    }

    /// Compares every member with all that was acknowledged up to now; the revision of now.
    async fn compare(&mut self) -> Result<i64, Stuck> {
        let (mut last, leases) = {
            let ledger = self.shared.ledger();
            (ledger.highest(), ledger.leases().to_vec())
        };
        let acknowledged = last;
        let mut hashes = Vec::new();
        for member in 0..self.members.count() {
            last = last.max(self.catch_up(member, acknowledged).await?);
        }
        for member in 0..self.members.count() {
            self.compare_leases(member, &leases).await?;
            self.compare_history(member, last).await?;
            let members = &self.members;
            hashes.push(ask("hash the history", || members.history_hash(member, last)).await?);
        }
        let mut ledger = self.shared.ledger();
        if hashes.iter().any(|hash| *hash != hashes[0]) {
            ledger.violate(format!("the hashes at revision {last} differ: {hashes:?}"));
        }
        ledger.judge(last);
        Ok(last)
    }

    /// Reads from a member, which must not be behind what was acknowledged. Its revision.
    async fn catch_up(&self, member: usize, acknowledged: i64) -> Result<i64, Stuck> {
        let mut reached = acknowledged;
        // The first read makes the member catch up; the second must then do so by itself.
        for read in [Read::Linearizable, Read::Serializable] {
            let revision = ask("read", || self.members.revision(member, read)).await?;
            if revision < reached {
                let member = member + 1;
                let what = format!("m{member}: {read:?} read at {revision}, behind {reached}");
                self.shared.ledger().violate(what);
            }
            reached = reached.max(revision);
        }
        Ok(reached)
    }

    async fn compare_leases(&self, member: usize, expected: &[i64]) -> Result<(), Stuck> {
        let found = ask("list the leases", || self.members.leases(member)).await?;
        let found: BTreeSet<i64> = found.into_iter().collect();
        let lost: Vec<_> = expected.iter().filter(|lease| !found.contains(lease)).collect();
        if let Some(first) = lost.first() {
            let (member, count) = (member + 1, lost.len());
            let what = format!("m{member}: {count} acknowledged leases are gone, as {first}");
            self.shared.ledger().violate(what);
        }
        Ok(())
    }

    async fn compare_history(&mut self, member: usize, last: i64) -> Result<(), Stuck> {
        let first = self.compared[member] + 1;
        // A cluster whose clients have been slow may have nothing new.
        if first > last || last < 2 {
            return Ok(());
        }
        // A member may be behind `last`, which another one has told: the watch waits for it.
        let members = &self.members;
        let events = ask("watch the history", || members.history(member, first, last)).await?;
        let mut ledger = self.shared.ledger();
        for event in &events {
            ledger.observe(member, event);
        }
        let reached = events.last().map_or(last, |event| event.mod_revision);
        self.compared[member] = reached;
        Ok(())
    }
}

/// Asks until there is an answer.
async fn ask<T, F>(what: &str, mut question: impl FnMut() -> F) -> Result<T, Stuck>
where
    F: Future<Output = Result<T, Status>>,
{
    // Bounded: a member that lives answers at the first or second attempt.
    const ATTEMPTS: u32 = 200;
    let mut failure = Status::unknown("not asked");
    for _ in 0..ATTEMPTS {
        match question().await {
            Ok(answer) => return Ok(answer),
            Err(status) => failure = status,
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
    Err(Stuck(format!("{what}: {failure}")))
}
