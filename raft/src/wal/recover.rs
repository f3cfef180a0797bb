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
//! sync of group n−1 returned, and says so, and a segment gets its name only when its first group
//! is on the disk. So any sound group beyond that place, in the same segment or the next, proves
//! that the one which is missing was synced, perhaps acknowledged: then this is **corruption**, and
//! the member must not start with a shortened log. An entry that a checkpoint of the store applied
//! was synced, too. Without such proof it is a **torn tail**: what was being written when the power
//! went, and never acknowledged.
//!
//! A `committed` record needs no rule of its own: it follows the entries that it names in the same
//! order of writing, so it lies in their group, or in a later one that proves theirs.
//!
//! Invariant: a torn tail is cut off, on the disk, before anything new is written, and what is
//! written then goes into a new file under a new seed; so it can never come back. A last segment
//! in which nothing has happened is replaced by the new one, so that starting again and again does
//! not fill the disk.
//!
//! Deliberately missing: looking inside a damaged group for entries that are still sound. If it
//! was not synced nobody counts on it; if it was, the entries come from a peer.

use std::fmt::{Display, Formatter};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use kstore_host::{Disk, OpenMode};
use kstore_mvcc::{Index, Position};

use super::base::{Base, after};
use super::folder::{segment_name, segment_number};
use super::format::{
    BLOCK, BLOCK_BYTES, GROUP_HEADER_BYTES, GroupHeader, HeaderFault, Record, SEGMENT_HEADER_BYTES,
    SegmentHeader, VERSION, align,
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
            Self::Version { file, version } => write!(
                f,
                "{} has format version {version}; this kstore reads version {VERSION} only",
                file.display()
            ),
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

/// The last segment of a log, and its last group.
#[derive(Debug)]
struct Last {
    segment: SegmentFile,
    /// Where the group begins.
    offset: u64,
    header: GroupHeader,
    body: Bytes,
}

/// A log as it was found. Nothing has been changed on the disk yet.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) view: View,
    places: Places,
    /// The random number in the headers of all its segments.
    log: u64,
    /// The number of the next segment, and of its first group.
    segment: u64,
    group: u64,
    /// The last segment to be kept, unless that was settled when the one behind it was opened.
    last: Option<Last>,
    /// Segments before it that nothing needs any more, oldest first.
    retired: Vec<SegmentFile>,
    /// Where the log ends.
    end: Cut,
    /// Whether a group was begun there.
    is_torn: bool,
}

/// Reads the log in `dir`, keeping entries in memory up to `tail_bytes`; `None` when there is
/// none yet. `applied` is the last index that a durable checkpoint of the store applied.
pub(super) fn find(
    disk: &dyn Disk,
    dir: &Path,
    mode: OpenMode,
    tail_bytes: u64,
    applied: Option<Index>,
) -> Result<Option<Found>, OpenError> {
    let (segments, log) = open_segments(disk, dir, mode)?;
    if segments.is_empty() {
        return match applied {
            Some(applied) => {
                let what =
                    format!("there is no log, but the store has applied entry {}", applied.0);
                Err(OpenError::Corrupt { file: dir.to_owned(), offset: 0, what })
            }
            None => Ok(None),
        };
    }
    let found = Replay::run(&segments, tail_bytes)?.finish(&segments, log)?;
    let base = found.view.base();
    // An image that was installed says nothing about what the log had reached.
    let installed = base.image.map(|image| image.index);
    match applied {
        Some(applied) if applied >= base.next_index() && installed != Some(applied) => {
            let what = format!(
                "the log ends before entry {}, but the store has applied entry {}",
                base.next_index().0,
                applied.0
            );
            let Cut { file, offset } = found.end;
            Err(OpenError::Corrupt { file, offset, what })
        }
        _ => Ok(Some(found)),
    }
}

/// Opens all segments and checks that they are one unbroken row of one log.
fn open_segments(
    disk: &dyn Disk,
    dir: &Path,
    mode: OpenMode,
) -> Result<(Vec<Segment>, u64), OpenError> {
    let names = match disk.read_dir(dir) {
        // Not made yet: only for those who look and do not open.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names.map_err(doing("list the directory", dir))?,
    };
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
        let file = disk.open(&path, mode).map_err(doing("open", &path))?;
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
    retired: Vec<SegmentFile>,
    /// The segment being read: its first group, its last one, where that ends so far, and whether
    /// nothing has happened in it.
    first_group: u64,
    last_group: Option<(u64, GroupHeader, Bytes)>,
    end: u64,
    is_bare: bool,
}

impl Replay {
    /// Reads all groups of all segments, of which there is one at least.
    fn run(segments: &[Segment], tail_bytes: u64) -> Result<Self, OpenError> {
        let mut replay = Self::begin(&segments[0])?;
        replay.tail_bytes = tail_bytes;
        for (place, segment) in segments.iter().enumerate() {
            replay.segment(segment)?;
            let begun = match segments.get(place + 1) {
                Some(next) => next.first_group_number()?.map(|number| (number, next)),
                None => None,
            };
            match begun {
                Some((number, _)) if number == replay.next_group => {}
                Some((number, next)) => return Err(segment.lost(replay.end, number, next)),
                None => {
                    if let Some(number) = segment.group_beyond(replay.end)? {
                        return Err(segment.lost(replay.end, number, segment));
                    }
                }
            }
        }
        Ok(replay)
    }

    /// Reads the groups of one segment.
    fn segment(&mut self, segment: &Segment) -> Result<(), OpenError> {
        self.end = BLOCK;
        self.first_group = self.next_group;
        self.is_bare = true;
        while let Some((header, body)) = segment.group_at(self.end)? {
            if header.number != self.next_group {
                return Err(segment.corrupt(self.end, "a group is out of its order"));
            }
            self.group(segment, self.end, &body)?;
            self.last_group = Some((self.end, header, body));
            self.end = align(header.end(self.end));
        }
        Ok(())
    }

    /// What the first group of the first segment says about the log before it.
    fn begin(segment: &Segment) -> Result<Self, OpenError> {
        let Some((header, body)) = segment.group_at(BLOCK)? else {
            return Err(segment.corrupt(BLOCK, "the segment's first group is damaged"));
        };
        let at = BLOCK + GROUP_HEADER_BYTES as u64;
        let base = match Record::decode(&body, segment.file.seed, at) {
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
            retired: Vec::new(),
            first_group: header.number,
            last_group: None,
            end: BLOCK,
            is_bare: true,
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
            self.is_bare &= matches!(record, Record::Base(_));
            if let Record::Truncate(last) = &record {
                self.missing_end = self.missing_end.min(after(*last));
            }
            self.view.follow(&record);
            let at = u32::try_from(at).map_err(|_| {
                segment.corrupt(at, "the segment is longer than any that is written")
            })?;
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

    /// Checks what can be checked only at the end, and says where the log goes on.
    fn finish(mut self, segments: &[Segment], log: u64) -> Result<Found, OpenError> {
        if self.missing_end > self.view.base().first_index() {
            return Err(segments[0].corrupt(0, "the segment before this one is missing"));
        }
        let last = segments.last().expect("there is one at least");
        let number = last.file.number;
        let (segment, group, kept) = if self.is_bare {
            self.places.forget_segment();
            (number, self.first_group, None)
        } else {
            let kept = self.last_group.map(|(offset, header, body)| {
                let segment = last.file.clone();
                Last { segment, offset, header, body }
            });
            (number + 1, self.next_group, kept)
        };
        Ok(Found {
            is_torn: last.begins_group_at(self.end)?,
            view: self.view,
            places: self.places,
            log,
            segment,
            group,
            last: kept,
            retired: self.retired,
            end: Cut { file: last.path.clone(), offset: self.end },
        })
    }
}

impl Segment {
    fn corrupt(&self, offset: u64, what: &str) -> OpenError {
        OpenError::Corrupt { file: self.path.clone(), offset, what: what.to_owned() }
    }

    /// That a group which was on the disk is not at `offset`.
    fn lost(&self, offset: u64, number: u64, witness: &Self) -> OpenError {
        let witness = witness.path.display();
        let what = format!(
            "no sound group begins here, but group {number} in {witness} proves that one did"
        );
        self.corrupt(offset, &what)
    }

    /// Reads up to `bytes` from `offset` on.
    fn read(&self, offset: u64, bytes: usize) -> Result<Vec<u8>, OpenError> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; bytes.min(left)];
        let read =
            self.file.file.read_at(&mut buffer, offset).map_err(doing("read", &self.path))?;
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

    /// The number of the segment's first group, which is on the disk if the segment is.
    fn first_group_number(&self) -> Result<Option<u64>, OpenError> {
        match self.group_at(BLOCK)? {
            Some((header, _)) => Ok(Some(header.number)),
            None => Err(self.corrupt(BLOCK, "the segment's first group is damaged")),
        }
    }

    /// Whether something like a group was begun at `offset`.
    fn begins_group_at(&self, offset: u64) -> Result<bool, OpenError> {
        let bytes = self.read(offset, GROUP_HEADER_BYTES)?;
        Ok(GroupHeader::begins(&bytes, self.file.seed))
    }

    /// The number of the first group that has a sound header in a block behind `offset`. At
    /// `offset` itself there may be one of a group that was torn further on.
    fn group_beyond(&self, offset: u64) -> Result<Option<u64>, OpenError> {
        let mut offset = offset + BLOCK;
        while offset < self.length {
            let bytes = self.read(offset, SEARCH_BYTES)?;
            if bytes.is_empty() {
                break;
            }
            for block in bytes.chunks(BLOCK_BYTES) {
                if let Some(header) = GroupHeader::decode(block, self.file.seed, offset) {
                    return Ok(Some(header.number));
                }
                offset += BLOCK;
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

impl Last {
    /// Cuts off what lies behind the last group, which ends at `end`, and makes the group durable.
    ///
    /// The group may have been read from the memory of a machine whose disk failed to sync it: a
    /// sync alone would then succeed and do nothing. So it is written again, the same bytes in the
    /// same place. The groups before it were synced without an error.
    fn settle(&self, end: u64) -> io::Result<()> {
        let file = &self.segment.file;
        if file.length()? > end {
            file.set_length(end)?;
        }
        let mut group = self.header.encode(self.segment.seed, self.offset).to_vec();
        group.extend_from_slice(&self.body);
        file.write_at(&group, self.offset)?;
        file.sync()
    }
}

impl Found {
    /// What it holds.
    pub(super) fn recovered(&self) -> Recovered {
        let Base { vote, committed, purged, last, .. } = self.view.base().clone();
        let cut = self.is_torn.then(|| self.end.clone());
        Recovered { vote, committed, purged, last, cut }
    }

    /// Makes it durable and cuts off what lies behind it. Afterwards the next segment may be
    /// opened.
    pub(super) fn settle(self, dir: &Path) -> Result<Settled, OpenError> {
        if let Some(last) = &self.last {
            let path = dir.join(segment_name(last.segment.number));
            last.settle(self.end.offset).map_err(doing("settle the end of", &path))?;
        }
        Ok(Settled {
            view: self.view,
            places: self.places,
            log: self.log,
            segment: self.segment,
            group: self.group,
            retired: self.retired,
        })
    }
}

impl Settled {
    /// A log that begins.
    pub(super) fn fresh(log: u64) -> Self {
        let (view, places) = (View::default(), Places::default());
        Self { view, places, log, segment: 1, group: 1, retired: Vec::new() }
    }
}

/// What a log held when it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
