//! The read barrier: a linearizable read waits until this member has applied everything that was
//! acknowledged, by any member, before the read began.
//!
//! One round asks the leader for its commit index, confirmed by a quorum, and waits until this
//! member has applied it. A round serves everybody who waited when it *started*; whoever comes
//! later waits for the next one. So a thousand reads at once cost two rounds.
//!
//! Invariant: at most one round is under way, and no waiter is answered by a round that had
//! started before it came.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::types::Unavailable;

/// Who waits for a round.
pub(crate) type Waiter = oneshot::Sender<Result<(), Unavailable>>;

#[derive(Default)]
pub(crate) struct Barrier {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether somebody runs rounds at the moment.
    running: bool,
    /// Who waits for the next round. Bounded by the requests that the server lets in.
    waiting: Vec<Waiter>,
}

impl Barrier {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place in the next round. `true`: nobody runs rounds, so the caller must see to it
    /// that somebody does, until [`Self::take`] returns nobody.
    pub(crate) fn wait(&self) -> (oneshot::Receiver<Result<(), Unavailable>>, bool) {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        state.waiting.push(sender);
        let start = !state.running;
        state.running = true;
        (receiver, start)
    }

    /// Everybody whom the round that starts now will serve; nobody ends the rounds.
    pub(crate) fn take(&self) -> Option<Vec<Waiter>> {
        let mut state = self.lock();
        if state.waiting.is_empty() {
            state.running = false;
            return None;
        }
        Some(std::mem::take(&mut state.waiting))
    }
}
