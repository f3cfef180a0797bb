//! Dropping the cells of revisions that nobody can read any more, a few at a time.
//!
//! ```text
//!   key    cells, newest first            retained = 20
//!   a      31  27 | 18  11  4             18 stays: it is what a reads as at 20. 11 and 4 go
//!   b      25 | 9x 7 3                    9 is a deletion below the horizon: 7 and 3 go, then 9
//!   c      20x 12                         the deletion at the horizon stays; 12 goes
//! ```
//!
//! A dead cell is invisible by the rules of reading; sweeping it changes no answer and is part of
//! no hash, so members sweep whenever they like. One pass walks the key space in order and ends
//! when everything that was dead when it began is gone.
//!
//! Invariant: a deletion's cell goes after all older cells of its key. Otherwise a crash in
//! between two steps would bring the key back to life.

use std::ops::Bound;

use crate::codec::wide;
use crate::keys::{Cell, CellState, KeySpace};
use crate::look::{decode_cell, decode_key};
use crate::store::{Pending, Store};
use crate::{Access, Fatal, Revision};

/// What a record's head takes in the log, about.
const RECORD_HEAD_BYTES: u64 = 36;

/// The state of sweeping.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// Everything that died at or below this is gone.
    swept: Revision,
    /// What the records of swept cells weigh in the log, about.
    dead_bytes: u64,
    /// The pass in progress.
    pass: Option<Pass>,
}

#[derive(Debug)]
struct Pass {
    /// The retention horizon when the pass began.
    horizon: Revision,
    /// The tree key at which the next step goes on: always the first cell of a user key.
    at: Vec<u8>,
}

/// What a step of sweeping did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepStep {
    /// How many cells were looked at.
    pub seen: u64,
    /// How many of them were dropped.
    pub dropped: u64,
    /// Whether nothing is left to do until the horizon moves again.
    pub done: bool,
}

impl Sweep {
    pub(crate) fn new(swept: Revision, dead_bytes: u64) -> Self {
        Self { swept, dead_bytes, pass: None }
    }

    pub(crate) fn swept(&self) -> Revision {
        self.swept
    }

    pub(crate) fn dead_bytes(&self) -> u64 {
        self.dead_bytes
    }
}

/// What one step found out about the cells it looked at.
#[derive(Debug, Default)]
struct Found {
    seen: u64,
    /// Cells to drop, in the order in which they may go, with the weight of their records.
    dead: Vec<(Vec<u8>, u64)>,
    /// Where the next step goes on; `None` at the end of the key space.
    next: Option<Vec<u8>>,
}

impl Store {
    /// Whether there may be dead cells to drop.
    #[must_use]
    pub fn sweep_due(&self) -> bool {
        self.sweep.pass.is_some() || self.sweep.swept < self.numbers.retained
    }

    /// Looks at about `budget` cells and drops the dead ones. To be called between commands, now
    /// and then, while [`Store::sweep_due`]; each step costs some microseconds per dropped cell.
    pub fn sweep(&mut self, budget: u64) -> Result<SweepStep, Fatal> {
        if !self.sweep_due() {
            return Ok(SweepStep { seen: 0, dropped: 0, done: true });
        }
        let horizon = self.numbers.retained;
        let start = || Pass { horizon, at: KeySpace::START.to_vec() };
        let pass = self.sweep.pass.take().unwrap_or_else(start);
        let found = self.find_dead(&pass, budget.max(1))?;
        let dropped = wide(found.dead.len());
        for (key, weight) in &found.dead {
            self.tree.remove(&self.shared.pages, key)?;
            self.sweep.dead_bytes += weight;
        }
        match found.next {
            Some(at) => self.sweep.pass = Some(Pass { at, ..pass }),
            None => self.sweep.swept = pass.horizon,
        }
        if self.pending == Pending::Nothing && (dropped > 0 || !self.sweep_due()) {
            // The same state with fewer cells: it goes out with the next checkpoint.
            self.publish_view(self.published.position, self.published.chain);
            self.checkpoint.touch();
        }
        Ok(SweepStep { seen: found.seen, dropped, done: !self.sweep_due() })
    }

    fn find_dead(&self, pass: &Pass, budget: u64) -> Result<Found, Fatal> {
        let mut found = Found::default();
        let mut cursor =
            self.tree.cursor(&self.shared.pages, Access::Disk, Bound::Included(&pass.at))?;
        let mut key = KeyWalk::default();
        while let Some((bytes, value)) = cursor.next()? {
            if bytes >= KeySpace::END {
                break;
            }
            let cell_key = decode_key(bytes)?;
            if cell_key.prefix != key.prefix.as_slice() {
                key.end(&mut found);
                if found.seen >= budget {
                    found.next = Some(bytes.to_vec());
                    return Ok(found);
                }
                key.prefix.extend_from_slice(cell_key.prefix);
            }
            found.seen += 1;
            if cell_key.revision > pass.horizon {
                continue;
            }
            let cell = decode_cell(&cell_key, value)?;
            key.meet(&mut found, bytes, cell_key.revision, &cell, pass.horizon);
            if found.seen >= budget && wide(found.dead.len()) >= budget.div_ceil(2) {
                // A key with very many dead cells: the rest of them in the next step. Those that
                // were found are older than what keeps or buries the key, so they may go.
                found.next = Some(key.prefix);
                return Ok(found);
            }
        }
        key.end(&mut found);
        Ok(found)
    }
}

/// The cells of one user key at or below the horizon, as a step meets them.
#[derive(Debug, Default)]
struct KeyWalk {
    prefix: Vec<u8>,
    /// Whether the newest of them was met: all others are dead.
    horizon_met: bool,
    /// The newest one, if it is a deletion that goes once the others are gone.
    tombstone: Option<(Vec<u8>, u64)>,
}

impl KeyWalk {
    fn meet(
        &mut self,
        found: &mut Found,
        bytes: &[u8],
        revision: Revision,
        cell: &Cell,
        horizon: Revision,
    ) {
        let value_length = match cell.state {
            CellState::Live(live) => live.value_length,
            CellState::Tombstone => 0,
        };
        let weight = RECORD_HEAD_BYTES + wide(self.prefix.len()) + value_length;
        if self.horizon_met {
            found.dead.push((bytes.to_vec(), weight));
            return;
        }
        self.horizon_met = true;
        if matches!(cell.state, CellState::Tombstone) && revision < horizon {
            self.tombstone = Some((bytes.to_vec(), weight));
        }
    }

    /// All cells of the key were met.
    fn end(&mut self, found: &mut Found) {
        found.dead.extend(self.tombstone.take());
        self.prefix.clear();
        self.horizon_met = false;
    }
}
