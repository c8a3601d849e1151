//! A WAL on a simulated machine, driven step by step.

mod crash;
mod damage;
mod deletes;
mod faults;
mod golden;
mod life;
mod reach;
mod thread;

use super::*;
use crate::options::Durability;
use crate::producers::ProducerBatch;
use std::path::Path;
use std::sync::Mutex;
use timberlog_disk::sim::Sim;
use timberlog_disk::{Disk, Open};
use timberlog_types::{Batch, BatchBuilder, ErrorKind, Tenant};

const ID: &str = "00112233445566778899aabbccddeeff";
const DIR: &str = "/db/wal";

/// A batch of one record with this message.
fn batch(message: &str) -> Arc<Batch> {
    let mut builder = BatchBuilder::new();
    let stream = builder.stream("web", &[("service", "web")]).unwrap();
    let level = builder.level(Some("INFO")).unwrap();
    builder.finish_row(7, stream, level, message.as_bytes()).unwrap();
    Arc::new(builder.finish().unwrap())
}

fn message(frame: &Frame) -> String {
    String::from_utf8(frame.body.batch().unwrap().message(0).to_vec()).unwrap()
}

fn options() -> WalOptions {
    WalOptions { file_bytes: 1, threading: Threading::Stepped, ..WalOptions::new(DIR, ID) }
}

/// What the WAL told: `publish`, `synced` and `done`, in this order of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Published(Seq, String),
    Synced(Seq),
    Done(String, Result<Seq, ErrorKind>),
}

#[derive(Default)]
struct Log(Mutex<Vec<Told>>);

impl Log {
    fn put(&self, told: Told) {
        self.0.lock().unwrap().push(told);
    }

    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Publish for Log {
    fn publish(&self, frames: Vec<Frame>) {
        for frame in frames {
            self.put(Told::Published(frame.seq, message(&frame)));
        }
    }

    fn synced(&self, seq: Seq) {
        self.put(Told::Synced(seq));
    }
}

/// An open WAL and what it replayed.
struct Opened {
    wal: Wal,
    log: Arc<Log>,
    report: ReplayReport,
    frames: Vec<Frame>,
}

impl Opened {
    fn replayed(&self) -> Vec<(Seq, String)> {
        self.frames.iter().map(|frame| (frame.seq, message(frame))).collect()
    }

    fn queue(&self, text: &str) -> Result<()> {
        self.queue_with(text, None)
    }

    fn queue_with(&self, text: &str, producer: Option<ProducerBatch>) -> Result<()> {
        let (log, told) = (Arc::clone(&self.log), text.to_owned());
        let done = Box::new(move |result: Result<Seq>| log.put(Told::Done(told, result.map_err(|error| error.kind))));
        self.wal.append(Append { tenant: Tenant::default(), body: batch(text).into(), producer, done })
    }

    /// Appends batches as one group; the results in order.
    fn group(&self, texts: &[&str]) -> Vec<Result<Seq, ErrorKind>> {
        self.log.take();
        for text in texts {
            self.queue(text).unwrap();
        }
        self.wal.step();
        let done = self.log.0.lock().unwrap().iter().filter_map(done).collect::<Vec<_>>();
        assert_eq!(done.len(), texts.len());
        done
    }

    fn append(&self, text: &str) -> Result<Seq, ErrorKind> {
        self.group(&[text]).remove(0)
    }
}

fn done(told: &Told) -> Option<Result<Seq, ErrorKind>> {
    match told {
        Told::Done(_, result) => Some(*result),
        _ => None,
    }
}

fn try_open(env: &Env, options: WalOptions, flushed_seq: Seq) -> Result<Opened> {
    let log = Arc::new(Log::default());
    let mut frames = Vec::new();
    let mut keep = |frame| {
        frames.push(frame);
        Ok(())
    };
    let (wal, report) = Wal::open(env, options, flushed_seq, Arc::clone(&log) as _, &mut keep, &|_, _| {})?;
    Ok(Opened { wal, log, report, frames })
}

fn open(sim: &Sim, flushed_seq: Seq) -> Opened {
    try_open(&sim.env(), options(), flushed_seq).unwrap()
}

/// A machine whose WAL holds `a` to `d`, each synced by itself, then `e`, `f`, `g` synced together.
fn sample() -> Sim {
    let sim = Sim::new(1);
    let opened = open(&sim, 0);
    for text in ["a", "b", "c", "d"] {
        assert!(opened.append(text).is_ok());
    }
    assert_eq!(opened.group(&["e", "f", "g"]), [Ok(5), Ok(6), Ok(7)]);
    sim
}

fn letters(count: usize) -> Vec<(Seq, String)> {
    (1..).zip("abcdefghijklmnopqrstuvwxyz".chars().map(String::from)).take(count).collect()
}

fn files(sim: &Sim) -> Vec<String> {
    sim.disk.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name).collect()
}

fn read(disk: &dyn Disk, name: &str) -> Vec<u8> {
    disk.open(&Path::new(DIR).join(name), Open::Read).unwrap().read_all(1 << 20).unwrap()
}

/// A machine with just these files in its WAL folder.
fn machine(files: &[(&str, &[u8])]) -> Sim {
    let sim = Sim::new(2);
    sim.disk.create_dir_all(Path::new(DIR)).unwrap();
    for (name, bytes) in files {
        let file = sim.disk.open(&Path::new(DIR).join(name), Open::CreateTruncate).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file.sync_data().unwrap();
    }
    sim.disk.sync_dir(Path::new(DIR)).unwrap();
    sim
}

/// Where each frame of the sample's only file begins, and where the last one ends.
fn bounds(sim: &Sim) -> Vec<usize> {
    let mut bounds = Vec::new();
    inspect(&sim.disk, Path::new(DIR), Some(0), &mut |found| {
        if let Inspected::Frame(info) = found {
            if bounds.is_empty() {
                bounds.push(info.offset as usize);
            }
            bounds.push((info.offset + info.bytes) as usize);
        }
        Ok(())
    })
    .unwrap();
    bounds
}
