//! How a query shares its work out. A short one keeps to its own thread: waking others takes longer than it does. A long
//! one leaves room for others: it works in waves, says between them that it can rest, and after a time works on threads
//! that run only as far as others leave them time.
//!
//! Who rests, and for how long, is not decided here: whoever runs a query says what to do between waves.

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::cell::RefCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use timberlog_disk::real::{Niceness, lower_thread_priority};

/// So many units are read between two rests at first, and so many for each thread where there are many.
const WAVE_UNITS_MIN: usize = 32;
const WAVE_UNITS_PER_THREAD: usize = 4;
/// And so many at most.
const WAVE_UNITS_MAX: usize = 1024;
/// A wave that took less than this is followed by a longer one: each ends with threads that wait for the last of them.
const SHORT_WAVE: Duration = Duration::from_millis(4);
/// A query that has run for so long gives way to those that have not.
const LONG: Duration = Duration::from_millis(200);
/// Work that seems to take longer than this is shared out: to hand some of it over, and to be woken when it is done, takes
/// a tenth of that, on each thread.
const ALONE: Duration = Duration::from_millis(1);

/// An estimate from less than this says nothing: the first item finds nothing at hand. And so often the clock is looked at.
const LOOK: Duration = Duration::from_micros(50);
/// Items that take next to nothing are not worth a look at the clock each.
const ITEMS_A_LOOK_MAX: usize = 32;

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
pub(crate) struct Wave {
    /// How many the next one has.
    pub units: usize,
}

impl Default for Wave {
    fn default() -> Self {
        Self { units: WAVE_UNITS_MIN.max(WAVE_UNITS_PER_THREAD * rayon::current_num_threads()) }
    }
}

impl Wave {
    /// Runs one; the next one has more units if this one was short.
    pub fn run<T>(&mut self, wave: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = wave();
        if began.elapsed() < SHORT_WAVE {
            self.units = (self.units * 2).min(WAVE_UNITS_MAX.max(self.units));
        }
        done
    }
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

/// How one query works; shared by its threads.
#[derive(Default)]
pub(crate) struct Pace {
    /// It was worth sharing work out before, and is taken to be again.
    has_shared: AtomicBool,
}

impl Pace {
    /// Adds items up, in a wave of a query that has run for so long. It begins alone; when what is left would take long as
    /// it goes so far, other threads help. What they come to is merged in the order of the items.
    pub fn fold<T: Sync, S: Send, E: Send>(
        &self,
        so_far: Duration,
        items: &[T],
        start: impl Fn() -> S + Sync,
        add: impl Fn(S, &T) -> Result<S, E> + Sync,
        merge: impl Fn(S, S) -> Result<S, E> + Sync,
    ) -> Result<S, E> {
        let (mut sum, mut left) = (start(), items);
        if !self.has_shared.load(Relaxed) && so_far <= LONG {
            (sum, left) = alone(sum, items, &add)?;
        }
        if left.is_empty() {
            return Ok(sum);
        }
        self.has_shared.store(true, Relaxed);
        let shared = || left.par_iter().try_fold(&start, &add).try_reduce_with(&merge);
        let others = match (so_far > LONG).then(background).flatten() {
            Some(pool) => pool.install(shared),
            None => shared(),
        };
        match others {
            Some(others) => merge(sum, others?),
            None => Ok(sum),
        }
    }
}

/// Adds items up until it is clear that they take long; gives those that are left. One by itself cannot be shared.
fn alone<T, S, E>(mut sum: S, items: &[T], add: impl Fn(S, &T) -> Result<S, E>) -> Result<(S, &[T]), E> {
    let (began, mut look) = (Instant::now(), 1);
    for (done, item) in items.iter().enumerate() {
        let left = items.len() - done;
        if done == look && left > 1 {
            let so_far = began.elapsed();
            let each = so_far.as_secs_f64() / done as f64;
            if so_far >= LOOK && each * left as f64 > ALONE.as_secs_f64() {
                return Ok((sum, items.get(done..).unwrap_or_default()));
            }
            // As a float of any size becomes an integer: within its bounds.
            look = done + ((LOOK.as_secs_f64() / each) as usize).clamp(1, ITEMS_A_LOOK_MAX);
        }
        sum = add(sum, item)?;
    }
    Ok((sum, &[]))
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
    use std::collections::HashSet;
    use std::rc::Rc;
    use std::sync::Mutex;

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
    fn a_query_within_another_rests_as_it_says() {
        let rests = Rc::new(Cell::new((0, 0)));
        let (outer, inner) = (Rc::clone(&rests), Rc::clone(&rests));
        let within = move || {
            let inner = Rc::clone(&inner);
            resting(move || inner.update(|(a, b)| (a, b + 1)), rest);
        };
        let between = within.clone();
        let count = move || {
            outer.update(|(a, b)| (a + 1, b));
            between();
        };
        resting(count, || {
            rest();
            within();
            rest();
        });
        assert_eq!(rests.get(), (2, 3));
    }

    #[test]
    fn short_waves_grow_and_long_ones_stay() {
        let mut wave = Wave::default();
        let first = wave.units;
        wave.run(|| std::thread::sleep(SHORT_WAVE * 2));
        assert_eq!(wave.units, first);
        (0..20).for_each(|_| wave.run(|| ()));
        assert_eq!(wave.units, WAVE_UNITS_MAX.max(first));
    }

    /// The names of the threads that worked on some items, and the items in the order in which they were merged.
    fn worked(pace: &Pace, so_far: Duration, items: u32, each: Duration) -> (HashSet<String>, Vec<u32>) {
        let names = Mutex::new(HashSet::new());
        let items: Vec<u32> = (0..items).collect();
        let add = |mut done: Vec<u32>, item: &u32| {
            std::thread::sleep(each);
            names.lock().unwrap().insert(std::thread::current().name().unwrap_or_default().to_owned());
            done.push(*item);
            Ok::<_, ()>(done)
        };
        let merge = |mut a: Vec<u32>, mut b: Vec<u32>| {
            a.append(&mut b);
            Ok(a)
        };
        let done = pace.fold(so_far, &items, Vec::new, add, merge).unwrap();
        (names.into_inner().unwrap(), done)
    }

    #[test]
    fn a_short_query_keeps_to_its_thread_and_a_long_one_shares_its_work() {
        let own = HashSet::from([std::thread::current().name().unwrap_or_default().to_owned()]);
        let pace = Pace::default();
        assert_eq!(worked(&pace, Duration::ZERO, 0, Duration::ZERO), (own.iter().take(0).cloned().collect(), vec![]));
        assert_eq!(worked(&pace, Duration::ZERO, 1, ALONE * 3).0, own);
        let (names, done) = worked(&pace, Duration::ZERO, 9, ALONE);
        assert!(names.len() > 1, "{names:?}");
        assert_eq!(done, (0..9).collect::<Vec<_>>());
        // From then on it does not begin alone.
        let (names, done) = worked(&pace, Duration::ZERO, 2, Duration::ZERO);
        assert!(names.is_disjoint(&own), "{names:?}");
        assert_eq!(done, [0, 1]);
    }

    #[test]
    fn a_query_that_has_run_for_long_works_on_threads_that_let_others_go_first() {
        let (names, done) = worked(&Pace::default(), LONG * 2, 3, Duration::ZERO);
        assert!(names.iter().all(|name| name.starts_with("timberlog-long-")), "{names:?}");
        assert_eq!(done, [0, 1, 2]);
    }

    #[test]
    fn an_error_ends_the_work() {
        let fails = |_: u32, item: &u32| if *item == 3 { Err(*item) } else { Ok(0) };
        let pace = Pace::default();
        for so_far in [Duration::ZERO, LONG * 2] {
            assert_eq!(pace.fold(so_far, &[1, 2, 3, 4], || 0, fails, |_, _| Ok(0)), Err(3));
        }
    }
}
