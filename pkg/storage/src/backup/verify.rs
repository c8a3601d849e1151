//! Checking a backup without restoring it: that its objects are there, whole, and make a database.

use super::record::{BackupRecord, WalTail, key_of};
use super::{Event, Watch, at, catalog, copy};
use crate::archive::Lines;
use crate::manifest::{FileRef, SegmentEntry, State, restored};
use crate::objects::ObjectStore;
use crate::producers::Producers;
use crate::tier;
use crate::wal;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use timberlog_disk::File;
use timberlog_index::SegmentIndex;
use timberlog_segment::{SegmentError, SegmentReader};
use timberlog_types::{Error, ErrorKind, Result};

/// Objects up to this length are read into memory once; longer ones are read twice.
const MEMORY_BYTES_MAX: u64 = 64 << 20;
/// Files checked at one time.
const CHECKS: usize = 2;

/// How closely [`verify`] looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Names, sizes, and the chain of the manifest.
    Quick,
    /// Every byte: checksums, segments against their footers, indexes against their segments, every
    /// record's frame.
    Full,
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verified {
    /// The backup.
    pub id: String,
    /// Files that it needs.
    pub files: u64,
    /// Those that are whole, as far as was looked.
    pub files_whole: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Segments of its manifest.
    pub segments: u64,
    /// Records in its segments.
    pub records: u64,
    /// Batches in the end of the WAL.
    pub wal_batches: u64,
    /// Objects of the archive that go on from it.
    pub archive_objects: u64,
    /// Batches in them.
    pub archive_batches: u64,
    /// Every instant from the backup's to this one can be restored, in ns since 1970 UTC; `None` without
    /// an archive.
    pub archive_until: Option<i64>,
    /// Everything that is wrong, with the object's key.
    pub damage: Vec<String>,
}

/// Checks that a backup can be restored.
///
/// # Errors
/// Of the store; what is wrong with the backup is in the report.
pub fn verify(
    store: &Arc<dyn ObjectStore>,
    record: &BackupRecord,
    depth: Depth,
    watch: &Watch<'_>,
) -> Result<Verified> {
    let mut verified = Verified {
        id: record.id.clone(),
        files: record.keys().count() as u64,
        bytes: record.bytes(),
        ..Verified::default()
    };
    watch(Event::Phase { name: "check", files: verified.files, bytes: verified.bytes });
    let mut present = catalog::objects(&**store, super::record::FILES)?;
    present.extend(catalog::objects(&**store, super::record::WALS)?);
    let state = match read_manifest(&**store, record) {
        Ok(state) => Some(state),
        Err(error) if catalog::is_of_store(&error) => return Err(error),
        Err(error) => {
            verified.damage.push(error.to_string());
            None
        }
    };
    if let Some(state) = &state {
        verified.segments = state.segments().count() as u64;
        verified.records = state.segments().map(|(_, _, entry)| entry.rows).sum();
    }
    let checking = Checking { store, present, depth, watch, verified: Mutex::new(verified) };
    let indexes: HashSet<&str> = state
        .iter()
        .flat_map(|state| state.segments())
        .filter_map(|(_, _, entry)| entry.redb.as_ref())
        .map(|redb| redb.path.as_str())
        .collect();
    let entries: BTreeMap<&str, &SegmentEntry> = state
        .iter()
        .flat_map(|state| state.segments())
        .map(|(_, _, entry)| (entry.log.path.as_str(), &**entry))
        .collect();
    // An index is checked with its segment.
    let files: Vec<&FileRef> = record.files.iter().filter(|file| !indexes.contains(file.path.as_str())).collect();
    for_each(&files, CHECKS, &|file| checking.file(file, entries.get(file.path.as_str()).copied()))?;
    if let Some(tail) = &record.wal {
        checking.tail(record, tail)?;
    }
    checking.archive(record)?;
    let mut verified = checking.verified.into_inner().unwrap_or_else(PoisonError::into_inner);
    verified.damage.sort();
    verified.damage.dedup();
    Ok(verified)
}

/// What a backup refers to and the store of the tier does not hold, each by its name: a restore needs it there.
///
/// # Errors
/// Of the stores, and if the backup's manifest cannot be read.
pub fn missing_cold(store: &dyn ObjectStore, cold: &dyn ObjectStore, record: &BackupRecord) -> Result<Vec<String>> {
    let state = read_manifest(store, record)?;
    let held: HashSet<&str> = record.files.iter().map(|file| file.path.as_str()).collect();
    let referred = state.segments().filter(|(_, _, entry)| !held.contains(entry.log.path.as_str()));
    let objects: Vec<&FileRef> = referred.flat_map(|(_, _, entry)| entry.objects()).collect();
    if objects.is_empty() {
        return Ok(Vec::new());
    }
    let there = catalog::objects(cold, crate::tier::bucket::SEGMENTS)?;
    let place = cold.describe();
    let wrong = objects.into_iter().filter_map(|object| match there.get(&object.path) {
        None => Some(format!("object `{}` is missing in `{place}`, which the backup refers to", object.path)),
        Some(size) if *size != object.len => {
            Some(format!("object `{}` in `{place}` has {size} bytes, expected {}", object.path, object.len))
        }
        Some(_) => None,
    });
    Ok(wrong.collect())
}

/// Runs `one` for each of `items`, so many at a time, until one fails.
pub(super) fn for_each<T: Sync>(items: &[T], threads: usize, one: &(dyn Fn(&T) -> Result<()> + Sync)) -> Result<()> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    let work = || {
        while lock(&failed).is_none() {
            let Some(item) = items.get(next.fetch_add(1, Ordering::SeqCst)) else { break };
            if let Err(error) = one(item) {
                lock(&failed).get_or_insert(error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(items.len()) {
            scope.spawn(work);
        }
        work();
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

struct Checking<'a> {
    store: &'a Arc<dyn ObjectStore>,
    present: BTreeMap<String, u64>,
    depth: Depth,
    watch: &'a Watch<'a>,
    verified: Mutex<Verified>,
}

impl Checking<'_> {
    fn file(&self, file: &FileRef, entry: Option<&SegmentEntry>) -> Result<()> {
        let key = key_of(&file.path).ok_or_else(|| Error::internal("a file without a key"))?;
        let there = self.is_there(&key, file.len);
        let Some(entry) = entry else {
            let checked = match self.depth {
                Depth::Quick => there,
                Depth::Full => there.and_then(|()| plain(&**self.store, &key, file)),
            };
            return self.note(checked, &key, file.len);
        };
        let reader = match self.depth {
            Depth::Quick => there.map(|()| None),
            Depth::Full => there.and_then(|()| segment(self.store, &key, entry)).map(Some),
        };
        let (checked, reader) = match reader {
            Ok(reader) => (Ok(()), reader),
            Err(error) => (Err(error), None),
        };
        self.note(checked, &key, file.len)?;
        let Some(redb) = &entry.redb else { return Ok(()) };
        let key = key_of(&redb.path).ok_or_else(|| Error::internal("a file without a key"))?;
        let there = self.is_there(&key, redb.len);
        let checked = match self.depth {
            Depth::Quick => there,
            Depth::Full => there.and_then(|()| index(self.store, &key, redb, reader.as_ref())),
        };
        self.note(checked, &key, redb.len)
    }

    fn tail(&self, record: &BackupRecord, tail: &WalTail) -> Result<()> {
        let there = self.is_there(&tail.key, tail.len);
        let batches = match self.depth {
            Depth::Quick => there.map(|()| tail.last_seq.saturating_sub(tail.first_seq).saturating_add(1)),
            Depth::Full => there.and_then(|()| {
                let mut batches = 0;
                read_tail(&**self.store, record, tail, &mut |_| {
                    batches += 1;
                    Ok(())
                })?;
                Ok(batches)
            }),
        };
        lock(&self.verified).wal_batches = batches.as_ref().copied().unwrap_or(0);
        self.note(batches.map(drop), &tail.key, tail.len)
    }

    /// The archive that goes on from the backup: without a gap, and whole.
    fn archive(&self, record: &BackupRecord) -> Result<()> {
        let Some(line) = &record.line else { return Ok(()) };
        let lines = Lines::read(&**self.store, Some(&record.database_id))?;
        lock(&self.verified).damage.extend(lines.damage.iter().map(|(_, what)| what.clone()));
        let Some(line) = lines.of(&record.database_id).find(|found| found.id == *line) else {
            if lines.parts(&record.database_id, line).next().is_some() {
                lock(&self.verified).damage.push(format!("the record of line `{line}` of the archive is missing"));
            }
            return Ok(());
        };
        let followed = lines.chain(line).follow(&line.id, record.seq);
        {
            let mut verified = lock(&self.verified);
            verified.archive_objects = followed.parts.len() as u64;
            verified.archive_until = Some(followed.time).filter(|time| *time >= record.until());
            verified.damage.extend(followed.gap.map(|gap| gap.what));
        }
        let bytes = followed.parts.iter().map(|part| part.size).sum();
        (self.watch)(Event::Phase { name: "check", files: followed.parts.len() as u64, bytes });
        for_each(&followed.parts, CHECKS, &|part| {
            let batches = match self.depth {
                Depth::Quick => Ok(part.part.last_seq - part.part.first_seq + 1),
                Depth::Full => at::read_part(&**self.store, &record.database_id, part).and_then(|run| {
                    let mut batches = 0;
                    at::read_frames(part, run, &mut |_| {
                        batches += 1;
                        Ok(())
                    })?;
                    Ok(batches)
                }),
            };
            (self.watch)(Event::Bytes(part.size));
            (self.watch)(Event::File(&part.key));
            match batches {
                Ok(batches) => lock(&self.verified).archive_batches += batches,
                Err(error) if catalog::is_of_store(&error) => return Err(error),
                Err(error) => lock(&self.verified).damage.push(error.to_string()),
            }
            Ok(())
        })
    }

    fn is_there(&self, key: &str, len: u64) -> Result<()> {
        match self.present.get(key) {
            None => Err(Error::corrupt(format!("object `{key}` is missing"))),
            Some(size) if *size != len => {
                Err(Error::corrupt(format!("object `{key}` has {size} bytes, expected {len}")))
            }
            Some(_) => Ok(()),
        }
    }

    /// Counts a file, or tells what is wrong with it. An error of the store ends everything.
    fn note(&self, checked: Result<()>, key: &str, bytes: u64) -> Result<()> {
        (self.watch)(Event::Bytes(bytes));
        (self.watch)(Event::File(key));
        match checked {
            Ok(()) => lock(&self.verified).files_whole += 1,
            Err(error) if catalog::is_of_store(&error) => return Err(error),
            Err(error) if error.message.contains(key) => lock(&self.verified).damage.push(error.message),
            Err(error) => lock(&self.verified).damage.push(format!("object `{key}`: {}", error.message)),
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gets a small object, checked.
pub(super) fn fetch(store: &dyn ObjectStore, file: &FileRef) -> Result<Vec<u8>> {
    let key = key_of(&file.path).ok_or_else(|| Error::corrupt(format!("`{}` is no file", file.path.escape_debug())))?;
    let bytes = store.get(&key).map_err(|error| match error.kind {
        ErrorKind::NotFound => Error::corrupt(format!("object `{key}` is missing")),
        _ => error.context(format!("object `{key}`")),
    })?;
    if bytes.len() as u64 != file.len {
        return Err(Error::corrupt(format!("object `{key}` has {} bytes, expected {}", bytes.len(), file.len)));
    }
    if crc32c::crc32c(&bytes) != file.crc32c {
        return Err(mismatch(&key));
    }
    Ok(bytes)
}

pub(super) fn mismatch(key: &str) -> Error {
    Error::corrupt(format!("object `{key}`: checksum mismatch"))
}

/// The tree of a backup; all that it names is among the backup's files, and nothing else is.
pub(super) fn read_manifest(store: &dyn ObjectStore, record: &BackupRecord) -> Result<State> {
    let state = restored::read_tree(&record.root, &|file| fetch(store, file))?;
    let listed: BTreeMap<&str, &FileRef> = record.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let is_listed = |file: &FileRef| match listed.get(file.path.as_str()) {
        Some(listed) if *listed == file => Ok(()),
        _ => Err(Error::corrupt(format!("`{}` is named by the manifest and not by the backup", file.path))),
    };
    let nodes = state.tenants.values().flat_map(|months| months.values()).map(|node| &node.file);
    let is_held = |entry: &SegmentEntry| entry.location.is_local() || listed.contains_key(entry.log.path.as_str());
    let segments = state.segments().filter(|(_, _, entry)| is_held(entry)).flat_map(|(_, _, entry)| entry.files());
    nodes
        .chain(segments)
        .chain(&state.producers)
        .chain(&state.deletes.file)
        .chain([&record.root])
        .try_for_each(is_listed)?;
    if state.version != record.version
        || state.flushed_seq != record.flushed_seq
        || state.database_id != record.database_id
    {
        return Err(Error::corrupt(format!("`{}` is not the root of backup `{}`", record.root.path, record.id)));
    }
    Ok(state)
}

/// Reads a file whose checksum is all that is to be checked; of producers the layout too.
fn plain(store: &dyn ObjectStore, key: &str, file: &FileRef) -> Result<()> {
    let bytes = fetch(store, file)?;
    if file.path.starts_with("producers/") {
        Producers::<()>::decode(&bytes).map_err(|error| error.context(format!("object `{key}`")))?;
    }
    Ok(())
}

/// Opens an object as a file, after its checksum was checked.
fn open(store: &Arc<dyn ObjectStore>, key: &str, file: &FileRef) -> Result<Arc<dyn File>> {
    let mut whole = (file.len <= MEMORY_BYTES_MAX).then(Vec::new);
    let crc32c = copy::sum(&**store, key, file.len, &mut |bytes| {
        if let Some(whole) = &mut whole {
            whole.extend_from_slice(bytes);
        }
        Ok(())
    })?;
    if crc32c != file.crc32c {
        return Err(mismatch(key));
    }
    Ok(match whole {
        Some(bytes) => tier::file_of_bytes(bytes),
        None => tier::file_of_object(store, key, file.len),
    })
}

/// Checks a segment against its entry: every byte is as it was written, and its directory can be read. What its
/// blocks decode to was settled when they were written.
fn segment(store: &Arc<dyn ObjectStore>, key: &str, entry: &SegmentEntry) -> Result<SegmentReader> {
    let damaged = |error: SegmentError| Error::corrupt(format!("object `{key}`: {error}"));
    let reader = SegmentReader::open(open(store, key, &entry.log)?).map_err(damaged)?;
    let rows: u64 = reader.directory().blocks.iter().map(|block| u64::from(block.rows)).sum();
    if rows != entry.rows {
        return Err(Error::corrupt(format!("object `{key}`: {rows} records, the manifest says {}", entry.rows)));
    }
    Ok(reader)
}

/// Checks an index against its segment.
fn index(store: &Arc<dyn ObjectStore>, key: &str, redb: &FileRef, segment: Option<&SegmentReader>) -> Result<()> {
    let file = open(store, key, redb)?;
    // Against a segment that is damaged nothing can be checked.
    let Some(segment) = segment else { return Ok(()) };
    let damaged = |what: String| Error::corrupt(format!("object `{key}`: {what}"));
    let pages = segment.redb_pages().ok_or_else(|| damaged("its segment says that it has no index".to_owned()))?;
    let wrong = timberlog_index::damaged_pages(Arc::clone(&file), pages.clone());
    match wrong.map_err(|error| damaged(error.to_string()))?.len() {
        0 => {}
        pages => return Err(damaged(format!("{pages} pages do not match their checksum"))),
    }
    let index = SegmentIndex::open(file, pages.clone()).map_err(|error| damaged(error.to_string()))?;
    index.check(segment.directory()).map_err(|error| damaged(error.to_string()))
}

/// Gives the frames of a backup's end of the WAL.
pub(super) fn read_tail(
    store: &dyn ObjectStore,
    record: &BackupRecord,
    tail: &WalTail,
    found: &mut dyn FnMut(wal::Frame) -> Result<()>,
) -> Result<()> {
    let mut bytes = Vec::new();
    if tail.len > wal::SEALED_BYTES_MAX as u64 + (64 << 10) || tail.first_seq != record.flushed_seq.saturating_add(1) {
        return Err(Error::corrupt(format!("object `{}` is no end of this backup's WAL", tail.key)));
    }
    let crc32c = copy::sum(store, &tail.key, tail.len, &mut |read| {
        bytes.extend_from_slice(read);
        Ok(())
    })?;
    if crc32c != tail.crc32c {
        return Err(mismatch(&tail.key));
    }
    wal::read_sealed(tier::file_of_bytes(bytes), &record.database_id, (tail.first_seq, tail.last_seq), found)
        .map_err(|error| error.context(format!("object `{}`", tail.key)))
}
