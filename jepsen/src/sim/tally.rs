//! What a member's disk was seen doing: how often each rare thing happened, how far an image on its
//! way in has come, and whether a sync lies between a question and its answer.
//!
//! ```text
//!   disk log:  ?7  write wal  sync wal  !7        7 is proven: its group was written after it was
//!              ?8  write wal  !8                  asked for, and synced before it was answered
//! ```
//!
//! The marks `?n` and `!n` are put into the logs of all disks at once by whoever proposes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kstore_testkit::disk::{OpKind, Operation};

/// How many bytes at the beginning of a segment of the write-ahead log are its header.
const LOG_HEADER: u64 = 512;

/// How many bytes a root has. The file is made with all its slots at once.
const ROOT: u64 = 4096;

/// How far an image on its way in is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum ImageStage {
    /// There is none.
    #[default]
    Nothing,
    /// Its pieces arrive.
    Arriving,
    /// It is there whole.
    Arrived,
    /// The log was written since, so that the log may tell of it.
    Announced,
    /// Its home is being made.
    Installing,
    /// Its home counts, and the log was not written since.
    Installed,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// How often what happened.
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) stage: ImageStage,
    /// Whether a root was written that is not synced.
    root_is_open: bool,
    /// Numbers the lines of the log.
    line: u64,
    /// The file and the line of the newest write to the write-ahead log.
    written: Option<(PathBuf, u64)>,
    /// The newest line with a write to the write-ahead log that was synced.
    synced: u64,
    /// The proposals that were handed in, each with its line.
    asked: BTreeMap<u64, u64>,
    /// The proposals with a write and its sync between question and answer.
    proven: BTreeSet<u64>,
}

/// What lies at a path.
enum Place {
    /// A segment of the write-ahead log, purged or not.
    Log { numbered: bool },
    /// The root file of a home.
    Root,
    /// A segment of the revision log that begins with new records.
    Revisions,
    /// A file of pages.
    Pages,
    /// The home that an image becomes.
    NewHome,
    /// The directory of everything.
    Data,
    /// The directory of an image on its way in.
    Incoming,
    /// A file of it.
    Piece,
    /// Something else.
    Other,
}

impl Place {
    fn of(path: &Path) -> Self {
        let text = |path: Option<&Path>| {
            let name = path.and_then(Path::file_name).and_then(|name| name.to_str());
            name.unwrap_or_default().to_owned()
        };
        let (name, directory) = (text(Some(path)), text(path.parent()));
        match (directory.as_str(), name.as_str()) {
            ("", "data") => Self::Data,
            ("data", home) if home.starts_with("store-") && !home.ends_with("-000001") => {
                Self::NewHome
            }
            ("data", "incoming") => Self::Incoming,
            ("incoming", _) => Self::Piece,
            ("wal", _) => Self::Log { numbered: name.starts_with("wal-0") },
            (home, "root") if home.starts_with("store-") => Self::Root,
            (home, file) if home.starts_with("store-") && file.starts_with("pages-") => Self::Pages,
            // Later generations of a segment are copies that a restart makes.
            (_, file) if file.starts_with("log-") && file.ends_with("-0000") => Self::Revisions,
            _ => Self::Other,
        }
    }
}

impl Tally {
    /// Takes in what the disk did since the last time.
    pub(super) fn follow(&mut self, operations: Vec<Operation>) {
        for operation in operations {
            self.line += 1;
            match operation.kind {
                OpKind::Mark => self.mark(&operation.path),
                _ if operation.succeeded => self.see(&operation),
                _ => {}
            }
        }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn see(&mut self, operation: &Operation) {
        let Operation { kind, path, offset, length, .. } = operation;
        match (Place::of(path), kind) {
            (Place::Log { .. }, OpKind::Write) if *offset >= LOG_HEADER => {
                self.written = Some((path.clone(), self.line));
                if *offset == LOG_HEADER {
                    self.count("log segments begun");
                }
            }
            (Place::Log { .. }, OpKind::Sync) => {
                if let Some((file, line)) = &self.written
                    && file == path
                {
                    self.synced = *line;
                    self.stage = match self.stage {
                        ImageStage::Arrived => ImageStage::Announced,
                        ImageStage::Installed => ImageStage::Nothing,
                        stage => stage,
                    };
                }
            }
            (Place::Log { numbered: true }, OpKind::Rename | OpKind::RemoveFile) => {
                self.count("log segments purged");
            }
            (Place::Root, OpKind::Write) => self.root_is_open = *length == ROOT,
            (Place::Root, OpKind::Sync) if std::mem::take(&mut self.root_is_open) => {
                self.count("checkpoints");
            }
            (Place::Revisions, OpKind::Create) => self.count("revision segments begun"),
            (Place::Pages, OpKind::Create) => self.count("page files begun"),
            (Place::Piece, OpKind::Create) => self.stage = ImageStage::Arriving,
            (Place::Incoming, OpKind::SyncDir) => self.stage = ImageStage::Arrived,
            (Place::NewHome, OpKind::CreateDir) => self.stage = ImageStage::Installing,
            (Place::Data, OpKind::SyncDir) if self.stage == ImageStage::Installing => {
                self.stage = ImageStage::Installed;
                self.count("images installed");
            }
            _ => {}
        }
    }

    fn mark(&mut self, text: &Path) {
        let text = text.to_str().unwrap_or_default();
        if let Some(asked) = text.strip_prefix('?').and_then(|n| n.parse().ok()) {
            self.asked.insert(asked, self.line);
        }
        if let Some(answered) = text.strip_prefix('!').and_then(|n| n.parse().ok())
            && let Some(asked) = self.asked.remove(&answered)
            && self.synced > asked
        {
            self.proven.insert(answered);
        }
    }

    /// Whether this disk wrote and synced something between a question and its answer. Asked
    /// once; it is forgotten then.
    pub(super) fn take_proof(&mut self, proposal: u64) -> bool {
        self.proven.remove(&proposal)
    }

    /// The power went: where an image was then.
    pub(super) fn cut(&mut self) -> ImageStage {
        let stage = std::mem::take(&mut self.stage);
        match stage {
            ImageStage::Nothing => {}
            ImageStage::Arriving => self.count("cuts while an image arrived"),
            ImageStage::Arrived | ImageStage::Announced => {
                self.count("cuts before an image was installed")
            }
            ImageStage::Installing => self.count("cuts while an image was installed"),
            ImageStage::Installed => self.count("cuts between an image's root and the log"),
        }
        self.root_is_open = false;
        stage
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kstore_host::{Disk, OpenMode};
    use kstore_testkit::SimDisk;

    use super::*;

    fn disk() -> (SimDisk, Arc<dyn kstore_host::File>) {
        let disk = SimDisk::new(1);
        disk.create_dir(Path::new("/data")).unwrap();
        disk.create_dir(Path::new("/data/wal")).unwrap();
        let log = disk.open(Path::new("/data/wal/wal-next"), OpenMode::CreateNew).unwrap();
        disk.start_log();
        (disk, log)
    }

    #[test]
    fn an_answer_after_a_write_and_its_sync_is_proven() {
        let (disk, log) = disk();
        disk.mark("?7");
        log.write_at(&[1; 512], 1024).unwrap();
        log.sync().unwrap();
        disk.mark("!7");
        let mut tally = Tally::default();
        tally.follow(disk.take_log());
        assert!(tally.take_proof(7));
    }

    #[test]
    fn an_answer_is_not_proven_by_a_sync_after_it_nor_by_a_write_before_its_question() {
        let (disk, log) = disk();
        disk.mark("?1");
        log.write_at(&[1; 512], 1024).unwrap();
        disk.mark("!1");
        disk.mark("?2");
        log.sync().unwrap();
        disk.mark("!2");
        // Nor by a header.
        disk.mark("?3");
        log.write_at(&[1; 512], 0).unwrap();
        log.sync().unwrap();
        disk.mark("!3");
        let mut tally = Tally::default();
        tally.follow(disk.take_log());
        assert!((1..4).all(|proposal| !tally.take_proof(proposal)));
    }
}
