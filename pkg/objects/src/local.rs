//! A folder as an object store: a key is a file's path below it.
//!
//! Owns how objects appear: a temporary file beside the name, fsync, rename, fsync of the folder, so
//! a crash leaves the old object, the new one, or none, and never a part of one. Reaches files
//! through [`Env`] alone. No key may be another one's beginning up to a `/`: a name is a file or a
//! folder. Never removes a folder: another process may be about to write into it.

mod writer;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use timberlog_disk::{Env, File, Open};
use timberlog_storage::objects::{Figures, GET_BYTES_MAX, ObjectMeta, ObjectStore, check_key};
use timberlog_types::{Error, ErrorKind, Result};

use writer::{TEMPORARY, Writer};

/// How much of a file is read and written at a time: what stays in a core's cache in between.
const COPY_BYTES: usize = 256 << 10;
/// How deep folders may be nested: what [`timberlog_storage::objects::KEY_BYTES_MAX`] allows.
const DEPTH_MAX: usize = 384;

/// A folder as an object store.
pub struct LocalStore {
    env: Env,
    dir: PathBuf,
    /// Who writes temporary files; taken at the first write, so that a store can be read from a
    /// medium that cannot be written.
    writer: Mutex<Option<Arc<Writer>>>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    puts: AtomicU64,
    gets: AtomicU64,
    heads: AtomicU64,
    lists: AtomicU64,
    deletes: AtomicU64,
    bytes_put: AtomicU64,
    bytes_got: AtomicU64,
}

impl LocalStore {
    /// The store in a folder, which need not exist yet.
    pub fn new(env: Env, dir: impl Into<PathBuf>) -> Self {
        Self { env, dir: dir.into(), writer: Mutex::new(None), counts: Counts::default() }
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        check_key(key)?;
        timberlog_disk::join(&self.dir, key)
            .ok_or_else(|| Error::invalid(format!("object key `{}` is not a path", key.escape_debug())))
    }

    fn failed(&self, doing: &str, key: &str) -> impl Fn(std::io::Error) -> Error {
        let place = format!("{doing} `{key}` in `{}`", self.describe());
        move |error| match error.kind() {
            std::io::ErrorKind::NotADirectory | std::io::ErrorKind::IsADirectory => {
                Error::new(ErrorKind::NotFound, format!("{place}: no such object"))
            }
            _ => Error::io(&place, &error),
        }
    }

    fn writer(&self) -> Result<Arc<Writer>> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = &*writer {
            return Ok(Arc::clone(writer));
        }
        let new = Writer::start(&self.env, &self.dir)
            .map_err(|error| Error::io(format_args!("writing to `{}`", self.describe()), &error))?;
        Ok(Arc::clone(writer.insert(Arc::new(new))))
    }

    /// Writes a temporary file beside an object's name and gives it that name by `publish`, for good.
    fn store(
        &self,
        key: &str,
        write: &dyn Fn(&dyn File) -> std::io::Result<()>,
        publish: &dyn Fn(&Path, &Path) -> std::io::Result<()>,
    ) -> Result<()> {
        let disk = &*self.env.disk;
        self.store_unsettled(key, write, &|from, to| {
            publish(from, to)?;
            disk.sync_dir(to.parent().unwrap_or(&self.dir))
        })
    }

    /// The same, but the name may be gone after a power loss; what it names never is.
    fn store_unsettled(
        &self,
        key: &str,
        write: &dyn Fn(&dyn File) -> std::io::Result<()>,
        publish: &dyn Fn(&Path, &Path) -> std::io::Result<()>,
    ) -> Result<()> {
        let path = self.path(key)?;
        let failed = self.failed("storing", key);
        let folder = path.parent().unwrap_or(&self.dir);
        let disk = &*self.env.disk;
        let temporary = folder.join(self.writer()?.temporary_name());
        let stored = (|| {
            disk.create_dir_all(folder)?;
            let file = disk.open(&temporary, Open::CreateNew)?;
            write(&*file)?;
            file.sync_data()?;
            drop(file);
            publish(&temporary, &path)
        })();
        if stored.is_err() {
            // Most often it was never made, or has its name already.
            let _ = disk.remove_file(&temporary);
        }
        stored.map_err(failed)
    }

    fn put_file_by(&self, key: &str, source: &dyn File, len: u64, progress: &dyn Fn(u64), names: Names) -> Result<()> {
        let copy = |file: &dyn File| {
            let mut buffer = vec![0; COPY_BYTES];
            pieces(len, |offset, piece| {
                let chunk = &mut buffer[..piece];
                source.read_exact_at(chunk, offset)?;
                file.write_all_at(chunk, offset)?;
                progress(piece as u64);
                Ok(())
            })
        };
        let publish = |from: &Path, to: &Path| self.env.disk.rename(from, to);
        match names {
            Names::Durable => self.store(key, &copy, &publish),
            Names::Unsettled => self.store_unsettled(key, &copy, &publish),
        }?;
        self.counts.puts.fetch_add(1, Relaxed);
        self.counts.bytes_put.fetch_add(len, Relaxed);
        Ok(())
    }

    /// Opens an object; a folder is none. Length zero cannot be read from, so the folder shows.
    fn open(&self, doing: &str, key: &str) -> Result<(Arc<dyn File>, u64)> {
        let path = self.path(key)?;
        let failed = self.failed(doing, key);
        let file = self.env.disk.open(&path, Open::Read).map_err(&failed)?;
        file.read_at(&mut [0], 0).map_err(&failed)?;
        let len = file.len().map_err(&failed)?;
        Ok((file, len))
    }

    fn read_range(&self, file: &dyn File, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let len = range.end.saturating_sub(range.start);
        if len > GET_BYTES_MAX {
            return Err(too_long(key, len));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| too_long(key, len))?];
        file.read_exact_at(&mut bytes, range.start).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.too_short(key, range.end),
            _ => self.failed("reading", key)(error),
        })?;
        self.counts.gets.fetch_add(1, Relaxed);
        self.counts.bytes_got.fetch_add(len, Relaxed);
        Ok(bytes)
    }

    fn too_short(&self, key: &str, end: u64) -> Error {
        Error::corrupt(format!("object `{key}` in `{}` ends before byte {end}", self.describe()))
    }

    fn walk(&self, folder: &str, prefix: &str, each: &mut dyn FnMut(ObjectMeta) -> Result<()>) -> Result<()> {
        if folder.bytes().filter(|byte| *byte == b'/').count() > DEPTH_MAX {
            return Err(Error::invalid(format!("`{}`: folders are nested too deep", self.describe())));
        }
        let dir = if folder.is_empty() { self.dir.clone() } else { self.path(folder.trim_end_matches('/'))? };
        let entries = match self.env.disk.list(&dir) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            Err(error) => return Err(self.failed("listing", folder)(error)),
        };
        self.counts.lists.fetch_add(1, Relaxed);
        // As keys sort: what is in folder `a` has keys that begin with `a/`, after `a.b`.
        let mut names: Vec<(String, Option<(u64, i64)>)> = entries
            .into_iter()
            .filter(|entry| !entry.name.starts_with(TEMPORARY))
            .map(|entry| match entry.is_dir {
                true => (format!("{folder}{}/", entry.name), None),
                false => (format!("{folder}{}", entry.name), Some((entry.len, entry.modified_ns))),
            })
            .filter(|(key, _)| check_key(key.trim_end_matches('/')).is_ok())
            .collect();
        names.sort();
        for (key, size) in names {
            match size {
                Some((size, modified_ns)) if key.starts_with(prefix) => each(ObjectMeta { key, size, modified_ns })?,
                None if key.starts_with(prefix) || prefix.starts_with(&key) => self.walk(&key, prefix, each)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether the name of an object is durable when it has been put.
#[derive(Clone, Copy)]
enum Names {
    Durable,
    Unsettled,
}

/// Calls `each` with offset and length of every piece of a file.
fn pieces(len: u64, mut each: impl FnMut(u64, usize) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut offset = 0;
    while offset < len {
        let piece = usize::try_from(len - offset).map_or(COPY_BYTES, |left| left.min(COPY_BYTES));
        each(offset, piece)?;
        offset += piece as u64;
    }
    Ok(())
}

fn too_long(key: &str, len: u64) -> Error {
    Error::invalid(format!("object `{key}`: {len} bytes are too many to read at once, at most {GET_BYTES_MAX}"))
}

impl ObjectStore for LocalStore {
    fn describe(&self) -> String {
        format!("file://{}", self.dir.display())
    }

    fn put(&self, key: &str, body: &[u8]) -> Result<()> {
        self.store(key, &|file| file.write_all_at(body, 0), &|from, to| self.env.disk.rename(from, to))?;
        self.counts.puts.fetch_add(1, Relaxed);
        self.counts.bytes_put.fetch_add(body.len() as u64, Relaxed);
        Ok(())
    }

    fn put_file(&self, key: &str, source: &dyn File, len: u64, progress: &dyn Fn(u64)) -> Result<()> {
        self.put_file_by(key, source, len, progress, Names::Durable)
    }

    fn put_file_unsettled(&self, key: &str, source: &dyn File, len: u64, progress: &dyn Fn(u64)) -> Result<()> {
        self.put_file_by(key, source, len, progress, Names::Unsettled)
    }

    fn settle(&self, keys: &[String]) -> Result<()> {
        let mut folders = std::collections::BTreeMap::new();
        for key in keys {
            folders.extend(self.path(key)?.parent().map(|folder| (folder.to_path_buf(), key)));
        }
        let mut folders = folders.into_iter();
        folders.try_for_each(|(folder, key)| self.env.disk.sync_dir(&folder).map_err(self.failed("storing", key)))
    }

    fn put_if_absent(&self, key: &str, body: &[u8]) -> Result<bool> {
        let refusal = std::cell::Cell::new(None);
        let publish = |from: &Path, to: &Path| {
            let renamed = self.env.disk.rename_new(from, to);
            refusal.set(renamed.as_ref().err().map(std::io::Error::kind));
            renamed
        };
        match self.store(key, &|file| file.write_all_at(body, 0), &publish) {
            Ok(()) => {
                self.counts.puts.fetch_add(1, Relaxed);
                self.counts.bytes_put.fetch_add(body.len() as u64, Relaxed);
                Ok(true)
            }
            Err(_) if refusal.get() == Some(std::io::ErrorKind::AlreadyExists) => Ok(false),
            Err(error) if refusal.get().is_some() => {
                // The rename may have happened all the same; whose object it is, its bytes say. Then only
                // the folder's fsync is missing, which was not tried yet.
                let path = self.path(key)?;
                let ours = self.get(key).is_ok_and(|present| present == body);
                match path.parent().filter(|_| ours).map(|folder| self.env.disk.sync_dir(folder)) {
                    Some(Ok(())) => Ok(true),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        let (file, len) = self.open("reading", key)?;
        self.read_range(&*file, key, 0..len)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let (file, _) = self.open("reading", key)?;
        self.read_range(&*file, key, range)
    }

    fn read(&self, key: &str, len: u64, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let (file, there) = self.open("reading", key)?;
        if there < len {
            return Err(self.too_short(key, len));
        }
        let mut buffer = vec![0; COPY_BYTES];
        let mut refused = Ok(());
        let read = pieces(len, |offset, piece| {
            let chunk = &mut buffer[..piece];
            file.read_exact_at(chunk, offset)?;
            refused = each(chunk);
            if refused.is_err() { Err(std::io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        });
        refused?;
        read.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.too_short(key, len),
            _ => self.failed("reading", key)(error),
        })?;
        self.counts.gets.fetch_add(1, Relaxed);
        self.counts.bytes_got.fetch_add(len, Relaxed);
        Ok(())
    }

    fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        self.counts.heads.fetch_add(1, Relaxed);
        match self.open("looking at", key) {
            Ok((file, size)) => {
                let modified_ns = file.modified_ns().map_err(self.failed("looking at", key))?;
                Ok(Some(ObjectMeta { key: key.to_owned(), size, modified_ns }))
            }
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectMeta) -> Result<()>) -> Result<()> {
        // Begin at the folder that all keys with this prefix are in.
        match prefix.rfind('/') {
            Some(slash) => match check_key(&prefix[..slash]) {
                Ok(()) => self.walk(&prefix[..=slash], prefix, each),
                Err(error) => Err(error),
            },
            None => self.walk("", prefix, each),
        }
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        let mut folders: Vec<PathBuf> = Vec::new();
        for key in keys {
            let path = self.path(key)?;
            match self.env.disk.remove_file(&path) {
                Ok(()) => folders.extend(path.parent().map(Path::to_path_buf)),
                Err(error) => match self.failed("deleting", key)(error) {
                    gone if gone.kind == ErrorKind::NotFound => {}
                    error => return Err(error),
                },
            }
            self.counts.deletes.fetch_add(1, Relaxed);
        }
        folders.sort();
        folders.dedup();
        for folder in folders {
            self.env.disk.sync_dir(&folder).map_err(self.failed("deleting in", &folder.display().to_string()))?;
        }
        Ok(())
    }

    fn has_atomic_put_if_absent(&self) -> bool {
        true
    }

    fn figures(&self) -> Figures {
        let counts = &self.counts;
        Figures {
            puts: counts.puts.load(Relaxed),
            gets: counts.gets.load(Relaxed),
            heads: counts.heads.load(Relaxed),
            lists: counts.lists.load(Relaxed),
            deletes: counts.deletes.load(Relaxed),
            bytes_put: counts.bytes_put.load(Relaxed),
            bytes_got: counts.bytes_got.load(Relaxed),
            ..Figures::default()
        }
    }
}
