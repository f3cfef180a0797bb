//! `endpoint`: health, status, hashkv; and `defrag`, which goes from endpoint to endpoint too.

use bytes::Bytes;
use clap::{ArgMatches, Command};
use kstore_proto::etcdserverpb::{
    AlarmRequest, DefragmentRequest, HashKvRequest, MemberListRequest, RangeRequest, StatusRequest,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::arguments::{Flags, family, number, switch, verb};
use super::failure::{Exit, Failure};
use super::notation::show_duration;
use super::output::{EndpointHash, EndpointStatus, Health, alarm_name, complain, print, say};
use super::session::{Effect, Session, Wire};
use super::settings::Settings;

pub(crate) fn command() -> Command {
    family("endpoint", "Endpoint related commands").arg(cluster().global(true)).subcommands([
        verb("health", "Checks whether endpoints can serve", ""),
        verb("status", "Prints what endpoints say of themselves", ""),
        verb("hashkv", "Prints the hash of the history of each endpoint", "")
            .arg(number("rev", "Up to this revision")),
    ])
}

pub(crate) fn defrag_command() -> Command {
    verb("defrag", "Has endpoints give free space back", "").arg(cluster())
}

fn cluster() -> clap::Arg {
    switch("cluster", "All endpoints of all members")
}

pub(crate) async fn run(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    match flags.subcommand() {
        Some(("health", flags)) => health(settings, flags).await,
        Some(("status", flags)) => status(settings, flags).await,
        Some(("hashkv", flags)) => hash(settings, flags).await,
        _ => Err(Failure::arguments("endpoint needs a subcommand")),
    }
}

/// The endpoints that were named, or those of the whole cluster.
async fn endpoints(settings: &Settings, flags: &ArgMatches) -> Result<Vec<String>, Failure> {
    if !flags.on("cluster") {
        return Ok(settings.endpoints.clone());
    }
    let session = Session::open(settings.clone()).await?;
    let rpc = async |wire: Wire, request| wire.cluster().member_list(request).await;
    let listed = session.read(MemberListRequest { linearizable: true }, rpc).await;
    let list = listed.map_err(|failure| {
        let why = failure.message;
        Failure::error(format!("failed to fetch endpoints from etcd cluster member list: {why}"))
    })?;
    Ok(list.members.into_iter().flat_map(|member| member.client_ur_ls).collect())
}

async fn health(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let style = settings.style;
    // Bounded by the number of endpoints, which is that of the members.
    let mut probes = JoinSet::new();
    for endpoint in endpoints(&settings, flags).await? {
        let endpoints = vec![endpoint.clone()];
        probes.spawn_local(probe(endpoint, Settings { endpoints, ..settings.clone() }));
    }
    // In the order in which they answered: those that do not come last.
    let mut found = Vec::new();
    while let Some(health) = probes.join_next().await {
        found.push(health.map_err(Failure::error)?);
    }
    print(style, &found)?;
    if found.iter().any(|health| !health.error.is_empty()) {
        return Err(Failure::error("unhealthy cluster"));
    }
    Ok(())
}

async fn probe(endpoint: String, settings: Settings) -> Health {
    let begin;
    let error = match Session::open(settings).await {
        Ok(session) => {
            begin = Instant::now();
            probe_session(&session).await
        }
        Err(failure) => {
            return Health { endpoint, took: Default::default(), error: failure.message };
        }
    };
    let (took, error) = error.map_or_else(
        |failure| (begin.elapsed(), failure.message),
        |took| (took.duration_since(begin), String::new()),
    );
    Health { endpoint, took, error }
}

/// A linearizable read needs a quorum; that it may be forbidden does not matter. Returns when the
/// read was done.
async fn probe_session(session: &Session) -> Result<Instant, Failure> {
    let deadline = session.deadline();
    let request = RangeRequest { key: Bytes::from_static(b"health"), ..RangeRequest::default() };
    let rpc = async |wire: Wire, request| wire.kv().range(request).await;
    match session.call(deadline, Effect::Reads, request, rpc).await {
        Ok(_) => {}
        Err(failure) if failure.message == "etcdserver: permission denied" => {}
        Err(failure) => return Err(failure),
    }
    let done = Instant::now();
    let rpc = async |wire: Wire, request| wire.maintenance().alarm(request).await;
    let alarms = session.call(deadline, Effect::Reads, AlarmRequest::default(), rpc).await;
    let alarms = alarms.map_err(|_| Failure::error("Unable to fetch the alarm list"))?.alarms;
    if alarms.is_empty() {
        return Ok(done);
    }
    let names: String =
        alarms.iter().map(|alarm| format!("{} ", alarm_name(alarm.alarm()))).collect();
    Err(Failure::error(format!("Active Alarm(s): {names}")))
}

async fn status(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let style = settings.style;
    let (mut found, mut failed) = (Vec::new(), false);
    let session = Session::open(settings.clone()).await?;
    for endpoint in endpoints(&settings, flags).await? {
        let session = session.at(&endpoint).await?;
        let rpc = async |wire: Wire, request| wire.maintenance().status(request).await;
        match session.read(StatusRequest {}, rpc).await {
            Ok(status) => found.push(EndpointStatus { endpoint, status }),
            Err(Failure { message, .. }) => {
                failed = true;
                complain(&format!("Failed to get the status of endpoint {endpoint} ({message})\n"));
            }
        }
    }
    print(style, &found)?;
    if failed { Err(Failure::said(Exit::Error)) } else { Ok(()) }
}

async fn hash(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let style = settings.style;
    let request = HashKvRequest { revision: flags.number("rev") };
    let (mut found, mut failed) = (Vec::new(), None);
    let session = Session::open(settings.clone()).await?;
    for endpoint in endpoints(&settings, flags).await? {
        let session = session.at(&endpoint).await?;
        let rpc = async |wire: Wire, request| wire.maintenance().hash_kv(request).await;
        match session.read(request, rpc).await {
            Ok(hash) => found.push(EndpointHash { endpoint, hash }),
            Err(failure) => {
                let why = &failure.message;
                complain(&format!("Failed to get the hash of endpoint {endpoint} ({why})\n"));
                failed = Some(failure);
            }
        }
    }
    print(style, &found)?;
    failed.map_or(Ok(()), Err)
}

pub(crate) async fn defrag(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let mut failed = false;
    let session = Session::open(settings.clone()).await?;
    for endpoint in endpoints(&settings, flags).await? {
        let session = session.at(&endpoint).await?;
        let begin = Instant::now();
        let rpc = async |wire: Wire, request| wire.maintenance().defragment(request).await;
        let done = session.write(DefragmentRequest {}, rpc).await;
        let took = show_duration(begin.elapsed());
        match done {
            Ok(_) => {
                say(format!("Finished defragmenting etcd member[{endpoint}]. took {took}"))?;
            }
            Err(Failure { message, .. }) => {
                failed = true;
                complain(&format!(
                    "Failed to defragment etcd member[{endpoint}]. took {took}. ({message})\n"
                ));
            }
        }
    }
    if failed { Err(Failure::said(Exit::Error)) } else { Ok(()) }
}
