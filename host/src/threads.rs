//! The real jobs: a bounded pool of threads, and one thread for each lane.

use std::collections::VecDeque;
use std::fmt::{Debug, Formatter};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::{Job, Jobs, Lane, Overloaded};

/// Jobs on threads of this process.
///
/// Invariant: at most `threads` loose jobs run and at most `queue` wait; at the bound a job is
/// refused.
#[derive(Clone)]
pub struct ThreadJobs {
    pool: Arc<Pool>,
}

struct Pool {
    state: Mutex<PoolState>,
    wake: Condvar,
    threads: usize,
    queue: usize,
}

/// Everything the pool's threads share.
struct PoolState {
    waiting: VecDeque<Job>,
    /// Threads started so far; only grows, up to the pool's bound.
    started: usize,
    /// Threads that wait for a job.
    idle: usize,
    /// Set when the last handle goes: threads end once nothing waits.
    closed: bool,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.waiting.pop_front() {
                drop(state);
                job();
                state = self.lock();
                continue;
            }
            if state.closed {
                return;
            }
            state.idle += 1;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

/// Closes the pool when the last [`ThreadJobs`] handle is dropped.
impl Drop for ThreadJobs {
    fn drop(&mut self) {
        let handles = Arc::strong_count(&self.pool);
        let mut state = self.pool.lock();
        if handles == state.started + 1 {
            state.closed = true;
            self.pool.wake.notify_all();
        }
    }
}

impl ThreadJobs {
    /// A pool of at most `threads` threads, started when first needed, with at most `queue` jobs
    /// waiting.
    #[must_use]
    pub fn new(threads: usize, queue: usize) -> Self {
        let state = PoolState { waiting: VecDeque::new(), started: 0, idle: 0, closed: false };
        let pool = Pool { state: Mutex::new(state), wake: Condvar::new(), threads, queue };
        Self { pool: Arc::new(pool) }
    }
}

impl Debug for ThreadJobs {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThreadJobs").field("threads", &self.pool.threads).finish_non_exhaustive()
    }
}

impl Jobs for ThreadJobs {
    fn run(&self, job: Job) -> Result<(), Overloaded> {
        let mut state = self.pool.lock();
        if state.waiting.len() >= self.pool.queue {
            return Err(Overloaded);
        }
        state.waiting.push_back(job);
        if state.idle >= state.waiting.len() || state.started == self.pool.threads {
            self.pool.wake.notify_one();
            return Ok(());
        }
        let name = format!("job-{}", state.started);
        let pool = Arc::clone(&self.pool);
        match thread::Builder::new().name(name).spawn(move || pool.work()) {
            Ok(_) => state.started += 1,
            // No thread to be had: with another one the job waits its turn, alone it is refused.
            Err(_) if state.started == 0 => {
                state.waiting.pop_back();
                return Err(Overloaded);
            }
            Err(_) => {}
        }
        Ok(())
    }

    fn lane(&self, name: &str) -> Arc<dyn Lane> {
        let (jobs, queue) = channel::<Job>();
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
            for job in queue {
                job();
            }
        });
        spawned.expect("a member starts a handful of threads, all before it serves anyone");
        Arc::new(ThreadLane { jobs, name: name.to_owned() })
    }
}

struct ThreadLane {
    jobs: Sender<Job>,
    name: String,
}

impl Debug for ThreadLane {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThreadLane").field("name", &self.name).finish()
    }
}

impl Lane for ThreadLane {
    fn push(&self, job: Job) {
        // The thread ends only after this sender is gone, so a failed send means that an earlier
        // job panicked; the member is already on its way down then.
        drop(self.jobs.send(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    #[test]
    fn a_lane_runs_its_jobs_in_order() {
        let jobs = ThreadJobs::new(2, 8);
        let lane = jobs.lane("test");
        let (done, results) = sync_channel(100);
        for i in 0..100 {
            let done = done.clone();
            lane.push(Box::new(move || done.send(i).unwrap()));
        }
        let seen: Vec<i32> = results.iter().take(100).collect();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_pool_refuses_further_jobs() {
        let jobs = ThreadJobs::new(1, 1);
        let (started, is_started) = sync_channel(1);
        let (release, gate) = sync_channel::<()>(1);
        jobs.run(Box::new(move || {
            started.send(()).unwrap();
            gate.recv().unwrap();
        }))
        .unwrap();
        is_started.recv().unwrap();
        let (done, is_done) = sync_channel(1);
        jobs.run(Box::new(move || done.send(()).unwrap())).unwrap();
        assert_eq!(jobs.run(Box::new(|| ())), Err(Overloaded));
        release.send(()).unwrap();
        is_done.recv().unwrap();
    }
}
