//! How a long query leaves room for others: it works in waves, says between them that it can rest, and after a time
//! works on threads that run only as far as others leave them time.
//!
//! Who rests, and for how long, is not decided here: whoever runs a query says what to do between waves.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::Duration;
use timberlog_disk::real::{Niceness, lower_thread_priority};

/// So many units are read between two rests, and so many for each thread where there are many.
const WAVE_UNITS_MIN: usize = 32;
const WAVE_UNITS_PER_THREAD: usize = 4;
/// A query that has run for so long gives way to those that have not.
const LONG: Duration = Duration::from_millis(200);

/// What to do between two waves.
type Rest = Box<dyn FnMut()>;

thread_local! {
    static REST: RefCell<Option<Rest>> = const { RefCell::new(None) };
}

/// Takes back what to do when the work has ended, by a panic too.
struct Restore(Option<Rest>);

impl Drop for Restore {
    fn drop(&mut self) {
        let last = REST.replace(self.0.take());
        drop(last);
    }
}

/// How many units are read between two rests: enough to keep all threads busy.
pub(crate) fn wave_units() -> usize {
    WAVE_UNITS_MIN.max(WAVE_UNITS_PER_THREAD * rayon::current_num_threads())
}

/// Runs a query on this thread; `rest` is called between its waves, and dropped with its end.
pub fn resting<T>(rest: impl FnMut() + 'static, work: impl FnOnce() -> T) -> T {
    let _restore = Restore(REST.replace(Some(Box::new(rest))));
    work()
}

/// Between two waves of a query.
pub(crate) fn rest() {
    // Taken out meanwhile: what it does may run a query of its own.
    let Some(mut rest) = REST.take() else { return };
    rest();
    REST.set(Some(rest));
}

/// Runs a wave of a query that has run for so long.
pub(crate) fn wave<T: Send>(so_far: Duration, work: impl FnOnce() -> T + Send) -> T {
    match (so_far > LONG).then(background).flatten() {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

/// Threads of low priority, as many as there are of the usual one. Without them long queries run like others.
fn background() -> Option<&'static ThreadPool> {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let build = || {
        let builder = ThreadPoolBuilder::new().thread_name(|number| format!("timberlog-long-{number}"));
        builder.start_handler(|_| lower_thread_priority(Niceness::Background)).build().ok()
    };
    POOL.get_or_init(build).as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn what_to_do_between_waves_goes_with_the_query() {
        let rests = Rc::new(Cell::new(0));
        let counted = Rc::clone(&rests);
        resting(
            move || counted.set(counted.get() + 1),
            || {
                rest();
                rest();
            },
        );
        rest();
        assert_eq!((rests.get(), Rc::strong_count(&rests)), (2, 1));
    }

    #[test]
    fn a_long_query_works_on_other_threads() {
        let name = || std::thread::current().name().unwrap_or_default().to_owned();
        assert_eq!(wave(Duration::ZERO, name), name());
        assert!(wave(LONG * 2, name).starts_with("timberlog-long-"));
    }
}
