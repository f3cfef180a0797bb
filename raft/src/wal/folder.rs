//! The files of the log: how a segment comes to its name, and how it loses it.
//!
//! ```text
//!              allocate, header,  first group,
//!                    sync            sync          rename              purged: rename
//!   wal-spare ----> wal-next ----> wal-next ----> wal-00000007 ... ----------------> wal-spare
//!   (or a new file)                        sync_dir                  sync_dir        (or removed)
//! ```
//!
//! Invariant: a file under a numbered name has its header and its first group on the disk.
//! Invariant: numbers have no gap. A segment is named after the one before, they are removed
//! oldest first, and the directory is synced each time.
//! Invariant: what bears one of the two other names holds nothing that is needed.
//!
//! A purged segment is used again because a sync of a file whose blocks were written before costs
//! a disk much less than one of a file that has only reserved them: the sync need not write where
//! the blocks lie. What the file held before cannot be taken for its new content, for it gets a
//! new random seed.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use kstore_host::{Disk, File, OpenMode};

use super::WalOptions;
use super::format::{BLOCK_BYTES, SegmentHeader};
use super::places::SegmentFile;

const NEXT: &str = "wal-next";
const SPARE: &str = "wal-spare";

/// The name of a segment.
pub(super) fn segment_name(number: u64) -> String {
    format!("wal-{number:08}")
}

/// The number in a segment's name.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("wal-")?;
    if digits.len() < 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

/// A segment that waits for its turn under the name `wal-next`.
#[derive(Debug)]
struct Prepared {
    segment: SegmentFile,
    length: u64,
}

/// The directory of the log, on the writer's side. Used on the lane alone.
#[derive(Debug)]
pub(super) struct Folder {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: WalOptions,
    /// The log's own random number, in each header.
    log: u64,
    /// What the seeds of segments made by this process are derived from: random, and another one
    /// in each process.
    entropy: u64,
    /// The segment to be opened next, if it is ready.
    next: Option<Prepared>,
    /// Whether there is a spare file.
    spare: bool,
}

impl Folder {
    /// Takes over a directory and tidies up what another process left half made: of the files
    /// that hold nothing one is kept, as the reserve that lets a log start on a full disk.
    pub(super) fn take_over(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: WalOptions,
        log: u64,
        entropy: u64,
    ) -> io::Result<Self> {
        let names = disk.read_dir(&dir)?;
        let has = |name: &str| names.iter().any(|entry| entry.name == name);
        let spare = match (has(SPARE), has(NEXT)) {
            (true, true) => {
                disk.remove_file(&dir.join(NEXT))?;
                disk.sync_dir(&dir)?;
                true
            }
            (false, true) => {
                disk.rename(&dir.join(NEXT), &dir.join(SPARE))?;
                disk.sync_dir(&dir)?;
                true
            }
            (spare, false) => spare,
        };
        Ok(Self { disk, dir, options, log, entropy, next: None, spare })
    }

    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(segment_name(number))
    }

    pub(super) fn is_prepared(&self) -> bool {
        self.next.is_some()
    }

    /// How long the segment with this number is: the first ones are short, so that a small log
    /// takes little room.
    fn segment_bytes(&self, number: u64) -> u64 {
        let doublings = u32::try_from(number.saturating_sub(1)).unwrap_or(u32::MAX).min(32);
        let grown = self.options.segment_bytes_first.saturating_mul(1 << doublings);
        grown.min(self.options.segment_bytes)
    }

    /// Makes the segment with this number ready, so that opening it costs no more than a name.
    pub(super) fn prepare(&mut self, number: u64) -> io::Result<()> {
        let length = self.segment_bytes(number);
        let path = self.dir.join(NEXT);
        let file = if self.spare {
            // Durable before the file gets a number: a power cut must not leave it with that name
            // and, as a spare, with another one, by which it would be overwritten.
            self.disk.rename(&self.dir.join(SPARE), &path)?;
            self.disk.sync_dir(&self.dir)?;
            self.spare = false;
            self.disk.open(&path, OpenMode::ReadWrite)?
        } else {
            self.disk.open(&path, OpenMode::CreateNew)?
        };
        let seed = mix(self.entropy ^ mix(number));
        file.allocate(length)?;
        self.write_header(file.as_ref(), number, seed)?;
        let length = file.length()?;
        self.next = Some(Prepared { segment: SegmentFile { number, seed, file }, length });
        Ok(())
    }

    fn write_header(&self, file: &dyn File, number: u64, seed: u64) -> io::Result<()> {
        let header = SegmentHeader { number, seed, log: self.log }.encode();
        let mut block = [0; BLOCK_BYTES];
        block[..header.len()].copy_from_slice(&header);
        file.write_at(&block, 0)?;
        file.sync()
    }

    /// Gives up preparing a segment ahead of time, after it failed.
    pub(super) fn abandon_next(&mut self) -> io::Result<()> {
        self.next = None;
        match self.disk.remove_file(&self.dir.join(NEXT)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Takes the segment with this number, at least `length_min` long, to have its first group
    /// written; until [`Self::name`] nobody will find it. Returns it with its length.
    pub(super) fn take(&mut self, number: u64, length_min: u64) -> io::Result<(SegmentFile, u64)> {
        if self.next.is_none() {
            self.prepare(number)?;
        }
        let next = self.next.take().expect("it was there, or was just prepared");
        assert_eq!(
            next.segment.number, number,
            "segments are opened in the order of their numbers"
        );
        if next.length < length_min {
            next.segment.file.allocate(length_min)?;
        }
        Ok((next.segment, next.length.max(length_min)))
    }

    /// Gives the segment that was taken last its name, durably, in place of one that may have
    /// borne it.
    pub(super) fn name(&self, number: u64) -> io::Result<()> {
        self.disk.rename(&self.dir.join(NEXT), &self.path(number))?;
        self.disk.sync_dir(&self.dir)
    }

    /// Takes the name from the oldest segment, which nothing needs any more.
    pub(super) fn retire(&mut self, segment: &SegmentFile) -> io::Result<()> {
        let path = self.path(segment.number);
        let usable = segment.file.length()? <= self.options.segment_bytes;
        if usable && !self.spare {
            self.disk.rename(&path, &self.dir.join(SPARE))?;
            self.spare = true;
        } else {
            self.disk.remove_file(&path)?;
        }
        self.disk.sync_dir(&self.dir)
    }
}

/// A good mixing of 64 bits (the finaliser of splitmix64).
fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_of_segments_are_segments() {
        assert_eq!(segment_number("wal-00000012"), Some(12));
        assert_eq!(segment_number("wal-123456789"), Some(123_456_789));
        for name in ["wal-next", "wal-spare", "wal-12", "wal-000000012", "wal-+0000012", "wal-"] {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }
}
