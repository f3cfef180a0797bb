//! `lock` and `elect`: held as long as this process lives and can reach the server.
//!
//! Both stand on a lease that a task of its own renews. Whoever waits on the server, or holds what
//! it got, stops at an interrupt; giving up revokes the lease, and with it everything held.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::{ArgMatches, Command};
use kstore_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseRevokeRequest, RangeRequest, RangeResponse,
};
use kstore_proto::v3electionpb::{CampaignRequest, LeaderRequest, ResignRequest};
use kstore_proto::v3lockpb::{LockRequest, UnlockRequest};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::arguments::{Flags, number, switch, verb};
use super::failure::{Exit, Failure};
use super::lease::{renew, renewal};
use super::output::print;
use super::session::{Effect, Session, Wire};
use super::settings::Settings;

/// How long what is held outlives this process, in seconds.
const LOCK_TTL: i64 = 10;
const ELECTION_TTL: i64 = 60;

pub(crate) fn lock_command() -> Command {
    verb("lock", "Takes a lock and holds it", "name [command arguments...]")
        .arg(number("ttl", "Seconds until the lock of a dead process is free (default 10)"))
}

pub(crate) fn elect_command() -> Command {
    verb("elect", "Takes part in an election, or looks on", "name [proposal]")
        .arg(switch("listen", "Look on").short('l'))
}

pub(crate) async fn lock(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let words = flags.words();
    let Some((name, exec)) = words.split_first() else {
        return Err(Failure::arguments(
            "lock takes a lock name argument and an optional command to execute",
        ));
    };
    let ttl = flags.get_one::<i64>("ttl").copied().unwrap_or(LOCK_TTL);
    let mut hold = Hold::take(settings, ttl).await?;
    let done = hold.lock(name.clone(), exec).await;
    hold.give_up().await;
    done
}

pub(crate) async fn elect(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let listen = flags.on("listen");
    match &flags.words()[..] {
        [_] if !listen => Err(Failure::arguments("no proposal argument but -l not set")),
        [name] => observe(settings, name.clone()).await,
        [_, _] if listen => Err(Failure::arguments("proposal given but -l is set")),
        [name, proposal] => {
            let mut hold = Hold::take(settings, ELECTION_TTL).await?;
            let done = hold.campaign(name.clone(), proposal.clone()).await;
            hold.give_up().await;
            done
        }
        _ => Err(Failure::arguments(
            "elect takes one election name argument and an optional proposal argument",
        )),
    }
}

async fn observe(settings: Settings, name: Bytes) -> Result<(), Failure> {
    let session = Session::open(settings).await?;
    let rpc =
        async |wire: Wire, ()| wire.election().observe(LeaderRequest { name: name.clone() }).await;
    let mut leaders = session.stream(None, rpc).await?;
    loop {
        let leader = tokio::select! {
            () = interrupt() => return Ok(()),
            leader = leaders.message() => leader?,
        };
        let Some(leader) = leader else {
            return Err(Failure::error("elect: observer lost"));
        };
        let kvs: Vec<_> = leader.kv.into_iter().collect();
        let answer = RangeResponse { header: leader.header, kvs, ..RangeResponse::default() };
        print(session.settings.style, &answer)?;
    }
}

/// A lease that is being renewed.
struct Hold {
    session: Arc<Session>,
    lease: i64,
    /// Ends when the lease is lost.
    renewing: JoinHandle<()>,
}

impl Hold {
    async fn take(settings: Settings, ttl: i64) -> Result<Self, Failure> {
        let session = Arc::new(Session::open(settings).await?);
        let rpc = async |wire: Wire, request| wire.lease().lease_grant(request).await;
        let granted = session.write(LeaseGrantRequest { ttl, id: 0 }, rpc).await?;
        let renewing = tokio::task::spawn_local(keep(session.clone(), granted.id, granted.ttl));
        Ok(Self { session, lease: granted.id, renewing })
    }

    /// That the lease cannot be revoked only means that it ends by itself.
    async fn give_up(self) {
        self.renewing.abort();
        let rpc = async |wire: Wire, request| wire.lease().lease_revoke(request).await;
        let _expires = self.session.write(LeaseRevokeRequest { id: self.lease }, rpc).await;
    }

    async fn lock(&mut self, name: Bytes, exec: &[Bytes]) -> Result<(), Failure> {
        let request = LockRequest { name, lease: self.lease };
        let session = self.session.clone();
        let rpc = async |wire: Wire, request| wire.lock().lock(request).await;
        let held = tokio::select! {
            () = interrupt() => return Err(Failure::error("context canceled")),
            held = session.call(None, Effect::Changes, request, rpc) => held?,
        };
        let revision = held.header.map_or(0, |header| header.revision);
        if !exec.is_empty() {
            return execute(exec.to_vec(), held.key, revision).await;
        }
        self.show(held.key.clone(), "lock lost on init").await?;
        self.until_interrupt("session expired").await?;
        let rpc = async |wire: Wire, request| wire.lock().unlock(request).await;
        session.write(UnlockRequest { key: held.key }, rpc).await.map(|_| ())
    }

    async fn campaign(&mut self, name: Bytes, value: Bytes) -> Result<(), Failure> {
        let request = CampaignRequest { name, lease: self.lease, value };
        let session = self.session.clone();
        let rpc = async |wire: Wire, request| wire.election().campaign(request).await;
        let elected = tokio::select! {
            () = interrupt() => return Err(Failure::error("context canceled")),
            elected = session.call(None, Effect::Changes, request, rpc) => elected?,
        };
        let leader = elected.leader.clone().unwrap_or_default();
        self.show(leader.key, "elect: leadership lost").await?;
        self.until_interrupt("elect: session expired").await?;
        let request = ResignRequest { leader: elected.leader };
        let rpc = async |wire: Wire, request| wire.election().resign(request).await;
        session.write(request, rpc).await.map(|_| ())
    }

    /// Prints the key that stands for what is held.
    async fn show(&self, key: Bytes, lost: &str) -> Result<(), Failure> {
        let request = RangeRequest { key, ..RangeRequest::default() };
        let rpc = async |wire: Wire, request| wire.kv().range(request).await;
        let answer = self.session.read(request, rpc).await?;
        if answer.kvs.is_empty() {
            return Err(Failure::error(lost));
        }
        print(self.session.settings.style, &answer)
    }

    async fn until_interrupt(&mut self, lost: &str) -> Result<(), Failure> {
        tokio::select! {
            () = interrupt() => Ok(()),
            _ = &mut self.renewing => Err(Failure::error(lost)),
        }
    }
}

/// Renews a lease until it is lost.
async fn keep(session: Arc<Session>, id: i64, ttl: i64) {
    let life = Duration::from_secs(ttl.unsigned_abs());
    let mut ends = Instant::now() + life;
    loop {
        tokio::time::sleep(renewal(ttl)).await;
        // A renewal that fails is tried again until the lease has run out for sure.
        match renew(&session, Some(ends), id).await {
            Ok(renewed) if renewed.ttl > 0 => ends = Instant::now() + life,
            Ok(_) => return,
            Err(_) if Instant::now() >= ends => return,
            Err(_) => {}
        }
    }
}

/// Waits for an interrupt or a request to end.
async fn interrupt() {
    let (Ok(mut interrupt), Ok(mut end)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = end.recv() => {}
    }
}

/// Runs a command while the lock is held; its exit code becomes ours.
async fn execute(exec: Vec<Bytes>, key: Bytes, revision: i64) -> Result<(), Failure> {
    let run = move || {
        let words: Vec<OsString> =
            exec.into_iter().map(|word| OsString::from_vec(word.to_vec())).collect();
        std::process::Command::new(&words[0])
            .args(&words[1..])
            .env("ETCD_LOCK_KEY", OsString::from_vec(key.to_vec()))
            .env("ETCD_LOCK_REV", revision.to_string())
            .status()
    };
    let ran = tokio::task::spawn_blocking(run).await.map_err(Failure::error)?;
    let status = ran.map_err(Failure::error)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Failure {
            code: u8::try_from(code).unwrap_or(Exit::Error as u8),
            message: ending(status),
        }),
        None => Err(Failure::error(ending(status))),
    }
}

/// How a command ended that did not end well.
pub(crate) fn ending(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => status.to_string(),
    }
}
