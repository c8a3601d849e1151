//! Removes from a bucket what no kept root names: old roots, what they alone named, and what crashed uploads left.
//!
//! Kept are the newest root and each that another one followed less than the grace ago. An object goes if no kept root
//! names it and it is older than the grace: by then an upload that made it is over, since uploads trust nothing that is
//! half as old. Times are the store's own. Roots go before the objects that they name. Only keys of the kinds that
//! this program writes are looked at.

use super::bucket::{BucketState, MANIFEST, SEGMENTS, fetch, load, read_root, roots};
use crate::manifest::stored::decode_month;
use crate::objects::{ObjectMeta, ObjectStore};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use timberlog_disk::Env;
use timberlog_types::{Error, ErrorKind, Result};

/// What begins the key of the object that tells the store's time.
const CLOCK: &str = "gc/";
/// Objects that are looked at once more, and deleted, together.
const DELETE_BATCH: usize = 500;
/// A batch that takes longer between the last look and the deletion is looked at again.
pub(crate) const LOOK_VALID: Duration = Duration::from_secs(30);

/// What becomes of what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GcMode {
    /// It is listed.
    DryRun,
    /// It is deleted.
    Delete,
}

/// What a collection found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// The newest root.
    pub version: u64,
    /// Roots that are kept, the newest among them.
    pub roots_kept: u64,
    /// Objects that a kept root names.
    pub named: u64,
    /// Objects that none names and that are too young to go.
    pub young: u64,
    /// Objects that go, or went: keys and bytes, roots first.
    pub garbage: Vec<ObjectMeta>,
    /// Uploads of parts that were begun and never finished, and that go.
    pub uploads: u64,
    /// Whether they are gone.
    pub deleted: bool,
}

impl GcReport {
    /// Bytes of the garbage.
    pub fn bytes(&self) -> u64 {
        self.garbage.iter().map(|object| object.size).sum()
    }
}

/// Collects the garbage of a bucket. `epoch`: whoever writes the bucket, its epoch; another one ends the collection.
///
/// # Errors
/// `NotFound` if the bucket has no root, `Corrupt` if a kept root or node cannot be read, `Closed` if the bucket has
/// another epoch: nothing was deleted then. What the store answers.
pub fn collect(
    env: &Env,
    store: &dyn ObjectStore,
    grace: Duration,
    mode: GcMode,
    epoch: Option<u64>,
) -> Result<GcReport> {
    let now_ns = match mode {
        GcMode::DryRun => env.clock.now_ns(),
        GcMode::Delete => store_time(env, store)?,
    };
    let grace_ns = i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX);
    let old_ns = now_ns.saturating_sub(grace_ns);
    // Objects first: what is put and named after this is not among them.
    let mut objects = Vec::new();
    for prefix in [SEGMENTS, MANIFEST, CLOCK] {
        store.list(prefix, &mut |object| {
            objects.push(object);
            Ok(())
        })?;
    }
    let mut kept = Kept::default();
    kept.look(store, old_ns, epoch)?;
    let mut report = GcReport { version: kept.newest, ..GcReport::default() };
    let is_ours = |key: &str| {
        let kinds: &[&str] = if key.starts_with(SEGMENTS) { &[".log", ".index"] } else { &[".json"] };
        kinds.iter().any(|kind| key.ends_with(kind))
    };
    let (mut old_roots, mut garbage) = (Vec::new(), Vec::new());
    for object in objects.into_iter().filter(|object| is_ours(&object.key)) {
        if kept.names(&object.key) {
            report.named += 1;
        } else if super::bucket::format::root_version(&object.key).is_some() {
            old_roots.push(object);
        } else if object.modified_ns >= old_ns {
            report.young += 1;
        } else {
            garbage.push(object);
        }
    }
    report.roots_kept = kept.roots.len() as u64;
    report.uploads = store.unfinished_uploads(old_ns, mode == GcMode::Delete)?;
    if mode == GcMode::Delete {
        let gone: Vec<String> = old_roots.iter().map(|root| root.key.clone()).collect();
        if !gone.is_empty() {
            store.delete(&gone)?;
        }
        let mut went = Vec::new();
        for batch in garbage.chunks(DELETE_BATCH) {
            went.extend(delete(env, store, batch, &mut kept, old_ns, epoch)?);
        }
        garbage = went;
        report.deleted = true;
    }
    report.garbage = old_roots.into_iter().chain(garbage).collect();
    Ok(report)
}

/// Deletes those of a batch that are still garbage, by a look that is not older than [`LOOK_VALID`].
fn delete(
    env: &Env,
    store: &dyn ObjectStore,
    batch: &[ObjectMeta],
    kept: &mut Kept,
    old_ns: i64,
    epoch: Option<u64>,
) -> Result<Vec<ObjectMeta>> {
    let valid_ns = u64::try_from(LOOK_VALID.as_nanos()).unwrap_or(u64::MAX);
    let mut went = Vec::new();
    let mut looked_ns = env.clock.monotonic_ns();
    let mut going: Vec<ObjectMeta> = Vec::new();
    let mut flush = |going: &mut Vec<ObjectMeta>, looked_ns: u64, kept: &mut Kept| -> Result<()> {
        kept.look(store, old_ns, epoch)?;
        going.retain(|object| !kept.names(&object.key));
        if env.clock.monotonic_ns().saturating_sub(looked_ns) > valid_ns {
            // The next collection finds them again.
            going.clear();
        }
        if !going.is_empty() {
            let keys: Vec<String> = going.iter().map(|object| object.key.clone()).collect();
            store.delete(&keys)?;
        }
        went.append(going);
        Ok(())
    };
    for object in batch {
        // An upload that is tried again has put it anew.
        match store.head(&object.key)? {
            Some(found) if found.modified_ns < old_ns => going.push(found),
            _ => {}
        }
        if env.clock.monotonic_ns().saturating_sub(looked_ns) > valid_ns / 2 {
            flush(&mut going, looked_ns, kept)?;
            looked_ns = env.clock.monotonic_ns();
        }
    }
    flush(&mut going, looked_ns, kept)?;
    Ok(went)
}

/// The time by the store's clock.
fn store_time(env: &Env, store: &dyn ObjectStore) -> Result<i64> {
    let key = format!("{CLOCK}{:016x}.json", env.random.next_u64());
    store.put(&key, b"{}\n")?;
    let found = store.head(&key);
    store.delete(std::slice::from_ref(&key))?;
    match found? {
        Some(found) if found.modified_ns != 0 => Ok(found.modified_ns),
        // Of a store that tells no times everything is young.
        Some(_) => Ok(i64::MIN),
        None => Err(Error::new(ErrorKind::Unavailable, format!("object `{key}` was put and is not there"))),
    }
}

/// The kept roots and what they name.
#[derive(Default)]
struct Kept {
    newest: u64,
    roots: BTreeSet<u64>,
    named: HashSet<String>,
    /// What each node names: many roots name the same.
    nodes: HashMap<String, Arc<[String]>>,
    state: Option<BucketState>,
}

impl Kept {
    fn names(&self, key: &str) -> bool {
        self.named.contains(key)
    }

    /// Looks which roots are kept now, and reads those that were not known.
    fn look(&mut self, store: &dyn ObjectStore, old_ns: i64, epoch: Option<u64>) -> Result<()> {
        let all = roots(store)?;
        let Some((&newest, _)) = all.last_key_value() else {
            return Err(Error::new(ErrorKind::NotFound, format!("`{}` holds no database", store.describe())));
        };
        let mut after: Option<&ObjectMeta> = None;
        for (&version, object) in all.iter().rev() {
            let is_kept = after.is_none_or(|next| next.modified_ns >= old_ns);
            if is_kept && self.roots.insert(version) {
                self.read(store, version)?;
            }
            after = Some(object);
        }
        self.newest = newest;
        let state = load(store, self.state.as_ref())?;
        if let (Some(epoch), Some(state)) = (epoch, &state)
            && state.epoch != epoch
        {
            let message = format!("`{}` has epoch {} now, not {epoch}", store.describe(), state.epoch);
            return Err(Error::new(ErrorKind::Closed, message));
        }
        self.named.extend(state.iter().flat_map(BucketState::keys).map(str::to_owned));
        self.state = state;
        Ok(())
    }

    fn read(&mut self, store: &dyn ObjectStore, version: u64) -> Result<()> {
        let (file, root) = match read_root(store, version) {
            // Another collection was faster: it was older than it seemed.
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        self.named.insert(file.path);
        self.named.extend(root.deletes.iter().map(|file| file.path.clone()));
        for reference in &root.months {
            let (tenant, month) = reference.key().map_err(|error| Error::corrupt(error.to_string()))?;
            let path = &reference.file.path;
            self.named.insert(path.clone());
            if !self.nodes.contains_key(path) {
                let node = decode_month(&fetch(store, &reference.file)?, (&tenant, month), &reference.file, u64::MAX)?;
                let segments = node.partitions.values().flat_map(|partition| &partition.segments);
                let objects = segments.flat_map(|entry| entry.objects()).map(|file| file.path.clone());
                self.nodes.insert(path.clone(), objects.collect());
            }
            if let Some(objects) = self.nodes.get(path) {
                self.named.extend(objects.iter().cloned());
            }
        }
        Ok(())
    }
}
