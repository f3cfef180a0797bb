//! Durations counted into buckets, as Prometheus wants them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets, from 1 ms on, each twice the one before (etcd's).
const BUCKETS: usize = 14;

/// How long something took, many times over.
#[derive(Debug, Default)]
pub struct Histogram {
    /// How many fell into each bucket and not into a lower one; the last is beyond all bounds.
    counts: [AtomicU64; BUCKETS + 1],
    /// The sum of all, in microseconds.
    total: AtomicU64,
}

/// How long the disk took to make things durable: two numbers that say most of what goes wrong
/// with a member.
#[derive(Debug, Default)]
pub struct SyncTimes {
    /// Syncs of the write-ahead log.
    pub log: Histogram,
    /// Syncs of the store's files.
    pub store: Histogram,
}

fn bound(bucket: usize) -> Duration {
    Duration::from_millis(1 << bucket)
}

impl Histogram {
    /// Counts one.
    pub fn count(&self, took: Duration) {
        let bucket = (0..BUCKETS).find(|bucket| took <= bound(*bucket)).unwrap_or(BUCKETS);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.total.fetch_add(micros, Ordering::Relaxed);
    }

    /// Its lines on a page.
    pub(crate) fn render(&self, name: &str, page: &mut String) {
        let mut sum = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            sum += count.load(Ordering::Relaxed);
            let bound = match bucket {
                BUCKETS => "+Inf".to_owned(),
                _ => bound(bucket).as_secs_f64().to_string(),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(page, "{name}_bucket{{le=\"{bound}\"}} {sum}");
        }
        let total = Duration::from_micros(self.total.load(Ordering::Relaxed)).as_secs_f64();
        let _ = writeln!(page, "{name}_sum {total}\n{name}_count {sum}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_holds_all_below_it() {
        let histogram = Histogram::default();
        for millis in [1, 3, 3, 100_000] {
            histogram.count(Duration::from_millis(millis));
        }
        let mut page = String::new();
        histogram.render("x", &mut page);
        for line in [
            "x_bucket{le=\"0.001\"} 1\n",
            "x_bucket{le=\"0.002\"} 1\n",
            "x_bucket{le=\"0.004\"} 3\n",
            "x_bucket{le=\"8.192\"} 3\n",
            "x_bucket{le=\"+Inf\"} 4\n",
            "x_sum 100.007\n",
            "x_count 4\n",
        ] {
            assert!(page.contains(line), "{line} in {page}");
        }
    }
}
