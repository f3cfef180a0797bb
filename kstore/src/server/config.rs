//! What the flags amount to: everything checked that can be checked without touching anything.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kstore_apiserver::auth::authentication::Anonymous;
use kstore_apiserver::server::Rules;
use kstore_etcd_api::{Settings, TlsFiles};
use kstore_raft::Timing;
use kstore_raft::bootstrap::InitialMember;
use tracing::level_filters::LevelFilter;

use crate::kubernetes::{ApiConfig, OwnKeys};

use super::compactor::{AutoCompaction, Mode};
use super::flags::Given;
use super::logs::{self, Logs};
use super::urls::{self, MemberUrl};

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A member.
    Serve(Box<Config>),
    /// A text.
    Print(String),
}

/// A member's configuration.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) name: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) listen_client: Vec<MemberUrl>,
    pub(crate) listen_peer: Vec<MemberUrl>,
    pub(crate) listen_metrics: Vec<MemberUrl>,
    pub(crate) advertise_client: Vec<MemberUrl>,
    pub(crate) cluster: Vec<InitialMember>,
    pub(crate) token: String,
    pub(crate) timing: Timing,
    pub(crate) settings: Settings,
    pub(crate) client_tls: Option<TlsFiles>,
    pub(crate) peer_tls: Option<PeerTls>,
    pub(crate) compaction: Option<AutoCompaction>,
    pub(crate) logs: Logs,
    pub(crate) notes: Vec<String>,
    /// The API server in the same process, if one is asked for.
    pub(crate) api: Option<ApiConfig>,
    /// Whether the agents run here, too.
    pub(crate) agents: bool,
}

/// The files of TLS between members: the same certificate serves and calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PeerTls {
    pub(crate) files: TlsFiles,
    /// Who vouches for the members that are called.
    pub(crate) authorities: Option<PathBuf>,
}

const HELP: &str = "\
usage: kstore server [flags]

A member of a kstore cluster. The flags are etcd's, as --flag=value or --flag value; each may
be given as a variable instead: --data-dir is ETCD_DATA_DIR.

  --name default                     the member's name
  --data-dir NAME.etcd               where everything that it keeps lies
  --listen-client-urls URLS          where clients are served (http://localhost:2379)
  --advertise-client-urls URLS       what clients are told about it (the same)
  --listen-peer-urls URLS            where other members are served (http://localhost:2380)
  --initial-advertise-peer-urls URLS what other members are told about it (the same)
  --initial-cluster NAME=URL,...     the first members (this one alone)
  --initial-cluster-token TOKEN      tells clusters of the same members apart (etcd-cluster)
  --initial-cluster-state new        new or existing
  --heartbeat-interval MS            100
  --election-timeout MS              1000; at least five heartbeats
  --max-request-bytes N              1572864
  --max-txn-ops N                    128
  --quota-backend-bytes N            live data at most (2 GiB); negative for no bound
  --auto-compaction-mode MODE        periodic or revision
  --auto-compaction-retention R      such as 1h or 1000; 0 for off
  --watch-progress-notify-interval D 10m
  --listen-metrics-urls URLS         more listeners for /metrics and /health
  --cert-file, --key-file, --trusted-ca-file FILE, --client-cert-auth          TLS for clients
  --peer-cert-file, --peer-key-file, --peer-trusted-ca-file FILE, --peer-client-cert-auth
  --log-level LEVEL                  debug, info, warn, error
  --log-format FORMAT                json or console
";

impl Config {
    /// Checks what was given.
    pub(crate) fn of(given: &Given) -> Result<Asked, String> {
        if given.help {
            return Ok(Asked::Print(HELP.to_owned()));
        }
        if given.version {
            let version = env!("CARGO_PKG_VERSION");
            return Ok(Asked::Print(format!("kstore Version: {version}\n")));
        }
        let name = given.value("name").unwrap_or("default").to_owned();
        let data_dir =
            given.value("data-dir").map_or_else(|| format!("{name}.etcd"), str::to_owned);
        let listen_client = urls_of(given, "listen-client-urls", "http://localhost:2379")?;
        let listen_peer = urls_of(given, "listen-peer-urls", "http://localhost:2380")?;
        let listen_metrics = match given.value("listen-metrics-urls") {
            Some(text) => urls::parse("listen-metrics-urls", text)?,
            None => Vec::new(),
        };
        let advertise_client = match given.value("advertise-client-urls") {
            Some(text) => urls::parse("advertise-client-urls", text)?,
            None => listen_client.clone(),
        };
        let timing = timing(given)?;
        let client_tls = tls_files(given, "")?;
        let peer_tls = tls_files(given, "peer-")?.map(|files| PeerTls {
            files,
            authorities: given.value("peer-trusted-ca-file").map(PathBuf::from),
        });
        let data_dir = PathBuf::from(data_dir);
        let config = Self {
            data_dir: data_dir.clone(),
            cluster: cluster(given, &name)?,
            token: given.value("initial-cluster-token").unwrap_or("etcd-cluster").to_owned(),
            settings: settings(given, timing)?,
            compaction: compaction(given)?,
            api: api_of(given, &data_dir)?,
            agents: false,
            logs: logs_of(given)?,
            notes: given.notes.clone(),
            name,
            listen_client,
            listen_peer,
            listen_metrics,
            advertise_client,
            timing,
            client_tls,
            peer_tls,
        };
        config.check()?;
        Ok(Asked::Serve(Box::new(config)))
    }

    /// Everything on one machine: the API server too, and no door for other members.
    pub(crate) fn of_up(given: &Given) -> Result<Asked, String> {
        if given.help {
            return Ok(Asked::Print(UP_HELP.to_owned()));
        }
        let mut given = given.clone();
        given.set_default("data-dir", "kstore.data");
        given.set_default("secure-port", "6443");
        given.set_default("log-level", "warn");
        let asked = Self::of(&given)?;
        Ok(match asked {
            Asked::Serve(mut config) => {
                config.listen_peer.clear();
                config.agents = true;
                Asked::Serve(config)
            }
            printed @ Asked::Print(_) => printed,
        })
    }

    fn check(&self) -> Result<(), String> {
        self.timing.check()?;
        let wants_tls = |urls: &[MemberUrl]| urls.iter().any(|url| url.tls);
        if wants_tls(&self.listen_client) && self.client_tls.is_none() {
            return Err(
                "--listen-client-urls has https URLs: give --cert-file and --key-file".into()
            );
        }
        if wants_tls(&self.listen_metrics) && self.client_tls.is_none() {
            return Err(
                "--listen-metrics-urls has https URLs: give --cert-file and --key-file".into()
            );
        }
        if wants_tls(&self.listen_peer) && self.peer_tls.is_none() {
            let why =
                "--listen-peer-urls has https URLs: give --peer-cert-file and --peer-key-file";
            return Err(why.into());
        }
        if !self.cluster.iter().any(|member| member.name == self.name) {
            return Err(format!(
                "couldn't find local name \"{}\" in the initial cluster configuration",
                self.name
            ));
        }
        Ok(())
    }
}

const UP_HELP: &str = "\
usage: kstore up [flags]

Everything on one machine: the store, the Kubernetes API server, scheduler, controllers, and one
hollow node, on which pods run without containers. The flags are those of
kstore server; of them these matter most:

  --data-dir kstore.data             everything lies here
  --secure-port 6443                 where kubectl is served
  --bind-address 127.0.0.1           on this address
  --kubeconfig DATA/admin.kubeconfig what kubectl is told
  --listen-client-urls URLS          where etcd's clients are served (http://localhost:2379)
";

/// The API server, if a port is given for it.
fn api_of(given: &Given, data_dir: &Path) -> Result<Option<ApiConfig>, String> {
    let Some(port) = given.value("secure-port") else { return Ok(None) };
    let wrong = |flag: &str, value: &str| format!("invalid value \"{value}\" for --{flag}");
    let number: u16 = port.parse().map_err(|_| wrong("secure-port", port))?;
    let address = given.value("bind-address").unwrap_or("127.0.0.1");
    let address: IpAddr = address.parse().map_err(|_| wrong("bind-address", address))?;
    let kubeconfig = given.value("kubeconfig").map(PathBuf::from);
    let names = given.value("apiserver-names").unwrap_or_default();
    Ok(Some(ApiConfig {
        listen: SocketAddr::new(address, number),
        advertise: None,
        dir: data_dir.join("pki"),
        kubeconfig: Some(kubeconfig.unwrap_or_else(|| data_dir.join("admin.kubeconfig"))),
        own: OwnKeys::default(),
        anonymous: Anonymous::Allowed,
        rules: Rules::default(),
        services: given.value("service-cluster-ip-range").unwrap_or("10.96.0.0/12").to_owned(),
        names: names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
    }))
}

fn urls_of(given: &Given, flag: &str, default: &str) -> Result<Vec<MemberUrl>, String> {
    urls::parse(flag, given.value(flag).unwrap_or(default))
}

fn cluster(given: &Given, name: &str) -> Result<Vec<InitialMember>, String> {
    let state = given.value("initial-cluster-state").unwrap_or("new");
    if state != "new" && state != "existing" {
        return Err(format!("invalid value \"{state}\" for --initial-cluster-state"));
    }
    let listen = given.value("listen-peer-urls").unwrap_or("http://localhost:2380");
    let advertised = given.value("initial-advertise-peer-urls").unwrap_or(listen);
    let advertised = urls::parse("initial-advertise-peer-urls", advertised)?;
    let Some(text) = given.value("initial-cluster") else {
        let peer_urls = advertised.iter().map(ToString::to_string).collect();
        return Ok(vec![InitialMember { name: name.to_owned(), peer_urls }]);
    };
    let mut members: Vec<InitialMember> = Vec::new();
    for pair in text.split(',') {
        let (name, url) = pair.split_once('=').ok_or_else(|| {
            format!("invalid value for --initial-cluster: \"{pair}\" is not NAME=URL")
        })?;
        let urls = urls::parse("initial-cluster", url)?;
        let urls = urls.iter().map(ToString::to_string);
        match members.iter_mut().find(|member| member.name == name.trim()) {
            Some(member) => member.peer_urls.extend(urls),
            None => members
                .push(InitialMember { name: name.trim().to_owned(), peer_urls: urls.collect() }),
        }
    }
    check_advertised(given, name, &members, &advertised)?;
    Ok(members)
}

/// The two flags that say where this member is reached must say the same.
fn check_advertised(
    given: &Given,
    name: &str,
    members: &[InitialMember],
    advertised: &[MemberUrl],
) -> Result<(), String> {
    let own = members.iter().find(|member| member.name == name);
    let (Some(own), true) = (own, given.value("initial-advertise-peer-urls").is_some()) else {
        return Ok(());
    };
    let mut expected: Vec<&str> = own.peer_urls.iter().map(String::as_str).collect();
    let mut advertised: Vec<String> = advertised.iter().map(ToString::to_string).collect();
    expected.sort_unstable();
    advertised.sort_unstable();
    if expected != advertised {
        return Err(format!(
            "--initial-cluster has {name}={} but --initial-advertise-peer-urls is {}",
            expected.join(","),
            advertised.join(",")
        ));
    }
    Ok(())
}

fn timing(given: &Given) -> Result<Timing, String> {
    let milliseconds = |flag: &str, default: u64| {
        let number = given.number(flag)?.map(u64::try_from).transpose();
        let number = number.map_err(|_| format!("--{flag} must be above 0"))?;
        Ok::<_, String>(Duration::from_millis(number.unwrap_or(default)))
    };
    Ok(Timing {
        heartbeat: milliseconds("heartbeat-interval", 100)?,
        election: milliseconds("election-timeout", 1000)?,
    })
}

fn settings(given: &Given, timing: Timing) -> Result<Settings, String> {
    let defaults = Settings::default();
    let size = |flag: &str, default: usize| {
        let number = given.number(flag)?.map(usize::try_from).transpose();
        let number = number.map_err(|_| format!("--{flag} must not be negative"))?;
        Ok::<_, String>(number.unwrap_or(default))
    };
    let quota_bytes = match given.number("quota-backend-bytes")? {
        None | Some(0) => defaults.quota_bytes,
        // Below 0 there is no quota.
        Some(number) => u64::try_from(number).ok(),
    };
    let interval = given
        .value("watch-progress-notify-interval")
        .or_else(|| given.value("experimental-watch-progress-notify-interval"));
    let progress_interval = match interval {
        None => defaults.progress_interval,
        Some(text) => duration("watch-progress-notify-interval", text)?,
    };
    if progress_interval < Duration::from_millis(100) {
        return Err("--watch-progress-notify-interval must be at least 100ms".to_owned());
    }
    Ok(Settings {
        max_request_bytes: size("max-request-bytes", defaults.max_request_bytes)?,
        max_txn_ops: size("max-txn-ops", defaults.max_txn_ops)?,
        quota_bytes,
        progress_interval,
        heartbeat: timing.heartbeat,
        election_timeout: timing.election,
    })
}

fn tls_files(given: &Given, prefix: &str) -> Result<Option<TlsFiles>, String> {
    let file = |flag: &str| given.value(&format!("{prefix}{flag}")).map(PathBuf::from);
    let authorities = file("trusted-ca-file");
    let must_show = given.switch(&format!("{prefix}client-cert-auth"))?;
    match (file("cert-file"), file("key-file")) {
        (Some(certificate), Some(key)) => {
            if must_show && authorities.is_none() {
                return Err(format!("--{prefix}client-cert-auth needs --{prefix}trusted-ca-file"));
            }
            let client_authorities = authorities.filter(|_| must_show);
            Ok(Some(TlsFiles { certificate, key, client_authorities }))
        }
        (None, None) if must_show => {
            Err(format!("--{prefix}client-cert-auth needs --{prefix}cert-file"))
        }
        (None, None) => Ok(None),
        _ => Err(format!("--{prefix}cert-file and --{prefix}key-file go together")),
    }
}

fn compaction(given: &Given) -> Result<Option<AutoCompaction>, String> {
    let retention = given.value("auto-compaction-retention").unwrap_or("0");
    let mode = match given.value("auto-compaction-mode").unwrap_or("periodic") {
        "periodic" => {
            // A bare number counts hours.
            let keep = match retention.parse::<u32>() {
                Ok(hours) => Duration::from_secs(3600) * hours,
                Err(_) => duration("auto-compaction-retention", retention)?,
            };
            Mode::Periodic(keep)
        }
        "revision" => Mode::Revision(retention.parse().map_err(|_| {
            format!("invalid value \"{retention}\" for --auto-compaction-retention")
        })?),
        other => return Err(format!("invalid value \"{other}\" for --auto-compaction-mode")),
    };
    let off = mode == Mode::Periodic(Duration::ZERO) || mode == Mode::Revision(0);
    Ok((!off).then_some(AutoCompaction { mode }))
}

fn logs_of(given: &Given) -> Result<Logs, String> {
    let level = given.value("log-level").map_or(Ok(LevelFilter::INFO), logs::level)?;
    let json = match given.value("log-format") {
        None => None,
        Some("json") => Some(true),
        Some("console") => Some(false),
        Some(other) => return Err(format!("unknown log format \"{other}\"")),
    };
    Ok(Logs { level, json })
}

/// A duration in Go's form, such as `10m`, `1h30m` or `100ms`.
fn duration(flag: &str, text: &str) -> Result<Duration, String> {
    let wrong = || format!("invalid duration \"{text}\" for --{flag}");
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let seconds = match &rest[..unit_end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            _ => return Err(wrong()),
        };
        rest = &rest[unit_end..];
        total += Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn config(words: &[&str]) -> Result<Box<Config>, String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let given = Given::read(&words, std::iter::empty())?;
        match Config::of(&given)? {
            Asked::Serve(config) => Ok(config),
            Asked::Print(text) => Err(text),
        }
    }

    #[test]
    fn without_flags_a_member_is_alone_on_etcds_ports() {
        let config = config(&[]).unwrap();
        assert_eq!(config.data_dir, PathBuf::from("default.etcd"));
        assert_eq!(config.cluster.len(), 1);
        assert_eq!(config.cluster[0].peer_urls, ["http://localhost:2380"]);
        assert_eq!(config.listen_client[0].address, "localhost:2379");
        assert_eq!(config.settings.quota_bytes, Some(2 << 30));
    }

    #[test]
    fn a_cluster_is_read_with_several_urls_of_one_member() {
        let flags = ["--name=b", "--initial-cluster", "a=http://h:1,b=http://h:2,b=http://h:3"];
        let config = config(&flags).unwrap();
        assert_eq!(config.cluster.len(), 2);
        assert_eq!(config.cluster[1].peer_urls, ["http://h:2", "http://h:3"]);
    }

    #[test]
    fn flags_that_do_not_fit_together_are_one_line() {
        let wrong: &[&[&str]] = &[
            &["--heartbeat-interval=500", "--election-timeout=1000"],
            &["--name=c", "--initial-cluster=a=http://h:1"],
            &["--listen-client-urls=https://h:1"],
            &["--cert-file=c"],
            &["--client-cert-auth"],
            &["--initial-cluster-state=maybe"],
            &["--watch-progress-notify-interval=1ms"],
            &["--log-level=loud"],
            &["--max-txn-ops=-1"],
            &[
                "--name=a",
                "--initial-cluster=a=http://h:1",
                "--initial-advertise-peer-urls=http://h:2",
            ],
        ];
        for flags in wrong {
            let why = config(flags).unwrap_err();
            assert!(!why.contains('\n') && !why.is_empty(), "{flags:?}: {why}");
        }
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(duration("x", "1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("x", "100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(duration("x", "1.5s"), Ok(Duration::from_millis(1500)));
        for wrong in ["10", "m", "1x", "1e400h"] {
            assert!(duration("x", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn compaction_counts_hours_durations_or_revisions() {
        let mode = |flags: &[&str]| config(flags).unwrap().compaction.map(|c| c.mode);
        assert_eq!(mode(&["--auto-compaction-retention=0"]), None);
        let hour = Some(Mode::Periodic(Duration::from_secs(3600)));
        assert_eq!(mode(&["--auto-compaction-retention=1"]), hour);
        assert_eq!(mode(&["--auto-compaction-retention=60m"]), hour);
        let revision = ["--auto-compaction-mode=revision", "--auto-compaction-retention=1000"];
        assert_eq!(mode(&revision), Some(Mode::Revision(1000)));
    }
}
