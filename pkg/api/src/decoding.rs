//! Where bodies are decoded: the short ones where they came in, longer ones on as many threads as there are cores, by turns
//! of tenants, so that one that sends a lot waits for itself.
//!
//! Decoding takes milliseconds. On the threads that serve connections it would hold up all that are ready, those of other
//! tenants too: there, who came first goes first.
//!
//! What a tenant sends beyond its share ([`crate::shares`]) is decoded on as many threads of a low priority.

use crate::error::ApiError;
use crate::line::Line;
use crate::shares::Shares;
use crate::threads::LowThreads;
use axum::http::StatusCode;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use timberlog_db::thread_cpu_time;
use timberlog_types::Tenant;
use tokio::sync::oneshot;

/// Decoding this much takes a fifth of a millisecond: to hand it over, and to be woken when it is done, takes no less.
const INLINE_BYTES_MAX: usize = 32 << 10;

/// To wake a thread takes less than this where a core is free.
const WAKING: Duration = Duration::from_micros(100);

/// Is told how long its thread waited for a core until it began.
type Work = Box<dyn FnOnce(Duration) + Send>;

/// Threads that decode.
pub struct Decoding {
    threads_max: usize,
    usual: Mutex<Lane>,
    low: Mutex<Lane>,
    low_threads: LowThreads,
    shares: Arc<Shares>,
}

/// How many threads run, and what waits for one.
#[derive(Default)]
struct Lane {
    threads: usize,
    waiting: Line<Work>,
}

/// Which threads.
#[derive(Clone, Copy)]
enum Priority {
    Usual,
    Low,
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
    /// At most so many threads of each priority.
    pub fn new(threads_max: usize, shares: Arc<Shares>) -> Self {
        let low_threads = LowThreads::new("timberlog-decode");
        Self { threads_max: threads_max.max(1), usual: Mutex::default(), low: Mutex::default(), low_threads, shares }
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
        let request = self.shares.enter(tenant);
        let (sender, receiver) = oneshot::channel();
        match request.beyond_share() {
            None if bytes <= INLINE_BYTES_MAX => Ok(work()),
            None => {
                let work = move |_: Duration| {
                    if !sender.is_closed() {
                        drop(sender.send(work()));
                    }
                };
                self.enter(Priority::Usual, tenant, Box::new(work));
                receiver.await.map_err(|_| Defect)
            }
            Some(at) => {
                tokio::time::sleep_until(at.into()).await;
                let work = move |waited: Duration| {
                    if !sender.is_closed() {
                        let (began, used) = (Instant::now(), thread_cpu_time());
                        let done = work();
                        let used = thread_cpu_time().saturating_sub(used);
                        request.took(used, waited + began.elapsed().saturating_sub(used));
                        drop(sender.send(done));
                    }
                };
                self.enter(Priority::Low, tenant, Box::new(work));
                receiver.await.map_err(|_| Defect)
            }
        }
    }

    fn enter(self: &Arc<Self>, priority: Priority, tenant: &Tenant, work: Work) {
        let mut lane = self.lane(priority);
        lane.waiting.enter(tenant, work);
        if lane.threads < self.threads_max {
            lane.threads += 1;
            let (of_thread, woken) = (Arc::clone(self), Instant::now());
            let decode = move || of_thread.work(priority, woken.elapsed().saturating_sub(WAKING));
            drop(match priority {
                Priority::Usual => tokio::task::spawn_blocking(decode),
                Priority::Low => self.low_threads.spawn(decode),
            });
        }
    }

    /// What one thread does: work, as long as there is some.
    fn work(&self, priority: Priority, waited: Duration) {
        let mut waited = Some(waited);
        while let Some(work) = self.next(priority) {
            let waited = waited.take().unwrap_or_default();
            if catch_unwind(AssertUnwindSafe(|| work(waited))).is_err() {
                tracing::error!("decoding ended in a panic");
            }
        }
    }

    fn next(&self, priority: Priority) -> Option<Work> {
        let mut lane = self.lane(priority);
        let next = lane.waiting.leave_first();
        if next.is_none() {
            lane.threads -= 1;
        }
        next.map(|(_, work)| work)
    }

    fn lane(&self, priority: Priority) -> MutexGuard<'_, Lane> {
        let lane = match priority {
            Priority::Usual => &self.usual,
            Priority::Low => &self.low,
        };
        lane.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn decoding() -> Decoding {
        Decoding::new(1, Arc::new(Shares::new(1)))
    }

    fn thread() -> Option<String> {
        std::thread::current().name().map(str::to_owned)
    }

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
        let decoding = Arc::new(decoding());
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
        let decoding = Arc::new(decoding());
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
        let decoding = Arc::new(decoding());
        let of = tenant("a");
        let failed = decoding.run(&of, LONG, || std::panic::resume_unwind(Box::new("a defect"))).await;
        assert_eq!(failed, Err::<(), _>(Defect));
        assert_eq!(decoding.run(&of, LONG, || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn short_bodies_are_decoded_where_they_came_in() {
        let decoding = Arc::new(decoding());
        let here = std::thread::current().id();
        let thread = || std::thread::current().id();
        assert_eq!(decoding.run(&tenant("a"), INLINE_BYTES_MAX, thread).await, Ok(here));
        assert_ne!(decoding.run(&tenant("a"), LONG, thread).await, Ok(here));
    }

    #[tokio::test]
    async fn what_is_beyond_a_share_is_decoded_at_low_priority_and_at_a_pace() {
        let decoding = Arc::new(decoding());
        let (flood, other) = (tenant("flood"), tenant("other"));
        let low = Some("timberlog-decode".to_owned());
        let under_way = [(); 2].map(|()| decoding.shares.enter(&flood));
        assert_ne!(decoding.run(&flood, LONG, thread).await, Ok(low.clone()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        decoding.shares.notice(&other);
        for bytes in [1, LONG] {
            assert_eq!(decoding.run(&flood, bytes, thread).await, Ok(low.clone()));
            assert_ne!(decoding.run(&other, bytes, thread).await, Ok(low.clone()));
        }
        let began = Instant::now();
        let long = Duration::from_secs(1);
        for _ in 0..2 {
            under_way[0].took(long, Duration::ZERO);
            assert_eq!(decoding.run(&flood, 1, thread).await, Ok(low.clone()));
        }
        // An eighth of it counts at once.
        assert!(began.elapsed() >= long / 8, "{:?}", began.elapsed());
        assert_eq!(decoding.shares.beyond(), 4);
    }
}
