//! `auth` and `user`.

use std::io::BufRead;

use clap::{ArgMatches, Command};
use kstore_proto::authpb::UserAddOptions;
use kstore_proto::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleGetRequest,
    AuthStatusRequest, AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest,
    AuthUserGetRequest, AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest,
};

use super::arguments::{Flags, family, no_words, only_word, switch, text, two_words, verb};
use super::failure::Failure;
use super::output::{Done, Role, User, print, say};
use super::session::{Session, Wire};
use super::settings::Settings;

pub(crate) fn auth_command() -> Command {
    family("auth", "Enable or disable authentication").subcommands([
        verb("enable", "Enables authentication", ""),
        verb("disable", "Disables authentication", ""),
        verb("status", "Shows whether authentication is on", ""),
    ])
}

pub(crate) fn command() -> Command {
    let interactive = || switch("interactive", "With =false, read the password from a pipe");
    family("user", "User related commands").subcommands([
        verb("add", "Adds a user", "name[:password]").args([
            interactive(),
            text("new-user-password", "The password"),
            switch("no-password", "The user logs in by certificate only"),
        ]),
        verb("delete", "Deletes a user", "name"),
        verb("get", "Shows the roles of a user", "name")
            .arg(switch("detail", "Show the permissions of the roles, too")),
        verb("list", "Lists all users", ""),
        verb("passwd", "Changes the password of a user", "name").arg(interactive()),
        verb("grant-role", "Grants a role to a user", "user role"),
        verb("revoke-role", "Revokes a role from a user", "user role"),
    ])
}

pub(crate) async fn auth(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let (name, flags) = flags.subcommand().unwrap_or(("status", flags));
    no_words(flags, &format!("auth {name} command does not accept any arguments"))?;
    let session = Session::open(settings).await?;
    match name {
        "enable" => {
            enable(&session).await?;
            say("Authentication Enabled")
        }
        "disable" => {
            let rpc = async |wire: Wire, request| wire.auth().auth_disable(request).await;
            session.write(AuthDisableRequest {}, rpc).await?;
            say("Authentication Disabled")
        }
        _ => {
            let rpc = async |wire: Wire, request| wire.auth().auth_status(request).await;
            print(session.settings.style, &session.read(AuthStatusRequest {}, rpc).await?)
        }
    }
}

/// Gives the user `root` the role of that name if that is all that is missing.
async fn enable(session: &Session) -> Result<(), Failure> {
    let enable = async |wire: Wire, request| wire.auth().auth_enable(request).await;
    let Err(missing) = session.write(AuthEnableRequest {}, enable).await else {
        return Ok(());
    };
    if missing.message != "etcdserver: root user does not have root role" {
        return Err(missing);
    }
    let root = || "root".to_owned();
    let add = async |wire: Wire, request| wire.auth().role_add(request).await;
    match session.write(AuthRoleAddRequest { name: root() }, add).await {
        Err(failure) if failure.message != "etcdserver: role name already exists" => {
            return Err(failure);
        }
        _ => {}
    }
    let grant = async |wire: Wire, request| wire.auth().user_grant_role(request).await;
    session.write(AuthUserGrantRoleRequest { user: root(), role: root() }, grant).await?;
    session.write(AuthEnableRequest {}, enable).await?;
    Ok(())
}

pub(crate) async fn run(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    match flags.subcommand() {
        Some(("add", flags)) => add(settings, flags).await,
        Some(("delete", flags)) => delete(settings, flags).await,
        Some(("get", flags)) => get(settings, flags).await,
        Some(("list", flags)) => list(settings, flags).await,
        Some(("passwd", flags)) => change_password(settings, flags).await,
        Some(("grant-role", flags)) => grant_role(settings, flags).await,
        Some(("revoke-role", flags)) => revoke_role(settings, flags).await,
        _ => Err(Failure::arguments("user needs a subcommand")),
    }
}

async fn add(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let word = only_word(flags, "user add command requires user name as its argument")?;
    let no_password = flags.on("no-password");
    let (name, password) = match (flags.text("new-user-password"), word.split_once(':')) {
        _ if no_password => (word, String::new()),
        (given, _) if !given.is_empty() => (word, given.to_owned()),
        (_, Some(("", _))) => {
            return Err(Failure::arguments("empty user name is not allowed"));
        }
        (_, Some((name, password))) => (name.to_owned(), password.to_owned()),
        (_, None) => {
            let password = read_password(flags, &word)?;
            (word, password)
        }
    };
    let request = AuthUserAddRequest {
        name: name.clone(),
        password,
        options: Some(UserAddOptions { no_password }),
        hashed_password: String::new(),
    };
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.auth().user_add(request).await;
    let answer = session.write(request, rpc).await?;
    print(session.settings.style, &Done::new(format!("User {name} created"), answer.header))
}

async fn delete(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let name = only_word(flags, "user delete command requires user name as its argument")?;
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.auth().user_delete(request).await;
    let answer = session.write(AuthUserDeleteRequest { name: name.clone() }, rpc).await?;
    print(session.settings.style, &Done::new(format!("User {name} deleted"), answer.header))
}

async fn get(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let name = only_word(flags, "user get command requires user name as its argument")?;
    let session = Session::open(settings).await?;
    let style = session.settings.style;
    let rpc = async |wire: Wire, request| wire.auth().user_get(request).await;
    let answer = session.read(AuthUserGetRequest { name: name.clone() }, rpc).await?;
    if !flags.on("detail") {
        return print(style, &User { name, answer });
    }
    say(format!("User: {name}"))?;
    for name in answer.roles {
        say("")?;
        let rpc = async |wire: Wire, request| wire.auth().role_get(request).await;
        let answer = session.read(AuthRoleGetRequest { role: name.clone() }, rpc).await?;
        print(style, &Role { name, answer })?;
    }
    Ok(())
}

async fn list(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    no_words(flags, "user list command requires no arguments")?;
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.auth().user_list(request).await;
    print(session.settings.style, &session.read(AuthUserListRequest {}, rpc).await?)
}

async fn change_password(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let name = only_word(flags, "user passwd command requires user name as its argument")?;
    let password = read_password(flags, &name)?;
    let request = AuthUserChangePasswordRequest { name, password, ..Default::default() };
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.auth().user_change_password(request).await;
    let answer = session.write(request, rpc).await?;
    print(session.settings.style, &Done::new("Password updated", answer.header))
}

async fn grant_role(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let needs = "user grant command requires user name and role name as its argument";
    let (user, role) = two_words(flags, needs)?;
    let line = format!("Role {role} is granted to user {user}");
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.auth().user_grant_role(request).await;
    let answer = session.write(AuthUserGrantRoleRequest { user, role }, rpc).await?;
    print(session.settings.style, &Done::new(line, answer.header))
}

async fn revoke_role(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let needs = "user revoke-role requires user name and role name as its argument";
    let (name, role) = two_words(flags, needs)?;
    let line = format!("Role {role} is revoked from user {name}");
    let session = Session::open(settings).await?;
    let rpc = async |wire: Wire, request| wire.auth().user_revoke_role(request).await;
    let answer = session.write(AuthUserRevokeRoleRequest { name, role }, rpc).await?;
    print(session.settings.style, &Done::new(line, answer.header))
}

/// Reads a password from standard input: one line of a pipe, or twice the same at a terminal.
fn read_password(flags: &ArgMatches, name: &str) -> Result<String, Failure> {
    let piped = flags.get_one::<bool>("interactive") == Some(&false);
    if piped {
        return read_line();
    }
    super::output::complain(&format!("Password of {name}: "));
    let password = read_line()?;
    if password.is_empty() {
        return Err(Failure::arguments("empty password"));
    }
    super::output::complain(&format!("Type password of {name} again for confirmation: "));
    if read_line()? != password {
        return Err(Failure::arguments("given passwords are different"));
    }
    Ok(password)
}

fn read_line() -> Result<String, Failure> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::arguments(format!("failed to ask password: {error}")))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
