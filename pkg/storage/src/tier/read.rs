//! Reading segments that are in the object store: their indexes and ranges of their data, each asked for once however
//! many want it, kept in bounded caches, on disk too.
//!
//! Threads of its own (`timberlog-cold-<n>`) talk to the store; whoever waits is told to stop by its [`Demand`]. Owns
//! the folders `tier/index` and `tier/data`: caches, which may be emptied at any time. Never decides what exists.

use super::chunks::Chunks;
use super::coalesce::{Want, coalesce};
use super::extents::Extents;
use super::flight::Flight;
use super::folder::Folder;
use super::index_file::IndexFile;
use super::index_object;
use super::meter::Demand;
use super::read_only::{file_of_bytes, file_of_object};
use crate::manifest::FileRef;
use crate::objects::ObjectStore;
use crossbeam_channel::{Receiver, Sender};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use timberlog_disk::{Env, File};
use timberlog_types::{Error, Result};

/// Bounds of what is kept of cold segments, and of the requests for more.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Bytes of indexes on disk: with all of them there, planning asks the store nothing.
    pub index_bytes: u64,
    /// Bytes of data on disk.
    pub data_bytes: u64,
    /// Bytes of data in memory.
    pub memory_bytes: u64,
    /// Requests under way at once.
    pub threads: usize,
    /// Requests that may wait.
    pub waiting_max: usize,
    /// Free bytes on the disk below which nothing more is kept there.
    pub disk_free_bytes_min: u64,
}

impl Default for ReadOptions {
    /// 4 GiB of indexes, 4 GiB of data, 32 MiB in memory, 16 requests at once.
    fn default() -> Self {
        Self {
            index_bytes: 4 << 30,
            data_bytes: 4 << 30,
            memory_bytes: 32 << 20,
            threads: 16,
            waiting_max: 1024,
            disk_free_bytes_min: 1 << 30,
        }
    }
}

/// A cold `.log`.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    /// The segment's id: its ranges are kept under it.
    pub(crate) id: Arc<str>,
    /// Its key in the store.
    pub(crate) key: Arc<str>,
}

/// Reads what is in the object store.
pub struct Reader {
    inner: Arc<Inner>,
    jobs: Sender<Job>,
}

struct Inner {
    store: Arc<dyn ObjectStore>,
    chunks: Chunks,
    index_folder: Option<Folder>,
    /// By name of the file; each is one range from 0 on.
    indexes: Mutex<Extents<()>>,
    ranges_under_way: Mutex<HashMap<Arc<str>, Vec<RangeFlight>>>,
    indexes_under_way: Mutex<HashMap<String, Arc<Flight<IndexFile>>>>,
    disk_free_bytes_min: u64,
}

#[derive(Clone)]
struct RangeFlight {
    range: Range<u64>,
    flight: Arc<Flight<Arc<[u8]>>>,
}

enum Job {
    Range(Remote, RangeFlight),
    Index(FileRef, Arc<Flight<IndexFile>>),
}

impl Reader {
    /// Opens the caches in `dir`, if there is one, and starts the threads.
    pub fn open(env: &Env, dir: Option<&Path>, store: Arc<dyn ObjectStore>, options: &ReadOptions) -> Result<Self> {
        let folder = |name: &str| {
            let Some(path) = dir.map(|dir| dir.join(name)) else { return Ok(None) };
            let opened = Folder::open(env, path.clone()).map(Some);
            opened.map_err(|error| Error::io(format!("open `{}`", path.display()), &error))
        };
        let index_folder = folder("index")?;
        let mut indexes = Extents::new(options.index_bytes);
        if let Some(folder) = &index_folder {
            for (name, len) in folder.files().unwrap_or_default() {
                let gone = indexes.insert(&Arc::from(name), 0, len, ());
                gone.iter().for_each(|(name, ..)| folder.remove(name));
            }
        }
        let free = options.disk_free_bytes_min;
        let chunks = Chunks::new(folder("data")?, options.memory_bytes, options.data_bytes, free);
        let inner = Arc::new(Inner {
            store,
            chunks,
            index_folder,
            indexes: Mutex::new(indexes),
            ranges_under_way: Mutex::default(),
            indexes_under_way: Mutex::default(),
            disk_free_bytes_min: free,
        });
        let (jobs, waiting) = crossbeam_channel::bounded(options.waiting_max.max(1));
        for number in 0..options.threads.max(1) {
            let (inner, waiting) = (Arc::clone(&inner), waiting.clone());
            std::thread::Builder::new()
                .name(format!("timberlog-cold-{number}"))
                .spawn(move || inner.work(&waiting))
                .map_err(|error| Error::io("start a thread", &error))?;
        }
        Ok(Self { inner, jobs })
    }

    /// Bytes kept: of indexes on disk, of data on disk, of data in memory.
    pub fn bytes(&self) -> (u64, u64, u64) {
        let (memory, disk) = self.inner.chunks.bytes();
        (lock(&self.inner.indexes).bytes(), disk, memory)
    }

    /// Removes so many bytes of the caches from the disk, as far as there are any: data before indexes.
    pub(crate) fn shed(&self, bytes: u64) {
        let left = bytes.saturating_sub(self.inner.chunks.shed(bytes));
        if let Some(folder) = self.inner.index_folder.as_ref().filter(|_| left > 0) {
            let gone = lock(&self.inner.indexes).shed(left);
            gone.iter().for_each(|(name, ..)| folder.remove(name));
        }
    }

    /// A signed URL of an object, if the store has such a thing.
    pub(crate) fn presign(&self, key: &str, expires_in: Duration) -> Result<Option<String>> {
        self.inner.store.presign_get(key, expires_in)
    }

    /// The index of a segment: from the cache, or with one request.
    pub(crate) fn index(&self, object: &FileRef, demand: &Demand<'_>) -> Result<IndexFile> {
        match self.inner.cached_index(object) {
            Some(index) => Ok(index),
            None => self.ask_index(object, demand)?.wait(demand),
        }
    }

    /// Whether the index of a segment is in the cache.
    pub(crate) fn has_index(&self, object: &FileRef) -> bool {
        self.inner.has_index(object)
    }

    /// Keeps the index of a segment that was uploaded just now: no query has to ask for it.
    pub(crate) fn keep_index(&self, object: &FileRef, bytes: &[u8]) {
        if let Err(error) = self.inner.keep_index(object, bytes) {
            tracing::debug!(%error, key = object.path, "an index is not kept");
        }
    }

    /// Asks for the indexes that are not at hand, all at once, and waits for them. What cannot be had is found out by
    /// who needs it.
    pub(crate) fn fetch_indexes<'a>(
        &self,
        objects: impl Iterator<Item = &'a FileRef>,
        demand: &Demand<'_>,
    ) -> Result<()> {
        let mut flights = Vec::new();
        for object in objects.filter(|object| !self.inner.has_index(object)) {
            match self.ask_index(object, demand) {
                Ok(flight) => flights.push(flight),
                Err(_) => (demand.check)()?,
            }
        }
        wait_for_all(&flights, demand)
    }

    /// The `.log` of a segment, to be read front to back, past the caches.
    pub(crate) fn uncached_log(&self, log: &FileRef) -> Arc<dyn File> {
        file_of_object(&self.inner.store, &log.path, log.len)
    }

    /// The `.redb` of a segment, past the caches; empty if there is none.
    pub(crate) fn uncached_redb(&self, object: &FileRef) -> Result<Arc<dyn File>> {
        let redb =
            index_object::decode(&self.inner.get_index_object(object)?).map_err(|error| named(object, error))?.redb;
        Ok(file_of_bytes(redb.unwrap_or_default()))
    }

    /// Forgets the index of a segment: it is damaged.
    pub(crate) fn forget_index(&self, object: &FileRef) {
        let name = index_name(object);
        self.inner.remove_index(&name);
    }

    /// The bytes of a range: from the caches, or with one request, which brings `around` as well.
    pub(crate) fn read(
        &self,
        remote: &Remote,
        range: &Range<u64>,
        around: &Range<u64>,
        demand: &Demand<'_>,
    ) -> Result<Vec<u8>> {
        if let Some(bytes) = self.inner.chunks.read(&remote.id, range) {
            return Ok(bytes);
        }
        let all = around.start.min(range.start)..around.end.max(range.end);
        let under_way = self.ask_range(remote, &all, range, demand)?;
        let bytes = under_way.flight.wait(demand)?;
        let at = |offset: u64| usize::try_from(offset.saturating_sub(under_way.range.start)).unwrap_or(usize::MAX);
        let wanted = bytes.get(at(range.start)..at(range.end)).map(<[u8]>::to_vec);
        wanted.ok_or_else(|| Error::corrupt(format!("`{}`: the object store sent too few bytes", remote.key)))
    }

    /// The requests that would bring what is not at hand.
    pub(crate) fn missing(&self, remote: &Remote, wants: Vec<Want>) -> Vec<Range<u64>> {
        let is_missing = |want: &Want| !self.inner.chunks.covers(&remote.id, &want.range);
        coalesce(wants.into_iter().filter(is_missing).collect())
    }

    /// Asks for ranges, all at once, and waits for them. What cannot be had is found out by who needs it.
    pub(crate) fn fetch(&self, ranges: &[(&Remote, Range<u64>)], demand: &Demand<'_>) -> Result<()> {
        let mut flights = Vec::with_capacity(ranges.len());
        for (remote, range) in ranges {
            match self.ask_range(remote, range, range, demand) {
                Ok(under_way) => flights.push(under_way.flight),
                Err(_) => (demand.check)()?,
            }
        }
        wait_for_all(&flights, demand)
    }

    /// Forgets whatever is at hand of a segment: something in it is wrong.
    pub(crate) fn forget_all(&self, remote: &Remote, index: Option<&FileRef>) {
        self.inner.chunks.forget(&remote.id, &(0..u64::MAX));
        index.into_iter().for_each(|object| self.forget_index(object));
    }

    /// Forgets what is at hand of a range: something in it is wrong.
    pub(crate) fn forget(&self, remote: &Remote, range: &Range<u64>) {
        self.inner.chunks.forget(&remote.id, range);
    }

    /// A request for a range: one that is under way and brings what is needed of it, or a new one.
    fn ask_range(
        &self,
        remote: &Remote,
        range: &Range<u64>,
        needed: &Range<u64>,
        demand: &Demand<'_>,
    ) -> Result<RangeFlight> {
        demand.meter.admit()?;
        let new = RangeFlight { range: range.clone(), flight: Arc::new(Flight::new()) };
        {
            let mut under_way = lock(&self.inner.ranges_under_way);
            let of_object = under_way.entry(Arc::clone(&remote.id)).or_default();
            let brings = |other: &&RangeFlight| other.range.start <= needed.start && needed.end <= other.range.end;
            if let Some(other) = of_object.iter().find(brings) {
                return Ok(other.clone());
            }
            of_object.push(new.clone());
        }
        demand.meter.count(range.end - range.start);
        let sent = self.send(Job::Range(remote.clone(), new.clone()), demand);
        if let Err(error) = sent {
            self.inner.landed(&remote.id, &new);
            new.flight.land(Err(error.clone()));
            return Err(error);
        }
        Ok(new)
    }

    fn ask_index(&self, object: &FileRef, demand: &Demand<'_>) -> Result<Arc<Flight<IndexFile>>> {
        demand.meter.admit()?;
        let new = Arc::new(Flight::new());
        {
            let mut under_way = lock(&self.inner.indexes_under_way);
            if let Some(other) = under_way.get(&object.path) {
                return Ok(Arc::clone(other));
            }
            under_way.insert(object.path.clone(), Arc::clone(&new));
        }
        demand.meter.count(object.len);
        if let Err(error) = self.send(Job::Index(object.clone(), Arc::clone(&new)), demand) {
            lock(&self.inner.indexes_under_way).remove(&object.path);
            new.land(Err(error.clone()));
            return Err(error);
        }
        Ok(new)
    }

    /// Puts a job into the line, waiting for room in it as long as the demand lets it.
    fn send(&self, mut job: Job, demand: &Demand<'_>) -> Result<()> {
        loop {
            match self.jobs.send_timeout(job, Duration::from_millis(10)) {
                Ok(()) => return Ok(()),
                Err(crossbeam_channel::SendTimeoutError::Timeout(back)) => {
                    (demand.check)()?;
                    job = back;
                }
                Err(crossbeam_channel::SendTimeoutError::Disconnected(_)) => {
                    return Err(Error::internal("the threads that read the object store are gone"));
                }
            }
        }
    }
}

/// Waits for all of them; only an error of the demand ends it.
fn wait_for_all<T: Clone>(flights: &[Arc<Flight<T>>], demand: &Demand<'_>) -> Result<()> {
    for flight in flights {
        if flight.wait(demand).is_err() {
            (demand.check)()?;
            if demand.meter.is_down() {
                break;
            }
        }
    }
    Ok(())
}

impl Inner {
    fn work(&self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Range(remote, under_way) => self.get_range(&remote, &under_way),
                Job::Index(object, flight) => {
                    let result = self.get_index(&object);
                    lock(&self.indexes_under_way).remove(&object.path);
                    flight.land(result);
                }
            }
        }
    }

    fn get_range(&self, remote: &Remote, under_way: &RangeFlight) {
        let (range, forgotten) = (&under_way.range, self.chunks.forgotten());
        let bytes: Result<Arc<[u8]>> = self.store.get_range(&remote.key, range.clone()).map(Arc::from);
        if let Ok(bytes) = &bytes {
            self.chunks.keep(&remote.id, range.start, bytes);
        }
        self.landed(&remote.id, under_way);
        under_way.flight.land(bytes.clone());
        if let Ok(bytes) = &bytes {
            self.chunks.store(&remote.id, range.start, bytes, forgotten);
        }
    }

    fn landed(&self, id: &Arc<str>, landed: &RangeFlight) {
        let mut under_way = lock(&self.ranges_under_way);
        if let Some(of_object) = under_way.get_mut(id) {
            of_object.retain(|other| !Arc::ptr_eq(&other.flight, &landed.flight));
            if of_object.is_empty() {
                under_way.remove(id);
            }
        }
    }

    fn get_index(&self, object: &FileRef) -> Result<IndexFile> {
        let bytes = self.get_index_object(object)?;
        self.keep_index(object, &bytes)
    }

    fn get_index_object(&self, object: &FileRef) -> Result<Vec<u8>> {
        let bytes = self.store.get_range(&object.path, 0..object.len)?;
        if crc32c::crc32c(&bytes) != object.crc32c {
            return Err(named(object, Error::corrupt("checksum mismatch")));
        }
        Ok(bytes)
    }

    /// Puts an index into the cache, and opens it.
    fn keep_index(&self, object: &FileRef, bytes: &[u8]) -> Result<IndexFile> {
        let index = index_object::decode(bytes).map_err(|error| named(object, error))?;
        let (header, [head, tail, redb]) = IndexFile::parts(&index);
        let (name, len) = (index_name(object), (header.len() + head.len() + tail.len() + redb.len()) as u64);
        let floor = self.disk_free_bytes_min.saturating_add(len);
        if let Some(folder) = self.index_folder.as_ref().filter(|folder| folder.free_bytes() >= floor)
            && folder.write(&name, &[&header, head, tail, redb]).is_ok()
        {
            let gone = lock(&self.indexes).insert(&Arc::from(name.as_str()), 0, len, ());
            let is_kept = lock(&self.indexes).covers(&name, &(0..len));
            gone.iter().filter(|gone| *gone.0 != *name || !is_kept).for_each(|gone| folder.remove(&gone.0));
            if let Some(index) = self.cached_index(object) {
                return Ok(index);
            }
        }
        IndexFile::in_memory(&index)
    }

    fn has_index(&self, object: &FileRef) -> bool {
        lock(&self.indexes).covers(&index_name(object), &(0..1))
    }

    /// The index in the cache; one that is damaged goes.
    fn cached_index(&self, object: &FileRef) -> Option<IndexFile> {
        let name = index_name(object);
        lock(&self.indexes).find(&name, &(0..1))?;
        let file = self.index_folder.as_ref()?.read(&name);
        let opened = file.ok().and_then(|file| IndexFile::open(file).ok());
        if opened.is_none() {
            self.remove_index(&name);
        }
        opened
    }

    fn remove_index(&self, name: &str) {
        lock(&self.indexes).remove(name, 0);
        self.index_folder.iter().for_each(|folder| folder.remove(name));
    }
}

fn named(object: &FileRef, error: Error) -> Error {
    error.context(format_args!("object `{}`", object.path))
}

/// The name of the cached file: that of the object, with its checksum.
fn index_name(object: &FileRef) -> String {
    let name = object.path.rsplit('/').next().unwrap_or_default();
    format!("{name}-{:08x}", object.crc32c)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("store", &self.inner.store.describe()).finish_non_exhaustive()
    }
}
