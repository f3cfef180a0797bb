//! `role`: who may touch which keys.

use bytes::Bytes;
use clap::{ArgMatches, Command};
use kstore_proto::authpb::Permission;
use kstore_proto::authpb::permission::Type;
use kstore_proto::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest, AuthRoleGrantPermissionRequest,
    AuthRoleListRequest, AuthRoleRevokePermissionRequest,
};

use super::arguments::{Flags, family, no_words, only_word, switch, verb};
use super::failure::Failure;
use super::keys::{OPEN, Range, prefix_end};
use super::output::{Done, Role, print};
use super::session::{Session, Wire};
use super::settings::Settings;

pub(crate) fn command() -> Command {
    let range = || {
        [
            switch("prefix", "Keys that begin with the key"),
            switch("from-key", "Keys from the key on, in byte order"),
        ]
    };
    family("role", "Role related commands").subcommands([
        verb("add", "Adds a role", "name"),
        verb("delete", "Deletes a role", "name"),
        verb("get", "Shows what a role may do", "name"),
        verb("list", "Lists all roles", ""),
        verb("grant-permission", "Lets a role at keys", "role read|write|readwrite key [endkey]")
            .args(range()),
        verb("revoke-permission", "Keeps a role from keys", "role key [endkey]").args(range()),
    ])
}

pub(crate) async fn run(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    match flags.subcommand() {
        Some(("add", flags)) => add(settings, flags).await,
        Some(("delete", flags)) => delete(settings, flags).await,
        Some(("get", flags)) => get(settings, flags).await,
        Some(("list", flags)) => list(settings, flags).await,
        Some(("grant-permission", flags)) => grant(settings, flags).await,
        Some(("revoke-permission", flags)) => revoke(settings, flags).await,
        _ => Err(Failure::arguments("role needs a subcommand")),
    }
}

async fn add(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let name = only_word(flags, "role add command requires role name as its argument")?;
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.auth().role_add(request).await;
    let answer = session.write(AuthRoleAddRequest { name: name.clone() }, rpc).await?;
    print(session.settings.style, &Done::new(format!("Role {name} created"), answer.header))
}

async fn delete(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let name = only_word(flags, "role delete command requires role name as its argument")?;
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.auth().role_delete(request).await;
    let answer = session.write(AuthRoleDeleteRequest { role: name.clone() }, rpc).await?;
    print(session.settings.style, &Done::new(format!("Role {name} deleted"), answer.header))
}

async fn get(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let name = only_word(flags, "role get command requires role name as its argument")?;
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.auth().role_get(request).await;
    let answer = session.read(AuthRoleGetRequest { role: name.clone() }, rpc).await?;
    print(session.settings.style, &Role { name, answer })
}

async fn list(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    no_words(flags, "role list command requires no arguments")?;
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.auth().role_list(request).await;
    print(session.settings.style, &session.read(AuthRoleListRequest {}, rpc).await?)
}

async fn grant(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let words = flags.words();
    let [role, kind, keys @ ..] = &words[..] else {
        return Err(Failure::arguments(GRANT_NEEDS));
    };
    if keys.is_empty() {
        return Err(Failure::arguments(GRANT_NEEDS));
    }
    let kind_name = String::from_utf8_lossy(kind);
    let perm_type = match kind_name.to_uppercase().as_str() {
        "READ" => Type::Read,
        "WRITE" => Type::Write,
        "READWRITE" => Type::Readwrite,
        _ => return Err(Failure::arguments(format!("invalid permission type: {kind_name}"))),
    };
    let name = role_name(role)?;
    let Range { key, end: range_end } = permission_range(keys, flags)?;
    let perm = Some(Permission { perm_type: perm_type.into(), key, range_end });
    let request = AuthRoleGrantPermissionRequest { name: name.clone(), perm };
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.auth().role_grant_permission(request).await;
    let answer = session.write(request, rpc).await?;
    print(session.settings.style, &Done::new(format!("Role {name} updated"), answer.header))
}

const GRANT_NEEDS: &str =
    "role grant command requires role name, permission type, and key [endkey] as its argument";

async fn revoke(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let needs =
        "role revoke-permission command requires role name and key [endkey] as its argument";
    let words = flags.words();
    let [role, keys @ ..] = &words[..] else {
        return Err(Failure::arguments(needs));
    };
    let Some(shown) = keys.first() else {
        return Err(Failure::arguments(needs));
    };
    let role = role_name(role)?;
    let Range { key, end: range_end } = permission_range(keys, flags)?;
    let line = match &range_end[..] {
        b"" => [b"Permission of key ", &shown[..], b" is revoked from role "].concat(),
        b"\0" => {
            [b"Permission of range [", &shown[..], b", <open ended> is revoked from role "].concat()
        }
        end => {
            [b"Permission of range [", &shown[..], b", ", end, b") is revoked from role "].concat()
        }
    };
    let line = [&line[..], role.as_bytes()].concat();
    let request = AuthRoleRevokePermissionRequest { role, key, range_end };
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.auth().role_revoke_permission(request).await;
    let answer = session.write(request, rpc).await?;
    print(session.settings.style, &Done::new(line, answer.header))
}

fn role_name(word: &Bytes) -> Result<String, Failure> {
    let name = std::str::from_utf8(word).map(str::to_owned);
    name.map_err(|_| Failure::arguments("a role's name must be UTF-8"))
}

/// The keys of a permission. An empty key with one of the flags is every key.
fn permission_range(words: &[Bytes], flags: &ArgMatches) -> Result<Range, Failure> {
    let (prefix, from_key) = (flags.on("prefix"), flags.on("from-key"));
    let key = words[0].clone();
    if prefix && from_key {
        return Err(Failure::arguments("--from-key and --prefix flags are mutually exclusive"));
    }
    if key.is_empty() {
        let end = if prefix || from_key { OPEN } else { Bytes::new() };
        return Ok(Range { key: OPEN, end });
    }
    let end = match words.get(1) {
        Some(_) if prefix => {
            return Err(Failure::arguments("unexpected endkey argument with --prefix flag"));
        }
        Some(_) if from_key => {
            return Err(Failure::arguments("unexpected endkey argument with --from-key flag"));
        }
        Some(end) => end.clone(),
        None if prefix => prefix_end(&key),
        None if from_key => OPEN,
        None => Bytes::new(),
    };
    Ok(Range { key, end })
}
