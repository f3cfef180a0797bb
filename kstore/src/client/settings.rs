//! What holds for every command: where to connect, as whom, how long to wait, how to print.
//!
//! A value comes from the flag, else from the `ETCDCTL_*` variable of the flag's name, else it is
//! the default. etcdctl refuses to run when both flag and variable are there; here the flag wins.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::arguments::{Flags, number, span, switch, text};
use super::failure::Failure;
use super::notation;
use super::output::{Format, Style};

/// The values.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// `host:port`, `http://host:port`, `https://host:port` or `unix://path`; at least one.
    pub(crate) endpoints: Vec<String>,
    pub(crate) dial_timeout: Duration,
    pub(crate) command_timeout: Duration,
    /// Whether somebody asked for this command timeout: long downloads have none else.
    pub(crate) command_timeout_given: bool,
    pub(crate) keepalive_time: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) max_request_bytes: usize,
    pub(crate) max_receive_bytes: usize,
    pub(crate) tls: TlsFiles,
    pub(crate) user: Option<User>,
    pub(crate) style: Style,
}

/// What TLS is made of. Empty names: not given.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
    /// Encrypt also where the endpoint's address does not say so.
    pub(crate) always: bool,
    pub(crate) trust_anyone: bool,
    /// The name that the server's certificate must carry, if not the endpoint's.
    pub(crate) server_name: String,
}

/// Who the client says it is.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "User({}, password hidden)", self.name)
    }
}

/// Adds the flags to the top command; they may stand anywhere.
pub(crate) fn with_flags(command: Command) -> Command {
    let flags: [Arg; 20] = [
        text("endpoints", "gRPC endpoints, separated by commas").action(ArgAction::Append),
        span("dial-timeout", "Time to connect to one endpoint (default 2s)"),
        span("command-timeout", "Time for a short command, without connecting (default 5s)"),
        span("keepalive-time", "Ping the server after this long without traffic (default 2s)"),
        span("keepalive-timeout", "Give the connection up this long after a ping (default 6s)"),
        number("max-request-bytes", "Largest request to send; 0 is 2 MiB"),
        number("max-recv-bytes", "Largest response to take; 0 is no limit"),
        switch("insecure-transport", "Do not encrypt unless the endpoint says so (default true)"),
        switch("insecure-skip-tls-verify", "Trust any server certificate: for tests only"),
        switch("insecure-discovery", "Accept unencrypted endpoints found by DNS"),
        text("cacert", "Certificates of the authorities to trust, PEM"),
        text("cert", "Certificate of this client, PEM"),
        text("key", "Private key of this client, PEM"),
        text("user", "name[:password] to authenticate with"),
        text("password", "Password of --user"),
        text("discovery-srv", "Domain that names the server in its certificate").short('d'),
        text("discovery-srv-name", "Service name for DNS discovery"),
        text("write-out", "Output format: fields, json, protobuf, simple, table").short('w'),
        switch("hex", "Print bytes and ids in base 16"),
        switch("debug", "Accepted; there is no client-side debug log"),
    ];
    let flags = flags.into_iter().map(|flag| flag.global(true).help_heading("Global options"));
    command.args(flags)
}

impl Settings {
    /// Puts flags, variables and defaults together.
    pub(crate) fn resolve(
        flags: &ArgMatches,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let source = Source { flags, variable };
        let format = source.text("write-out").unwrap_or_else(|| "simple".to_owned());
        let style = Style {
            format: Format::parse(&format)?,
            hex: source.switch("hex")?.unwrap_or(false),
            values_only: false,
        };
        let command_timeout = source.span("command-timeout")?;
        Ok(Self {
            endpoints: source.endpoints()?,
            dial_timeout: source.span("dial-timeout")?.unwrap_or(Duration::from_secs(2)),
            command_timeout: command_timeout.unwrap_or(Duration::from_secs(5)),
            command_timeout_given: command_timeout.is_some(),
            keepalive_time: source.span("keepalive-time")?.unwrap_or(Duration::from_secs(2)),
            keepalive_timeout: source.span("keepalive-timeout")?.unwrap_or(Duration::from_secs(6)),
            max_request_bytes: source.size("max-request-bytes")?.unwrap_or(2 << 20),
            max_receive_bytes: source.size("max-recv-bytes")?.unwrap_or(usize::MAX),
            tls: source.tls()?,
            user: source.user()?,
            style,
        })
    }
}

/// Flags first, then variables.
struct Source<'a> {
    flags: &'a ArgMatches,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Source<'_> {
    /// The value of `ETCDCTL_<NAME>`, unless empty, as the type that `read` makes of it.
    fn variable<T>(
        &self,
        name: &str,
        read: fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        let variable = format!("ETCDCTL_{}", name.to_uppercase().replace('-', "_"));
        let Some(value) = (self.variable)(&variable).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let bad = |why| {
            let value = notation::quote(value.as_bytes());
            Failure::error(format!("invalid value {value} for {variable}: {why}"))
        };
        read(&value).map(Some).map_err(bad)
    }

    fn text(&self, name: &str) -> Option<String> {
        let flag = self.flags.get_one::<String>(name).cloned();
        flag.or_else(|| {
            let value = self.variable(name, |value| Ok(value.to_owned()));
            value.expect("every text is one")
        })
    }

    fn switch(&self, name: &str) -> Result<Option<bool>, Failure> {
        match self.flags.get_one(name) {
            Some(flag) => Ok(Some(*flag)),
            None => self.variable(name, notation::boolean),
        }
    }

    fn span(&self, name: &str) -> Result<Option<Duration>, Failure> {
        match self.flags.span(name) {
            Some(flag) => Ok(Some(flag)),
            None => self.variable(name, notation::duration),
        }
    }

    /// A number of bytes; zero and less mean that there is none.
    fn size(&self, name: &str) -> Result<Option<usize>, Failure> {
        let size = match self.flags.get_one::<i64>(name) {
            Some(flag) => Some(*flag),
            None => self.variable(name, notation::number)?,
        };
        Ok(size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0))
    }

    fn endpoints(&self) -> Result<Vec<String>, Failure> {
        let given: Vec<String> = match self.flags.get_many::<String>("endpoints") {
            Some(flags) => flags.cloned().collect(),
            None => self.text("endpoints").into_iter().collect(),
        };
        if given.is_empty() {
            return Ok(vec!["127.0.0.1:2379".to_owned()]);
        }
        let split = given.iter().flat_map(|list| list.split(','));
        let trimmed: Vec<String> =
            split.map(|endpoint| endpoint.trim().to_owned()).filter(|it| !it.is_empty()).collect();
        if trimmed.is_empty() {
            return Err(Failure::arguments("no endpoint given"));
        }
        Ok(trimmed)
    }

    fn tls(&self) -> Result<TlsFiles, Failure> {
        let file = |name: &str| match self.text(name) {
            Some(given) if given.is_empty() => {
                Err(Failure::arguments(format!("empty string is passed to --{name} option")))
            }
            given => Ok(given.unwrap_or_default()),
        };
        let (ca, certificate, key) = (file("cacert")?, file("cert")?, file("key")?);
        let insecure = self.switch("insecure-transport")?.unwrap_or(true);
        let files = !(ca.is_empty() && certificate.is_empty() && key.is_empty());
        let discovered = self.switch("insecure-discovery")?.unwrap_or(true);
        let domain = self.text("discovery-srv").unwrap_or_default();
        Ok(TlsFiles {
            always: files || !insecure,
            trust_anyone: self.switch("insecure-skip-tls-verify")?.unwrap_or(false),
            server_name: if discovered { String::new() } else { domain },
            ca,
            certificate,
            key,
        })
    }

    fn user(&self) -> Result<Option<User>, Failure> {
        let Some(user) = self.text("user").filter(|user| !user.is_empty()) else {
            return Ok(None);
        };
        if let Some(password) = self.text("password").filter(|password| !password.is_empty()) {
            return Ok(Some(User { name: user, password }));
        }
        let Some((name, password)) = user.split_once(':') else {
            return Err(Failure::error(
                "no password: give --user name:password or --password (there is no prompt)",
            ));
        };
        Ok(Some(User { name: name.to_owned(), password: password.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(args: &[&str], variables: &[(&str, &str)]) -> Result<Settings, Failure> {
        let command = with_flags(Command::new("etcdctl").args_override_self(true));
        let flags = command.try_get_matches_from([&["etcdctl"], args].concat()).unwrap();
        Settings::resolve(&flags, &|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_flag_wins_over_its_variable_and_the_variable_over_the_default() {
        let both = [("ETCDCTL_ENDPOINTS", "b:1, c:2"), ("ETCDCTL_DIAL_TIMEOUT", "7s")];
        let settings = resolve(&["--endpoints", "a:1", "--endpoints=d:4"], &both).unwrap();
        assert_eq!(settings.endpoints, ["a:1", "d:4"]);
        assert_eq!(settings.dial_timeout, Duration::from_secs(7));
        let settings = resolve(&[], &both).unwrap();
        assert_eq!(settings.endpoints, ["b:1", "c:2"]);
        assert_eq!(settings.command_timeout, Duration::from_secs(5));
    }

    #[test]
    fn a_user_needs_a_password_from_somewhere() {
        let named = |args: &[&str]| resolve(args, &[]).map(|it| it.user.unwrap().password);
        assert_eq!(named(&["--user", "a:b:c"]).unwrap(), "b:c");
        assert_eq!(named(&["--user=a", "--password=p"]).unwrap(), "p");
        assert!(named(&["--user=a"]).is_err());
    }

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        let settings = resolve(&["--user=a:secret"], &[]).unwrap();
        assert!(!format!("{settings:?}").contains("secret"));
    }

    #[test]
    fn a_variable_that_cannot_be_read_is_named() {
        let failure = resolve(&[], &[("ETCDCTL_HEX", "maybe")]).unwrap_err();
        assert!(failure.message.contains("ETCDCTL_HEX"), "{failure:?}");
    }
}
