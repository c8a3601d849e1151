//! The bounded queue before the writer, and the thread that empties it.

use super::format;
use super::types::{Append, Body, Done, WalOptions};
use super::writer::WalWriter;
use crate::options::Durability;
use crate::producers::ProducerBatch;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use timberlog_types::{Error, ErrorKind, Result, Seq, Tenant};

const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// An append with what can be known of its frame before it has a number.
pub(super) struct Pending {
    pub(super) tenant: Tenant,
    pub(super) body: Body,
    pub(super) producer: Option<ProducerBatch>,
    /// Bytes of the frame.
    pub(super) frame_len: u64,
    /// Computed by whoever appends: the writer is one thread, they are many.
    pub(super) payload_crc: u32,
    answer: Answer,
    _room: Room,
}

impl Pending {
    /// The producer's name and answer must have been checked.
    pub(super) fn new(append: Append) -> Self {
        let Append { tenant, body, producer, done } = append;
        let payload = body.payload();
        let frame_len = format::frame_len(&tenant, producer.as_ref(), payload.len());
        let payload_crc = format::payload_crc(&tenant, producer.as_ref(), payload);
        Self { tenant, body, producer, frame_len, payload_crc, answer: Answer(Some(done)), _room: Room(None) }
    }

    pub(super) fn finish(mut self, result: Result<Seq>) {
        self.answer.give(result);
    }

    /// Takes the answer out: the rest is no longer needed.
    pub(super) fn into_answer(self) -> Answer {
        self.answer
    }
}

/// Calls `done` exactly once, whatever becomes of the append.
pub(super) struct Answer(Option<Done>);

impl Answer {
    pub(super) fn give(&mut self, result: Result<Seq>) {
        if let Some(done) = self.0.take() {
            done(result);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.give(Err(super::closed()));
    }
}

/// What waits, and how fast it goes.
#[derive(Default)]
struct Gauge {
    len: AtomicUsize,
    bytes: AtomicUsize,
    bytes_per_s: AtomicU64,
}

/// The room that a pending append takes in the queue, until it is dropped.
struct Room(Option<(Arc<Gauge>, usize)>);

impl Drop for Room {
    fn drop(&mut self) {
        if let Some((gauge, bytes)) = self.0.take() {
            gauge.len.fetch_sub(1, Ordering::Relaxed);
            gauge.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

enum Message {
    Append(Pending),
    Sync(Sender<Result<Seq>>),
    Close(Sender<Result<Seq>>),
}

/// The queue. The channel itself has no bound: `gauge` has.
pub(super) struct Queue {
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    gauge: Arc<Gauge>,
    len_max: usize,
    bytes_max: usize,
    group_bytes_max: usize,
    durability: Durability,
}

impl Queue {
    pub(super) fn new(options: &WalOptions) -> Self {
        let (sender, receiver) = unbounded();
        Self {
            sender,
            receiver,
            gauge: Arc::default(),
            len_max: options.queue_len_max.max(1),
            bytes_max: options.queue_bytes_max,
            group_bytes_max: options.group_bytes_max,
            durability: options.durability,
        }
    }

    pub(super) fn push(&self, append: Append) -> Result<()> {
        append.producer.as_ref().map_or(Ok(()), ProducerBatch::check)?;
        let room = self.take_room(append.body.payload().len())?;
        let mut pending = Pending::new(append);
        pending._room = room;
        self.sender.send(Message::Append(pending)).map_err(|message| {
            // The caller is told by this error, not by `done`.
            if let Message::Append(mut pending) = message.0 {
                pending.answer.0 = None;
            }
            super::closed()
        })
    }

    pub(super) fn queued(&self) -> (usize, usize) {
        (self.gauge.len.load(Ordering::Relaxed), self.gauge.bytes.load(Ordering::Relaxed))
    }

    fn take_room(&self, bytes: usize) -> Result<Room> {
        let len = self.gauge.len.fetch_add(1, Ordering::Relaxed);
        let queued = self.gauge.bytes.fetch_add(bytes, Ordering::Relaxed);
        let room = Room(Some((Arc::clone(&self.gauge), bytes)));
        if len >= self.len_max || (len > 0 && queued.saturating_add(bytes) > self.bytes_max) {
            let rate = self.gauge.bytes_per_s.load(Ordering::Relaxed);
            let wait = if rate == 0 { 1.0 } else { queued as f64 / rate as f64 };
            let retry_after = Duration::from_secs_f64(wait.min(RETRY_MAX.as_secs_f64())).max(RETRY_MIN);
            let message = format!("{len} batches with {queued} bytes wait for the WAL already");
            return Err(Error::new(ErrorKind::Overloaded { retry_after }, message));
        }
        Ok(room)
    }

    /// Commits everything that waits, as one group, and returns how many batches that were.
    pub(super) fn step(&self, writer: &mut WalWriter) -> usize {
        let group: Vec<Pending> = self
            .receiver
            .try_iter()
            .filter_map(|message| match message {
                Message::Append(pending) => Some(pending),
                // Sent only to a thread.
                Message::Sync(_) | Message::Close(_) => None,
            })
            .collect();
        let len = group.len();
        if len > 0 {
            writer.commit(group);
        }
        len
    }

    pub(super) fn sync(&self) -> Result<Seq> {
        self.ask(Message::Sync)
    }

    pub(super) fn close(&self) -> Result<()> {
        self.ask(Message::Close).map(|_| ())
    }

    fn ask(&self, message: fn(Sender<Result<Seq>>) -> Message) -> Result<Seq> {
        let (sender, receiver) = bounded(1);
        self.sender.send(message(sender)).map_err(|_| super::closed())?;
        receiver.recv().map_err(|_| super::closed())?
    }

    pub(super) fn spawn(&mut self, writer: WalWriter) -> Result<JoinHandle<()>> {
        // The thread has the only receiver: what it has not taken when it ends is answered by the
        // channel's end.
        let (_, nothing) = unbounded();
        let drain = Drain {
            receiver: std::mem::replace(&mut self.receiver, nothing),
            gauge: Arc::clone(&self.gauge),
            group_bytes_max: self.group_bytes_max as u64,
            interval: match self.durability {
                Durability::Fsync => None,
                Durability::Async { interval } => Some(interval),
            },
        };
        let builder = std::thread::Builder::new().name("wal-writer".into());
        let spawned = builder.spawn(move || drain.run(writer));
        spawned.map_err(|error| Error::io("start the WAL writer's thread", &error))
    }
}

/// The thread's side of the queue.
struct Drain {
    receiver: Receiver<Message>,
    gauge: Arc<Gauge>,
    group_bytes_max: u64,
    interval: Option<Duration>,
}

impl Drain {
    fn run(&self, mut writer: WalWriter) {
        let _guard = PanicGuard(Arc::clone(writer.shared()));
        let mut held = None;
        loop {
            let message = match held.take() {
                Some(message) => message,
                None => match self.wait(&writer) {
                    Ok(message) => message,
                    Err(RecvTimeoutError::Timeout) => {
                        self.sync_if_due(&mut writer);
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => {
                        let _ = writer.sync();
                        return;
                    }
                },
            };
            match message {
                Message::Append(pending) => {
                    held = self.commit_group(&mut writer, pending);
                    self.sync_if_due(&mut writer);
                }
                Message::Sync(answer) => {
                    let _ = answer.send(writer.sync());
                }
                Message::Close(answer) => {
                    let synced = writer.close();
                    writer.shared().close();
                    let _ = answer.send(synced);
                    return;
                }
            }
        }
    }

    fn wait(&self, writer: &WalWriter) -> Result<Message, RecvTimeoutError> {
        match self.interval.filter(|_| writer.is_dirty()) {
            None => self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(interval) => self.receiver.recv_timeout(interval.saturating_sub(writer.dirty_for())),
        }
    }

    fn sync_if_due(&self, writer: &mut WalWriter) {
        if self.interval.is_some_and(|interval| writer.is_dirty() && writer.dirty_for() >= interval) {
            // A failure poisons the writer; whoever appends next is told.
            let _ = writer.sync();
        }
    }

    /// Commits a batch together with all that wait behind it; returns a message that is no append.
    fn commit_group(&self, writer: &mut WalWriter, first: Pending) -> Option<Message> {
        let mut bytes = first.frame_len;
        let mut group = vec![first];
        let mut held = None;
        while bytes < self.group_bytes_max {
            match self.receiver.try_recv() {
                Ok(Message::Append(pending)) => {
                    bytes = bytes.saturating_add(pending.frame_len);
                    group.push(pending);
                }
                Ok(other) => {
                    held = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        let start = writer.monotonic_ns();
        writer.commit(group);
        let ns = writer.monotonic_ns().saturating_sub(start).max(1);
        let rate = u64::try_from(u128::from(bytes) * 1_000_000_000 / u128::from(ns)).unwrap_or(u64::MAX);
        self.gauge.bytes_per_s.store(rate, Ordering::Relaxed);
        held
    }
}

/// Poisons the writer if its thread panics: nobody is left waiting for it.
struct PanicGuard(Arc<super::writer::Shared>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison("the WAL writer panicked");
        }
    }
}
