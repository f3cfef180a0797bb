//! Stands in for the crate with which openraft keeps statistics of its own.
//!
//! openraft makes a histogram even if its feature `runtime-stats` is off, and nobody can read it
//! then. The crate that it takes it from fills 27 MB of tables on first use, for all precisions
//! that there might be: two thirds of the memory of an idle member. This one has the same types and
//! counts samples, and no more (`docs/decisions/2026-11-21-openraft-statistics.md`).
//!
//! Invariant: it has every name that openraft uses, so that what is missing fails to compile.

use std::fmt;
use std::marker::PhantomData;

/// How many samples there were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    samples: u64,
    slots: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// One without samples.
    #[must_use]
    pub fn new() -> Self {
        Self { samples: 0, slots: PhantomData }
    }

    /// One more sample, whatever it is.
    pub fn record(&mut self, _value: u64) {
        self.samples += 1;
    }

    /// So many more samples.
    pub fn record_n(&mut self, _value: u64, count: u64) {
        self.samples += count;
    }

    /// How many samples there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.samples
    }

    /// What can be said of the samples: how many there were.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats { samples: self.samples, ..PercentileStats::default() }
    }
}

/// What openraft would show of a histogram.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "nothing but the first of them is ever known")]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples", self.samples)
    }
}

/// A drawing of histograms: none.
#[derive(Debug, Default, Clone, Copy)]
pub struct AsciiChart;

impl AsciiChart {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// It stays empty.
    #[must_use]
    pub fn add(self, _name: &str, _histogram: Histogram) -> Self {
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}
