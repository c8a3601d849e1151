//! Backups and the archive within a history: made, pruned and restored on a store whose requests go wrong. What a
//! backup shows when it is restored is what the storage showed when it was made.

use crate::check;
use crate::machine::Process;
use crate::model::Contents;
use crate::shelf::{Mishap, Shelf};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use timberlog_disk::sim::{Rng, Sim};
use timberlog_disk::{Env, File};
use timberlog_storage::backup::{
    self, BackupRecord, ColdFiles, Depth, Event, PLAN_KEPT, Pinned, Selection, Source, StorageSource,
};
use timberlog_storage::manifest::FileRef;
use timberlog_storage::objects::ObjectStore;
use timberlog_storage::producers::ProducerBatch;
use timberlog_storage::{ArchiveOptions, BufferedBatch, Options, Progress, Storage, Subscriber};
use timberlog_types::{Batch, Error, ErrorKind, Tenant};

const TO: &str = "/to";
/// How long a prune that was interrupted stands in the way of backups.
const PRUNE_QUIET: Duration = Duration::from_secs(15 * 60);

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

fn silent(_: Event<'_>) {}

/// A backup that was made, or an instant that was archived.
struct Taken {
    /// Of a backup.
    id: Option<String>,
    at: i64,
    /// What the storage showed; `None` if faults were about.
    found: Option<Found>,
}

/// What was there when something was taken.
pub struct Found {
    pub contents: Contents,
    /// The newest batch of a producer: sent again, it is known.
    pub again: Option<(Tenant, Batch, ProducerBatch)>,
}

/// The store of a history and what must be in it.
#[derive(Default)]
pub struct Backups {
    /// Whether the storage goes on compacting while it is backed up.
    is_busy: bool,
    shelf: Shelf,
    taken: Vec<Taken>,
    /// The line of the archive, once a pass was made without faults.
    line: Option<String>,
    /// When a prune was interrupted last.
    interrupted: Option<i64>,
}

/// What an action has come to.
pub enum Done {
    Created,
    Pruned,
    Archived,
    Failed,
}

/// Why a backup or an instant was not restored as it was.
pub enum NotRestored {
    /// The restore failed.
    Failed(String),
    /// It went through, and what came of it is wrong.
    Wrong(String),
}

impl Backups {
    pub fn beside_compaction(self, is_busy: bool) -> Self {
        Self { is_busy, ..self }
    }

    pub fn archive(&self) -> ArchiveOptions {
        ArchiveOptions::new(Arc::new(self.shelf.clone()))
    }

    /// What befell requests so far, and how often.
    pub fn happened(&self) -> BTreeMap<&'static str, u64> {
        self.shelf.happened()
    }

    /// From now on this process asks.
    pub fn serve(&self, process: &Arc<Process>) {
        self.shelf.serve(process);
    }

    /// There were faults: an archive whose WAL is damaged may begin a new line.
    pub fn expect_any_line(&mut self) {
        self.line = None;
    }

    /// Does one of the things that are done with backups. `shown` is what the storage shows, if nothing is faulty.
    pub fn act(
        &mut self,
        storage: &Storage,
        process: &Arc<Process>,
        found: Option<Found>,
        rng: &mut Rng,
    ) -> Result<Done, String> {
        if rng.percent(40) {
            let requests = 1 + rng.below(40);
            let delay = Mishap::Delayed(requests);
            if requests.is_multiple_of(3) {
                self.shelf.befall_read(requests / 3);
            }
            let lost = if requests.is_multiple_of(2) { Mishap::AnswerLost } else { Mishap::ConditionalAnswerLost };
            let mishaps = [Mishap::Outage, lost, Mishap::Refused, Mishap::Repeated, delay];
            self.shelf.befall(rng.below(10), mishaps[rng.below(5) as usize]);
        }
        let is_calm = found.is_some();
        let env = process.env();
        let done = match rng.below(10) {
            0..2 if !self.taken.is_empty() => self.prune(&env, 1 + rng.below(3) as usize).map(|()| Done::Pruned),
            // An instant is reached from a backup that is older.
            2..6 if storage.options().archive.is_some() && !self.taken.is_empty() => self.archive_now(storage, found),
            _ => create(&env, &self.shelf, storage, self.is_busy).map(|record| {
                let at = record.until();
                self.taken.push(Taken { id: Some(record.id), at, found });
                Done::Created
            }),
        };
        let has_struck = self.shelf.heal();
        if let (Ok(Done::Archived), true) = (&done, is_calm) {
            self.check_line(storage)?;
        }
        match done {
            Ok(done) => Ok(done),
            Err(_) if has_struck || process.is_dead() || !is_calm => Ok(Done::Failed),
            Err(error) if self.waits_for_a_prune(&env, &error) => Ok(Done::Failed),
            Err(error) => Err(format!("a backup, prune or archive failed: {error}")),
        }
    }

    fn archive_now(&mut self, storage: &Storage, found: Option<Found>) -> Result<Done, Error> {
        storage.archive()?;
        // Where nothing came since, the newest instant is an older one.
        let line = storage.stats().archive.map(|archive| archive.line);
        if let Some(end) = backup::reachable(&self.shelf)?.pop().filter(|end| Some(&end.line) == line.as_ref()) {
            self.taken.push(Taken { id: None, at: end.to, found });
        }
        Ok(Done::Archived)
    }

    /// A new line says that frames were gone before they were archived.
    fn check_line(&mut self, storage: &Storage) -> Result<(), String> {
        let line = storage.stats().archive.map(|archive| archive.line);
        if self.line.is_some() && self.line != line {
            return Err(format!("the archive has begun line {line:?}, it was at {:?}", self.line));
        }
        self.line = line;
        Ok(())
    }

    fn prune(&mut self, env: &Env, keep: usize) -> Result<(), Error> {
        let ids =
            |shelf: &Shelf| Ok::<_, Error>(backup::list(shelf)?.into_iter().map(|one| one.id).collect::<Vec<_>>());
        let before = ids(&self.shelf)?;
        // Begun, the pruned ones may be gone; so may instants that only they reached.
        let kept: Vec<&String> = before.iter().rev().take(keep).collect();
        self.taken.retain(|one| one.id.as_ref().is_some_and(|id| kept.contains(&id)));
        // What backups hold of the archive goes when it is that old, too: a history has few days.
        let plan_kept = if keep == 1 { Duration::from_millis(10) } else { PLAN_KEPT };
        let pruned = backup::prune(env, &self.shelf, keep, plan_kept, false, &silent);
        if pruned.is_err() {
            self.interrupted = Some(env.clock.now_ns());
        }
        pruned.map(drop)
    }

    /// Whether a backup waits for a prune that may still go on, for all it knows.
    fn waits_for_a_prune(&self, env: &Env, error: &Error) -> bool {
        let is_recent = |at: i64| env.clock.now_ns() < at.saturating_add(PRUNE_QUIET.as_nanos() as i64);
        error.kind == ErrorKind::Conflict
            && error.message.starts_with("prune `")
            && self.interrupted.is_some_and(is_recent)
    }

    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Every backup that was made is there and whole, every one that is listed is; one of all that was taken is
    /// restored to another machine and shows what it should. How many records it has, and how many batches were sent
    /// there again.
    pub fn check(
        &self,
        options: &Options,
        tenants: &[Tenant],
        now_ns: i64,
        rng: &mut Rng,
    ) -> Result<(u64, u64), String> {
        let store: Arc<dyn ObjectStore> = Arc::new(self.shelf.clone());
        let failed = |what: &str, error: Error| format!("{what}: {error}");
        let listed = backup::list(&self.shelf).map_err(|error| failed("list", error))?;
        for id in self.taken.iter().filter_map(|one| one.id.as_ref()) {
            if !listed.iter().any(|listed| listed.id == *id) {
                return Err(format!("backup {id} is not listed"));
            }
        }
        for one in listed {
            let record = one.record.map_err(|error| format!("backup {} is listed: {error}", one.id))?;
            let verified = backup::verify(&store, &record, Depth::Full, &silent);
            let damage = verified.map_err(|error| failed("verify", error))?.damage;
            if !damage.is_empty() {
                return Err(format!("backup {} is damaged: {damage:?}", record.id));
            }
        }
        let drawn = rng.below(u64::MAX) as usize;
        let comparable = || self.taken.iter().enumerate().filter(|(_, one)| one.found.is_some());
        // Instants are rarer, and more goes into them.
        let has_instants = drawn.is_multiple_of(2) && comparable().any(|(_, one)| one.id.is_none());
        let drawable: Vec<usize> =
            comparable().filter(|(_, one)| !has_instants || one.id.is_none()).map(|(number, _)| number).collect();
        let Some(&number) = drawable.get(drawn / 2 % drawable.len().max(1)) else { return Ok((0, 0)) };
        self.restored(options, tenants, now_ns, number, rng).map_err(|not| match not {
            NotRestored::Failed(error) | NotRestored::Wrong(error) => error,
        })
    }

    /// The name of one that was taken; `None` of an instant.
    pub fn id(&self, number: usize) -> Option<&str> {
        self.taken.get(number)?.id.as_deref()
    }

    /// How many were taken.
    pub fn taken(&self) -> u64 {
        self.taken.len() as u64
    }

    /// Restores one that was taken to another machine. How many records it has, and how many batches were sent there
    /// again, if it is known what it should have.
    pub fn restored(
        &self,
        options: &Options,
        tenants: &[Tenant],
        now_ns: i64,
        number: usize,
        rng: &mut Rng,
    ) -> Result<(u64, u64), NotRestored> {
        let Some((one, found)) = self.taken.get(number).and_then(|one| Some((one, one.found.as_ref()?))) else {
            return Ok((0, 0));
        };
        let Found { contents, again } = found;
        let wrong = |what: &'static str| move |error: Error| NotRestored::Wrong(format!("{what}: {error}"));
        let sim = Sim::new(rng.next());
        sim.clock.set_wall(now_ns);
        match self.restore(&sim, one) {
            // What a line has reached is not known until the archive says it again, within a minute.
            Err(error)
                if error.kind == ErrorKind::NotFound && one.id.is_none() && self.shelf.is_set_back("archive/") =>
            {
                return Ok((0, 0));
            }
            restored => restored.map_err(|error| NotRestored::Failed(format!("restore: {error}")))?,
        }
        let plain = Options { tier: None, archive: None, ..options.clone() };
        let options = Options { data_dir: TO.into(), ..plain };
        let storage = Storage::open(options, sim.env(), Arc::new(Nobody), &Progress::default());
        let storage = storage.map_err(wrong("what was restored does not open"))?;
        let found = check::read(&storage, tenants).map_err(wrong("what was restored"))?;
        if let Some(wrong) = found.wrong.or(found.index_damage) {
            return Err(NotRestored::Wrong(format!("what was restored: {wrong}")));
        }
        let mut records = 0;
        for tenant in tenants {
            let sorted = |contents: &Contents| {
                let mut lines = contents.get(tenant).cloned().unwrap_or_default();
                lines.sort();
                lines
            };
            let (expected, found) = (sorted(contents), sorted(&found.contents));
            if expected != found {
                let what = one.id.as_deref().unwrap_or("an archived instant");
                let (had, has) = (expected.len(), found.len());
                let wrong = format!("{what} was taken of {had} records of {tenant}, and restores {has}");
                return Err(NotRestored::Wrong(wrong));
            }
            records += found.len() as u64;
        }
        let Some((tenant, batch, producer)) = again else { return Ok((records, 0)) };
        match storage.append(tenant, batch.clone(), Some(producer.clone())) {
            Ok(answer) if answer.duplicate => Ok((records, 1)),
            answer => {
                let wrong = format!("what was restored does not know {producer:?} of {tenant}: {answer:?}");
                Err(NotRestored::Wrong(wrong))
            }
        }
    }

    fn restore(&self, sim: &Sim, one: &Taken) -> Result<(), Error> {
        let (env, to, all) = (sim.env(), Path::new(TO), Selection::default());
        match &one.id {
            Some(id) => {
                let record = backup::find(&self.shelf, id)?;
                backup::restore(&env, &self.shelf, &record, to, &all, &silent)
            }
            None => {
                let found = backup::find_at(&self.shelf, "latest", one.at)?;
                backup::restore_at(&env, &self.shelf, &found, to, &all, &silent)
            }
        }
        .map(drop)
    }
}

fn create(env: &Env, shelf: &Shelf, storage: &Storage, is_busy: bool) -> Result<BackupRecord, Error> {
    let source = StorageSource::pin(storage, Duration::from_secs(3_600), ColdFiles::Copy)?;
    let beside = is_busy.then_some(storage);
    backup::create(env, shelf, &InTurn { source, beside }, &silent).map(|created| created.record)
}

/// One file after the other: a seed is one history.
struct InTurn<'a> {
    source: StorageSource<'a>,
    /// Compacts meanwhile: what it replaces stays as long as it is pinned.
    beside: Option<&'a Storage>,
}

impl Source for InTurn<'_> {
    fn pinned(&self) -> &Pinned {
        self.source.pinned()
    }

    fn open(&self, file: &FileRef) -> Result<Arc<dyn File>, Error> {
        // What fails is tried again by who compacts, and seen there.
        self.beside.map(Storage::compact);
        self.source.open(file)
    }

    fn wal(&self) -> Result<Vec<u8>, Error> {
        self.source.wal()
    }

    fn renew(&self) -> Result<(), Error> {
        self.source.renew()
    }

    fn copies(&self) -> usize {
        1
    }
}
