//! `lease`: grant, revoke, timetolive, list, keep-alive.

use std::time::Duration;

use clap::{ArgMatches, Command};
use kstore_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest,
};

use super::arguments::{Flags, family, no_words, only_word, switch, verb};
use super::failure::{Exit, Failure};
use super::notation;
use super::output::{Format, Remaining, Revoked, print, say};
use super::session::{Deadline, Session, Wire};
use super::settings::Settings;

pub(crate) fn command() -> Command {
    family("lease", "Lease related commands").subcommands([
        verb("grant", "Creates a lease", "ttl"),
        verb("revoke", "Revokes a lease and deletes its keys", "leaseID"),
        verb("timetolive", "Shows what is left of a lease", "leaseID")
            .arg(switch("keys", "Show the keys attached to it")),
        verb("list", "Lists all active leases", ""),
        verb("keep-alive", "Keeps a lease alive", "leaseID")
            .arg(switch("once", "Renew it once and stop")),
    ])
}

pub(crate) async fn run(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    match flags.subcommand() {
        Some(("grant", flags)) => grant(settings, flags).await,
        Some(("revoke", flags)) => revoke(settings, flags).await,
        Some(("timetolive", flags)) => time_to_live(settings, flags).await,
        Some(("list", flags)) => list(settings, flags).await,
        Some(("keep-alive", flags)) => keep_alive(settings, flags).await,
        _ => Err(Failure::arguments("lease needs a subcommand")),
    }
}

async fn grant(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let word = only_word(flags, "lease grant command needs TTL argument")?;
    let bad = |why| Failure::arguments(format!("bad TTL ({why})"));
    let ttl = notation::signed(&word, 10).map_err(bad)?;
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.lease().lease_grant(request).await;
    let granted = session.write(LeaseGrantRequest { ttl, id: 0 }, rpc).await;
    let answer = granted.map_err(|failure| failure.while_trying("failed to grant lease"))?;
    print(session.settings.style, &answer)
}

async fn revoke(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let id = lease_id(&only_word(flags, "lease revoke command needs 1 argument")?)?;
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.lease().lease_revoke(request).await;
    let revoked = session.write(LeaseRevokeRequest { id }, rpc).await;
    let answer = revoked.map_err(|failure| failure.while_trying("failed to revoke lease"))?;
    print(session.settings.style, &Revoked { id, answer })
}

async fn time_to_live(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let word = only_word(flags, "lease timetolive command needs lease ID as argument")?;
    let (id, keys) = (lease_id(&word)?, flags.on("keys"));
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.lease().lease_time_to_live(request).await;
    let asked = session.read(LeaseTimeToLiveRequest { id, keys }, rpc).await;
    let answer = asked.map_err(|failure| failure.exiting(Exit::BadConnection))?;
    print(session.settings.style, &Remaining { answer, with_keys: keys })
}

async fn list(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    no_words(flags, "lease list command accepts no arguments")?;
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.lease().lease_leases(request).await;
    let listed = session.read(LeaseLeasesRequest {}, rpc).await;
    let answer = listed.map_err(|failure| failure.exiting(Exit::BadConnection))?;
    print(session.settings.style, &answer)
}

async fn keep_alive(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let id = lease_id(&only_word(flags, "lease keep-alive command needs lease ID as argument")?)?;
    let session = Session::open(settings).await?;
    let style = session.settings.style;
    if flags.on("once") {
        let renewed = renew(&session, session.deadline(), id).await;
        let answer = renewed.map_err(|failure| failure.exiting(Exit::BadConnection))?;
        return match answer.ttl {
            0 => Err(Failure::new(Exit::BadConnection, "etcdserver: requested lease not found")),
            _ => print(style, &answer),
        };
    }
    loop {
        let answer = renew(&session, None, id).await?;
        if answer.ttl <= 0 {
            break;
        }
        print(style, &answer)?;
        tokio::time::sleep(renewal(answer.ttl)).await;
    }
    if style.format == Format::Simple {
        return say(format!("lease {id:016x} expired or revoked."));
    }
    Ok(())
}

/// How long to wait between two renewals: a third of the lease, so that two may be lost.
pub(crate) fn renewal(ttl: i64) -> Duration {
    Duration::from_secs(ttl.unsigned_abs()) / 3
}

/// Renews a lease once.
pub(crate) async fn renew(
    session: &Session,
    deadline: Deadline,
    id: i64,
) -> Result<LeaseKeepAliveResponse, Failure> {
    let rpc = async |wire: Wire, ()| {
        let request = tokio_stream::once(LeaseKeepAliveRequest { id });
        wire.lease().lease_keep_alive(request).await
    };
    let mut answers = session.stream(deadline, rpc).await?;
    let answer = super::session::within(deadline, answers.message()).await??;
    answer.ok_or_else(|| Failure::error("the server ended the stream without an answer"))
}

fn lease_id(word: &str) -> Result<i64, Failure> {
    notation::signed(word, 16)
        .map_err(|why| Failure::arguments(format!("bad lease ID arg ({why}), expecting ID in Hex")))
}
