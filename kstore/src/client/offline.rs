//! Commands that need no server: `snapshot status`, `snapshot restore`, `verify`.
//!
//! ```text
//!   file of `snapshot save` ──► ImageReceiver ──┬─► Discard                  status: is it whole,
//!     (an image as a stream,    checks every    │                            and of what
//!      a SHA-256 at its end)    byte            └─► data-dir/incoming ──► install    restore
//! ```
//!
//! A restored directory holds the state of the image, without a member: the server that is started
//! on it founds a new cluster, with the name and the `--initial-cluster` of its own flags. For a
//! cluster of several members the same file is restored on each.

use std::path::Path;
use std::sync::Arc;

use clap::{ArgMatches, Command};
use kstore_host::os::{OsDisk, OsRandom};
use kstore_host::{Disk, OpenMode, Random};
use kstore_mvcc::{ImageError, ImageInfo, ImageReceiver, ReceivedImage, Restart, StoreId, install};

use super::arguments::{Flags, only_word, switch, text, verb};
use super::failure::Failure;
use super::notation::show_size;
use super::output::{Answer, Fields, Json, Page, Style, Table, print, say};
use super::settings::Settings;

mod discard;
mod verify;

pub(crate) use verify::{verify_command, verify_directory};

/// How much of a file is read at a time.
const PIECE: usize = 1 << 20;

/// The length of a digest.
const DIGEST: u64 = 32;

pub(crate) fn status_command() -> Command {
    verb("status", "Checks a file of `snapshot save` and says what it holds", "filename")
}

pub(crate) fn restore_command() -> Command {
    verb("restore", "Makes a data directory from a file of `snapshot save`", "filename").args([
        text("data-dir", "The directory to make"),
        text("name", "Accepted; the server takes its name at its first start"),
        text("initial-cluster", "Accepted; the server takes it at its first start"),
        text("initial-cluster-token", "Accepted; the server takes it at its first start"),
        text("initial-advertise-peer-urls", "Accepted; the server takes it at its first start"),
        text("wal-dir", "Accepted; a new cluster begins with an empty log"),
        switch("skip-hash-check", "Accepted; the digest is always checked"),
    ])
}

pub(crate) fn status(settings: &Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let name = only_word(flags, "snapshot status requires exactly one argument")?;
    let disk: Arc<dyn Disk> = Arc::new(discard::Discard);
    let (image, size) = receive(Path::new(&name), disk, Path::new("/"))?;
    print(settings.style, &ImageStatus { info: image.info(), size })
}

pub(crate) fn restore(flags: &ArgMatches) -> Result<(), Failure> {
    let name = only_word(flags, "snapshot restore requires exactly one argument")?;
    let data_dir = match flags.text("data-dir") {
        "" => return Err(Failure::arguments("snapshot restore needs --data-dir")),
        data_dir => Path::new(data_dir),
    };
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let io = |what: &str, error: &std::io::Error| {
        Failure::error(format!("{what} {}: {error}", data_dir.display()))
    };
    disk.create_dir(data_dir).map_err(|error| io("make", &error))?;
    let _lock = disk.lock(data_dir).map_err(|error| io("lock", &error))?;
    let entries = disk.read_dir(data_dir).map_err(|error| io("list", &error))?;
    if entries.iter().any(|entry| entry.name != LOCK && entry.name != INCOMING) {
        let shown = data_dir.display();
        return Err(Failure::error(format!("data-dir \"{shown}\" not empty or could not be read")));
    }
    let (image, _) = receive(Path::new(&name), Arc::clone(&disk), &data_dir.join(INCOMING))?;
    let mut store = [0; 16];
    OsRandom.fill(&mut store);
    let store = StoreId(u128::from_le_bytes(store));
    let installed =
        install(&*disk, data_dir, &image, store, Restart::NewCluster).map_err(Failure::error)?;
    image.remove(&*disk).map_err(Failure::error)?;
    let parent = data_dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    disk.sync_dir(parent.unwrap_or(Path::new("."))).map_err(|error| io("sync", &error))?;
    let revision = installed.info.revision;
    say(format!("Revision {revision} restored to {}", data_dir.display()))
}

/// What a data directory may already hold: the lock just taken, and what an attempt that was cut
/// off left.
const LOCK: &str = "LOCK";
const INCOMING: &str = "incoming";

/// Reads a file as an image, down to the digest at its end. Returns it and the file's length.
fn receive(path: &Path, disk: Arc<dyn Disk>, into: &Path) -> Result<(ReceivedImage, u64), Failure> {
    let bad =
        |error: &dyn std::fmt::Display| Failure::error(format!("{}: {error}", path.display()));
    let image = |error: ImageError| bad(&error);
    let io = |error: std::io::Error| bad(&error);
    let file = OsDisk.open(path, OpenMode::Read).map_err(io)?;
    let length = file.length().map_err(io)?;
    let mut receiver = ImageReceiver::begin(disk, into).map_err(image)?;
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < length {
        let wanted = usize::try_from(length - at).map_or(PIECE, |left| left.min(PIECE));
        file.read_exact_at(&mut buffer[..wanted], at).map_err(io)?;
        receiver.write(&buffer[..wanted]).map_err(image)?;
        at += wanted as u64;
    }
    Ok((receiver.finish().map_err(image)?, length))
}

/// What a file of `snapshot save` holds.
#[derive(Debug)]
struct ImageStatus {
    info: ImageInfo,
    /// The length of the file.
    size: u64,
}

impl ImageStatus {
    fn content(&self) -> u64 {
        self.size - DIGEST
    }
}

impl Answer for ImageStatus {
    fn simple(&self, page: &mut Page) {
        for line in self.table().into_iter().flat_map(|table| table.lines().collect::<Vec<_>>()) {
            page.line(line);
        }
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::whole([
            ("revision", self.info.revision.0.into()),
            ("compactRevision", self.info.compacted.0.into()),
            ("totalSize", self.content().into()),
            ("lineage", self.info.lineage.to_string().as_str().into()),
        ]))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let mut fields = Fields::new(style);
        fields.value("Revision", self.info.revision);
        fields.value("CompactRevision", self.info.compacted);
        fields.value("Size", self.content());
        fields.value("Lineage", self.info.lineage);
        Some(fields)
    }

    fn table(&self) -> Option<Table> {
        let row = vec![
            self.info.revision.to_string(),
            self.info.compacted.to_string(),
            show_size(self.content()),
            self.info.lineage.to_string(),
        ];
        let headings = vec!["revision", "compact revision", "total size", "lineage"];
        Some(Table { headings, rows: vec![row] })
    }
}
