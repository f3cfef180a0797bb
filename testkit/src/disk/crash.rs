//! What a power cut leaves: the choice among everything that POSIX allows.
//!
//! ```text
//!   durable content ── sync covered it ── survives always
//!   unsynced write  ── sector by sector (512 bytes or 4 KiB) ── survives or not, by policy
//!   length          ── may survive without its bytes, which then read as zeros
//!   directory entry ── survives or not, by policy, each on its own
//! ```
//!
//! Reordering needs no case of its own: when two unsynced writes overlap, any subset of both may
//! survive, so the later one may be there without the earlier.

use crate::Prng;

use super::content::Content;

/// How a crash chooses among what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPolicy {
    /// Nothing that was not synced survives.
    LoseAll,
    /// Everything survives: what killing the process, and only the process, leaves behind.
    KeepAll,
    /// Each change survives, is lost, or (a write) survives in part.
    RandomSubset {
        /// The unit that the disk writes whole.
        tear: Sector,
    },
    /// Everything up to some change, in the order of issue over the whole disk, and nothing
    /// after it; the last write may be cut at a 512-byte border.
    Prefix,
}

/// The unit that a disk writes whole or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sector {
    /// 512 bytes.
    Bytes512,
    /// 4096 bytes.
    Bytes4096,
}

impl Sector {
    fn bytes(self) -> u64 {
        match self {
            Self::Bytes512 => 512,
            Self::Bytes4096 => 4096,
        }
    }
}

/// An unsynced change to a file.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    SetLength(u64),
    Grow(u64),
}

impl Change {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            Self::Write { offset, bytes } => content.write(bytes, *offset),
            Self::SetLength(length) => content.set_length(*length),
            Self::Grow(length) => content.grow(*length),
        }
    }
}

/// One crash: the policy with what it drew once for the whole disk.
#[derive(Debug)]
pub(super) struct Crash {
    policy: CrashPolicy,
    /// Under [`CrashPolicy::Prefix`]: the first change, in order of issue, that is lost.
    cut: u64,
}

impl Crash {
    /// `pending` are the sequence numbers of every unsynced change of the disk, in any order.
    pub(super) fn draw(policy: CrashPolicy, mut pending: Vec<u64>, prng: &mut Prng) -> Self {
        pending.sort_unstable();
        let cut = pending.get(prng.index(pending.len() + 1)).copied().unwrap_or(u64::MAX);
        Self { policy, cut }
    }

    /// Whether a directory entry's change survives.
    pub(super) fn keeps_name(&self, sequence: u64, prng: &mut Prng) -> bool {
        match self.policy {
            CrashPolicy::LoseAll => false,
            CrashPolicy::KeepAll => true,
            CrashPolicy::RandomSubset { .. } => prng.one_in(2),
            CrashPolicy::Prefix => sequence < self.cut,
        }
    }

    /// Applies to `content` what survives of `change`.
    pub(super) fn settle(
        &self,
        sequence: u64,
        change: &Change,
        content: &mut Content,
        prng: &mut Prng,
    ) {
        match self.policy {
            CrashPolicy::LoseAll => {}
            CrashPolicy::KeepAll => change.apply(content),
            CrashPolicy::RandomSubset { tear } => settle_at_random(change, content, tear, prng),
            CrashPolicy::Prefix if sequence < self.cut => change.apply(content),
            CrashPolicy::Prefix if sequence == self.cut => cut_short(change, content, prng),
            CrashPolicy::Prefix => {}
        }
    }
}

fn settle_at_random(change: &Change, content: &mut Content, tear: Sector, prng: &mut Prng) {
    let Change::Write { offset, bytes } = change else {
        if prng.one_in(2) {
            change.apply(content);
        }
        return;
    };
    match prng.below(4) {
        0 => change.apply(content),
        1 => {}
        // The new length reached the disk, the bytes did not.
        2 => content.grow(offset + bytes.len() as u64),
        _ => {
            for (at, piece) in sectors(*offset, bytes, tear) {
                if prng.one_in(2) {
                    content.write(piece, at);
                }
            }
        }
    }
}

/// Keeps the first few 512-byte sectors of a write, perhaps none, never all.
fn cut_short(change: &Change, content: &mut Content, prng: &mut Prng) {
    if let Change::Write { offset, bytes } = change {
        let pieces: Vec<_> = sectors(*offset, bytes, Sector::Bytes512).collect();
        let keep = prng.index(pieces.len());
        for (at, piece) in pieces.into_iter().take(keep) {
            content.write(piece, at);
        }
    }
}

/// Cuts a write at the sector borders of the file.
fn sectors(offset: u64, bytes: &[u8], tear: Sector) -> impl Iterator<Item = (u64, &[u8])> {
    let mut rest = bytes;
    let mut at = offset;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let room = tear.bytes() - at % tear.bytes();
        let room = usize::try_from(room).expect("at most 4096");
        let (piece, behind) = rest.split_at(room.min(rest.len()));
        let start = at;
        at += piece.len() as u64;
        rest = behind;
        Some((start, piece))
    })
}
