//! The servers as processes: their flags, ports, files, starts and ends.
//!
//! Invariant: a process is only ever ended through the `Child` that started it, and none outlives
//! the [`Servers`].

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kstore_host::Random;
use kstore_host::os::OsRandom;

/// Ports below the range that the kernel gives to outgoing connections: a client cannot be given
/// the port of a member that is down at the moment.
const PORT_MIN: u64 = 10_000;
const PORT_MAX: u64 = 30_000;

/// How much of the end of a log is shown when its server gives trouble.
const LOG_TAIL: u64 = 2_000;

/// One member's process, running or not.
#[derive(Debug)]
struct Server {
    flags: Vec<String>,
    /// Where its clients connect.
    endpoint: String,
    log: PathBuf,
    /// `None` from a kill to the next start.
    child: Option<Child>,
}

/// All members of one cluster.
#[derive(Debug)]
pub(super) struct Servers {
    binary: PathBuf,
    servers: Vec<Server>,
}

impl Servers {
    /// Chooses ports and folders below `directory` and starts `members` members.
    pub(super) fn start(binary: &Path, members: usize, directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let ports = free_ports(2 * members)?;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let cluster: Vec<String> =
            (0..members).map(|m| format!("m{}={}", m + 1, url(ports[2 * m + 1]))).collect();
        let cluster = cluster.join(",");
        let servers = (0..members).map(|m| {
            let name = format!("m{}", m + 1);
            let (client, peer) = (url(ports[2 * m]), url(ports[2 * m + 1]));
            let data = directory.join(format!("{name}.data")).display().to_string();
            let flags = [
                ("--name", name.as_str()),
                ("--data-dir", &data),
                ("--listen-client-urls", &client),
                ("--advertise-client-urls", &client),
                ("--listen-peer-urls", &peer),
                ("--initial-advertise-peer-urls", &peer),
                ("--initial-cluster", &cluster),
                ("--initial-cluster-state", "new"),
            ];
            let flags = flags.iter().flat_map(|(flag, value)| [*flag, *value]);
            Server {
                flags: flags.map(str::to_owned).collect(),
                endpoint: client.clone(),
                log: directory.join(format!("{name}.log")),
                child: None,
            }
        });
        let mut this = Self { binary: binary.to_owned(), servers: servers.collect() };
        for member in 0..members {
            this.launch(member)?;
        }
        Ok(this)
    }

    /// Where the clients of each member connect.
    pub(super) fn endpoints(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.endpoint.clone()).collect()
    }

    /// Starts a member that does not run, on the data that it has.
    pub(super) fn launch(&mut self, member: usize) -> io::Result<()> {
        let server = &mut self.servers[member];
        assert!(server.child.is_none(), "the member runs already");
        let log = OpenOptions::new().create(true).append(true).open(&server.log)?;
        let mut command = Command::new(&self.binary);
        command.args(words(&self.binary)).args(&server.flags);
        for (variable, _) in std::env::vars_os().filter(|(name, _)| is_setting(name)) {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        server.child = Some(command.spawn()?);
        Ok(())
    }

    /// Kills a member as `kill -9` does, and waits until the kernel has taken it away.
    pub(super) fn kill(&mut self, member: usize) -> io::Result<()> {
        match self.servers[member].child.take() {
            Some(mut child) => {
                child.kill()?;
                child.wait().map(|_| ())
            }
            None => Ok(()),
        }
    }

    /// Whether a member has ended by itself, which none should: how, and the end of its log.
    pub(super) fn ended(&mut self, member: usize) -> Option<String> {
        let server = &mut self.servers[member];
        let status = server.child.as_mut()?.try_wait().ok().flatten()?;
        Some(format!("m{} ended by itself, {status}: {}", member + 1, tail(&server.log)))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for member in 0..self.servers.len() {
            // Nobody is left to tell: a child that cannot be killed has ended already.
            let _ = self.kill(member);
        }
    }
}

/// What comes before the flags: `etcd` serves by its name, others by a word.
fn words(binary: &Path) -> &'static [&'static str] {
    match binary.file_name() {
        Some(name) if name == "etcd" => &[],
        _ => &["server"],
    }
}

/// Whether the servers would take this variable for one of their flags.
fn is_setting(name: &OsString) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("ETCD_"))
}

/// Ports that nobody listens on at the moment.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    // Bounded: so many failures in a row mean that something else is wrong.
    let mut tries = 1000;
    let mut ports = Vec::new();
    while ports.len() < count {
        let port = PORT_MIN + OsRandom.next_u64() % (PORT_MAX - PORT_MIN);
        let port = u16::try_from(port).expect("PORT_MAX fits into sixteen bits");
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) if !ports.contains(&port) => ports.push(port),
            Err(error) if tries == 0 => return Err(error),
            _ => tries -= 1,
        }
    }
    Ok(ports)
}

fn tail(log: &Path) -> String {
    let read = || {
        let mut file = OpenOptions::new().read(true).open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("no log: {error}"))
}
