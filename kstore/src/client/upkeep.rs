//! `alarm`, `move-leader`, `downgrade`.

use clap::{ArgMatches, Command};
use kstore_proto::etcdserverpb::alarm_request::AlarmAction;
use kstore_proto::etcdserverpb::downgrade_request::DowngradeAction;
use kstore_proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, DowngradeRequest, MoveLeaderRequest, StatusRequest,
};

use super::arguments::{Flags, family, no_words, only_word, verb};
use super::failure::Failure;
use super::notation;
use super::output::{Downgraded, Moved, print};
use super::session::{Session, Wire};
use super::settings::Settings;

pub(crate) fn alarm_command() -> Command {
    family("alarm", "Alarm related commands").subcommands([
        verb("list", "Lists all alarms", ""),
        verb("disarm", "Disarms all alarms", ""),
    ])
}

pub(crate) fn move_leader_command() -> Command {
    verb("move-leader", "Hands leadership to another member", "memberID")
}

pub(crate) fn downgrade_command() -> Command {
    family("downgrade", "Downgrade related commands").subcommands([
        verb("validate", "Checks whether a downgrade can be started", "version"),
        verb("enable", "Starts a downgrade", "version"),
        verb("cancel", "Cancels the downgrade under way", ""),
    ])
}

pub(crate) async fn alarm(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let (name, flags) = flags.subcommand().unwrap_or(("list", flags));
    no_words(flags, &format!("alarm {name} command accepts no arguments"))?;
    let session = Session::open(settings).await?;
    let alarms = ask_alarm(&session, AlarmRequest::default()).await?;
    if name == "list" {
        return print(session.settings.style, &alarms);
    }
    // No header: this is the sum of several answers.
    let mut disarmed = AlarmResponse::default();
    for alarm in alarms.alarms {
        let request = AlarmRequest {
            action: AlarmAction::Deactivate.into(),
            member_id: alarm.member_id,
            alarm: alarm.alarm,
        };
        let answer = ask_alarm(&session, request).await?;
        disarmed.alarms.extend(answer.alarms);
    }
    print(session.settings.style, &disarmed)
}

async fn ask_alarm(session: &Session, request: AlarmRequest) -> Result<AlarmResponse, Failure> {
    let rpc = async |wire: Wire, request| wire.maintenance().alarm(request).await;
    session.write(request, rpc).await
}

pub(crate) async fn move_leader(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let word = only_word(flags, "move-leader command needs 1 argument")?;
    let target_id = notation::unsigned_hex(&word).map_err(Failure::arguments)?;
    let session = Session::open(settings).await?;
    for endpoint in &session.settings.endpoints {
        let session = session.at(endpoint).await?;
        let rpc = async |wire: Wire, request| wire.maintenance().status(request).await;
        let status = session.read(StatusRequest {}, rpc).await?;
        let leader = status.leader;
        if status.header.is_none_or(|header| header.member_id != leader) {
            continue;
        }
        // Only the leader itself can hand over.
        let rpc = async |wire: Wire, request| wire.maintenance().move_leader(request).await;
        let answer = session.write(MoveLeaderRequest { target_id }, rpc).await?;
        return print(session.settings.style, &Moved { from: leader, to: target_id, answer });
    }
    let endpoints = session.settings.endpoints.join(" ");
    Err(Failure::arguments(format!("no leader endpoint given at [{endpoints}]")))
}

pub(crate) async fn downgrade(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let (action, name, flags) = match flags.subcommand() {
        Some(("validate", flags)) => (DowngradeAction::Validate, "validate", flags),
        Some(("enable", flags)) => (DowngradeAction::Enable, "enable", flags),
        Some((_, flags)) => (DowngradeAction::Cancel, "cancel", flags),
        None => return Err(Failure::arguments("downgrade needs a subcommand")),
    };
    let version = match (action, &flags.text_words()?[..]) {
        (DowngradeAction::Cancel, _) => String::new(),
        (_, []) => return Err(Failure::arguments("TARGET_VERSION not provided")),
        (_, [version]) if version.is_empty() => {
            return Err(Failure::arguments("target version not provided"));
        }
        (_, [version]) => version.clone(),
        (_, _) => return Err(Failure::arguments("too many arguments")),
    };
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.maintenance().downgrade(request).await;
    let request = DowngradeRequest { action: action.into(), version };
    let answer = session.write(request, rpc).await?;
    print(session.settings.style, &Downgraded { action: name, answer })
}
