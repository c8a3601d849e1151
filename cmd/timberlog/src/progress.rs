//! A sign of life while a query takes long: on standard error, and only on a terminal.

use crate::units;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Shorter queries show nothing.
const QUIET: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(200);
/// To the beginning of the line, and clear it.
const CLEAR: &str = "\r\x1b[K";

/// Shows how long a query takes and how many records came so far.
pub struct Progress {
    records: Arc<AtomicU64>,
    showing: Option<(Sender<()>, JoinHandle<()>)>,
    is_shared: bool,
}

impl Progress {
    /// Begins to show, in a while.
    pub fn start() -> Self {
        let records = Arc::new(AtomicU64::new(0));
        let is_shared = std::io::stdout().is_terminal();
        if !std::io::stderr().is_terminal() {
            return Self { records, showing: None, is_shared };
        }
        let (stop, stopped) = mpsc::channel();
        let seen = Arc::clone(&records);
        let thread = std::thread::spawn(move || {
            let started = Instant::now();
            let mut wait = QUIET;
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                wait = TICK;
                let (elapsed, records) = (units::duration(started.elapsed()), units::records(seen.load(Relaxed)));
                let _ = write!(std::io::stderr(), "{CLEAR}{records}, {elapsed}");
            }
            if wait == TICK {
                let _ = write!(std::io::stderr(), "{CLEAR}");
            }
        });
        Self { records, showing: Some((stop, thread)), is_shared }
    }

    /// Counts a record that is about to be printed. Where the terminal shows it, it is sign enough.
    pub fn saw_record(&mut self) {
        self.records.fetch_add(1, Relaxed);
        if self.is_shared {
            self.stop();
        }
    }

    /// Shows nothing any more.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.showing.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop();
    }
}
