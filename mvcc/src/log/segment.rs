//! A segment of the revision log as a file: its name, its header, and what is known of it.

use std::fmt::{Display, Formatter};
use std::path::Path;
use std::sync::OnceLock;

use crate::codec::Input;
use crate::log::footer::Fences;
use crate::log::record::Place;
use crate::{Lineage, OpenError, RecordId};

/// Raised with every change of the format; other versions are refused.
pub(crate) const LOG_FORMAT: u32 = 1;
/// The bytes before the first record.
pub(crate) const HEADER_BYTES: u64 = 64;

const MAGIC: [u8; 8] = *b"kstorlog";

/// Which file: the number is never used again for other records, the generation counts the
/// times that the same records were written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentFile {
    pub(crate) number: u64,
    pub(crate) generation: u32,
}

impl SegmentFile {
    pub(crate) fn name(self) -> String {
        self.to_string()
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let (number, generation) = name.strip_prefix("log-")?.split_once('-')?;
        let file = Self { number: number.parse().ok()?, generation: generation.parse().ok()? };
        (file.name() == name).then_some(file)
    }

    pub(crate) fn at(self, offset: u64) -> Place {
        Place { number: self.number, generation: self.generation, offset }
    }
}

impl Display for SegmentFile {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "log-{:06}-{:04}", self.number, self.generation)
    }
}

/// The first bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) lineage: Lineage,
    pub(crate) file: SegmentFile,
    /// A record that would end beyond this goes to the next segment, unless it is the first one.
    pub(crate) limit: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&LOG_FORMAT.to_le_bytes());
        out.extend_from_slice(&self.lineage.0.to_le_bytes());
        out.extend_from_slice(&self.file.number.to_le_bytes());
        out.extend_from_slice(&self.file.generation.to_le_bytes());
        out.extend_from_slice(&self.limit.to_le_bytes());
        out.resize(60, 0);
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Checks and decodes the header of the file at `path`, which should be `file`.
    pub(crate) fn decode(
        bytes: &[u8],
        path: &Path,
        file: SegmentFile,
        lineage: Lineage,
    ) -> Result<Self, OpenError> {
        let damaged = |what: &str| OpenError::Damaged { path: path.to_owned(), what: what.into() };
        let (content, checksum) =
            bytes.split_at_checked(60).ok_or_else(|| damaged("segment header cut short"))?;
        let mut input = Input::new(content);
        if input.take(8) != Some(&MAGIC) {
            return Err(damaged("not a segment of the revision log"));
        }
        let found = input.u32().expect("the header is longer than this");
        if found != LOG_FORMAT {
            return Err(OpenError::OtherFormat {
                path: path.to_owned(),
                found,
                expected: LOG_FORMAT,
            });
        }
        if Input::new(checksum).u32() != Some(crc32fast::hash(content)) {
            return Err(damaged("segment header checksum mismatch"));
        }
        let mut fields = || {
            Some(Self {
                lineage: Lineage(input.u128()?),
                file: SegmentFile { number: input.u64()?, generation: input.u32()? },
                limit: input.u64()?,
            })
        };
        let header = fields().expect("the header is longer than its fields");
        if header.file != file {
            return Err(damaged("segment header names another segment"));
        }
        if header.lineage != lineage {
            return Err(damaged("segment belongs to another history"));
        }
        Ok(header)
    }
}

/// What is known of a segment that takes no more records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) last: RecordId,
    /// Where its records end and the gap before its footer begins.
    pub(crate) data_end: u64,
    /// The length of the whole file.
    pub(crate) length: u64,
}

/// A segment that readers may look into.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) file: SegmentFile,
    /// Its first record. It has at least one.
    pub(crate) first: RecordId,
    pub(crate) limit: u64,
    /// Set once, when the footer was written behind the last record.
    pub(crate) sealed: OnceLock<Sealed>,
    /// The top of its footer, once somebody needed it.
    pub(crate) fences: OnceLock<Fences>,
}

impl Segment {
    pub(crate) fn open(file: SegmentFile, first: RecordId, limit: u64) -> Self {
        Self { file, first, limit, sealed: OnceLock::new(), fences: OnceLock::new() }
    }

    pub(crate) fn sealed(file: SegmentFile, first: RecordId, sealed: Sealed) -> Self {
        Self { file, first, limit: 0, sealed: OnceLock::from(sealed), fences: OnceLock::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: SegmentFile = SegmentFile { number: 12, generation: 3 };

    fn header() -> SegmentHeader {
        SegmentHeader { lineage: Lineage(99), file: FILE, limit: 1 << 20 }
    }

    fn decode(bytes: &[u8]) -> Result<SegmentHeader, String> {
        SegmentHeader::decode(bytes, Path::new("x"), FILE, Lineage(99)).map_err(|e| e.to_string())
    }

    #[test]
    fn names_are_read_back_and_strangers_are_not() {
        assert_eq!(FILE.name(), "log-000012-0003");
        assert_eq!(SegmentFile::from_name("log-000012-0003"), Some(FILE));
        for name in ["log-12-3", "log-000012", "log-00012-0003x", "pages-000012-0003", "root"] {
            assert_eq!(SegmentFile::from_name(name), None, "{name}");
        }
        let large = SegmentFile { number: 12_345_678, generation: 70_000 };
        assert_eq!(SegmentFile::from_name(&large.name()), Some(large));
    }

    #[test]
    fn a_header_of_another_format_version_is_refused_with_both_versions() {
        let mut bytes = header().encode();
        assert_eq!(bytes.len() as u64, HEADER_BYTES);
        assert_eq!(decode(&bytes), Ok(header()));
        bytes[8] = 9;
        assert_eq!(
            decode(&bytes),
            Err("x has format version 9; this kstore reads version 1 only".to_owned())
        );
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let bytes = header().encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged).is_err(), "bit {bit}");
        }
    }
}
