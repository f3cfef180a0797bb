//! `snapshot save`: the store of one member, as a file.
//!
//! The file is first written under another name (`.part`), made durable, and renamed only once its
//! digest, which the server sends last, was found right: a file that bears the wanted name is
//! whole.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};
use kstore_host::os::OsDisk;
use kstore_host::{Disk, File, OpenMode};
use kstore_proto::etcdserverpb::{SnapshotRequest, SnapshotResponse};
use sha2::{Digest, Sha256};
use tonic::Streaming;

use super::arguments::{family, only_word, verb};
use super::failure::{Exit, Failure};
use super::offline;
use super::output::say;
use super::session::{Deadline, Session, Wire, within};
use super::settings::Settings;

/// The length of the digest at the end.
const DIGEST: usize = 32;

pub(crate) fn command() -> Command {
    family("snapshot", "Manages snapshots of a member").subcommands([
        verb("save", "Stores a snapshot of a member in a file", "filename"),
        offline::status_command(),
        offline::restore_command(),
    ])
}

pub(crate) async fn run(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    match flags.subcommand() {
        Some(("save", flags)) => save(settings, flags).await,
        Some(("status", flags)) => offline::status(&settings, flags),
        Some(("restore", flags)) => offline::restore(flags),
        _ => Err(Failure::arguments("snapshot needs a subcommand")),
    }
}

async fn save(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let name = only_word(flags, "snapshot save expects one argument <filename>")?;
    if settings.endpoints.len() > 1 {
        let endpoints = settings.endpoints.join(" ");
        return Err(Failure::new(
            Exit::Interrupted,
            format!("snapshot must be requested to one selected node, not multiple [{endpoints}]"),
        ));
    }
    let interrupted = |failure: Failure| failure.exiting(Exit::Interrupted);
    let session = Session::open(settings).await?;
    let version = download(&session, Path::new(&name)).await.map_err(interrupted)?;
    say(format!("Snapshot saved at {name}"))?;
    if version.is_empty() { Ok(()) } else { say(format!("Server version {version}")) }
}

/// Returns the version of the server's store.
async fn download(session: &Session, path: &Path) -> Result<String, Failure> {
    // A download may take as long as it takes, unless somebody gave it a limit.
    let deadline = session.settings.command_timeout_given.then(|| session.deadline()).flatten();
    let rpc = async |wire: Wire, ()| wire.maintenance().snapshot(SnapshotRequest {}).await;
    let stream = session.stream(deadline, rpc).await?;
    let mut part = PartFile::create(path)?;
    match receive(stream, deadline, &mut part).await {
        Ok(version) => part.finish(path).map(|()| version),
        Err(failure) => {
            // Half a snapshot serves nobody; that it cannot be removed is not the news.
            let _left_behind = OsDisk.remove_file(&part.path);
            Err(failure)
        }
    }
}

/// Writes the stream to the file and checks the digest at its end.
async fn receive(
    mut stream: Streaming<SnapshotResponse>,
    deadline: Deadline,
    part: &mut PartFile,
) -> Result<String, Failure> {
    let mut version = String::new();
    let mut digest = Sha256::new();
    // The last bytes so far, never more than `DIGEST`: they may be the digest.
    let mut tail: Vec<u8> = Vec::new();
    while let Some(response) = within(deadline, stream.message()).await?? {
        if version.is_empty() {
            version.clone_from(&response.version);
        }
        part.append(&response.blob)?;
        tail.extend_from_slice(&response.blob);
        let behind = tail.len().saturating_sub(DIGEST);
        digest.update(&tail[..behind]);
        tail.drain(..behind);
    }
    if tail.len() < DIGEST {
        return Err(Failure::error(format!("sha256 checksum not found [bytes: {}]", part.length)));
    }
    if digest.finalize()[..] != tail[..] {
        return Err(Failure::error("sha256 checksum of the snapshot is wrong"));
    }
    Ok(version)
}

/// A file that is being written.
#[derive(Debug)]
struct PartFile {
    path: PathBuf,
    file: std::sync::Arc<dyn File>,
    /// How much of it there is.
    length: u64,
}

impl PartFile {
    fn create(target: &Path) -> Result<Self, Failure> {
        let mut path = target.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let open = || {
            match OsDisk.remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            OsDisk.open(&path, OpenMode::CreateNew)
        };
        let file = open().map_err(|error| could_not("open", &path, &error))?;
        Ok(Self { path, file, length: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.file.write_at(bytes, self.length);
        written.map_err(|error| could_not("write", &self.path, &error))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn finish(self, target: &Path) -> Result<(), Failure> {
        let directory = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        self.file
            .sync()
            .and_then(|()| OsDisk.rename(&self.path, target))
            .and_then(|()| OsDisk.sync_dir(directory))
            .map_err(|error| could_not("save", target, &error))
    }
}

fn could_not(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::error(format!("could not {what} {} ({error})", path.display()))
}
