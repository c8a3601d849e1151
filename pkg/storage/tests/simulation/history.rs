//! A history: from a seed, what the processes on a data directory do, and how each of them ends.

mod compaction;
mod faults;
mod stores;

use crate::backups::Backups;
use crate::check::{self, Shown};
use crate::deletes::{Deletes, Selector, selectors};
use crate::held::Held;
use crate::machine::{Process, Sabotage};
use crate::model::{End, Fate, Model, Sent};
use crate::records;
use crate::report::Report;
use crate::shelf::Shelf;
use crate::tiering;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use timberlog_disk::sim::{Rng, Sim};
use timberlog_storage::producers::ProducerBatch;
use timberlog_storage::verify::verify;
use timberlog_storage::{
    Appended, BufferedBatch, CompactionOptions, Durability, Options, Progress, RetentionRule, Storage, Subscriber,
};
use timberlog_types::{Day, ErrorKind, Result as Answer, Seq, Tenant};

const DATA_DIR: &str = "/data";
/// Producers of each tenant.
const PRODUCERS: u64 = 2;
/// Starts, and reads, that may fail one after the other because of faults.
const FAILURES_MAX: u64 = 12;

/// Runs the history of a seed. `Err` says what the storage did wrong.
pub fn run(seed: u64, sabotage: Sabotage, tell: bool) -> Result<Report, String> {
    let mut history = History::new(seed, sabotage, tell);
    for _ in 0..3 + history.rng.below(4) {
        history.process(Mood::Wild)?;
    }
    history.end_in_calm()?;
    history.take_over()?;
    history.rot()?;
    history.count_faults();
    history.report.count("seeds", 1);
    Ok(history.report)
}

/// What befalls a process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Wild,
    Calm,
    /// Calm, and at its end compaction goes on until nothing is left to do.
    Settling,
}

/// What the storage tells of by itself.
#[derive(Default)]
struct Told {
    /// Batches that became visible.
    published: Vec<(u64, Seq)>,
    /// What became of appends.
    answers: Vec<(u64, Answer<Appended>)>,
}

#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Told>>);

impl Ear {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for Ear {
    fn published(&self, _: &Tenant, batch: &Arc<BufferedBatch>) {
        let number = records::batch_number(&batch.batch, 0).unwrap_or(u64::MAX);
        self.lock().published.push((number, batch.seq_max));
    }
}

struct History {
    rng: Rng,
    sim: Sim,
    sabotage: Sabotage,
    tell: bool,
    tenants: Vec<Tenant>,
    options: Options,
    model: Model,
    report: Report,
    ear: Ear,
    last_number: u64,
    /// Answers that are still to come.
    unanswered: u64,
    /// The numbers that producers of a tenant have used.
    producer_numbers: Vec<u64>,
    /// How the processes since the last start that was checked have ended, the worst.
    end: End,
    /// The durability of the last process that took batches.
    durability: Durability,
    /// Whether operations may fail without a kill or a power loss.
    is_faulty: bool,
    /// The wall clock has jumped, and nobody has confirmed it.
    jumped: bool,
    /// Hours by which the wall clock is behind the clock of retention, which was not set back with it.
    hours_behind: i64,
    /// The first day that records have.
    first_day: i32,
    /// Whether somebody holds snapshots.
    holds_snapshots: bool,
    /// The object store, if there is one.
    shelf: Option<Shelf>,
    /// The store of backups, if there are any.
    backups: Option<Backups>,
}

impl History {
    fn new(seed: u64, sabotage: Sabotage, tell: bool) -> Self {
        let mut rng = Rng::new(seed);
        let tenants: Vec<Tenant> = ["default", "other", "third"].map(|name| Tenant::new(name).unwrap()).into();
        let flush_bytes = 2_000 << rng.below(7);
        let compaction = CompactionOptions {
            segment_raw_bytes_max: 2_000 << rng.below(9),
            fan_in: 2 + rng.below(4) as usize,
            sealed_segments_max: rng.below(4) as usize,
            sealed_quiet: Duration::ZERO,
            zstd_level: 3,
            ..CompactionOptions::default()
        };
        let mut deletes = Deletes::default();
        let mut retention = Vec::new();
        if rng.percent(30) {
            let (selector, age) = (Selector::random(&mut rng), Duration::from_secs(3600 * (1 + rng.below(60))));
            retention.push(RetentionRule { tenant: None, selector: Some(selector.text()), age });
            deletes.rule = Some((selector, age));
        }
        if rng.percent(30) {
            let (tenant, age) = (Some(tenants[2].clone()), Duration::from_secs(3600 * (1 + rng.below(60))));
            retention.push(RetentionRule { tenant, selector: None, age });
        }
        // From numbers of its own: what else a seed means stays.
        let mut size = Rng::new(!seed);
        let bytes_max = (size.percent(25) && retention.is_empty()).then(|| 4_000 << size.below(6));
        deletes.evictions.bytes_max = bytes_max;
        // Or days of two months.
        let first_day = if size.percent(30) { records::FIRST_DAY + 29 } else { records::FIRST_DAY };
        let (has_reader, is_busy) = (size.percent(25), size.percent(50));
        let options = Options {
            selectors: selectors(),
            retention_bytes: bytes_max,
            delete_cancel_period: Duration::from_secs(3600 * u64::from(rng.percent(30))),
            retention,
            wal_file_bytes: 12_288 + (512 << rng.below(6)),
            flush_bytes,
            buffer_bytes_max: flush_bytes * 2,
            waiting_max: 2,
            wait_max: Duration::from_millis(1),
            partitions_per_flush_max: 1 + rng.below(8).saturating_sub(3) as usize,
            block_bytes: 1_000 << rng.below(5),
            user_indexes: if rng.percent(25) { vec!["trace_id".into(), "host".into()] } else { Vec::new() },
            manifest_history: 1 + rng.below(3) as usize,
            disk_free_bytes_min: 0,
            compaction,
            background: false,
            ..Options::new(DATA_DIR)
        };
        let has_shelf = rng.percent(50);
        let shelf = has_shelf.then(Shelf::default);
        let tier = shelf.as_ref().map(|shelf| tiering::options(shelf, &mut rng));
        // Retention is a matter of who reads, and a backup has what was removed since.
        let backups = (rng.percent(50) && options.retention.is_empty() && bytes_max.is_none()).then(Backups::default);
        // What is only in a bucket is not held.
        let holds_snapshots = has_reader && !has_shelf;
        let cache_bytes = if holds_snapshots { 0 } else { options.cache_bytes };
        let backups = backups.map(|backups| backups.beside_compaction(is_busy && !has_shelf));
        let archive = backups.as_ref().filter(|_| rng.percent(50)).map(Backups::archive);
        let options = Options { tier, archive, cache_bytes, ..options };
        let sim = Sim::new(rng.next());
        // Some or all days are over then, and what is left of them is merged too.
        let days_over = if rng.percent(50) { rng.below(7) as i32 } else { 0 };
        sim.clock.set_wall(Day(first_day + days_over).range().start);
        Self {
            sim,
            sabotage,
            tell,
            producer_numbers: vec![0; tenants.len() * PRODUCERS as usize],
            tenants,
            options,
            model: Model { deletes, ..Model::default() },
            report: Report::default(),
            ear: Ear::default(),
            last_number: 0,
            unanswered: 0,
            end: End::Closed,
            durability: Durability::Fsync,
            is_faulty: false,
            jumped: false,
            hours_behind: 0,
            first_day,
            holds_snapshots,
            shelf,
            backups,
            rng,
        }
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.tell {
            println!("step {:5}  {}", self.sim.disk.steps(), what());
        }
    }

    /// One process from its start to its end; and the machine after it.
    fn process(&mut self, mood: Mood) -> Result<(), String> {
        self.report.count("processes", 1);
        if self.rng.percent(60) {
            self.options.durability = match self.rng.below(2) {
                0 => Durability::Fsync,
                _ => Durability::Async { interval: Duration::from_millis(100) },
            };
        }
        let process = Process::start(&self.sim, self.sabotage);
        if let Some(shelf) = &self.shelf {
            shelf.serve(&process);
        }
        if let Some(backups) = &self.backups {
            backups.serve(&process);
        }
        if self.rng.percent(10) {
            let names = ["trace_id", "host", "status"].into_iter().filter(|_| self.rng.percent(50));
            self.options.user_indexes = names.map(str::to_owned).collect();
            self.report.count("indexes declared anew", 1);
        }
        if mood == Mood::Wild {
            self.draw_fate(&process);
        }
        if let Some(storage) = self.start(&process)? {
            let operations = 4 + self.rng.below(28);
            let mut held = Held::default();
            for _ in 0..operations {
                if process.is_dead() {
                    break;
                }
                self.operation(&storage, &process, mood)?;
                if self.holds_snapshots && !process.is_dead() {
                    let read = process.undisturbed(|| held.step(&storage, &self.tenants))?;
                    self.report.count("records read again in held snapshots", read);
                }
            }
            drop(held);
            if mood == Mood::Settling {
                self.settle(&storage, &process)?;
            }
            self.stop(storage, &process, mood)?;
        }
        self.report.count("reads that failed", process.failed_reads());
        if let Some(backups) = self.backups.as_mut().filter(|_| self.is_faulty) {
            backups.expect_any_line();
        }
        if self.sim.disk.is_crashed() {
            self.lose_power();
        }
        self.verify()
    }

    /// Between two processes `verify` has nothing to find: no crash, and no fault that was answered, is damage.
    fn verify(&mut self) -> Result<(), String> {
        self.sim.disk.set_undisturbed(true);
        let verified = verify(&self.sim.env(), Path::new(DATA_DIR), &|_, _| {});
        self.sim.disk.set_undisturbed(false);
        let report = match verified {
            Ok(report) => report,
            // No process has come so far as to commit anything.
            Err(error) if error.kind == ErrorKind::NotFound && self.model.last_seq() == 0 => return Ok(()),
            Err(error) => return Err(format!("verification after {:?}: {error}", self.end)),
        };
        self.report.count("verifications", 1);
        let is_whole = (report.segments_whole, report.blocks_whole, report.records_whole)
            == (report.segments, report.blocks, report.records);
        if report.damage.is_empty() && is_whole { Ok(()) } else { Err(format!("verification finds {report:?}")) }
    }

    fn count_faults(&mut self) {
        self.report.count("disk steps", self.sim.disk.steps());
        self.report.count_all(self.sim.disk.happened());
        let stores = [self.shelf.as_ref().map(Shelf::happened), self.backups.as_ref().map(Backups::happened)];
        stores.into_iter().flatten().for_each(|happened| self.report.count_all(happened));
    }

    fn lose_power(&mut self) {
        self.tell(|| "power loss".into());
        self.report.count("power losses", 1);
        self.report.count("disk steps", self.sim.disk.steps());
        self.sim = self.sim.recover(self.rng.next());
        self.end = End::PowerLoss;
        if self.is_faulty {
            // A pointer whose fsync failed is used by later starts, and may be taken back all the same.
            self.model.flushed_seq = 0;
            self.model.deletes.clock_ns = i64::MIN;
            self.model.deletes.evictions.doubt();
        }
        self.is_faulty = false;
        self.sim.disk.set_capacity(None);
        self.sim.disk.set_short_io(0);
    }

    /// Opens the storage and holds it against the model; `None` if the process dies over it.
    fn start(&mut self, process: &Arc<Process>) -> Result<Option<Storage>, String> {
        for _ in 0..FAILURES_MAX {
            let ear = self.ear.clone();
            let opened = Storage::open(self.options.clone(), process.env(), Arc::new(ear), &Progress::default());
            self.listen(Listening::Start)?;
            match opened {
                Ok(storage) => {
                    if self.check_start(&storage, process)? {
                        return Ok(Some(storage));
                    }
                    drop(storage);
                    self.listen(Listening::Start)?;
                    return Ok(None);
                }
                Err(error) => {
                    self.tell(|| format!("start failed: {error}"));
                    self.report.count("starts that failed", 1);
                    if process.is_dead() {
                        self.note_death();
                        return Ok(None);
                    }
                    let is_left_over = error.message.contains("which nothing names");
                    if !self.is_faulty || (is_left_over && !error.message.contains("manifest/root-")) {
                        return Err(format!("start failed: {error}"));
                    }
                    self.sim.disk.set_capacity(None);
                }
            }
        }
        Err("faults have passed and it still does not start".into())
    }

    fn note_death(&mut self) {
        if !self.sim.disk.is_crashed() {
            self.report.count("kills", 1);
            self.end = self.end.max(End::Killed);
        }
    }

    /// Checks what a start finds. False if the process died meanwhile.
    fn check_start(&mut self, storage: &Storage, process: &Process) -> Result<bool, String> {
        let Some(shown) = self.read(storage, process)? else {
            self.note_death();
            return Ok(false);
        };
        let stats = storage.stats();
        self.tell(|| {
            let (flushed, visible) = (stats.flushed_seq, stats.visible_seq);
            format!("started after {:?}: flushed to {flushed}, visible to {visible}", self.end)
        });
        if !stats.damage.is_empty() {
            return Err(format!("the start after {:?} found damage: {:?}", self.end, stats.damage));
        }
        // A write that failed after it was done leaves a batch that turns up now.
        if self.end == End::Closed && stats.buffer_records > 0 && !self.is_faulty {
            return Err(format!("{} records were replayed after a clean close", stats.buffer_records));
        }
        if stats.flushed_seq < self.model.flushed_seq {
            return Err(format!("{} is flushed, {} was before", stats.flushed_seq, self.model.flushed_seq));
        }
        self.check_named(storage, process)?;
        self.model.deletes.check_restart(storage)?;
        self.model.deletes.check_clock(storage)?;
        self.model.deletes.evictions.check_restart(storage, &self.tenants);
        let settled = self.model.check_restart(&shown.contents, self.end, self.durability)?;
        self.model.check_order(&shown.arrivals)?;
        let last_seq = self.model.last_seq();
        if stats.visible_seq < last_seq || stats.synced_seq < last_seq {
            let (visible, synced) = (stats.visible_seq, stats.synced_seq);
            return Err(format!("{visible} is visible and {synced} synced, {last_seq} was given"));
        }
        self.report.count("batches found that were not acknowledged", settled.found);
        self.report.count("batches that `async` lost", settled.lost);
        (self.end, self.durability) = (End::Killed, self.options.durability);
        self.model.synced_seq = stats.synced_seq;
        Ok(true)
    }

    /// Reads everything; `None` if the process dies over it.
    fn read(&mut self, storage: &Storage, process: &Process) -> Result<Option<Shown>, String> {
        for _ in 0..FAILURES_MAX {
            self.model.deletes.look_at_retention(storage, &self.tenants, self.jumped)?;
            match check::read(storage, &self.tenants) {
                Ok(Shown { wrong: Some(wrong), .. }) => return Err(wrong),
                Ok(Shown { index_damage: Some(damage), .. }) if !self.is_faulty => return Err(damage),
                Ok(shown) => return Ok(Some(shown)),
                Err(_) if process.is_dead() => return Ok(None),
                Err(error) if !self.is_faulty => return Err(format!("read failed: {error}")),
                Err(error) => self.tell(|| format!("read failed: {error}")),
            }
        }
        Err("faults have passed and reading still fails".into())
    }

    /// Holds what a process shows against the model behind each of its operations, and befalls nothing meanwhile.
    fn look_undisturbed(&mut self, storage: &Storage, process: &Process) -> Result<(), String> {
        if process.is_dead() {
            return Ok(());
        }
        self.report.count("looks", 1);
        process.undisturbed(|| self.look(storage, process))
    }

    /// Holds what a live process shows against the model.
    fn look(&mut self, storage: &Storage, process: &Process) -> Result<(), String> {
        let Some(shown) = self.read(storage, process)? else { return Ok(()) };
        self.model.check_live(&shown.contents)?;
        self.model.check_order(&shown.arrivals)
    }

    fn operation(&mut self, storage: &Storage, process: &Arc<Process>, mood: Mood) -> Result<(), String> {
        if self.rng.percent(12) {
            self.back_up(storage, process)?;
            // Its flush may have let appends in that waited for room.
            self.listen(if process.is_dead() { Listening::Dead } else { Listening::Alive })?;
        }
        match self.rng.below(100) {
            0..9 if self.shelf.is_some() => self.tier(storage, process)?,
            0..45 => self.append(storage),
            45..50 => self.append_again(storage),
            50..58 => self.delete(storage, process)?,
            58..60 => self.cancel(storage)?,
            60..62 => self.turn_the_clock(storage)?,
            62..76 => self.flush(storage, process)?,
            76..86 => self.compact(storage, process)?,
            86..90 => self.sim.clock.advance(Duration::from_millis(self.rng.below(500))),
            90..95 if mood == Mood::Wild => self.inject(process),
            _ => self.look(storage, process)?,
        }
        self.listen(if process.is_dead() { Listening::Dead } else { Listening::Alive })?;
        let stats = storage.stats();
        self.model.synced_seq = self.model.synced_seq.max(stats.synced_seq);
        self.model.flushed_seq = self.model.flushed_seq.max(stats.flushed_seq);
        self.look_undisturbed(storage, process)
    }

    fn append(&mut self, storage: &Storage) {
        self.last_number += 1;
        let number = self.last_number;
        let batch = records::batch_from(self.first_day, number, &mut self.rng);
        let tenant = self.rng.below(self.tenants.len() as u64) as usize;
        let producer = self.rng.percent(50).then(|| {
            let index = self.rng.below(PRODUCERS) as usize;
            let last = &mut self.producer_numbers[tenant * PRODUCERS as usize + index];
            *last += 1 + self.rng.below(2);
            let refused = vec![b'r'; self.rng.below(3) as usize * 100];
            ProducerBatch { refused, ..ProducerBatch::new(&format!("producer-{index}"), *last).unwrap() }
        });
        let sent = Sent {
            tenant: self.tenants[tenant].clone(),
            bytes: batch.as_bytes().into(),
            lines: records::lines(&batch).collect(),
            rows: records::rows(&batch).collect(),
            producer,
            fate: Fate::Open,
        };
        self.model.sent.insert(number, sent);
        self.send(storage, number);
    }

    /// Sends a batch with a producer's number again, one of the last.
    fn append_again(&mut self, storage: &Storage) {
        let with_number = self.model.sent.iter().rev().filter(|(_, sent)| sent.producer.is_some());
        let candidates: Vec<u64> = with_number.map(|(number, _)| *number).take(16).collect();
        let index = self.rng.below(candidates.len() as u64) as usize;
        let Some(&number) = candidates.get(index) else { return };
        self.send(storage, number);
    }

    fn send(&mut self, storage: &Storage, number: u64) {
        let Some(sent) = self.model.sent.get_mut(&number) else { return };
        if sent.fate == Fate::Gone {
            sent.fate = Fate::Open;
        }
        let (batch, tenant, producer) = (sent.batch(), sent.tenant.clone(), sent.producer.clone());
        self.tell(|| {
            let (rows, bytes) = (batch.rows(), batch.as_bytes().len());
            format!("send batch {number}: {rows} records, {bytes} bytes, {tenant} {producer:?}")
        });
        self.unanswered += 1;
        let ear = self.ear.clone();
        let done = Box::new(move |answer| ear.lock().answers.push((number, answer)));
        storage.append_then(&tenant, batch, producer, done);
    }

    fn flush(&mut self, storage: &Storage, process: &Process) -> Result<(), String> {
        let (before, clock_ns) = (storage.stats().visible_seq, storage.retention_status().clock_ns);
        let has_any = storage.stats().flushed_seq < before;
        let flushed = storage.flush();
        self.tell(|| format!("flush: {flushed:?}"));
        match flushed {
            Ok(()) => {
                self.report.count("flushes", 1);
                if has_any {
                    self.model.deletes.clock_ns = clock_ns;
                }
                let flushed = storage.stats().flushed_seq;
                if flushed < before {
                    return Err(format!("flushed to {flushed}, {before} was visible"));
                }
            }
            Err(error) if process.is_dead() || self.is_faulty => {
                self.tell(|| format!("flush failed: {error}"));
                self.report.count("flushes that failed", 1);
            }
            Err(error) => return Err(format!("flush failed: {error}")),
        }
        Ok(())
    }

    fn delete(&mut self, storage: &Storage, process: &Process) -> Result<(), String> {
        let tenant = self.tenants[self.rng.below(self.tenants.len() as u64) as usize].clone();
        let last_seq = self.model.last_seq();
        let (selector, range) = self.model.deletes.random(&tenant, self.first_day, &mut self.rng);
        let answer = storage.delete(&tenant, &selector, range);
        self.tell(|| format!("delete `{selector}` of {tenant} within {range:?}: {answer:?}"));
        self.report.count(if answer.is_ok() { "deletes" } else { "deletes that failed" }, 1);
        // A batch that waited for room may have come in before it.
        self.listen(if process.is_dead() { Listening::Dead } else { Listening::Alive })?;
        self.model.deletes.answer(&answer, last_seq)
    }

    fn cancel(&mut self, storage: &Storage) -> Result<(), String> {
        let Some((place, tenant, id)) = self.model.deletes.pick(&mut self.rng) else { return Ok(()) };
        let answer = storage.cancel_delete(&tenant, &id);
        self.tell(|| format!("cancel delete {id} of {tenant}: {answer:?}"));
        self.report.count("deletes cancelled", u64::from(answer.is_ok()));
        self.model.deletes.cancelled(place, &answer, storage)
    }

    fn stop(&mut self, storage: Storage, process: &Process, mood: Mood) -> Result<(), String> {
        if !process.is_dead() && mood == Mood::Wild {
            match self.rng.below(4) {
                0 => self.sim.disk.crash(),
                1 => process.kill(),
                _ => {}
            }
        }
        let closed = storage.close();
        self.tell(|| format!("close: {closed:?}"));
        let stats = storage.stats();
        if closed.is_ok() {
            self.model.synced_seq = self.model.synced_seq.max(stats.visible_seq);
        }
        drop(storage);
        self.listen(Listening::Dead)?;
        let unanswered = std::mem::take(&mut self.unanswered);
        if unanswered > 0 {
            return Err(format!("{unanswered} batches were sent and never answered"));
        }
        match closed {
            _ if self.sim.disk.is_crashed() => {}
            Ok(()) if !process.is_dead() => {
                self.report.count("clean closes", 1);
                self.end = End::Closed;
            }
            Err(error) if !process.is_dead() && !self.is_faulty => return Err(format!("close failed: {error}")),
            _ => self.note_death(),
        }
        Ok(())
    }

    /// Power loss, then everything must work again, without a fault.
    fn end_in_calm(&mut self) -> Result<(), String> {
        self.sim.disk.crash();
        self.lose_power();
        self.process(Mood::Settling)?;
        self.process(Mood::Calm)
    }

    /// Takes note of what the storage has published and answered.
    fn listen(&mut self, listening: Listening) -> Result<(), String> {
        let Told { published, answers } = std::mem::take(&mut *self.ear.lock());
        for (number, seq) in published {
            self.model.seen.insert(number, seq);
            if listening == Listening::Start {
                self.model.replayed.insert(number);
            }
        }
        self.unanswered -= answers.len() as u64;
        for (number, answer) in answers {
            self.tell(|| format!("batch {number}: {answer:?}").chars().take(160).collect());
            match &answer {
                Ok(appended) if appended.duplicate => self.report.count("duplicates answered", 1),
                Ok(_) => self.report.count("batches acknowledged", 1),
                Err(_) => self.report.count("batches refused", 1),
            }
            self.model.answer(number, answer, listening == Listening::Alive)?;
        }
        Ok(())
    }
}

/// When the storage was listened to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listening {
    Start,
    Alive,
    /// The process was killed or is closing.
    Dead,
}
