//! The root file: four slots of 4 KiB, written in turn, each a whole root (`docs/formats/root.md`).
//!
//! ```text
//!   slot 0        slot 1        slot 2        slot 3
//!   generation 8  generation 5  generation 6  generation 7      8 is newest, 7 is the one before
//! ```
//!
//! A root says everything about a state of the store: where its trees begin, where its files end,
//! and which entry of the Raft log it is the outcome of. A checkpoint writes the slot of the
//! oldest root, so a write that is torn leaves the two newest ones alone.
//!
//! Invariant: nothing that a client sends is ever part of this file but numbers; no client can
//! store bytes that read as a root. The checksum begins with the id of the store, which is random
//! per directory, so a root from elsewhere does not pass either.

use std::fmt::{Display, Formatter};
use std::io;
use std::path::Path;
use std::sync::Arc;

use kstore_host::{Disk, File, OpenMode};

use crate::codec::Input;
use crate::home;
use crate::log::segment::SegmentFile;
use crate::log::writer::LogEnd;
use crate::tree::{FileNumber, PagesEnd, Place};
use crate::{
    ChainHash, Index, Lineage, OpenError, Position, RecordId, Revision, StoreId, Sub, Term,
};

/// Raised with every change of the format; other versions are refused.
pub(crate) const ROOT_FORMAT: u32 = 1;
/// The length of a slot.
pub(crate) const SLOT: usize = 4096;

const SLOTS: usize = 4;
const SLOT_BYTES: u64 = 4096;
const MAGIC: [u8; 8] = *b"kstoroot";
const CHECKSUM_AT: usize = SLOT - 4;

/// One durable state of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Root {
    /// Grows by one with each root; the slot is this modulo four.
    pub(crate) generation: u64,
    pub(crate) store: StoreId,
    pub(crate) lineage: Lineage,
    /// The root page of the state tree; `None` while it is empty.
    pub(crate) state: Option<Place>,
    /// The root page of the catalogue; `None` while it is empty.
    pub(crate) catalogue: Option<Place>,
    pub(crate) log: LogEnd,
    pub(crate) pages: PagesEnd,
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    pub(crate) retained: Revision,
    /// Cells that died at or below this revision are out of the tree.
    pub(crate) swept: Revision,
    /// Bytes of log records whose cells were swept: dead, and not given back yet.
    pub(crate) dead_bytes: u64,
    /// The entry up to which the Raft log is applied; `None` before the first one.
    pub(crate) applied: Option<Position>,
    pub(crate) chain: ChainHash,
}

/// What a slot holds that is no root of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotFault {
    /// Only zeros: never written, or made void.
    Empty,
    /// Neither zeros nor a root.
    Damaged,
    /// A root of another format version.
    OtherFormat(u32),
}

impl Display for SlotFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("empty"),
            Self::Damaged => f.write_str("damaged"),
            Self::OtherFormat(version) => write!(f, "of format version {version}"),
        }
    }
}

impl Root {
    /// The root of a store that nothing was written to.
    pub(crate) fn fresh(store: StoreId, lineage: Lineage, log: LogEnd) -> Self {
        Self {
            generation: 1,
            store,
            lineage,
            state: None,
            catalogue: None,
            log,
            pages: PagesEnd::EMPTY,
            revision: Revision::FIRST,
            compacted: Revision(0),
            retained: Revision(0),
            swept: Revision(0),
            dead_bytes: 0,
            applied: None,
            chain: ChainHash::default(),
        }
    }

    /// The slot's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SLOT);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&ROOT_FORMAT.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        put(&mut out, self.generation);
        out.extend_from_slice(&self.store.0.to_le_bytes());
        out.extend_from_slice(&self.lineage.0.to_le_bytes());
        for place in [self.state, self.catalogue] {
            out.push(u8::from(place.is_some()));
            out.extend_from_slice(&place.map_or([0; Place::ENCODED], |place| place.encode()));
        }
        put(&mut out, self.log.file.number);
        out.extend_from_slice(&self.log.file.generation.to_le_bytes());
        put(&mut out, self.log.limit);
        put(&mut out, self.log.offset);
        let last = self.log.last;
        out.push(u8::from(last.is_some()));
        put(&mut out, last.unwrap_or_default().revision.0);
        put(&mut out, last.unwrap_or_default().sub.0);
        put(&mut out, self.log.next_number);
        out.extend_from_slice(&self.pages.next.0.to_le_bytes());
        out.push(u8::from(self.pages.last.is_some()));
        let (file, length) = self.pages.last.unwrap_or((FileNumber(0), 0));
        out.extend_from_slice(&file.0.to_le_bytes());
        put(&mut out, length);
        for revision in [self.revision, self.compacted, self.retained, self.swept] {
            put(&mut out, revision.0);
        }
        put(&mut out, self.dead_bytes);
        out.push(u8::from(self.applied.is_some()));
        let applied = self.applied.unwrap_or_default();
        put(&mut out, applied.term.0);
        put(&mut out, applied.index.0);
        out.extend_from_slice(&self.chain.0);
        out.resize(CHECKSUM_AT, 0);
        let checksum = checksum(self.store, &out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Checks and decodes a slot.
    pub(crate) fn decode(slot: &[u8]) -> Result<Self, SlotFault> {
        if slot.iter().all(|byte| *byte == 0) {
            return Err(SlotFault::Empty);
        }
        let (content, sum) = slot.split_at_checked(CHECKSUM_AT).ok_or(SlotFault::Damaged)?;
        let mut input = Input::new(content);
        if input.take(8) != Some(&MAGIC) {
            return Err(SlotFault::Damaged);
        }
        let version = input.u32().ok_or(SlotFault::Damaged)?;
        if version != ROOT_FORMAT {
            return Err(SlotFault::OtherFormat(version));
        }
        let root = Self::decode_fields(input).ok_or(SlotFault::Damaged)?;
        if Input::new(sum).u32() != Some(checksum(root.store, content)) {
            return Err(SlotFault::Damaged);
        }
        Ok(root)
    }

    fn decode_fields(mut input: Input<'_>) -> Option<Self> {
        input.u32()?;
        let generation = input.u64()?;
        let store = StoreId(input.u128()?);
        let lineage = Lineage(input.u128()?);
        let mut place = || {
            let present = flag(&mut input)?;
            let bytes: &[u8; Place::ENCODED] = input.take(Place::ENCODED)?.try_into().ok()?;
            if present { Place::decode(bytes).map(Some) } else { Some(None) }
        };
        let state = place()?;
        let catalogue = place()?;
        let file = SegmentFile { number: input.u64()?, generation: input.u32()? };
        let (limit, offset) = (input.u64()?, input.u64()?);
        let has_last = flag(&mut input)?;
        let last = RecordId { revision: Revision(input.u64()?), sub: Sub(input.u64()?) };
        let last = has_last.then_some(last);
        let log = LogEnd { file, limit, offset, last, next_number: input.u64()? };
        let next = FileNumber(input.u32()?);
        let has_pages = flag(&mut input)?;
        let last = (FileNumber(input.u32()?), input.u64()?);
        let pages = PagesEnd { next, last: has_pages.then_some(last) };
        let mut revision = || input.u64().map(Revision);
        let (revision, compacted, retained, swept) =
            (revision()?, revision()?, revision()?, revision()?);
        let dead_bytes = input.u64()?;
        let has_applied = flag(&mut input)?;
        let applied = Position { term: Term(input.u64()?), index: Index(input.u64()?) };
        let applied = has_applied.then_some(applied);
        let chain = ChainHash(input.digest()?);
        Some(Self {
            generation,
            store,
            lineage,
            state,
            catalogue,
            log,
            pages,
            revision,
            compacted,
            retained,
            swept,
            dead_bytes,
            applied,
            chain,
        })
    }
}

fn put(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn flag(input: &mut Input<'_>) -> Option<bool> {
    match input.u8()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn checksum(store: StoreId, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&store.0.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

fn slot_of(generation: u64) -> u64 {
    generation % 4
}

/// The open root file.
#[derive(Debug, Clone)]
pub(crate) struct RootFile {
    file: Arc<dyn File>,
}

impl RootFile {
    /// Makes the file with `roots` in it and syncs it. The caller syncs the directory.
    pub(crate) fn create(disk: &dyn Disk, home: &Path, roots: &[Root]) -> Result<Self, OpenError> {
        let path = home.join(home::ROOT);
        let mut bytes = vec![0; SLOT * SLOTS];
        for root in roots {
            let at = SLOT * usize::try_from(slot_of(root.generation)).expect("one of four");
            bytes[at..at + SLOT].copy_from_slice(&root.encode());
        }
        let file = disk.open(&path, OpenMode::CreateNew).map_err(OpenError::io("create", &path))?;
        file.write_at(&bytes, 0).map_err(OpenError::io("write", &path))?;
        file.sync().map_err(OpenError::io("sync", &path))?;
        Ok(Self { file })
    }

    /// Opens the file and reads its slots; a file that is too short has empty ones.
    pub(crate) fn open(
        disk: &dyn Disk,
        home: &Path,
        mode: OpenMode,
    ) -> Result<(Self, [Result<Root, SlotFault>; SLOTS]), OpenError> {
        let path = home.join(home::ROOT);
        let file = disk.open(&path, mode).map_err(OpenError::io("open", &path))?;
        let mut bytes = vec![0; SLOT * SLOTS];
        file.read_at(&mut bytes, 0).map_err(OpenError::io("read", &path))?;
        let mut slots = bytes.chunks_exact(SLOT).map(Root::decode);
        let slots = std::array::from_fn(|_| slots.next().expect("the buffer has four slots"));
        for slot in &slots {
            if let Err(SlotFault::OtherFormat(found)) = *slot {
                return Err(OpenError::OtherFormat { path, found, expected: ROOT_FORMAT });
            }
        }
        Ok((Self { file }, slots))
    }

    /// Writes a root into its slot. It is the newest one once [`RootFile::sync`] has returned.
    pub(crate) fn write(&self, root: &Root) -> io::Result<()> {
        self.file.write_at(&root.encode(), slot_of(root.generation) * SLOT_BYTES)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Empties the slot of a root that cannot be used, so that it is never chosen again.
    pub(crate) fn make_void(&self, root: &Root) -> io::Result<()> {
        self.file.write_at(&[0; SLOT], slot_of(root.generation) * SLOT_BYTES)?;
        self.file.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Root {
        let place = Place::decode(&[3, 0, 0, 0, 0, 16, 0, 0, 9, 2, 0, 0, 7, 7, 7, 7, 1]).unwrap();
        Root {
            generation: 6,
            store: StoreId(77),
            lineage: Lineage(88),
            state: Some(place),
            catalogue: None,
            log: LogEnd {
                file: SegmentFile { number: 9, generation: 1 },
                limit: 1 << 20,
                offset: 4711,
                last: Some(RecordId { revision: Revision(40), sub: Sub(2) }),
                next_number: 10,
            },
            pages: PagesEnd { next: FileNumber(4), last: Some((FileNumber(3), 9000)) },
            revision: Revision(40),
            compacted: Revision(30),
            retained: Revision(20),
            swept: Revision(10),
            dead_bytes: 5,
            applied: Some(Position { term: Term(2), index: Index(100) }),
            chain: ChainHash([7; 32]),
        }
    }

    #[test]
    fn a_root_is_read_as_it_was_written() {
        let fresh = Root::fresh(StoreId(1), Lineage(2), LogEnd::empty(&crate::Options::tiny()));
        for root in [root(), fresh] {
            let slot = root.encode();
            assert_eq!(slot.len(), SLOT);
            assert_eq!(Root::decode(&slot), Ok(root));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let slot = root().encode();
        for bit in 0..SLOT * 8 {
            let mut damaged = slot.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Root::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn empty_slots_and_other_versions_are_told_apart_from_damage() {
        assert_eq!(Root::decode(&[0; SLOT]), Err(SlotFault::Empty));
        let mut slot = root().encode();
        slot[8] = 2;
        assert_eq!(Root::decode(&slot), Err(SlotFault::OtherFormat(2)));
        assert_eq!(Root::decode(&[1; SLOT]), Err(SlotFault::Damaged));
    }
}
