//! The object store of a history: it outlives processes and power losses, and a process that is dead reaches it no more.

use crate::machine::Process;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use timberlog_disk::File;
use timberlog_storage::objects::{ObjectMeta, ObjectStore};
use timberlog_types::{Error, ErrorKind, Result};

/// A store in memory. Clones share it.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, (Vec<u8>, i64)>,
    now_ns: i64,
    /// Who asks.
    process: Option<Arc<Process>>,
    /// The request after so many more is done and not answered, and all behind it fail.
    fail_after: Option<u64>,
    is_down: bool,
}

impl Shelf {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this process asks.
    pub fn serve(&self, process: &Arc<Process>) {
        self.inner().process = Some(Arc::clone(process));
    }

    /// The store stops answering after so many requests that change something.
    pub fn fail_after(&self, requests: u64) {
        self.inner().fail_after = Some(requests);
    }

    /// The store answers again. Whether it had stopped.
    pub fn heal(&self) -> bool {
        let mut inner = self.inner();
        inner.fail_after = None;
        std::mem::take(&mut inner.is_down)
    }

    /// The store's clock goes on.
    pub fn advance(&self, seconds: i64) {
        self.inner().now_ns += seconds * 1_000_000_000;
    }

    pub fn len(&self) -> u64 {
        self.inner().objects.len() as u64
    }

    fn gone() -> Error {
        Error::new(ErrorKind::Unavailable, "the store does not answer")
    }

    fn ask<T>(&self, is_change: bool, what: impl FnOnce(&mut Inner) -> T) -> Result<T> {
        let mut inner = self.inner();
        inner.now_ns += 1_000_000;
        if inner.is_down || inner.process.as_ref().is_some_and(|process| process.is_dead()) {
            return Err(Self::gone());
        }
        match inner.fail_after.filter(|_| is_change) {
            Some(0) => {
                inner.is_down = true;
                what(&mut inner);
                return Err(Self::gone());
            }
            Some(left) => inner.fail_after = Some(left - 1),
            None => {}
        }
        Ok(what(&mut inner))
    }
}

impl ObjectStore for Shelf {
    fn describe(&self) -> String {
        "shelf".to_owned()
    }

    fn put(&self, key: &str, body: &[u8]) -> Result<()> {
        self.ask(true, |inner| drop(inner.objects.insert(key.to_owned(), (body.to_vec(), inner.now_ns))))
    }

    fn put_file(&self, key: &str, file: &dyn File, len: u64, progress: &dyn Fn(u64)) -> Result<()> {
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, 0).map_err(|error| Error::io("read", &error))?;
        progress(len);
        self.put(key, &bytes)
    }

    fn put_if_absent(&self, key: &str, body: &[u8]) -> Result<bool> {
        self.ask(true, |inner| {
            let is_new = !inner.objects.contains_key(key);
            if is_new {
                inner.objects.insert(key.to_owned(), (body.to_vec(), inner.now_ns));
            }
            is_new
        })
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        let found = self.ask(false, |inner| inner.objects.get(key).map(|(bytes, _)| bytes.clone()))?;
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no object `{key}`")))
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let bytes = self.get(key)?;
        let part = bytes.get(range.start as usize..range.end as usize);
        part.map(<[u8]>::to_vec).ok_or_else(|| Error::corrupt(format!("`{key}` ends before")))
    }

    fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        self.ask(false, |inner| inner.objects.get(key).map(|object| meta(key, object)))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectMeta) -> Result<()>) -> Result<()> {
        let all: Vec<ObjectMeta> = self.ask(false, |inner| {
            let found = inner.objects.iter().filter(|(key, _)| key.starts_with(prefix));
            found.map(|(key, object)| meta(key, object)).collect()
        })?;
        all.into_iter().try_for_each(each)
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        keys.iter().try_for_each(|key| self.ask(true, |inner| drop(inner.objects.remove(key))))
    }

    fn has_atomic_put_if_absent(&self) -> bool {
        true
    }
}

fn meta(key: &str, (bytes, modified_ns): &(Vec<u8>, i64)) -> ObjectMeta {
    ObjectMeta { key: key.to_owned(), size: bytes.len() as u64, modified_ns: *modified_ns }
}
