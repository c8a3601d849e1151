//! Making a backup: plan, copy what the store has not, record.
//!
//! Before anything is relied on, the plan says which objects are needed: whoever deletes reads the
//! plans after it has said what it deletes, and a backup reads that after it has written its plan,
//! so one of the two notices the other.

use super::record::{
    BACKUPS, BackupRecord, FILES, FORMAT, Formats, PLANS, PlanRecord, WalTail, encode, key_of, record_key, wal_key,
};
use super::source::Pinned;
use super::{Event, Source, Watch, catalog, copy, prune, void};
use crate::manifest::FileRef;
use crate::objects::ObjectStore;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use timberlog_disk::{Clock, Env};
use timberlog_types::{Error, ErrorKind, Result, time};

/// How often the plan and the pin are renewed.
const RENEWED: Duration = Duration::from_secs(30);
/// A plan that is quiet for so long belongs to a backup that ended.
const PLAN_QUIET_NS: i64 = 15 * 60 * 1_000_000_000;

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// Its record.
    pub record: BackupRecord,
}

/// Copies a pinned database into a store. An interrupted one leaves no backup, and what it copied
/// is not copied again.
///
/// # Errors
/// `Corrupt` if a file of the database is damaged; `Conflict` if objects that are needed are being
/// deleted; `Unavailable` if the store does not answer or the pin was lost.
pub fn create(env: &Env, store: &dyn ObjectStore, source: &dyn Source, watch: &Watch<'_>) -> Result<Created> {
    let pinned = source.pinned();
    let keys = keys(pinned)?;
    let Sorted { have, missing, unsure } = sort(store, pinned)?;
    let missing_bytes = missing.iter().map(|file| file.len).sum::<u64>();
    let (wal_files, wal_bytes) = pinned.wal.as_ref().map_or((0, 0), |wal| (1, wal.len));
    let files: Vec<FileRef> = have.iter().chain(&missing).cloned().collect();
    let plan = PlanRecord {
        format: FORMAT,
        id: pinned.id.clone(),
        database_id: pinned.database_id.clone(),
        updated: env.clock.now_ns(),
        files,
        done: have.len() as u64,
    };
    let plan_key = record_key(PLANS, &pinned.id);
    store.put(&plan_key, &encode(&plan)?)?;
    refuse_pruned(store, &keys, env).inspect_err(|_| drop(store.delete(std::slice::from_ref(&plan_key))))?;
    watch(Event::Phase { name: "copy", files: missing.len() as u64 + wal_files, bytes: missing_bytes + wal_bytes });
    let copying = Copying {
        store,
        source,
        clock: &*env.clock,
        watch,
        plan: Mutex::new((plan, 0)),
        have: have.len(),
        unsure,
        copied: AtomicU64::new(0),
        copied_files: AtomicU64::new(0),
    };
    copying.run(&missing)?;
    let wal = copy_wal(store, source, watch)?;
    check_there(store, pinned, wal.as_ref())?;
    let record = BackupRecord {
        format: FORMAT,
        id: pinned.id.clone(),
        database_id: pinned.database_id.clone(),
        pinned: pinned.pinned,
        finished: env.clock.now_ns(),
        until: pinned.until,
        line: pinned.line.clone(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        formats: Formats::CURRENT,
        version: pinned.version,
        seq: wal.as_ref().map_or(pinned.flushed_seq, |wal| wal.last_seq),
        flushed_seq: pinned.flushed_seq,
        root: pinned.root.clone(),
        files: pinned.files.clone(),
        wal,
        records: pinned.records,
        referenced: pinned.referenced.clone(),
        copied_files: copying.copied_files.into_inner() + wal_files,
        copied_bytes: copying.copied.into_inner() + wal_bytes,
    };
    if !store.put_if_absent(&record_key(BACKUPS, &record.id), &encode(&record)?)? {
        return Err(Error::new(ErrorKind::Conflict, format!("backup `{}` exists already", record.id)));
    }
    if void::is(store, &record.id)? {
        store.delete(&[record_key(BACKUPS, &record.id), plan_key])?;
        let message = format!("backup `{}` was given up, it did not go on for too long: begin again", record.id);
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    // It exists now. Plans that are left cost a little; a prune takes them.
    if let Err(error) = forget_plans(env, store, &record, plan_key) {
        tracing::warn!(%error, "the plan of a finished backup was not removed");
    }
    Ok(Created { record })
}

/// The objects that are needed; each file has one of its own.
fn keys(pinned: &Pinned) -> Result<HashSet<String>> {
    let mut keys = HashSet::with_capacity(pinned.files.len() + 1);
    for file in &pinned.files {
        let key = key_of(&file.path).filter(|key| !keys.contains(key));
        let key = key.ok_or_else(|| Error::corrupt(format!("`{}` cannot be backed up", file.path.escape_debug())))?;
        keys.insert(key);
    }
    keys.insert(wal_key(&pinned.id));
    Ok(keys)
}

/// What the store has already, and what is to be copied. Trusted is what a backup's record or a
/// plan names as there, with the same length and checksum, and what is there with that length.
fn sort(store: &dyn ObjectStore, pinned: &Pinned) -> Result<Sorted> {
    let mut wanted: HashMap<&str, (u64, u32)> =
        pinned.files.iter().map(|file| (file.path.as_str(), (file.len, file.crc32c))).collect();
    let present = catalog::objects(store, FILES)?;
    let mut trusted: HashSet<String> = HashSet::new();
    let mut trust = |files: &[FileRef]| {
        for file in files {
            if wanted.get(file.path.as_str()) != Some(&(file.len, file.crc32c)) {
                continue;
            }
            let is_there = key_of(&file.path).is_some_and(|key| present.get(&key) == Some(&file.len));
            wanted.remove(file.path.as_str());
            if is_there {
                trusted.insert(file.path.clone());
            }
        }
        wanted.is_empty()
    };
    let mut is_all = present.is_empty();
    for (_, plan) in catalog::readable_plans(store)? {
        let done = usize::try_from(plan.done).unwrap_or(usize::MAX).min(plan.files.len());
        is_all |= trust(plan.files.get(..done).unwrap_or_default());
    }
    // The newest one has nearly all.
    for id in catalog::backups(store)?.iter().rev() {
        if is_all {
            break;
        }
        match catalog::read_record(store, id) {
            Ok(record) => is_all = trust(&record.files),
            Err(error) if catalog::is_of_store(&error) => return Err(error),
            // What it names is copied again.
            Err(error) => tracing::warn!(%error, "a backup in the store cannot be read"),
        }
    }
    let (have, missing): (Vec<FileRef>, Vec<FileRef>) =
        pinned.files.iter().cloned().partition(|file| trusted.contains(&file.path));
    let is_there = |file: &&FileRef| key_of(&file.path).is_some_and(|key| present.get(&key) == Some(&file.len));
    let unsure = missing.iter().filter(is_there).map(|file| file.path.clone()).collect();
    Ok(Sorted { have, missing, unsure })
}

/// The files of a backup.
struct Sorted {
    /// In the store, whole.
    have: Vec<FileRef>,
    /// To be copied.
    missing: Vec<FileRef>,
    /// Those of them that are there with their length, but nobody vouches for.
    unsure: HashSet<String>,
}

/// Refuses to rely on objects that are being deleted.
fn refuse_pruned(store: &dyn ObjectStore, keys: &HashSet<String>, env: &Env) -> Result<()> {
    let now = env.clock.now_ns();
    for (id, record) in catalog::prunes(store)? {
        if !prune::is_quiet(&record, now) && record.keys.iter().any(|key| keys.contains(key)) {
            let quiet = time::format_rfc3339(record.updated.saturating_add(prune::PRUNE_QUIET_NS));
            let message = format!(
                "prune `{id}` is deleting files that this backup needs: begin again when it is done (if it was \
                 interrupted, from {quiet} on)"
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
    }
    Ok(())
}

struct Copying<'a> {
    store: &'a dyn ObjectStore,
    source: &'a dyn Source,
    clock: &'a dyn Clock,
    watch: &'a Watch<'a>,
    /// And when it was written last, in monotonic ns.
    plan: Mutex<(PlanRecord, u64)>,
    have: usize,
    unsure: HashSet<String>,
    copied: AtomicU64,
    copied_files: AtomicU64,
}

impl Copying<'_> {
    fn run(&self, missing: &[FileRef]) -> Result<()> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).1 = self.clock.monotonic_ns();
        let next = AtomicUsize::new(0);
        let done: Vec<AtomicBool> = missing.iter().map(|_| AtomicBool::new(false)).collect();
        let failed: Mutex<Option<Error>> = Mutex::new(None);
        let failure = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        let work = || {
            while failure().is_none() {
                let number = next.fetch_add(1, Ordering::SeqCst);
                let Some(file) = missing.get(number) else { break };
                let copied = self.one(file, missing, &done).and_then(|()| {
                    done[number].store(true, Ordering::SeqCst);
                    self.renew(missing, &done)
                });
                if let Err(error) = copied {
                    failure().get_or_insert(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.source.copies().min(missing.len()) {
                scope.spawn(work);
            }
            work();
        });
        let failed = failure().take();
        if failed.is_some() || !missing.is_empty() {
            // What is whole by now is not copied again.
            let written = self.write_plan(missing, &done);
            return failed.map_or(written, Err);
        }
        Ok(())
    }

    fn one(&self, file: &FileRef, missing: &[FileRef], done: &[AtomicBool]) -> Result<()> {
        let key = key_of(&file.path).ok_or_else(|| Error::internal("a file without a key"))?;
        // Never written over unless it is damaged: what is to replace it may be damaged, too.
        if self.unsure.contains(&file.path) && copy::is_whole(self.store, &key, file)? {
            (self.watch)(Event::Bytes(file.len));
        } else {
            // A long file must not outlast the pin.
            let watch = |event: Event<'_>| {
                (self.watch)(event);
                if let (Event::Bytes(_), Err(error)) = (event, self.renew(missing, done)) {
                    tracing::warn!(%error, "the pin of the backup was not renewed, trying again");
                }
            };
            copy::file(self.store, &key, file, self.source.open(file)?, &watch)?;
            self.copied.fetch_add(file.len, Ordering::Relaxed);
            self.copied_files.fetch_add(1, Ordering::Relaxed);
        }
        (self.watch)(Event::File(&file.path));
        Ok(())
    }

    /// Now and then: tells that this backup runs.
    fn renew(&self, missing: &[FileRef], done: &[AtomicBool]) -> Result<()> {
        let now = self.clock.monotonic_ns();
        {
            let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
            if now.saturating_sub(plan.1) < RENEWED.as_nanos() as u64 {
                return Ok(());
            }
            plan.1 = now;
        }
        self.source.renew()?;
        self.write_plan(missing, done)
    }

    /// Says what is there, which it is for good by then: what was found whole may be from a backup that ended before
    /// it could see to that.
    fn write_plan(&self, missing: &[FileRef], done: &[AtomicBool]) -> Result<()> {
        let whole = done.iter().take_while(|done| done.load(Ordering::SeqCst)).count();
        let keys: Vec<String> = missing.iter().take(whole).filter_map(|file| key_of(&file.path)).collect();
        self.store.settle(&keys)?;
        let plan = {
            let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
            plan.0.done = (self.have + whole) as u64;
            plan.0.updated = self.clock.now_ns();
            plan.0.clone()
        };
        self.store.put(&record_key(PLANS, &plan.id), &encode(&plan)?)
    }
}

fn copy_wal(store: &dyn ObjectStore, source: &dyn Source, watch: &Watch<'_>) -> Result<Option<WalTail>> {
    let pinned = source.pinned();
    let Some(tail) = &pinned.wal else { return Ok(None) };
    let bytes = source.wal()?;
    if bytes.len() as u64 != tail.len || crc32c::crc32c(&bytes) != tail.crc32c {
        return Err(Error::corrupt("the end of the WAL arrived damaged: try again"));
    }
    let key = wal_key(&pinned.id);
    store.put(&key, &bytes)?;
    watch(Event::Bytes(tail.len));
    watch(Event::File(&key));
    let (first_seq, last_seq) = (tail.first_seq, tail.last_seq);
    Ok(Some(WalTail { key, len: tail.len, crc32c: tail.crc32c, first_seq, last_seq }))
}

/// Just before the record: everything is still there.
fn check_there(store: &dyn ObjectStore, pinned: &Pinned, wal: Option<&WalTail>) -> Result<()> {
    let present: BTreeMap<String, u64> = catalog::objects(store, FILES)?;
    let gone =
        pinned.files.iter().find(|file| key_of(&file.path).is_none_or(|key| present.get(&key) != Some(&file.len)));
    let gone = gone.map(|file| file.path.clone());
    let gone_wal = match wal {
        Some(wal) if store.head(&wal.key)?.is_none_or(|object| object.size != wal.len) => Some(wal.key.clone()),
        _ => None,
    };
    match gone.or(gone_wal) {
        None => Ok(()),
        Some(what) => {
            let message = format!("`{what}` went from the store while it was backed up: begin again");
            Err(Error::new(ErrorKind::Conflict, message))
        }
    }
}

/// Removes the plan of a finished backup, and those of earlier ones that it makes needless.
fn forget_plans(env: &Env, store: &dyn ObjectStore, record: &BackupRecord, own: String) -> Result<()> {
    store.delete(&[own])?;
    let quiet_since = env.clock.now_ns().saturating_sub(PLAN_QUIET_NS);
    let mut quiet = catalog::readable_plans(store)?;
    quiet.retain(|(_, plan)| plan.database_id == record.database_id && plan.updated < quiet_since);
    let quiet: Vec<String> = quiet.into_iter().map(|(id, _)| id).collect();
    void::give_up(store, &quiet, &*env.clock)?;
    let keys: Vec<String> = quiet.iter().map(|id| record_key(PLANS, id)).collect();
    store.delete(&keys)
}
