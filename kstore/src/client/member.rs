//! `member`: list, add, remove, update, promote.

use clap::{ArgMatches, Command};
use kstore_proto::etcdserverpb::{
    MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MemberUpdateRequest,
};

use super::arguments::{Flags, family, only_word, switch, text, verb};
use super::failure::Failure;
use super::kv::serializable;
use super::notation;
use super::output::{Added, Changed, print};
use super::session::{Session, Wire};
use super::settings::Settings;

pub(crate) fn command() -> Command {
    let urls = || text("peer-urls", "URLs that the other members reach it by, separated by commas");
    family("member", "Membership related commands").subcommands([
        verb("add", "Adds a member to the cluster", "memberName")
            .arg(urls())
            .arg(switch("learner", "It does not vote until it is promoted")),
        verb("remove", "Removes a member from the cluster", "memberID"),
        verb("update", "Gives a member other peer URLs", "memberID").arg(urls()),
        verb("list", "Lists all members of the cluster", "")
            .arg(text("consistency", "Linearizable (l, the default) or serializable (s)")),
        verb("promote", "Makes a learner vote", "memberID"),
    ])
}

pub(crate) async fn run(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    match flags.subcommand() {
        Some(("add", flags)) => add(settings, flags).await,
        Some(("remove", flags)) => remove(settings, flags).await,
        Some(("update", flags)) => update(settings, flags).await,
        Some(("list", flags)) => list(settings, flags).await,
        Some(("promote", flags)) => promote(settings, flags).await,
        _ => Err(Failure::arguments("member needs a subcommand")),
    }
}

async fn add(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let words = flags.text_words()?;
    let [name] = &words[..] else {
        if words.is_empty() {
            return Err(Failure::arguments("member name not provided"));
        }
        let urls = words.iter().filter(|word| word.to_lowercase().starts_with("http"));
        let hints: String = urls.map(|url| format!(", did you mean --peer-urls={url}")).collect();
        return Err(Failure::arguments(format!("too many arguments{hints}")));
    };
    let peer_urls = peer_urls(flags)?;
    let request =
        MemberAddRequest { peer_ur_ls: split(&peer_urls), is_learner: flags.on("learner") };
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.cluster().member_add(request).await;
    let answer = session.write(request, rpc).await?;
    print(session.settings.style, &Added { name: name.clone(), peer_urls, answer })
}

async fn remove(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let id = member_id(flags)?;
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.cluster().member_remove(request).await;
    let answer = session.write(MemberRemoveRequest { id }, rpc).await?;
    print(session.settings.style, &Changed::removed(id, answer))
}

async fn update(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let id = member_id(flags)?;
    let request = MemberUpdateRequest { id, peer_ur_ls: split(&peer_urls(flags)?) };
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.cluster().member_update(request).await;
    let answer = session.write(request, rpc).await?;
    print(session.settings.style, &Changed::updated(id, answer))
}

async fn promote(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let id = member_id(flags)?;
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.cluster().member_promote(request).await;
    let answer = session.write(MemberPromoteRequest { id }, rpc).await?;
    print(session.settings.style, &Changed::promoted(id, answer))
}

async fn list(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let request = MemberListRequest { linearizable: !serializable(flags)? };
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.cluster().member_list(request).await;
    print(session.settings.style, &session.read(request, rpc).await?)
}

fn member_id(flags: &ArgMatches) -> Result<u64, Failure> {
    let word = only_word(flags, "member ID is not provided")?;
    notation::unsigned_hex(&word).map_err(|why| {
        Failure::arguments(format!("bad member ID arg ({why}), expecting ID in Hex"))
    })
}

fn peer_urls(flags: &ArgMatches) -> Result<String, Failure> {
    match flags.text("peer-urls") {
        "" => Err(Failure::arguments("member peer urls not provided")),
        urls => Ok(urls.to_owned()),
    }
}

fn split(urls: &str) -> Vec<String> {
    urls.split(',').map(str::to_owned).collect()
}
