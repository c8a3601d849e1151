//! An object store in memory that counts what is read of it, and fails as it is told.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use timberlog_disk::File;
use timberlog_storage::objects::{ObjectMeta, ObjectStore};
use timberlog_types::{Error, ErrorKind, Result};

/// A store. Clones are one.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Inner>>);

#[derive(Default)]
pub struct Inner {
    pub objects: BTreeMap<String, Vec<u8>>,
    /// What was read: keys and ranges.
    pub gets: Vec<(String, Range<u64>)>,
    /// No request is answered.
    pub is_down: bool,
    /// How many requests for bytes have begun.
    pub begun: u64,
    /// Until this is over requests wait, a minute at most.
    pub hangs: bool,
    /// So many requests bring wrong bytes.
    pub wrong: u64,
    /// So many requests bring too few bytes, as a store that noticed would tell.
    pub cut: u64,
}

impl Shelf {
    pub fn with<T>(&self, what: impl FnOnce(&mut Inner) -> T) -> T {
        what(&mut self.0.lock().unwrap())
    }

    /// What was read since this was last asked.
    pub fn taken(&self) -> Vec<(String, Range<u64>)> {
        self.with(|inner| std::mem::take(&mut inner.gets))
    }

    /// Bytes of all `.log`s.
    pub fn log_bytes(&self) -> u64 {
        self.with(|inner| {
            inner.objects.iter().filter(|(key, _)| key.ends_with(".log")).map(|(_, bytes)| bytes.len() as u64).sum()
        })
    }
}

impl ObjectStore for Shelf {
    fn describe(&self) -> String {
        "shelf".to_owned()
    }

    fn put(&self, key: &str, body: &[u8]) -> Result<()> {
        self.with(|inner| drop(inner.objects.insert(key.to_owned(), body.to_vec())));
        Ok(())
    }

    fn put_file(&self, key: &str, file: &dyn File, len: u64, _: &dyn Fn(u64)) -> Result<()> {
        self.put(key, &file.read_all(len).map_err(|error| Error::io("read", &error))?)
    }

    fn put_if_absent(&self, key: &str, body: &[u8]) -> Result<bool> {
        let is_there = self.with(|inner| inner.objects.contains_key(key));
        if is_there { Ok(false) } else { self.put(key, body).map(|()| true) }
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        let len = self.with(|inner| inner.objects.get(key).map(|bytes| bytes.len() as u64));
        let len = len.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no object `{key}`")))?;
        self.get_range(key, 0..len)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.with(|inner| inner.begun += 1);
        let end = Instant::now() + Duration::from_secs(60);
        while self.with(|inner| inner.hangs) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.with(|inner| {
            inner.gets.push((key.to_owned(), range.clone()));
            if inner.is_down {
                return Err(Error::new(ErrorKind::Unavailable, "the store does not answer"));
            }
            let found = inner.objects.get(key);
            let bytes = found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no object `{key}`")))?;
            let part = bytes.get(range.start as usize..range.end as usize);
            let mut part = part.map(<[u8]>::to_vec).ok_or_else(|| Error::corrupt(format!("`{key}` ends before")))?;
            if inner.cut > 0 {
                inner.cut -= 1;
                return Err(Error::corrupt(format!("`{key}`: the body ended too early")));
            }
            if inner.wrong > 0 {
                inner.wrong -= 1;
                part.iter_mut().for_each(|byte| *byte ^= 0x20);
            }
            Ok(part)
        })
    }

    fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        let _ = key;
        Err(Error::internal("nobody reads by asking first"))
    }

    fn list(&self, _: &str, _: &mut dyn FnMut(ObjectMeta) -> Result<()>) -> Result<()> {
        Ok(())
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        self.with(|inner| keys.iter().for_each(|key| drop(inner.objects.remove(key))));
        Ok(())
    }

    fn has_atomic_put_if_absent(&self) -> bool {
        true
    }
}
