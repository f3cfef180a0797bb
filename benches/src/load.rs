//! The closed loop: clients that send one request after the other until all are done.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use kstore_host::Clock;
use kstore_host::os::OsClock;
use tokio::task::JoinSet;

/// The latencies that are told apart: from a microsecond to a minute, in three digits.
const LATENCY_MAX_US: u64 = 60_000_000;
const LATENCY_DIGITS: u8 = 3;

/// What an operation found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// What it was to find or to make.
    It,
    /// Nothing: there is no such thing.
    Nothing,
}

/// What the clients ask, and of whom.
pub(crate) trait Target {
    /// Does operation `number` as client `client`, and waits for the answer.
    async fn operation(&self, client: usize, number: u64) -> Result<Found, String>;

    /// Waits for what `operations` of them lead to besides their answers.
    async fn settle(&self, operations: u64) {
        let _nothing = operations;
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Of the operations that succeeded, in microseconds.
    pub(crate) latencies: Histogram<u64>,
    pub(crate) failed: u64,
    /// The first failure.
    pub(crate) failure: Option<String>,
    /// Operations that found nothing.
    pub(crate) not_found: u64,
    /// From the first request to the last answer, and to all that came of it.
    pub(crate) took: Duration,
}

/// What the clients, which are tasks of one thread, share.
struct Shared<T> {
    clock: OsClock,
    target: Rc<T>,
    /// Invariant: not borrowed while a client waits.
    progress: RefCell<Progress>,
}

#[derive(Debug)]
struct Progress {
    /// The number of the next operation, and the one behind the last.
    next: u64,
    end: u64,
    outcome: Outcome,
}

/// Does the operations of `numbers` with so many clients, and waits for their answers.
pub(crate) async fn run<T: Target + 'static>(
    target: &Rc<T>,
    clients: usize,
    numbers: std::ops::Range<u64>,
) -> Result<Outcome, String> {
    let latencies = Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS);
    let latencies = latencies.map_err(|e| format!("make a histogram: {e}"))?;
    let outcome =
        Outcome { latencies, failed: 0, failure: None, not_found: 0, took: Duration::ZERO };
    let operations = numbers.end.saturating_sub(numbers.start);
    let shared = Rc::new(Shared {
        clock: OsClock::start(),
        target: Rc::clone(target),
        progress: RefCell::new(Progress { next: numbers.start, end: numbers.end, outcome }),
    });
    let began = shared.clock.monotonic();
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        tasks.spawn_local(one_client(Rc::clone(&shared), client));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|e| format!("a client: {e}"))?;
    }
    target.settle(operations).await;
    let took = shared.clock.monotonic().saturating_sub(began);
    let shared = Rc::into_inner(shared);
    let shared = shared.ok_or("a client has not ended")?;
    Ok(Outcome { took, ..shared.progress.into_inner().outcome })
}

async fn one_client<T: Target>(shared: Rc<Shared<T>>, client: usize) {
    while let Some(number) = shared.begin() {
        let began = shared.clock.monotonic();
        let answer = shared.target.operation(client, number).await;
        shared.end(shared.clock.monotonic().saturating_sub(began), answer);
    }
}

impl<T> Shared<T> {
    /// The number of the next operation, while there is one.
    fn begin(&self) -> Option<u64> {
        let mut progress = self.progress.borrow_mut();
        if progress.next >= progress.end {
            return None;
        }
        progress.next += 1;
        Some(progress.next - 1)
    }

    fn end(&self, took: Duration, answer: Result<Found, String>) {
        let outcome = &mut self.progress.borrow_mut().outcome;
        match answer {
            Ok(found) => {
                let microseconds = u64::try_from(took.as_micros()).unwrap_or(LATENCY_MAX_US);
                outcome.latencies.saturating_record(microseconds.max(1));
                outcome.not_found += u64::from(found == Found::Nothing);
            }
            Err(why) => {
                outcome.failed += 1;
                outcome.failure.get_or_insert(why);
            }
        }
    }
}
