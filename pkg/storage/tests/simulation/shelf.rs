//! The object store of a history: it outlives processes and power losses, and a process that is dead reaches it no more.

use crate::machine::Process;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use timberlog_disk::File;
use timberlog_storage::objects::{ObjectMeta, ObjectStore};
use timberlog_types::{Error, ErrorKind, Result};

/// What becomes of one request that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// It is done and not answered, and all requests behind it fail until the store is [healed](Shelf::heal).
    Outage,
    /// It is done and not answered.
    AnswerLost,
    /// The same, to the next put that is conditional: whether it was the one that claimed the name is not known.
    ConditionalAnswerLost,
    /// It is not done, and fails.
    Refused,
    /// It is done twice, and answered once.
    Repeated,
    /// It fails, and is done behind so many requests that come later, if it is a put.
    Delayed(u64),
}

/// A store in memory. Clones share it.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, (Vec<u8>, i64)>,
    now_ns: i64,
    /// Who asks.
    process: Option<Arc<Process>>,
    /// What befalls the request after so many more that change something.
    mishap: Option<(u64, Mishap)>,
    /// A request that only reads and fails, after so many more of them.
    read_mishap: Option<u64>,
    /// What befell requests so far, counted.
    happened: BTreeMap<&'static str, u64>,
    /// Something befell a request, or a delayed one was done, since the store was healed.
    has_struck: bool,
    is_down: bool,
    /// What lists show instead of what is there.
    old_list: Option<Vec<ObjectMeta>>,
    /// Objects in whose place an older put has come late, and nothing since.
    set_back: BTreeSet<String>,
    /// Puts that are still under way, and how many requests come before them.
    delayed: Vec<(u64, Change)>,
}

/// A request that changes something.
#[derive(Clone)]
enum Change {
    Put { key: String, body: Vec<u8>, if_absent: bool },
    Delete { key: String },
}

impl Change {
    fn put_key(&self) -> Option<&str> {
        match self {
            Self::Put { key, .. } => Some(key),
            Self::Delete { .. } => None,
        }
    }
}

impl Inner {
    /// Whether a put has stored its bytes, or an earlier try of the same.
    fn apply(&mut self, change: &Change) -> bool {
        match change {
            Change::Put { key, body, if_absent } => {
                if let Some((present, _)) = self.objects.get(key).filter(|_| *if_absent) {
                    return present == body;
                }
                self.set_back.remove(key);
                self.objects.insert(key.clone(), (body.clone(), self.now_ns));
            }
            Change::Delete { key } => drop(self.objects.remove(key)),
        }
        true
    }

    /// Time goes on by a request.
    fn tick(&mut self) {
        self.now_ns += 1_000_000;
        let mut due = Vec::new();
        self.delayed.retain_mut(|(left, change)| {
            *left = left.saturating_sub(1);
            let is_due = *left == 0;
            if is_due {
                due.push(change.clone());
            }
            !is_due
        });
        for change in due {
            self.has_struck = true;
            let before = change.put_key().and_then(|key| self.objects.get(key)).map(|(body, _)| body.clone());
            self.apply(&change);
            if let (Some(key), Some(before)) = (change.put_key(), before)
                && self.objects.get(key).is_some_and(|(body, _)| *body != before)
            {
                self.set_back.insert(key.to_owned());
            }
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    fn is_undisturbed(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.is_undisturbed())
    }

    fn is_gone(&self) -> bool {
        self.is_down || self.process.as_ref().is_some_and(|process| process.is_dead())
    }
}

impl Shelf {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this process asks.
    pub fn serve(&self, process: &Arc<Process>) {
        self.inner().process = Some(Arc::clone(process));
    }

    /// Something befalls the request after so many more that change something.
    pub fn befall(&self, after: u64, mishap: Mishap) {
        // There are few that it can befall.
        let after = if mishap == Mishap::ConditionalAnswerLost { 0 } else { after };
        self.inner().mishap = Some((after, mishap));
    }

    /// Lists show what is there now, until the store is healed.
    pub fn freeze_lists(&self) {
        let mut inner = self.inner();
        inner.old_list = Some(inner.objects.iter().map(|(key, object)| meta(key, object)).collect());
    }

    /// All goes well from now on, but puts that are under way. Whether something had befallen a request.
    pub fn heal(&self) -> bool {
        let mut inner = self.inner();
        let has_struck = std::mem::take(&mut inner.has_struck) || inner.old_list.is_some();
        (inner.mishap, inner.read_mishap, inner.is_down, inner.old_list) = (None, None, false, None);
        has_struck
    }

    /// Whether an older put has come late in the place of an object whose key begins so, and nothing since.
    pub fn is_set_back(&self, prefix: &str) -> bool {
        self.inner().set_back.iter().any(|key| key.starts_with(prefix))
    }

    /// Whether no put is under way.
    pub fn is_quiet(&self) -> bool {
        self.inner().delayed.is_empty()
    }

    /// The store's clock goes on.
    pub fn advance(&self, seconds: i64) {
        self.inner().now_ns += seconds * 1_000_000_000;
    }

    /// A request that only reads fails, after so many more of them.
    pub fn befall_read(&self, after: u64) {
        self.inner().read_mishap = Some(after);
    }

    /// What befell requests so far, and how often.
    pub fn happened(&self) -> BTreeMap<&'static str, u64> {
        self.inner().happened.clone()
    }

    /// All goes well, and puts that are still under way are never done.
    pub fn rest(&self) {
        self.heal();
        let mut inner = self.inner();
        inner.delayed.clear();
        inner.process = None;
    }

    /// Every object and its bytes.
    pub fn sizes(&self) -> Vec<(String, u64)> {
        self.inner().objects.iter().map(|(key, (bytes, _))| (key.clone(), bytes.len() as u64)).collect()
    }

    /// Flips a bit of an object at rest.
    pub fn flip_bit(&self, key: &str, bit: u64) {
        if let Some((bytes, _)) = self.inner().objects.get_mut(key) {
            bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
    }

    pub fn len(&self) -> u64 {
        self.inner().objects.len() as u64
    }

    fn gone() -> Error {
        Error::new(ErrorKind::Unavailable, "the store does not answer")
    }

    fn ask<T>(&self, what: impl FnOnce(&mut Inner) -> T) -> Result<T> {
        let mut inner = self.inner();
        if inner.is_undisturbed() {
            return Ok(what(&mut inner));
        }
        inner.tick();
        if inner.is_gone() {
            return Err(Self::gone());
        }
        match inner.read_mishap {
            Some(0) => {
                (inner.read_mishap, inner.has_struck) = (None, true);
                inner.count("reads of a store that failed");
                return Err(Self::gone());
            }
            ref mut left => *left = left.map(|left| left - 1),
        }
        Ok(what(&mut inner))
    }

    fn change(&self, change: Change) -> Result<bool> {
        let mut inner = self.inner();
        inner.tick();
        if inner.is_gone() {
            return Err(Self::gone());
        }
        let mishap = match &mut inner.mishap {
            Some((after, _)) if *after > 0 => {
                *after -= 1;
                None
            }
            Some((_, Mishap::ConditionalAnswerLost)) if !matches!(change, Change::Put { if_absent: true, .. }) => None,
            due => due.take(),
        };
        let Some((_, mishap)) = mishap else { return Ok(inner.apply(&change)) };
        inner.has_struck = true;
        inner.count(match (mishap, &change) {
            (Mishap::Outage, _) => "outages of a store",
            (Mishap::ConditionalAnswerLost, _) => "answers to conditional puts lost",
            (Mishap::AnswerLost, _) => "answers of a store lost",
            (Mishap::Repeated, _) => "requests to a store repeated",
            (Mishap::Delayed(_), Change::Put { .. }) => "requests to a store delayed",
            (Mishap::Refused | Mishap::Delayed(_), _) => "requests to a store refused",
        });
        match mishap {
            Mishap::Outage => inner.is_down = true,
            Mishap::AnswerLost | Mishap::ConditionalAnswerLost => {}
            Mishap::Repeated => {
                inner.apply(&change);
                return Ok(inner.apply(&change));
            }
            Mishap::Delayed(requests) if matches!(change, Change::Put { .. }) => {
                inner.delayed.push((requests.max(1), change));
                return Err(Self::gone());
            }
            Mishap::Refused | Mishap::Delayed(_) => return Err(Self::gone()),
        }
        inner.apply(&change);
        Err(Self::gone())
    }
}

impl ObjectStore for Shelf {
    fn describe(&self) -> String {
        "shelf".to_owned()
    }

    fn put(&self, key: &str, body: &[u8]) -> Result<()> {
        self.change(Change::Put { key: key.to_owned(), body: body.to_vec(), if_absent: false }).map(drop)
    }

    fn put_file(&self, key: &str, file: &dyn File, len: u64, progress: &dyn Fn(u64)) -> Result<()> {
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, 0).map_err(|error| Error::io("read", &error))?;
        progress(len);
        self.put(key, &bytes)
    }

    fn put_if_absent(&self, key: &str, body: &[u8]) -> Result<bool> {
        self.change(Change::Put { key: key.to_owned(), body: body.to_vec(), if_absent: true })
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        let found = self.ask(|inner| inner.objects.get(key).map(|(bytes, _)| bytes.clone()))?;
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no object `{key}`")))
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let bytes = self.get(key)?;
        let part = bytes.get(range.start as usize..range.end as usize);
        part.map(<[u8]>::to_vec).ok_or_else(|| Error::corrupt(format!("`{key}` ends before")))
    }

    fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        self.ask(|inner| inner.objects.get(key).map(|object| meta(key, object)))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectMeta) -> Result<()>) -> Result<()> {
        let all: Vec<ObjectMeta> = self.ask(|inner| {
            let now = || inner.objects.iter().map(|(key, object)| meta(key, object)).collect();
            let all = inner.old_list.clone().unwrap_or_else(now);
            all.into_iter().filter(|object| object.key.starts_with(prefix)).collect()
        })?;
        all.into_iter().try_for_each(each)
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        keys.iter().try_for_each(|key| self.change(Change::Delete { key: key.clone() }).map(drop))
    }

    fn has_atomic_put_if_absent(&self) -> bool {
        true
    }
}

fn meta(key: &str, (bytes, modified_ns): &(Vec<u8>, i64)) -> ObjectMeta {
    ObjectMeta { key: key.to_owned(), size: bytes.len() as u64, modified_ns: *modified_ns }
}
