//! A store in memory with a clock of its own, and faults.

use crate::objects::{ObjectMeta, ObjectStore};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use timberlog_disk::File;
use timberlog_types::{Error, ErrorKind, Result};

/// A store in memory. Clones share it.
#[derive(Clone, Default)]
pub struct FaultStore(Arc<Mutex<Inner>>);

#[derive(Default)]
pub struct Inner {
    /// Bytes and when they were stored.
    pub objects: BTreeMap<String, (Vec<u8>, i64)>,
    /// The store's clock.
    pub now_ns: i64,
    /// The next request that changes something, after so many more, is done and not answered; all behind it fail.
    pub fail_after: Option<u64>,
    /// Requests that change something.
    pub changes: u64,
    pub is_down: bool,
    pub is_not_atomic: bool,
}

impl FaultStore {
    pub fn new() -> Self {
        let store = Self::default();
        store.with(|inner| inner.now_ns = 1_000_000_000_000);
        store
    }

    pub fn with<T>(&self, what: impl FnOnce(&mut Inner) -> T) -> T {
        what(&mut self.0.lock().unwrap())
    }

    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.with(|inner| inner.objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }

    pub fn advance(&self, seconds: i64) {
        self.with(|inner| inner.now_ns += seconds * 1_000_000_000);
    }

    pub fn heal(&self) {
        self.with(|inner| (inner.fail_after, inner.is_down) = (None, false));
    }

    fn gone() -> Error {
        Error::new(ErrorKind::Unavailable, "the store does not answer")
    }

    fn change<T>(&self, what: impl FnOnce(&mut Inner) -> T) -> Result<T> {
        self.with(|inner| {
            inner.changes += 1;
            if inner.is_down {
                return Err(Self::gone());
            }
            match inner.fail_after {
                Some(0) => {
                    inner.is_down = true;
                    what(inner);
                    Err(Self::gone())
                }
                other => {
                    inner.fail_after = other.map(|left| left - 1);
                    Ok(what(inner))
                }
            }
        })
    }

    fn read<T>(&self, what: impl FnOnce(&mut Inner) -> T) -> Result<T> {
        self.with(|inner| if inner.is_down { Err(Self::gone()) } else { Ok(what(inner)) })
    }
}

impl ObjectStore for FaultStore {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn put(&self, key: &str, body: &[u8]) -> Result<()> {
        self.change(|inner| drop(inner.objects.insert(key.to_owned(), (body.to_vec(), inner.now_ns))))
    }

    fn put_file(&self, key: &str, file: &dyn File, len: u64, progress: &dyn Fn(u64)) -> Result<()> {
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, 0).map_err(|error| Error::io("read", &error))?;
        progress(len);
        self.put(key, &bytes)
    }

    fn put_if_absent(&self, key: &str, body: &[u8]) -> Result<bool> {
        self.change(|inner| {
            let is_new = !inner.objects.contains_key(key);
            if is_new {
                inner.objects.insert(key.to_owned(), (body.to_vec(), inner.now_ns));
            }
            is_new
        })
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        let found = self.read(|inner| inner.objects.get(key).map(|(bytes, _)| bytes.clone()))?;
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no object `{key}`")))
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let bytes = self.get(key)?;
        let part = bytes.get(range.start as usize..range.end as usize);
        part.map(<[u8]>::to_vec).ok_or_else(|| Error::corrupt(format!("`{key}` ends before")))
    }

    fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        self.read(|inner| {
            let meta = |(bytes, modified_ns): &(Vec<u8>, i64)| ObjectMeta {
                key: key.to_owned(),
                size: bytes.len() as u64,
                modified_ns: *modified_ns,
            };
            inner.objects.get(key).map(meta)
        })
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectMeta) -> Result<()>) -> Result<()> {
        let all: Vec<ObjectMeta> = self.read(|inner| {
            let found = inner.objects.iter().filter(|(key, _)| key.starts_with(prefix));
            let meta = |(key, (bytes, modified_ns)): (&String, &(Vec<u8>, i64))| ObjectMeta {
                key: key.clone(),
                size: bytes.len() as u64,
                modified_ns: *modified_ns,
            };
            found.map(meta).collect()
        })?;
        all.into_iter().try_for_each(each)
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        keys.iter().try_for_each(|key| self.change(|inner| drop(inner.objects.remove(key))))
    }

    fn has_atomic_put_if_absent(&self) -> bool {
        !self.with(|inner| inner.is_not_atomic)
    }
}
