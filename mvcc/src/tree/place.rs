//! Where a stored page lies, and what it must look like there.

use std::fmt::{Display, Formatter};

/// The number of a page file. Numbers grow and are never used twice in a store's directory
/// (a file that no root ever named, left by a crash, gives its number back).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileNumber(pub(crate) u32);

impl FileNumber {
    /// The name of the file in the store's directory.
    pub(crate) fn name(self) -> String {
        format!("pages-{:06}", self.0)
    }

    /// The number in a file's name, if it is the name of a page file.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let number = Self(name.strip_prefix("pages-")?.parse().ok()?);
        (number.name() == name).then_some(number)
    }
}

impl Display for FileNumber {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

/// Whether a page owns overflow pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overflows {
    /// All its keys and values lie within it.
    None,
    /// Some key or value goes on elsewhere. Whoever looks for all places in use must read it.
    Some,
}

/// The place of a page on the disk, as its parent (or the root file) names it.
///
/// Invariant: a place, once written, never holds other bytes. So a place identifies a page for as
/// long as its file exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file.
    pub(crate) file: FileNumber,
    /// Where the page's header begins.
    pub(crate) offset: u32,
    /// The page's length with its header.
    pub(crate) length: u32,
    /// The checksum in the page's header, said a second time: a page that is right in itself but
    /// is not the one meant is found too.
    pub(crate) checksum: u32,
    /// Whether it owns overflow pages.
    pub(crate) overflows: Overflows,
}

impl Place {
    /// How many bytes [`Place::encode`] makes.
    pub(crate) const ENCODED: usize = 17;

    /// The place in the form in which pages and the root file hold it (`docs/formats/pages.md`).
    pub(crate) fn encode(&self) -> [u8; Self::ENCODED] {
        let mut out = [0; Self::ENCODED];
        out[0..4].copy_from_slice(&self.file.0.to_le_bytes());
        out[4..8].copy_from_slice(&self.offset.to_le_bytes());
        out[8..12].copy_from_slice(&self.length.to_le_bytes());
        out[12..16].copy_from_slice(&self.checksum.to_le_bytes());
        out[16] = match self.overflows {
            Overflows::None => 0,
            Overflows::Some => 1,
        };
        out
    }

    /// Reads what [`Place::encode`] wrote; `None` if it cannot have.
    pub(crate) fn decode(bytes: &[u8; Self::ENCODED]) -> Option<Self> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let overflows = match bytes[16] {
            0 => Overflows::None,
            1 => Overflows::Some,
            _ => return None,
        };
        Some(Self {
            file: FileNumber(word(0)),
            offset: word(4),
            length: word(8),
            checksum: word(12),
            overflows,
        })
    }
}

/// Where the written pages end: what a root must hold to open them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PagesEnd {
    /// The number that the next page file gets. Files from it on belong to no root.
    pub(crate) next: FileNumber,
    /// The file written last and its length then; `None` while there are no pages.
    pub(crate) last: Option<(FileNumber, u64)>,
}

impl PagesEnd {
    /// The end of a store that holds no pages yet.
    pub(crate) const EMPTY: Self = Self { next: FileNumber(1), last: None };
}
