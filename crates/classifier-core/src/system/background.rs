//! The small runtime on which a system does what nobody waits for.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};

use crate::error::{Error, ErrorKind, Result};

/// A runtime of one thread; it ends with this, without waiting for what it has under way.
pub(super) struct Background {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Background {
    pub(super) fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("hp-background")
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Io, format!("cannot start the background thread: {error}"))
                    .with_source(error)
            })?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }

    /// The future, which finds this runtime's timers and blocking threads whoever waits for it.
    pub(super) fn within<'f, T>(&self, future: impl Future<Output = T> + Send + 'f) -> Within<'f, T> {
        Within { handle: self.handle.clone(), future: Box::pin(future) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // A runtime that is dropped plainly waits for its threads, which must not be done in async code.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").finish_non_exhaustive()
    }
}

/// See [`Background::within`].
pub(super) struct Within<'f, T> {
    handle: Handle,
    future: Pin<Box<dyn Future<Output = T> + Send + 'f>>,
}

impl<T> Future for Within<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        let _entered = this.handle.enter();
        this.future.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Background;

    #[test]
    fn timers_and_blocking_threads_are_there_whoever_waits() {
        let background = Background::start().unwrap();
        let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let done = bare.block_on(background.within(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            tokio::task::spawn_blocking(|| 7).await.unwrap()
        }));
        assert_eq!(done, 7);
    }

    #[tokio::test]
    async fn it_may_be_dropped_in_async_code() {
        let background = Background::start().unwrap();
        background.handle().spawn(std::future::pending::<()>());
        drop(background);
    }
}
