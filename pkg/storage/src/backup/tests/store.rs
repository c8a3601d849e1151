use crate::objects::{ObjectMeta, ObjectStore};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use timberlog_disk::File;
use timberlog_types::{Error, ErrorKind, Result};

/// A store in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Inner>>);

#[derive(Default)]
pub struct Inner {
    pub objects: BTreeMap<String, Vec<u8>>,
    /// Operations that change something.
    pub changes: u64,
    /// The one after so many more is done and not answered, and all behind it fail.
    pub fail_after: Option<u64>,
    /// The one after so many more fails, and leaves what is not whole; those behind it do not.
    pub fail_once: Option<u64>,
    pub bytes_put: u64,
    /// What was put and not answered.
    pub lost: Vec<(String, Vec<u8>)>,
    /// The same, of puts that are conditional.
    pub lost_if_absent: Vec<(String, Vec<u8>)>,
}

impl MemoryStore {
    pub fn with<T>(&self, what: impl FnOnce(&mut Inner) -> T) -> T {
        what(&mut self.0.lock().unwrap())
    }

    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.with(|inner| inner.objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }

    /// What was put and not answered comes to be there.
    pub fn arrive(&self) {
        self.with(|inner| {
            let (lost, if_absent) = (std::mem::take(&mut inner.lost), std::mem::take(&mut inner.lost_if_absent));
            inner.objects.extend(lost);
            for (key, body) in if_absent {
                inner.objects.entry(key).or_insert(body);
            }
        });
    }

    /// A copy that shares nothing.
    pub fn fork(&self) -> Self {
        let objects = self.with(|inner| inner.objects.clone());
        Self(Arc::new(Mutex::new(Inner { objects, ..Inner::default() })))
    }

    fn gone() -> Error {
        Error::new(ErrorKind::Unavailable, "the store does not answer")
    }

    fn change<T>(&self, what: impl FnOnce(&mut Inner) -> T) -> Result<T> {
        self.with(|inner| {
            inner.changes += 1;
            if let Some(left) = &mut inner.fail_once {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    inner.fail_once = None;
                    return Err(Self::gone());
                }
            }
            match &mut inner.fail_after {
                Some(0) => return Err(Self::gone()),
                Some(left) => *left -= 1,
                None => return Ok(what(inner)),
            }
            let is_last = inner.fail_after == Some(0);
            let done = what(inner);
            if is_last { Err(Self::gone()) } else { Ok(done) }
        })
    }
}

impl ObjectStore for MemoryStore {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn put(&self, key: &str, body: &[u8]) -> Result<()> {
        let put = self.change(|inner| {
            inner.bytes_put += body.len() as u64;
            inner.objects.insert(key.to_owned(), body.to_vec());
        });
        if put.is_err() {
            self.with(|inner| inner.lost.push((key.to_owned(), body.to_vec())));
        }
        if put.is_err() && key.starts_with("files/") {
            // What a failed upload leaves is not to be trusted, whatever its length.
            let torn = body.iter().map(|byte| byte ^ 1).collect();
            self.with(|inner| inner.objects.insert(key.to_owned(), torn));
        }
        put
    }

    fn put_file(&self, key: &str, file: &dyn File, len: u64, progress: &dyn Fn(u64)) -> Result<()> {
        let mut bytes = vec![0; len as usize];
        let mut at = 0;
        while at < bytes.len() {
            let read = file.read_at(&mut bytes[at..], at as u64).map_err(|error| Error::io("read", &error))?;
            assert!(read > 0, "`{key}` ends before");
            at += read;
        }
        progress(len);
        self.put(key, &bytes)
    }

    fn put_if_absent(&self, key: &str, body: &[u8]) -> Result<bool> {
        let put = self.change(|inner| {
            let is_new = !inner.objects.contains_key(key);
            if is_new {
                inner.objects.insert(key.to_owned(), body.to_vec());
            }
            is_new
        });
        if put.is_err() {
            self.with(|inner| inner.lost_if_absent.push((key.to_owned(), body.to_vec())));
        }
        put
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        let found = self.with(|inner| inner.objects.get(key).cloned());
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no object `{key}`")))
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let bytes = self.get(key)?;
        let part = bytes.get(range.start as usize..range.end as usize);
        part.map(<[u8]>::to_vec).ok_or_else(|| Error::corrupt(format!("`{key}` ends before")))
    }

    fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        let size = self.with(|inner| inner.objects.get(key).map(|bytes| bytes.len() as u64));
        Ok(size.map(|size| ObjectMeta { key: key.to_owned(), size, modified_ns: 0 }))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectMeta) -> Result<()>) -> Result<()> {
        let all: Vec<ObjectMeta> = self.with(|inner| {
            let found = inner.objects.iter().filter(|(key, _)| key.starts_with(prefix));
            found
                .map(|(key, bytes)| ObjectMeta { key: key.clone(), size: bytes.len() as u64, modified_ns: 0 })
                .collect()
        });
        all.into_iter().try_for_each(each)
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        keys.iter().try_for_each(|key| self.change(|inner| drop(inner.objects.remove(key))))
    }

    fn has_atomic_put_if_absent(&self) -> bool {
        true
    }
}
