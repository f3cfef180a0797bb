//! Reads the log back after a stop, clean or not, and decides where it ends.
//!
//! ```text
//!   wal-00000004                     wal-00000005
//!   | H | 17 | 18 | 19 |  slack      | H | 20 | 21 | ##### | zeros, or what a recycled file held
//!                                                  ^ here no sound group 22 begins
//! ```
//!
//! Groups are read in their order; each must bear the next number. Where no such group begins, the
//! log ends, *if nothing proves that more of it was on the disk*. Group n is written only after the
//! sync of group n−1 returned, so any sound group beyond that place proves that the one which is
//! missing there was synced, perhaps acknowledged: then this is **corruption**, and the member
//! must not start with a shortened log. An entry that a checkpoint of the store applied was synced,
//! too. Without such proof it is a **torn tail**: what was being written when the power went, and
//! never acknowledged.
//!
//! A `committed` record needs no rule of its own: it follows the entries that it names in the same
//! order of writing, so it lies in their group, or in a later one that proves theirs.
//!
//! Invariant: a torn tail is cut off, on the disk, before anything new is written, and what is
//! written then goes into a new file under a new seed; so it can never come back.
//!
//! Deliberately missing: looking inside a damaged group for entries that are still sound. If it
//! was not synced nobody counts on it; if it was, the entries come from a peer.

use std::fmt::{Display, Formatter};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use kstore_host::{Disk, OpenMode};
use kstore_mvcc::{Index, Position};

use super::base::after;
use super::folder::{segment_name, segment_number};
use super::format::{
    BLOCK, GROUP_HEADER_BYTES, GroupHeader, HeaderFault, Record, SEGMENT_HEADER_BYTES,
    SegmentHeader, align,
};
use super::places::{Places, SegmentFile};
use super::view::View;

/// How much is read at once in search of groups. A whole number of blocks.
const SEARCH_BYTES: usize = 1 << 20;

/// Why a log cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The disk failed.
    Io {
        /// What was being done, as a verb phrase.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// The disk's error.
        source: io::Error,
    },
    /// Bytes that were on the disk are not what was written. The member must not start: it may
    /// have acknowledged what is damaged.
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A sound log of a version that this one does not know.
    Version {
        /// The file.
        file: PathBuf,
        /// The version that it states.
        version: u32,
    },
}

impl Display for OpenError {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io { doing, path, source } => write!(f, "{doing} {}: {source}", path.display()),
            Self::Corrupt { file, offset, what } => write!(
                f,
                "the write-ahead log is damaged in {} at offset {offset}: {what}",
                file.display()
            ),
            Self::Version { file, version } => {
                write!(f, "{} is of the unknown format version {version}", file.display())
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Corrupt { .. } | Self::Version { .. } => None,
        }
    }
}

/// Names what was being done, and to what, when an operation failed.
pub(super) fn doing(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { doing, path, source }
}

/// A torn tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The file whose end was cut off.
    pub file: PathBuf,
    /// Where.
    pub offset: u64,
}

/// A segment on the disk.
#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: SegmentFile,
    length: u64,
}

/// A log as it was found. Nothing has been changed on the disk yet.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) view: View,
    places: Places,
    /// The random number in the headers of all its segments.
    log: u64,
    /// The number that the next group gets.
    next_group: u64,
    /// The segment with the last group.
    last: SegmentFile,
    /// Where its last group ends.
    end: u64,
    /// Segments behind it, which hold no group.
    empty: Vec<u64>,
    /// Segments before it that nothing needs any more, oldest first.
    retired: Vec<SegmentFile>,
    /// Set when a group was begun behind the last one.
    pub(super) cut: Option<Cut>,
}

/// Reads the log in `dir`, keeping entries in memory up to `tail_bytes`; `None` when there is
/// none yet. `applied` is the last index that a durable checkpoint of the store applied.
pub(super) fn find(
    disk: &dyn Disk,
    dir: &Path,
    tail_bytes: u64,
    applied: Option<Index>,
) -> Result<Option<Found>, OpenError> {
    let (segments, log) = open_segments(disk, dir)?;
    let found = match Replay::run(&segments, tail_bytes)? {
        Some(replay) => Some(replay.finish(&segments, log)?),
        None => None,
    };
    let end = found.as_ref().map_or(Index(0), |found| found.view.base().next_index());
    let image = found.as_ref().and_then(|found| found.view.base().image);
    match applied {
        // An image that was installed says nothing about what the log had reached.
        Some(applied) if image.is_some_and(|image| image.index == applied) => Ok(found),
        Some(applied) if applied >= end => {
            let (file, offset) = match &found {
                Some(found) => (dir.join(segment_name(found.last.number)), found.end),
                None => (dir.to_owned(), 0),
            };
            let what = format!(
                "the log ends before entry {}, but the store has applied entry {}",
                end.0, applied.0
            );
            Err(OpenError::Corrupt { file, offset, what })
        }
        _ => Ok(found),
    }
}

/// Opens all segments and checks that they are one unbroken row of one log.
fn open_segments(disk: &dyn Disk, dir: &Path) -> Result<(Vec<Segment>, u64), OpenError> {
    let names = disk.read_dir(dir).map_err(doing("list the directory", dir))?;
    let mut numbers: Vec<u64> =
        names.iter().filter_map(|entry| segment_number(&entry.name)).collect();
    numbers.sort_unstable();
    let mut segments: Vec<Segment> = Vec::new();
    let mut log = 0;
    for number in numbers {
        let path = dir.join(segment_name(number));
        let corrupt = |what: &str| {
            Err(OpenError::Corrupt { file: path.clone(), offset: 0, what: what.to_owned() })
        };
        let file = disk.open(&path, OpenMode::ReadWrite).map_err(doing("open", &path))?;
        let length = file.length().map_err(doing("measure", &path))?;
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        file.read_at(&mut bytes, 0).map_err(doing("read", &path))?;
        let header = match SegmentHeader::decode(&bytes) {
            Ok(header) => header,
            Err(HeaderFault::Damaged) => return corrupt("the segment's header is damaged"),
            Err(HeaderFault::Version(version)) => {
                return Err(OpenError::Version { file: path, version });
            }
        };
        if header.number != number {
            return corrupt("the file is another segment than its name says");
        }
        if let Some(previous) = segments.last() {
            if previous.file.number + 1 != number {
                return corrupt("the segment before this one is missing");
            }
            if log != header.log {
                return corrupt("the segment belongs to another log");
            }
        }
        log = header.log;
        let file = SegmentFile { number, seed: header.seed, file };
        segments.push(Segment { path, file, length });
    }
    Ok((segments, log))
}

/// What has been read so far.
struct Replay {
    view: View,
    places: Places,
    tail_bytes: u64,
    /// The number that the next group must have.
    next_group: u64,
    /// The first index behind the entries that lay before the first segment and have not been
    /// truncated since. They must all turn out to be purged.
    missing_end: Index,
    /// Which segment holds the last group, and where that ends.
    last: usize,
    end: u64,
    retired: Vec<SegmentFile>,
}

impl Replay {
    /// Reads all groups of all segments; `None` when there is no group because the log was being
    /// made.
    fn run(segments: &[Segment], tail_bytes: u64) -> Result<Option<Self>, OpenError> {
        let Some(first) = segments.first() else { return Ok(None) };
        let Some((header, body)) = first.group_at(BLOCK)? else {
            // A log is opened with a first segment and a first group in it before anything else.
            if first.file.number == 1 && segments.len() == 1 && first.group_beyond(BLOCK)?.is_none()
            {
                return Ok(None);
            }
            return Err(first.corrupt(BLOCK, "the segment's first group is damaged"));
        };
        let mut replay = Self::begin(first, &header, &body)?;
        replay.tail_bytes = tail_bytes;
        for place in 0..segments.len() {
            let segment = &segments[place];
            let mut offset = BLOCK;
            while let Some((header, body)) = segment.group_at(offset)? {
                if header.number != replay.next_group {
                    return Err(segment.corrupt(offset, "a group is out of its order"));
                }
                replay.group(segment, offset, &body)?;
                offset = align(header.end(offset));
                (replay.last, replay.end) = (place, offset);
            }
            match segments.get(place + 1) {
                Some(next) if next.begins_with(replay.next_group)? => {}
                _ => {
                    prove_end(&segments[place..], offset)?;
                    break;
                }
            }
        }
        Ok(Some(replay))
    }

    /// What the first group of the first segment says about the log before it.
    fn begin(segment: &Segment, header: &GroupHeader, body: &Bytes) -> Result<Self, OpenError> {
        let at = BLOCK + GROUP_HEADER_BYTES as u64;
        let base = match Record::decode(body, segment.file.seed, at) {
            Ok((Record::Base(base), _)) => base,
            Ok(_) => return Err(segment.corrupt(at, "the segment does not begin with its base")),
            Err(what) => return Err(segment.corrupt(at, what)),
        };
        Ok(Self {
            missing_end: base.next_index(),
            view: View::at(base),
            places: Places::default(),
            tail_bytes: 0,
            next_group: header.number,
            last: 0,
            end: BLOCK,
            retired: Vec::new(),
        })
    }

    /// Follows the records of the group at `offset`.
    fn group(&mut self, segment: &Segment, offset: u64, body: &Bytes) -> Result<(), OpenError> {
        let mut done = 0;
        let mut entries = 0;
        if offset == BLOCK {
            self.places.open_segment(segment.file.clone());
        }
        while done < body.len() {
            let at = offset + (GROUP_HEADER_BYTES + done) as u64;
            let (record, length) = Record::decode(&body.slice(done..), segment.file.seed, at)
                .map_err(|what| segment.corrupt(at, what))?;
            let is_first = offset == BLOCK && done == 0;
            self.check(&record, is_first).map_err(|what| segment.corrupt(at, what))?;
            entries += u64::from(matches!(record, Record::Entry(_)));
            if let Record::Truncate(last) = &record {
                self.missing_end = self.missing_end.min(after(*last));
            }
            self.view.follow(&record);
            let at = u32::try_from(at)
                .map_err(|_| segment.corrupt(at, "the segment is longer than any that is written"))?;
            self.retired.extend(self.places.follow(&record, at));
            done += length;
        }
        self.places.set_end(align(offset + (GROUP_HEADER_BYTES + body.len()) as u64));
        self.view.flush(entries);
        drop(self.view.evict(self.tail_bytes));
        self.next_group += 1;
        Ok(())
    }

    /// Whether `record` may follow what was read so far.
    fn check(&self, record: &Record, is_first: bool) -> Result<(), &'static str> {
        let base = self.view.base();
        match record {
            Record::Base(stated) if !is_first || stated != base => {
                Err("the base contradicts the log before it")
            }
            Record::Base(_) => Ok(()),
            _ if is_first => Err("the segment does not begin with its base"),
            Record::Entry(entry) if entry.position.index != base.next_index() => {
                Err("an entry is out of its order")
            }
            Record::Truncate(Some(last)) if last.index >= base.next_index() => {
                Err("a truncation lies beyond the log's end")
            }
            _ => Ok(()),
        }
    }

    /// Checks what can be checked only at the end.
    fn finish(self, segments: &[Segment], log: u64) -> Result<Found, OpenError> {
        if self.missing_end > self.view.base().first_index() {
            return Err(segments[0].corrupt(0, "the segment before this one is missing"));
        }
        let last = &segments[self.last];
        let cut = last.begins_group_at(self.end)?;
        let cut = cut.then(|| Cut { file: last.path.clone(), offset: self.end });
        Ok(Found {
            view: self.view,
            places: self.places,
            log,
            next_group: self.next_group,
            last: last.file.clone(),
            end: self.end,
            empty: segments[self.last + 1..].iter().map(|segment| segment.file.number).collect(),
            retired: self.retired,
            cut,
        })
    }
}

/// Checks that no sound group lies beyond `offset` of the first of `segments`, where none begins.
fn prove_end(segments: &[Segment], offset: u64) -> Result<(), OpenError> {
    for (place, segment) in segments.iter().enumerate() {
        // At the place itself there may be a sound header of a group that was torn further on.
        let from = if place == 0 { offset + BLOCK } else { BLOCK };
        if let Some((_, header)) = segment.group_beyond_or_at(from)? {
            let what = format!(
                "no sound group begins here, but group {} in {} was written after it was synced",
                header.number,
                segment.path.display()
            );
            return Err(segments[0].corrupt(offset, &what));
        }
    }
    Ok(())
}

impl Segment {
    fn corrupt(&self, offset: u64, what: &str) -> OpenError {
        OpenError::Corrupt { file: self.path.clone(), offset, what: what.to_owned() }
    }

    /// Reads up to `bytes` from `offset` on.
    fn read(&self, offset: u64, bytes: usize) -> Result<Vec<u8>, OpenError> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; bytes.min(left)];
        let read = self.file.file.read_at(&mut buffer, offset).map_err(doing("read", &self.path))?;
        buffer.truncate(read);
        Ok(buffer)
    }

    fn header_at(&self, offset: u64) -> Result<Option<GroupHeader>, OpenError> {
        let bytes = self.read(offset, GROUP_HEADER_BYTES)?;
        Ok(GroupHeader::decode(&bytes, self.file.seed, offset))
    }

    /// The sound group at `offset`, if there is one.
    fn group_at(&self, offset: u64) -> Result<Option<(GroupHeader, Bytes)>, OpenError> {
        let Some(header) = self.header_at(offset)? else { return Ok(None) };
        if header.end(offset) > self.length {
            return Ok(None);
        }
        let at = offset + GROUP_HEADER_BYTES as u64;
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        let body = self.read(at, length)?;
        let whole = header.fits(&body, self.file.seed, offset);
        Ok(whole.then(|| (header, Bytes::from(body))))
    }

    /// Whether the segment begins with the header of this group; the rest of it may be torn.
    fn begins_with(&self, group: u64) -> Result<bool, OpenError> {
        Ok(self.header_at(BLOCK)?.is_some_and(|header| header.number == group))
    }

    /// Whether something like a group was begun at `offset`.
    fn begins_group_at(&self, offset: u64) -> Result<bool, OpenError> {
        let bytes = self.read(offset, GROUP_HEADER_BYTES)?;
        Ok(GroupHeader::begins(&bytes, self.file.seed))
    }

    fn group_beyond(&self, offset: u64) -> Result<Option<(u64, GroupHeader)>, OpenError> {
        self.group_beyond_or_at(offset + BLOCK)
    }

    /// The first sound header of a group at `offset` or at a block behind it.
    fn group_beyond_or_at(&self, mut offset: u64) -> Result<Option<(u64, GroupHeader)>, OpenError> {
        while offset < self.length {
            let bytes = self.read(offset, SEARCH_BYTES)?;
            for block in bytes.chunks(BLOCK as usize) {
                if let Some(header) = GroupHeader::decode(block, self.file.seed, offset) {
                    return Ok(Some((offset, header)));
                }
                offset += BLOCK;
            }
            if bytes.is_empty() {
                break;
            }
        }
        Ok(None)
    }
}

/// Where a log goes on.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) view: View,
    pub(super) places: Places,
    /// The random number in the headers of all its segments.
    pub(super) log: u64,
    /// The number of the next segment.
    pub(super) segment: u64,
    /// The number of the next group.
    pub(super) group: u64,
    /// Segments that nothing needs any more, oldest first.
    pub(super) retired: Vec<SegmentFile>,
}

impl Found {
    /// Makes what was found durable and cuts off what lies behind it. Afterwards the next segment
    /// may be opened.
    pub(super) fn settle(self, disk: &dyn Disk, dir: &Path) -> Result<Settled, OpenError> {
        let path = dir.join(segment_name(self.last.number));
        let file = &self.last.file;
        let length = file.length().map_err(doing("measure", &path))?;
        if length > self.end {
            file.set_length(self.end).map_err(doing("cut", &path))?;
        }
        file.sync().map_err(doing("sync", &path))?;
        remove_empty(disk, dir, &self.empty)?;
        Ok(Settled {
            view: self.view,
            places: self.places,
            log: self.log,
            segment: self.last.number + 1,
            group: self.next_group,
            retired: self.retired,
        })
    }
}

impl Settled {
    /// A log that begins, in a directory where none was found. A process that stopped while it
    /// made one may have left a first segment without a group.
    pub(super) fn fresh(disk: &dyn Disk, dir: &Path, log: u64) -> Result<Self, OpenError> {
        let names = disk.read_dir(dir).map_err(doing("list the directory", dir))?;
        if names.iter().any(|entry| segment_number(&entry.name) == Some(1)) {
            remove_empty(disk, dir, &[1])?;
        }
        Ok(Self {
            view: View::default(),
            places: Places::default(),
            log,
            segment: 1,
            group: 1,
            retired: Vec::new(),
        })
    }
}

/// Removes segments that hold no group, youngest first, so that their numbers never have a gap.
fn remove_empty(disk: &dyn Disk, dir: &Path, numbers: &[u64]) -> Result<(), OpenError> {
    for number in numbers.iter().rev() {
        let path = dir.join(segment_name(*number));
        disk.remove_file(&path).map_err(doing("remove", &path))?;
        disk.sync_dir(dir).map_err(doing("sync the directory", dir))?;
    }
    Ok(())
}

/// What a log held when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The last vote that was saved.
    pub vote: Option<Bytes>,
    /// The last commit that was saved and that the log reaches.
    pub committed: Option<Position>,
    /// The last purged entry.
    pub purged: Option<Position>,
    /// The last entry, or the last purged one when there is no other.
    pub last: Option<Position>,
    /// Where a torn tail was cut off, for the operator to know.
    pub cut: Option<Cut>,
}
