//! Where bodies are decoded: the short ones where they came in, longer ones on as many threads as there are cores, by turns
//! of tenants, so that one that sends a lot waits for itself.
//!
//! Decoding takes milliseconds. On the threads that serve connections it would hold up all that are ready, those of other
//! tenants too: there, who came first goes first.

use crate::error::ApiError;
use crate::line::Line;
use axum::http::StatusCode;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use timberlog_types::Tenant;
use tokio::sync::oneshot;

/// Decoding this much takes a fifth of a millisecond: to hand it over, and to be woken when it is done, takes no less.
const INLINE_BYTES_MAX: usize = 32 << 10;

type Work = Box<dyn FnOnce() + Send>;

/// Threads that decode.
pub struct Decoding {
    threads_max: usize,
    lines: Mutex<Lines>,
}

/// How many threads run, and what waits for one.
#[derive(Default)]
struct Lines {
    threads: usize,
    waiting: Line<Work>,
}

/// Decoding ended in a panic, which is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defect;

/// What is said of a [`Defect`].
pub const DEFECT: &str = "decoding failed by a defect; see the log";

impl From<Defect> for ApiError {
    fn from(Defect: Defect) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, DEFECT)
    }
}

impl Decoding {
    /// At most so many threads.
    pub fn new(threads_max: usize) -> Self {
        Self { threads_max: threads_max.max(1), lines: Mutex::default() }
    }

    /// Runs work on about so many bytes of a tenant. If the caller goes away before it has begun, it does not.
    ///
    /// # Errors
    /// [`Defect`] if it panics.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        tenant: &Tenant,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Defect> {
        if bytes <= INLINE_BYTES_MAX {
            return Ok(work());
        }
        let (sender, receiver) = oneshot::channel();
        let work = move || {
            if !sender.is_closed() {
                drop(sender.send(work()));
            }
        };
        self.enter(tenant, Box::new(work));
        receiver.await.map_err(|_| Defect)
    }

    fn enter(self: &Arc<Self>, tenant: &Tenant, work: Work) {
        let mut lines = self.lock();
        lines.waiting.enter(tenant, work);
        if lines.threads < self.threads_max {
            lines.threads += 1;
            let of_thread = Arc::clone(self);
            tokio::task::spawn_blocking(move || of_thread.work());
        }
    }

    /// What one thread does: work, as long as there is some.
    fn work(&self) {
        while let Some(work) = self.next() {
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::error!("decoding ended in a panic");
            }
        }
    }

    fn next(&self) -> Option<Work> {
        let mut lines = self.lock();
        let next = lines.waiting.leave_first();
        if next.is_none() {
            lines.threads -= 1;
        }
        next.map(|(_, work)| work)
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::pin::pin;
    use std::sync::mpsc;
    use tokio::sync::Semaphore;

    const LONG: usize = INLINE_BYTES_MAX + 1;

    fn tenant(name: &str) -> Tenant {
        Tenant::new(name).unwrap()
    }

    /// Keeps the only thread busy until the sender is used.
    fn busy(decoding: &Arc<Decoding>) -> (mpsc::Sender<()>, impl Future<Output = Result<(), Defect>> + use<>) {
        let (end, ended) = mpsc::channel::<()>();
        let decoding = Arc::clone(decoding);
        let work = async move { decoding.run(&tenant("busy"), LONG, move || ended.recv().unwrap()).await };
        (end, work)
    }

    #[tokio::test]
    async fn a_tenant_that_sends_a_lot_waits_for_itself() {
        let decoding = Arc::new(Decoding::new(1));
        let (end, busy) = busy(&decoding);
        let mut busy = pin!(busy);
        assert!(busy.as_mut().now_or_never().is_none());
        let order = Arc::new(Mutex::new(Vec::new()));
        let (flood, other) = (tenant("flood"), tenant("other"));
        let mut all = Vec::new();
        for (of, number) in [(&flood, 0), (&flood, 1), (&flood, 2), (&other, 3)] {
            let (decoding, order, of) = (Arc::clone(&decoding), Arc::clone(&order), of.clone());
            let mut work =
                Box::pin(async move { decoding.run(&of, LONG, move || order.lock().unwrap().push(number)).await });
            assert!(work.as_mut().now_or_never().is_none());
            all.push(work);
        }
        end.send(()).unwrap();
        busy.await.unwrap();
        for work in all {
            work.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [0, 3, 1, 2]);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_decoded() {
        let decoding = Arc::new(Decoding::new(1));
        let (end, busy) = busy(&decoding);
        let mut busy = pin!(busy);
        assert!(busy.as_mut().now_or_never().is_none());
        let decoded = Arc::new(Semaphore::new(0));
        let count = |decoded: &Arc<Semaphore>| {
            let decoded = Arc::clone(decoded);
            move || decoded.add_permits(1)
        };
        let (gone, stays) = (tenant("gone"), tenant("stays"));
        let left = decoding.run(&gone, LONG, count(&decoded)).now_or_never();
        assert!(left.is_none());
        let mut last = pin!(decoding.run(&stays, LONG, count(&decoded)));
        assert!(last.as_mut().now_or_never().is_none());
        end.send(()).unwrap();
        busy.await.unwrap();
        last.await.unwrap();
        assert_eq!(decoded.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_panic_is_told_and_the_thread_goes_on() {
        let decoding = Arc::new(Decoding::new(1));
        let of = tenant("a");
        let failed = decoding.run(&of, LONG, || std::panic::resume_unwind(Box::new("a defect"))).await;
        assert_eq!(failed, Err::<(), _>(Defect));
        assert_eq!(decoding.run(&of, LONG, || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn short_bodies_are_decoded_where_they_came_in() {
        let decoding = Arc::new(Decoding::new(1));
        let here = std::thread::current().id();
        let thread = || std::thread::current().id();
        assert_eq!(decoding.run(&tenant("a"), INLINE_BYTES_MAX, thread).await, Ok(here));
        assert_ne!(decoding.run(&tenant("a"), LONG, thread).await, Ok(here));
    }
}
