//! Spawning and sleeping without naming a runtime: what a member's handle needs of the runtime
//! that its engine runs on.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use openraft::AsyncRuntime;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A runtime, as seen from a handle without type parameters.
pub(crate) trait Tasks: Send + Sync {
    /// Runs `task` beside the others.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Is ready after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// [`Tasks`] on openraft's runtime `R`.
struct RuntimeTasks<R>(PhantomData<fn() -> R>);

impl<R: AsyncRuntime> Tasks for RuntimeTasks<R> {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(R::spawn(task));
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(R::sleep(duration))
    }
}

/// The tasks of runtime `R`.
pub(crate) fn tasks_of<R: AsyncRuntime>() -> Arc<dyn Tasks> {
    Arc::new(RuntimeTasks::<R>(PhantomData))
}

/// Waits for `future`, but no longer than `limit`.
pub(crate) async fn within<T>(
    tasks: &dyn Tasks,
    limit: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let sleep = tasks.sleep(limit);
    futures_util::pin_mut!(future);
    match futures_util::future::select(future, sleep).await {
        futures_util::future::Either::Left((value, _)) => Some(value),
        futures_util::future::Either::Right(_) => None,
    }
}
