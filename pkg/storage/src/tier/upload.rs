//! Brings one segment into the object store: its `.log` and its index object, each seen whole there.
//!
//! Nothing names the objects yet: an upload that ends in the middle leaves orphans, which the next try finds and uses,
//! or [`super::gc`] removes. Never changes a manifest.

use super::index_object;
use super::mirror::cold;
use crate::manifest::verify::check_file;
use crate::manifest::{Depth, FileRef, SegmentEntry, index_object_path};
use crate::objects::{ObjectMeta, ObjectStore};
use std::path::Path;
use std::time::Duration;
use timberlog_disk::{Env, Open};
use timberlog_types::{Day, Error, ErrorKind, Result, Tenant};

/// What is read of an object at once to compare it.
const WINDOW_BYTES: u64 = 8 << 20;

/// Where segments are, and where they go.
pub(crate) struct Upload<'a> {
    pub(crate) env: &'a Env,
    pub(crate) data_dir: &'a Path,
    pub(crate) store: &'a dyn ObjectStore,
    /// An object that nothing names may be collected when it is so old.
    pub(crate) gc_grace: Duration,
    /// Told bytes as they are sent; may wait.
    pub(crate) pace: &'a dyn Fn(u64),
}

/// A segment that is in the store.
pub(crate) struct Stored {
    /// As a bucket names it.
    pub(crate) entry: SegmentEntry,
    /// Its index object.
    pub(crate) index: Vec<u8>,
    /// Bytes that were sent.
    pub(crate) bytes_sent: u64,
    /// Whether it was sent over what an earlier try had left long ago: a collection of garbage that has looked at that
    /// before may still delete it, for as long as a look is valid.
    pub(crate) may_be_collected: bool,
}

impl Upload<'_> {
    /// Uploads a segment whose files are in the data directory.
    ///
    /// # Errors
    /// `Corrupt` if its files are not what the manifest says: nothing was uploaded. What the store answers.
    pub(crate) fn segment(&self, tenant: &Tenant, day: Day, entry: &SegmentEntry) -> Result<Stored> {
        for file in entry.files() {
            check_file(self.env, self.data_dir, file, Depth::Checksum)
                .map_err(|reason| Error::corrupt(format!("segment `{}`: `{}` {reason}", entry.id, file.path)))?;
        }
        let open = |file: &FileRef| {
            let path = timberlog_disk::join(self.data_dir, &file.path).ok_or(std::io::ErrorKind::InvalidInput);
            let file = path.map_err(Into::into).and_then(|path| self.env.disk.open(&path, Open::Read));
            file.map_err(|error| Error::io(format!("open segment `{}`", entry.id), &error))
        };
        let log = open(&entry.log)?;
        let redb = match &entry.redb {
            None => None,
            Some(file) => {
                let bytes = open(file)?.read_all(index_object::INDEX_BYTES_MAX);
                Some(bytes.map_err(|error| Error::io(format!("read `{}`", file.path), &error))?)
            }
        };
        let index = index_object::encode(&log, redb.as_deref())?;
        let object = FileRef {
            path: index_object_path(tenant, day, &entry.id),
            len: index.len() as u64,
            crc32c: crc32c::crc32c(&index),
        };
        (self.pace)(object.len);
        let index_before = self.store.head(&object.path)?;
        self.store.put(&object.path, &index)?;
        let now_ns = self.check(&object)?;
        let mut bytes_sent = object.len;
        let log_before = self.store.head(&entry.log.path)?;
        let may_be_collected = index_before.iter().chain(&log_before).any(|before| !self.is_fresh(before, now_ns));
        let is_candidate =
            log_before.is_some_and(|before| before.size == entry.log.len && self.is_fresh(&before, now_ns));
        if !is_candidate || !self.is_whole(&entry.log)? {
            self.store.put_file(&entry.log.path, &*log, entry.log.len, self.pace)?;
            bytes_sent += entry.log.len;
            self.check(&entry.log)?;
        }
        let entry = cold(&SegmentEntry { index_object: Some(object), ..entry.clone() });
        Ok(Stored { entry, index, bytes_sent, may_be_collected })
    }

    /// Checks that an object is there with its length; returns when it was stored. Its bytes were checked on the way.
    pub(crate) fn check(&self, file: &FileRef) -> Result<i64> {
        match self.store.head(&file.path)? {
            Some(found) if found.size == file.len => Ok(found.modified_ns),
            Some(found) => {
                Err(Error::corrupt(format!("object `{}` has {} bytes of {}", file.path, found.size, file.len)))
            }
            None => Err(Error::new(ErrorKind::Unavailable, format!("object `{}` is not there", file.path))),
        }
    }

    /// Whether an object was stored not so long ago that it might be collected. `now_ns` is by the store's clock.
    fn is_fresh(&self, found: &ObjectMeta, now_ns: i64) -> bool {
        let grace_ns = i64::try_from(self.gc_grace.as_nanos()).unwrap_or(i64::MAX);
        found.modified_ns > now_ns.saturating_sub(grace_ns / 2)
    }

    /// Whether an earlier try left an object whole.
    fn is_whole(&self, file: &FileRef) -> Result<bool> {
        let (mut offset, mut crc32c) = (0, 0);
        while offset < file.len {
            let end = file.len.min(offset.saturating_add(WINDOW_BYTES));
            crc32c = crc32c::crc32c_append(crc32c, &self.store.get_range(&file.path, offset..end)?);
            offset = end;
        }
        Ok(crc32c == file.crc32c)
    }
}
