//! `kstore apiserver`: the API server alone, on an etcd or a kstore elsewhere. Started under the name
//! `kube-apiserver` it takes upstream's flags.
//!
//! Any number of them may run on one store: what they must share lies there (`super::shared`).

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use kstore_apiserver::admission::OPTIONAL;
use kstore_apiserver::auth::authentication::Anonymous;
use kstore_apiserver::server::{Authorisation, Rules};
use kstore_apiserver::storage::etcd::{EtcdSettings, EtcdStorage, Identity};
use kstore_host::Disk;
use kstore_host::os::{OsClock, OsDisk, OsRandom};
use tracing::level_filters::LevelFilter;

use super::agents::stopped;
use super::files::read_named;
use super::flags::{Given, Unknown};
use super::{ApiConfig, ApiHost, ApiServer, OwnKeys};
use crate::client::SYSTEM_AUTHORITIES;
use crate::server::logs::{self, Logs};

/// Under which name it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// `kstore apiserver`: it writes kubeconfigs, and an unknown flag is a mistake.
    Kstore,
    /// `kube-apiserver`: as upstream's.
    KubeApiserver,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Kstore => "kstore apiserver",
            Self::KubeApiserver => "kube-apiserver",
        }
    }
}

/// What the flags amount to.
#[derive(Debug)]
struct Config {
    api: ApiConfig,
    etcd: Etcd,
    logs: Logs,
    notes: Vec<String>,
}

/// Where the store is.
#[derive(Debug)]
struct Etcd {
    servers: Vec<String>,
    authorities: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
}

const HELP: &str = "\
usage: kstore apiserver --etcd-servers URLS [flags]

The Kubernetes API server alone, on any etcd. Several may run on one store; they share an authority
and a key for tokens, which lie in the store. The flags are kube-apiserver's; each may be given as
--flag=value or --flag value.

  --etcd-servers URLS                where the store is
  --etcd-cafile, --etcd-certfile, --etcd-keyfile FILE    TLS to the store
  --data-dir kstore-apiserver.data   keys and certificates, and the administrator's kubeconfig
  --cert-dir DATA/pki                keys and certificates
  --kubeconfig DATA/admin.kubeconfig what kubectl is told
  --secure-port 6443                 where kubectl is served
  --bind-address 127.0.0.1           on this address
  --advertise-address IP             where others reach it
  --apiserver-names NAME,...         more names that clients call it by
  --service-cluster-ip-range 10.96.0.0/12
  --tls-cert-file, --tls-private-key-file FILE           instead of a certificate of its own
  --client-ca-file FILE              who vouches for clients
  --service-account-signing-key-file, --service-account-key-file FILE
  --service-account-issuer URL, --api-audiences NAME,...
  --service-account-max-token-expiration 24h
  --token-auth-file FILE             fixed tokens: token,name,uid,\"group,group\" in each line
  --anonymous-auth true              whether strangers may look at health
  --authorization-mode Node,RBAC     or AlwaysAllow
  --disable-admission-plugins NAME,...
  --log-level LEVEL                  debug, info, warn, error
  --log-format FORMAT                json or console
";

/// Runs an API server until it is told to stop. `words` are the program's name and its flags.
pub(crate) fn run_api_server(program: Program, words: &[OsString]) -> ExitCode {
    let unknown = match program {
        Program::Kstore => Unknown::Refused,
        Program::KubeApiserver => Unknown::Noted,
    };
    let given = match Given::read(&words[1.min(words.len())..], unknown) {
        Ok(given) => given,
        Err(why) => return fail(program, &why),
    };
    if given.help {
        return print(HELP);
    }
    if given.version {
        return print(concat!("Kubernetes v1.36.0+kstore-", env!("CARGO_PKG_VERSION"), "\n"));
    }
    match config(program, &given).and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(program, &why),
    }
}

fn print(text: &str) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(program: Program, why: &str) -> ExitCode {
    crate::complain(&format!("{}: {why}", program.name()));
    ExitCode::FAILURE
}

fn serve(config: Config) -> Result<(), String> {
    logs::start(&config.logs);
    for note in &config.notes {
        tracing::warn!("{note}");
    }
    if let Err(error) = kstore_host::process::raise_open_files() {
        tracing::warn!(%error, "the bound on open files stays as it is");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("start threads: {error}"))?;
    let result = runtime.block_on(run(config));
    // Whatever still runs is not waited for.
    runtime.shutdown_background();
    result
}

async fn run(mut config: Config) -> Result<(), String> {
    let stop = stopped()?;
    tokio::pin!(stop);
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    if config.api.kubeconfig.is_none() {
        find_serving(&*disk, &mut config.api);
    }
    let storage = Arc::new(EtcdStorage::new(&settings(&config.etcd, &*disk)?)?);
    let host = ApiHost { disk, clock: Arc::new(OsClock::start()), random: Arc::new(OsRandom) };
    let server = tokio::select! {
        started = ApiServer::start(&config.api, storage, host) => started?,
        () = &mut stop => return Ok(()),
    };
    tracing::info!(address = %server.address, "the API server listens");
    tokio::select! {
        () = server.ready() => {
            tracing::info!("ready");
            stop.await;
        }
        () = &mut stop => {}
    }
    tracing::info!("stopping");
    server.end().await;
    Ok(())
}

/// As upstream's does, it serves with the certificate that lies in its directory, whoever made it.
fn find_serving(disk: &dyn Disk, config: &mut ApiConfig) {
    let pair = (config.dir.join("apiserver.crt"), config.dir.join("apiserver.key"));
    let is_there = |path: &Path| read_named(disk, path).is_ok();
    if config.own.serving.is_none() && is_there(&pair.0) && is_there(&pair.1) {
        config.own.serving = Some(pair);
    }
}

fn settings(etcd: &Etcd, disk: &dyn Disk) -> Result<EtcdSettings, String> {
    let read = |path: &PathBuf| read_named(disk, path).map(String::into_bytes);
    let identity = match &etcd.identity {
        Some((certificate, key)) => {
            Some(Identity { certificate: read(certificate)?, key: read(key)? })
        }
        None => None,
    };
    let authorities = match &etcd.authorities {
        Some(path) => Some(read(path)?),
        None if etcd.servers.iter().any(|server| server.starts_with("https")) => {
            SYSTEM_AUTHORITIES.iter().find_map(|path| read(&PathBuf::from(path)).ok())
        }
        None => None,
    };
    Ok(EtcdSettings { endpoints: etcd.servers.clone(), authorities, identity })
}

fn config(program: Program, given: &Given) -> Result<Config, String> {
    let servers = given.list("etcd-servers");
    if servers.is_empty() {
        return Err("--etcd-servers must be specified".to_owned());
    }
    if let Some(prefix) = given.value("etcd-prefix").filter(|prefix| *prefix != "/registry") {
        return Err(format!("--etcd-prefix {prefix} is not supported: objects lie at /registry"));
    }
    let path = |flag: &str| given.value(flag).map(PathBuf::from);
    let identity = pair(given, "etcd-certfile", "etcd-keyfile")?;
    let etcd = Etcd { servers, authorities: path("etcd-cafile"), identity };
    let data_dir = path("data-dir").unwrap_or_else(|| "kstore-apiserver.data".into());
    let (dir, kubeconfig, address) = match program {
        Program::Kstore => {
            (data_dir.join("pki"), Some(data_dir.join("admin.kubeconfig")), "127.0.0.1")
        }
        Program::KubeApiserver => ("/var/run/kubernetes".into(), None, "0.0.0.0"),
    };
    let address: IpAddr = parse(given, "bind-address")?.unwrap_or(parsed("bind-address", address)?);
    let port: u16 = parse(given, "secure-port")?.unwrap_or(6443);
    let mut names = given.list("apiserver-names");
    names.extend(given.value("external-hostname").map(str::to_owned));
    let mut notes = given.notes.clone();
    let ranges = given.list("service-cluster-ip-range");
    if ranges.len() > 1 {
        notes.push("of --service-cluster-ip-range the first range counts".to_owned());
    }
    let anonymous = match given.switch("anonymous-auth")? {
        Some(false) => Anonymous::Refused,
        Some(true) | None => Anonymous::Allowed,
    };
    let api = ApiConfig {
        listen: SocketAddr::new(address, port),
        advertise: parse(given, "advertise-address")?,
        dir: path("cert-dir").unwrap_or(dir),
        kubeconfig: path("kubeconfig").or(kubeconfig),
        services: ranges.into_iter().next().unwrap_or_else(|| "10.96.0.0/12".to_owned()),
        names,
        own: own_keys(given)?,
        anonymous,
        rules: rules(given, &mut notes)?,
    };
    Ok(Config { api, etcd, logs: logs_of(given)?, notes })
}

fn own_keys(given: &Given) -> Result<OwnKeys, String> {
    let path = |flag: &str| given.value(flag).map(PathBuf::from);
    Ok(OwnKeys {
        serving: pair(given, "tls-cert-file", "tls-private-key-file")?,
        clients: path("client-ca-file"),
        signing: path("service-account-signing-key-file"),
        verifying: given.all("service-account-key-file").into_iter().map(PathBuf::from).collect(),
        issuers: given.all("service-account-issuer"),
        audiences: given.list("api-audiences"),
        tokens: path("token-auth-file"),
        longest: given.value("service-account-max-token-expiration").map(seconds).transpose()?,
    })
}

fn rules(given: &Given, notes: &mut Vec<String>) -> Result<Rules, String> {
    let mut authorisation = Authorisation::ByRules;
    for mode in given.list("authorization-mode") {
        match mode.as_str() {
            "AlwaysAllow" => authorisation = Authorisation::AlwaysAllow,
            "RBAC" | "Node" => {}
            other => return Err(format!("--authorization-mode {other} is not supported")),
        }
    }
    let (left_out, unknown) = given
        .list("disable-admission-plugins")
        .into_iter()
        .partition::<Vec<_>, _>(|name| OPTIONAL.contains(&name.as_str()));
    notes.extend(unknown.iter().map(|name| format!("there is no admission plugin {name} here")));
    Ok(Rules { authorisation, left_out })
}

/// A duration as upstream's flags have it, such as `24h`.
fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("invalid value \"{text}\" for --service-account-max-token-expiration");
    let mut seconds: i64 = 0;
    let mut number = String::new();
    for letter in text.chars() {
        let unit = match letter {
            '0'..='9' => {
                number.push(letter);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(wrong()),
        };
        let part: i64 = number.parse().map_err(|_| wrong())?;
        let part = part.checked_mul(unit).ok_or_else(wrong)?;
        seconds = seconds.checked_add(part).ok_or_else(wrong)?;
        number.clear();
    }
    if seconds > 0 && number.is_empty() { Ok(seconds) } else { Err(wrong()) }
}

/// Two files that make sense together only.
fn pair(given: &Given, one: &str, other: &str) -> Result<Option<(PathBuf, PathBuf)>, String> {
    match (given.value(one), given.value(other)) {
        (None, None) => Ok(None),
        (Some(one), Some(other)) => Ok(Some((one.into(), other.into()))),
        _ => Err(format!("--{one} and --{other} must be given together")),
    }
}

fn parse<T: std::str::FromStr>(given: &Given, flag: &str) -> Result<Option<T>, String> {
    given.value(flag).map(|text| parsed(flag, text)).transpose()
}

fn parsed<T: std::str::FromStr>(flag: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("invalid value \"{text}\" for --{flag}"))
}

fn logs_of(given: &Given) -> Result<Logs, String> {
    // Upstream's levels count from nought; from four on they are for who debugs.
    let verbosity: u8 = parse(given, "v")?.unwrap_or(0);
    let level = match given.value("log-level") {
        Some(name) => logs::level(name)?,
        None if verbosity >= 4 => LevelFilter::DEBUG,
        None => LevelFilter::INFO,
    };
    let json = match given.value("log-format") {
        None => None,
        Some("json") => Some(true),
        Some("console" | "text") => Some(false),
        Some(other) => return Err(format!("invalid value \"{other}\" for --log-format")),
    };
    Ok(Logs { level, json })
}
