//! Proposals on their way: who waits for the outcome of which command.
//!
//! Every command carries the number of the member's run that proposed it (its *origin*) and a
//! sequence number. When any member applies a command of its own origin it finds the waiter here.
//! So a write that came in through a follower is answered by that follower, after it has applied
//! the write itself, and there is one path for all.
//!
//! Invariant: at most [`Pending::LIMIT`] proposals wait; at the bound a further one is refused
//! with [`Unavailable::TooManyRequests`].

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::engine::Refused;
use crate::outcome::Outcome;
use crate::types::Unavailable;

/// The waiters of one run of a member.
pub(crate) struct Pending {
    state: Mutex<State>,
}

struct State {
    /// The sequence number of the next proposal.
    next: u64,
    /// Who waits, by sequence number, hence in the order of their deadlines.
    waiting: BTreeMap<u64, Waiter>,
    /// Set once, when the member stops: nobody may wait any more.
    closed: bool,
}

struct Waiter {
    /// By the member's monotonic clock.
    deadline: Duration,
    answer: oneshot::Sender<Answer>,
}

/// What a waiter hears.
pub(crate) enum Answer {
    /// The command was applied.
    Outcome(Outcome),
    /// It was refused after it had been handed over; whether to hand it over again is the
    /// waiter's to decide.
    Refused(Refused),
    /// Its time is over, or the member's.
    Unavailable(Unavailable),
}

/// One proposal's place in the queue.
pub(crate) struct Ticket {
    /// Goes into the command.
    pub(crate) sequence: u64,
    /// Where the outcome arrives.
    pub(crate) answer: oneshot::Receiver<Answer>,
}

impl Pending {
    /// How many proposals of a member may wait at once.
    pub(crate) const LIMIT: usize = 16 * 1024;

    pub(crate) fn new() -> Self {
        let state = State { next: 1, waiting: BTreeMap::new(), closed: false };
        Self { state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place until `deadline`.
    pub(crate) fn take(&self, deadline: Duration) -> Result<Ticket, Unavailable> {
        let mut state = self.lock();
        if state.closed {
            return Err(Unavailable::Stopped);
        }
        if state.waiting.len() >= Self::LIMIT {
            return Err(Unavailable::TooManyRequests);
        }
        let sequence = state.next;
        state.next += 1;
        let (sender, answer) = oneshot::channel();
        state.waiting.insert(sequence, Waiter { deadline, answer: sender });
        Ok(Ticket { sequence, answer })
    }

    /// Waits again for the proposal with `sequence`, after it was refused.
    pub(crate) fn renew(
        &self,
        sequence: u64,
        deadline: Duration,
    ) -> Result<oneshot::Receiver<Answer>, Unavailable> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        if state.closed {
            return Err(Unavailable::Stopped);
        }
        state.waiting.insert(sequence, Waiter { deadline, answer: sender });
        Ok(receiver)
    }

    /// Nobody waits for the proposal with `sequence` any more.
    pub(crate) fn give_up(&self, sequence: u64) {
        self.lock().waiting.remove(&sequence);
    }

    /// Tells the proposal with `sequence` its outcome, if it still waits.
    pub(crate) fn done(&self, sequence: u64, outcome: Outcome) {
        self.answer(sequence, Answer::Outcome(outcome));
    }

    /// Tells the proposal with `sequence` that it was refused.
    pub(crate) fn refuse(&self, sequence: u64, refused: Refused) {
        self.answer(sequence, Answer::Refused(refused));
    }

    fn answer(&self, sequence: u64, answer: Answer) {
        let waiter = self.lock().waiting.remove(&sequence);
        if let Some(waiter) = waiter {
            // A caller that went away no longer wants to know.
            drop(waiter.answer.send(answer));
        }
    }

    /// Answers everything whose deadline lies at or before `now`.
    pub(crate) fn expire(&self, now: Duration, answer: Unavailable) {
        let mut expired = Vec::new();
        {
            let mut state = self.lock();
            while let Some(first) = state.waiting.first_entry() {
                if first.get().deadline > now {
                    break;
                }
                expired.push(first.remove());
            }
        }
        for waiter in expired {
            drop(waiter.answer.send(Answer::Unavailable(answer)));
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Answers everybody with [`Unavailable::Stopped`] and takes nobody in any more.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        for (_, waiter) in waiting {
            drop(waiter.answer.send(Answer::Unavailable(Unavailable::Stopped)));
        }
    }
}
