//! The WAL: batches, and deletes, on disk before they are acknowledged, and back again after a crash.
//!
//! Requests queue up (bounded); one writer numbers them, writes them as frames behind each other,
//! makes a whole group durable with one fsync, publishes it in order of sequence and only then
//! calls each request's `done`. A failed fsync poisons the writer: it is never tried again. This
//! module owns every file in `wal/`. It must never decide what exists: the manifest does, and
//! replay starts behind its `flushed_seq`.

mod files;
mod format;
mod inspect;
mod meta;
mod queue;
mod reader;
mod recover;
mod replay;
mod scan;
mod seal;
#[cfg(test)]
mod tests;
mod types;
mod writer;

pub use format::VERSION;
pub use inspect::{FrameInfo, Inspected, Verification, inspect, verify};
pub use reader::{Reader, Run, read_run, waiting_bytes};
pub use seal::{SEALED_BYTES_MAX, Sealed, last_commit_time, read_sealed, seal};
pub use types::{Append, Body, Damage, Done, Frame, Publish, ReplayReport, Threading, TornTail, WalOptions};
pub use writer::WalWriter;

use queue::Queue;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use timberlog_disk::Env;
use timberlog_types::{Error, Result, Seq};
use writer::Shared;

/// The WAL of an open database.
pub struct Wal {
    shared: Arc<Shared>,
    queue: Queue,
    driver: Mutex<Driver>,
}

/// Who drives the writer.
enum Driver {
    Thread(JoinHandle<()>),
    Stepped(Box<WalWriter>),
    Gone,
}

impl Wal {
    /// Replays the frames with `seq > flushed_seq` in order into `on_frame` (which may block, to
    /// flush within its memory bound), then starts the writer. Every frame is durable before
    /// `on_frame` sees it. `progress` is told bytes done and bytes in all.
    ///
    /// Damage does not fail this: it is reported, and what is whole is replayed. Nothing is
    /// created but `wal.meta`; the first append makes the first file, so a database on a full
    /// disk still opens.
    ///
    /// # Errors
    /// `Invalid` if the files are of another database or a newer version; whatever `on_frame`
    /// answers; I/O errors other than damaged content.
    pub fn open(
        env: &Env,
        options: WalOptions,
        flushed_seq: Seq,
        publish: Arc<dyn Publish>,
        on_frame: &mut dyn FnMut(Frame) -> Result<()>,
        progress: &dyn Fn(u64, u64),
    ) -> Result<(Self, ReplayReport)> {
        let threading = options.threading;
        let mut queue = Queue::new(&options);
        let (writer, report) = WalWriter::open(env, options, flushed_seq, publish, on_frame, progress)?;
        let shared = Arc::clone(writer.shared());
        let driver = match threading {
            Threading::Own => Driver::Thread(queue.spawn(writer)?),
            Threading::Stepped => Driver::Stepped(Box::new(writer)),
        };
        Ok((Self { shared, queue, driver: Mutex::new(driver) }, report))
    }

    /// Hands a batch to the writer. After `Ok`, `done` is called exactly once, from the writer
    /// (it must not block); after `Err` it is dropped uncalled.
    ///
    /// # Errors
    /// `Overloaded` at once when the queue is full, `Closed` when the WAL is closed or poisoned,
    /// `Invalid` when the producer's name or answer is too long.
    pub fn append(&self, append: Append) -> Result<()> {
        self.shared.check_alive()?;
        self.queue.push(append)
    }

    /// Makes everything appended so far durable and returns up to where: in `async` mode a flush
    /// calls this before it commits. Blocks; not to be called from `done` or [`Publish`].
    ///
    /// # Errors
    /// `Closed` if the fsync failed, now or before.
    pub fn sync(&self) -> Result<Seq> {
        self.step();
        let mut driver = self.lock();
        match &mut *driver {
            Driver::Stepped(writer) => writer.sync(),
            Driver::Gone => Err(closed()),
            Driver::Thread(_) => {
                drop(driver);
                self.queue.sync()
            }
        }
    }

    /// Stepped mode: commits everything that is queued as one group and returns how many batches
    /// that were. With a writer thread of its own it does nothing.
    pub fn step(&self) -> usize {
        let mut driver = self.lock();
        match &mut *driver {
            Driver::Stepped(writer) => self.queue.step(writer),
            Driver::Thread(_) | Driver::Gone => 0,
        }
    }

    /// The last number given to a batch that was written.
    pub fn last_seq(&self) -> Seq {
        self.shared.last_seq()
    }

    /// Every batch up to this number is on disk.
    pub fn synced_seq(&self) -> Seq {
        self.shared.synced_seq()
    }

    /// The commit time of the last batch that was written, ns since 1970 UTC: ahead of a clock that was set back.
    pub fn commit_time(&self) -> i64 {
        self.shared.commit_time()
    }

    /// What is appended from now on has a later commit time than this, also where the clock is set back.
    pub fn close_time(&self, time: i64) {
        self.shared.close_time(time);
    }

    /// Bytes of the frames that were written since it was opened.
    pub fn written_bytes(&self) -> u64 {
        self.shared.written_bytes()
    }

    /// Batches and bytes that wait for the writer.
    pub fn queued(&self) -> (usize, usize) {
        self.queue.queued()
    }

    /// Why the writer takes nothing any more, if so.
    pub fn poisoned(&self) -> Option<String> {
        self.shared.poisoned()
    }

    /// Removes or recycles the files that hold only frames up to `flushed_seq`; the newest file
    /// always stays. Damaged files are set aside as `*.damaged`. Losing this in a crash is harmless.
    ///
    /// # Errors
    /// I/O errors; the files stay and are tried again by the next call.
    pub fn truncate(&self, flushed_seq: Seq) -> Result<()> {
        self.shared.truncate(flushed_seq)
    }

    /// Commits what is queued, makes it durable, and stops the writer. Later appends fail with
    /// `Closed`. Calling it again does nothing.
    ///
    /// # Errors
    /// `Closed` if the last fsync failed, or one before.
    pub fn close(&self) -> Result<()> {
        self.step();
        let driver = std::mem::replace(&mut *self.lock(), Driver::Gone);
        match driver {
            Driver::Gone => Ok(()),
            Driver::Stepped(mut writer) => {
                let synced = writer.close();
                self.shared.close();
                synced.map(|_| ())
            }
            Driver::Thread(thread) => {
                let closed = self.queue.close();
                self.shared.close();
                thread.join().map_err(|_| Error::internal("the WAL writer panicked"))?;
                closed
            }
        }
    }

    /// Whether this is the writer's thread, which calls `done` and [`Publish`].
    pub fn is_on_writer(&self) -> bool {
        matches!(&*self.lock(), Driver::Thread(thread) if thread.thread().id() == std::thread::current().id())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Driver> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        // Everything acknowledged is durable already (`fsync`) or this makes it so (`async`).
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the WAL was not closed cleanly");
        }
    }
}

fn closed() -> Error {
    Error::new(timberlog_types::ErrorKind::Closed, "the WAL is closed")
}
