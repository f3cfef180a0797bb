//! Random commands over few keys, so that they meet.

use bytes::Bytes;
use kstore_machine::command::{
    Command, Compact, Compare, DeleteRange, LeaseCheckpoint, LeaseGrant, LeaseRemaining,
    LeaseRevoke, Operation, Put, Range, Retain, Step, Txn,
};
use kstore_testkit::Prng;

use super::bytes;

/// What random commands are drawn from.
pub struct Maker {
    pub prng: Prng,
    /// The newest revision, to draw revisions around.
    pub revision: u64,
}

impl Maker {
    pub fn new(seed: u64) -> Self {
        Self { prng: Prng::new(seed), revision: 1 }
    }

    pub fn key(&mut self) -> Bytes {
        // Some keys are prefixes of others, some are long.
        let names = ["a", "b", "b\0", "bb", "c", "d", "dd", "e"];
        let name = *self.prng.pick(&names);
        if self.prng.one_in(20) {
            return bytes(&format!("{name}{}", "x".repeat(200)));
        }
        if self.prng.one_in(4) {
            return bytes(&format!("{name}{}", self.prng.below(30)));
        }
        bytes(name)
    }

    pub fn end(&mut self) -> Bytes {
        match self.prng.below(6) {
            0 => Bytes::from_static(&[0]),
            1 | 2 => self.key(),
            _ => Bytes::new(),
        }
    }

    fn lease(&mut self) -> i64 {
        match self.prng.below(4) {
            0 => i64::try_from(self.prng.below(6)).unwrap(),
            _ => 0,
        }
    }

    fn some_revision(&mut self) -> i64 {
        match self.prng.below(4) {
            0 => i64::try_from(self.prng.below(self.revision + 3)).unwrap() - 1,
            _ => 0,
        }
    }

    fn small(&mut self, bound: u64) -> i64 {
        i64::try_from(self.prng.below(bound)).unwrap()
    }

    fn sort(&mut self, bound: u64) -> i32 {
        i32::try_from(self.prng.below(bound)).unwrap()
    }

    pub fn put(&mut self) -> Put {
        let ignore_value = self.prng.one_in(12);
        let ignore_lease = self.prng.one_in(12);
        let length = if self.prng.one_in(10) { 300 } else { 2 };
        let value = format!("{:0width$}", self.prng.below(100), width = length);
        Put {
            key: self.key(),
            value: if ignore_value { Bytes::new() } else { bytes(&value) },
            lease: if ignore_lease { 0 } else { self.lease() },
            prev_kv: self.prng.one_in(2),
            ignore_value,
            ignore_lease,
        }
    }

    pub fn delete(&mut self) -> DeleteRange {
        DeleteRange { key: self.key(), range_end: self.end(), prev_kv: self.prng.one_in(2) }
    }

    pub fn range(&mut self) -> Range {
        let custom = self.prng.one_in(2);
        let bounded = self.prng.one_in(4);
        let revision = self.revision;
        let bound = |maker: &mut Self| {
            if bounded && maker.prng.one_in(2) { maker.small(revision + 2) } else { 0 }
        };
        Range {
            min_mod_revision: bound(self),
            max_mod_revision: bound(self),
            min_create_revision: bound(self),
            max_create_revision: bound(self),
            key: self.key(),
            range_end: self.end(),
            limit: self.small(5),
            revision: self.some_revision(),
            sort_order: if custom { self.sort(3) } else { 0 },
            sort_target: if custom { self.sort(5) } else { 0 },
            keys_only: self.prng.one_in(4),
            count_only: self.prng.one_in(8),
        }
    }

    fn compare(&mut self) -> Compare {
        let target = self.sort(5);
        let number = match target {
            0 | 4 => self.small(4),
            _ => self.small(self.revision + 2),
        };
        Compare {
            key: self.key(),
            range_end: self.end(),
            target,
            result: self.sort(4),
            number,
            value: bytes(&format!("{:02}", self.prng.below(100))),
        }
    }

    fn txn(&mut self, depth: u64) -> Txn {
        let compare = (0..self.prng.below(3)).map(|_| self.compare()).collect();
        let branch =
            |maker: &mut Self| (0..maker.prng.below(4)).map(|_| maker.operation(depth)).collect();
        Txn { compare, success: branch(self), failure: branch(self) }
    }

    fn operation(&mut self, depth: u64) -> Operation {
        if self.prng.one_in(200) {
            return Operation { step: None };
        }
        Operation::new(match self.prng.below(8) {
            0..=2 => Step::Put(self.put()),
            3 => Step::DeleteRange(self.delete()),
            4 if depth < 3 => Step::Txn(self.txn(depth + 1)),
            _ => Step::Range(self.range()),
        })
    }

    pub fn command(&mut self) -> Command {
        match self.prng.below(100) {
            0..45 => Command::Put(self.put()),
            45..58 => Command::DeleteRange(self.delete()),
            58..82 => Command::Txn(self.txn(0)),
            82..85 => {
                let low = self.revision.saturating_sub(20);
                let revision = low + self.prng.below(22);
                Command::Compact(Compact { revision: i64::try_from(revision).unwrap() })
            }
            85..87 => Command::Retain(Retain { revision: self.small(self.revision + 1) }),
            87..94 => Command::LeaseGrant(LeaseGrant { id: self.small(7), ttl: self.small(100) }),
            94..98 => {
                let ids = (0..=self.prng.below(2)).map(|_| self.small(6)).collect();
                Command::LeaseRevoke(LeaseRevoke { ids })
            }
            _ => {
                let lease = LeaseRemaining { id: self.small(6), ttl: self.small(50) };
                Command::LeaseCheckpoint(LeaseCheckpoint { leases: vec![lease] })
            }
        }
    }
}
