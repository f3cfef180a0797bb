//! A channel that keeps only its newest value, deterministic where tokio's is not.

use std::collections::BTreeMap;
use std::fmt::{Debug, Formatter};
use std::future::poll_fn;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Poll, Waker};

use openraft_rt::{OptionalSend, OptionalSync, RecvError, Watch, watch};

/// The kind of channel.
#[derive(Debug)]
pub struct SimWatch;

struct Shared<T> {
    value: RwLock<T>,
    ends: Mutex<Ends>,
}

/// Who holds the channel, and who waits.
#[derive(Default)]
struct Ends {
    /// Counts the values sent; the first value is number zero.
    version: u64,
    senders: usize,
    receivers: usize,
    next_receiver: u64,
    /// By receiver, so that they are woken in order of their making.
    waiting: BTreeMap<u64, Waker>,
}

impl<T> Shared<T> {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> WatchRef<'_, T> {
        WatchRef { value: self.value.read().unwrap_or_else(PoisonError::into_inner) }
    }

    fn wake_all(&self) {
        let waiting = std::mem::take(&mut self.ends().waiting);
        waiting.into_values().for_each(Waker::wake);
    }

    fn receiver(self: &Arc<Self>, seen: u64) -> WatchReceiver<T> {
        let mut ends = self.ends();
        ends.receivers += 1;
        ends.next_receiver += 1;
        WatchReceiver { shared: Arc::clone(self), id: ends.next_receiver, seen }
    }
}

/// The sending half.
pub struct WatchSender<T> {
    shared: Arc<Shared<T>>,
}

/// The receiving half.
pub struct WatchReceiver<T> {
    shared: Arc<Shared<T>>,
    id: u64,
    /// The newest version this receiver has seen.
    seen: u64,
}

/// A look at the newest value; nothing can be sent while it is held.
#[derive(Debug)]
pub struct WatchRef<'a, T> {
    value: RwLockReadGuard<'a, T>,
}

impl<T> Deref for WatchRef<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Debug for WatchSender<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("WatchSender")
    }
}

impl<T> Debug for WatchReceiver<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "WatchReceiver({}, seen {})", self.id, self.seen)
    }
}

impl<T> Clone for WatchSender<T> {
    fn clone(&self) -> Self {
        self.shared.ends().senders += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for WatchSender<T> {
    fn drop(&mut self) {
        let mut ends = self.shared.ends();
        ends.senders -= 1;
        let last = ends.senders == 0;
        drop(ends);
        if last {
            self.shared.wake_all();
        }
    }
}

impl<T> Clone for WatchReceiver<T> {
    fn clone(&self) -> Self {
        self.shared.receiver(self.seen)
    }
}

impl<T> Drop for WatchReceiver<T> {
    fn drop(&mut self) {
        let mut ends = self.shared.ends();
        ends.receivers -= 1;
        let waker = ends.waiting.remove(&self.id);
        drop(ends);
        drop(waker);
    }
}

impl Watch for SimWatch {
    type Sender<T: OptionalSend + OptionalSync> = WatchSender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = WatchReceiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = WatchRef<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (WatchSender<T>, WatchReceiver<T>) {
        let ends = Ends { senders: 1, ..Ends::default() };
        let shared = Arc::new(Shared { value: RwLock::new(init), ends: Mutex::new(ends) });
        let receiver = shared.receiver(0);
        (WatchSender { shared }, receiver)
    }
}

impl<T: OptionalSend + OptionalSync> watch::WatchSender<SimWatch, T> for WatchSender<T> {
    fn send(&self, value: T) -> Result<(), watch::SendError<T>> {
        if self.shared.ends().receivers == 0 {
            return Err(watch::SendError(value));
        }
        self.send_if_modified(|current| {
            *current = value;
            true
        });
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        let mut value = self.shared.value.write().unwrap_or_else(PoisonError::into_inner);
        if !modify(&mut value) {
            return false;
        }
        self.shared.ends().version += 1;
        drop(value);
        self.shared.wake_all();
        true
    }

    fn borrow_watched(&self) -> WatchRef<'_, T> {
        self.shared.read()
    }

    fn subscribe(&self) -> WatchReceiver<T> {
        let version = self.shared.ends().version;
        self.shared.receiver(version)
    }
}

impl<T: OptionalSend + OptionalSync> watch::WatchReceiver<SimWatch, T> for WatchReceiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        let (shared, id) = (&self.shared, self.id);
        let seen = &mut self.seen;
        poll_fn(move |context| {
            let mut ends = shared.ends();
            if ends.version != *seen {
                *seen = ends.version;
                return Poll::Ready(Ok(()));
            }
            if ends.senders == 0 {
                return Poll::Ready(Err(RecvError(())));
            }
            let old = ends.waiting.insert(id, context.waker().clone());
            drop(ends);
            drop(old);
            Poll::Pending
        })
        .await
    }

    fn borrow_watched(&self) -> WatchRef<'_, T> {
        self.shared.read()
    }

    fn borrow_and_update(&mut self) -> WatchRef<'_, T> {
        self.seen = self.shared.ends().version;
        self.shared.read()
    }
}
