//! How far this member has applied, and who waits for it to get further.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kstore_mvcc::Index;
use tokio::sync::oneshot;

/// The applied index as a thing to wait on.
///
/// Invariant: it only grows, and a waiter for an index is woken only after the view that contains
/// that entry was published.
pub(crate) struct Applied {
    state: Mutex<State>,
}

struct State {
    index: Option<Index>,
    /// Who waits for which index. Bounded by the callers: one read barrier at a time.
    waiting: BTreeMap<Index, Vec<oneshot::Sender<()>>>,
}

impl Applied {
    pub(crate) fn new(index: Option<Index>) -> Self {
        Self { state: Mutex::new(State { index, waiting: BTreeMap::new() }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index(&self) -> Option<Index> {
        self.lock().index
    }

    /// Everything up to `index` is published.
    pub(crate) fn advance(&self, index: Index) {
        let ready = {
            let mut state = self.lock();
            if state.index.is_some_and(|i| i >= index) {
                return;
            }
            state.index = Some(index);
            let later = state.waiting.split_off(&Index(index.0 + 1));
            std::mem::replace(&mut state.waiting, later)
        };
        for waiter in ready.into_values().flatten() {
            // A waiter that gave up no longer wants to know.
            let _ = waiter.send(());
        }
    }

    /// Is ready once `index` is applied; with an error if the member ends before.
    pub(crate) fn reached(&self, index: Index) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        if state.index.is_some_and(|i| i >= index) {
            let _ = sender.send(());
        } else {
            state.waiting.entry(index).or_default().push(sender);
        }
        receiver
    }
}
