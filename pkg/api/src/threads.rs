//! Threads of a lower priority, for queries and for what a tenant sends beyond its share: they run only as far as other
//! appends leave them time.
//!
//! Where a machine has time for all nobody notices. Where it has not, a query may take longer, and what is to be kept
//! is still taken.

use timberlog_db::{Niceness, lower_thread_priority};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Threads that may block, made when they are needed and ended when they are not. Without them (a system refused what the
/// runtime asks for) the work runs beside everything else.
#[derive(Debug)]
pub struct LowThreads(Option<Runtime>);

impl LowThreads {
    /// No thread yet; those that come have this name.
    pub fn new(name: &'static str) -> Self {
        let mut builder = Builder::new_current_thread();
        builder.thread_name(name).on_thread_start(|| lower_thread_priority(Niceness::Query));
        Self(builder.build().ok())
    }

    /// Runs work on one of them; only within the server's async runtime.
    pub fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn_blocking(work),
            None => tokio::task::spawn_blocking(work),
        }
    }
}

impl Drop for LowThreads {
    fn drop(&mut self) {
        // Not waited for: it may go on one of the server's own threads.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_runs_on_threads_of_their_own_that_let_others_go_first() {
        let threads = LowThreads::new("timberlog-query");
        let niceness = || {
            let status = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
            // The 19th field of proc(5), counted from behind the name, which may have spaces.
            let behind = status.rsplit(')').next().unwrap_or_default().split_whitespace().nth(16).map(str::to_owned);
            (std::thread::current().name().map(str::to_owned), behind)
        };
        let (name, nice) = threads.spawn(niceness).await.unwrap();
        assert_eq!(name.as_deref(), Some("timberlog-query"));
        let (_, usual) = tokio::task::spawn_blocking(niceness).await.unwrap();
        if let (Some(nice), Some(usual)) = (nice, usual) {
            let (nice, usual): (i32, i32) = (nice.parse().unwrap(), usual.parse().unwrap());
            assert!(nice == 19 || nice > usual, "{nice} and {usual}");
        }
    }
}
