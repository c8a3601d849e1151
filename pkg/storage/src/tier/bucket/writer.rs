//! The one that commits to a bucket: claims it with a new epoch, then puts root behind root.
//!
//! A root is put only if its version is not there, and is the bucket's newest when the put is done: a version that
//! was free because newer ones had let it be collected does not count. Whoever finds another epoch stops for good.

use super::format::{DeletesFile, FORMAT, RootFile, root_key};
use super::{BucketState, damaged, load, load_whole, read_root, roots};
use crate::deletes::Tombstone;
use crate::manifest::month_refs::Lists;
use crate::manifest::stored::encode_month;
use crate::manifest::{FileRef, Month, MonthNode, Partition, SegmentEntry};
use crate::objects::ObjectStore;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use timberlog_disk::Env;
use timberlog_types::{Day, Error, ErrorKind, Result, Seq, Tenant};

/// Who claims a bucket.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// 32 hexadecimal digits, the same for the life of a data directory.
    pub(crate) writer: String,
    /// Whose segments will be there; `None`: whoever's are.
    pub(crate) database_id: Option<String>,
    /// Whether another writer's bucket may be claimed.
    pub(crate) take_over: bool,
    /// The version of the claimant's manifest.
    pub(crate) manifest_version: u64,
}

/// What a commit changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    /// Days and all their segments, in order of sequence; an empty one goes.
    pub(crate) partitions: BTreeMap<(Tenant, Day), Vec<Arc<SegmentEntry>>>,
    /// All tombstones, if they change.
    pub(crate) tombstones: Option<Vec<Tombstone>>,
    /// The version of the writer's manifest.
    pub(crate) manifest_version: u64,
    /// The `flushed_seq` of the writer's manifest.
    pub(crate) flushed_seq: Seq,
}

impl Change {
    /// Whether the bucket is as it should be.
    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.tombstones.is_none()
    }
}

/// The writer of a bucket.
pub(crate) struct Writer {
    env: Env,
    store: Arc<dyn ObjectStore>,
    state: BucketState,
    /// What the last root named of each tenant.
    lists: Lists,
    /// Why it may not commit any more.
    stale: Option<String>,
}

fn conflict(message: String) -> Error {
    Error::new(ErrorKind::Conflict, message)
}

/// Whether a root is that of a version, or the one that was put next after it.
fn follows(store: &dyn ObjectStore, newest: &BucketState, version: u64) -> Result<bool> {
    let previous = read_root(store, newest.version)?.1.previous;
    Ok(newest.version == version || previous.is_some_and(|previous| previous.path == root_key(version)))
}

/// A bucket whose newest root is damaged, for the database whose segments are there: nothing of it counts but the
/// numbers, since the database's own manifest names all that belongs there. Whose root it was nobody knows.
fn forgotten(store: &dyn ObjectStore, claim: &Claim, id: &str, error: Error) -> Result<BucketState> {
    if !claim.take_over {
        let mut error = error;
        error.message.push_str(
            "; this data directory knows what belongs there: `--s3-take-over` writes the root anew, if no other node \
             writes there",
        );
        return Err(error);
    }
    let damaged = damaged(store)?;
    if let Some(other) = damaged.whole.iter().find(|state| state.database_id != id) {
        return Err(conflict(format!(
            "`{}` held segments of the database `{}`, this one is `{id}`: each needs a prefix of its own",
            store.describe(),
            other.database_id
        )));
    }
    tracing::warn!(store = store.describe(), %error, "the newest root is damaged and is written anew");
    let newest = damaged.newest;
    // Each root raises the epoch by one at most.
    Ok(BucketState {
        version: newest,
        epoch: newest,
        writer: claim.writer.clone(),
        ..BucketState::empty(id.to_owned())
    })
}

impl Writer {
    /// Claims a bucket: commits a root with the next epoch.
    ///
    /// # Errors
    /// `Conflict` if it belongs to another database, or to another writer that must not be replaced, or if somebody
    /// else claimed it at the same time; what the store answers.
    pub(crate) fn claim(env: &Env, store: &Arc<dyn ObjectStore>, claim: &Claim) -> Result<Self> {
        let present = match load(&**store, None) {
            Err(error) if error.kind == ErrorKind::Corrupt => match &claim.database_id {
                Some(id) => Some(forgotten(&**store, claim, id, error)?),
                None => return Err(error),
            },
            present => present?,
        };
        Self::claim_of(env, store, claim, present)
    }

    /// Claims a bucket whose newest root is damaged, from an older version: what later ones changed is forgotten.
    ///
    /// # Errors
    /// As [`Self::claim`]; `Conflict` if the newest root is whole, `NotFound` if the version is not whole.
    pub(crate) fn claim_version(env: &Env, store: &Arc<dyn ObjectStore>, claim: &Claim, version: u64) -> Result<Self> {
        match load(&**store, None) {
            Err(error) if error.kind == ErrorKind::Corrupt => {}
            // A claim of it that was not followed by the directory's first manifest.
            Ok(Some(newest)) if follows(&**store, &newest, version)? => {
                return Self::claim_of(env, store, claim, Some(newest));
            }
            newest => {
                let newest = newest?.map_or(0, |newest| newest.version);
                return Err(conflict(format!(
                    "the newest root of `{}` (version {newest}) is whole: nothing older is to be used",
                    store.describe()
                )));
            }
        }
        let newest = roots(&**store)?.last_key_value().map_or(version, |(&newest, _)| newest);
        let mut state = load_whole(&**store, version)?;
        // Each root raises the epoch by one at most.
        state.epoch = state.epoch.saturating_add(newest.saturating_sub(version));
        state.version = newest;
        Self::claim_of(env, store, claim, Some(state))
    }

    fn claim_of(env: &Env, store: &Arc<dyn ObjectStore>, claim: &Claim, present: Option<BucketState>) -> Result<Self> {
        let place = store.describe();
        let is_atomic = store.probe()?;
        if let Some(present) = &present {
            if let Some(id) = claim.database_id.as_ref().filter(|id| **id != present.database_id) {
                return Err(conflict(format!(
                    "`{place}` holds segments of the database `{}`, this one is `{id}`: each needs a prefix of its own",
                    present.database_id
                )));
            }
            if present.writer != claim.writer && !claim.take_over {
                let why = if is_atomic {
                    "if it writes no more, take it over (`--s3-take-over`), or start from it on an empty disk (`--from`)"
                } else {
                    "and the store has no atomic conditional puts, so only one node may ever write to a prefix; if the \
                     other one is gone for good, take it over (`--s3-take-over`)"
                };
                return Err(conflict(format!(
                    "`{place}` belongs to another writer (`{}`, epoch {}): {why}",
                    present.writer, present.epoch
                )));
            }
        }
        let state = match (present, &claim.database_id) {
            (Some(present), _) => present,
            (None, Some(id)) => BucketState::empty(id.clone()),
            (None, None) => return Err(Error::new(ErrorKind::NotFound, format!("`{place}` holds no database"))),
        };
        let epoch = state.epoch.checked_add(1).ok_or_else(|| Error::internal("epochs are used up"))?;
        let mut writer =
            Self { env: env.clone(), store: Arc::clone(store), state, lists: Lists::default(), stale: None };
        let mut next = writer.state.clone();
        next.epoch = epoch;
        next.writer = claim.writer.clone();
        next.manifest_version = claim.manifest_version;
        match writer.put(next, &BTreeSet::new()) {
            Err(error) if error.kind == ErrorKind::Closed => {
                Err(conflict(format!("`{place}` was claimed by another writer at the same time: {}", error.message)))
            }
            other => other.map(|()| writer),
        }
    }

    /// What the bucket holds.
    pub(crate) fn state(&self) -> &BucketState {
        &self.state
    }

    /// Why nothing can be committed any more, if that is so.
    pub(crate) fn stale(&self) -> Option<&str> {
        self.stale.as_deref()
    }

    /// Commits a change. What it names is in the store by now.
    ///
    /// # Errors
    /// `Closed` if another writer has claimed the bucket: this one never commits again. `Unavailable` if the store
    /// does not answer, or if an earlier commit went through though its answer was lost: [`Self::state`] is the
    /// bucket's then, and the change is to be made anew.
    pub(crate) fn commit(&mut self, change: Change) -> Result<()> {
        self.check()?;
        let mut next = self.state.clone();
        next.manifest_version = change.manifest_version;
        next.flushed_seq = next.flushed_seq.max(change.flushed_seq);
        let mut changed = BTreeSet::new();
        for ((tenant, day), segments) in change.partitions {
            let month = Month::of(day);
            let months = Arc::make_mut(next.tenants.entry(tenant.clone()).or_default());
            let node = Arc::make_mut(months.entry(month).or_insert_with(|| Arc::new(MonthNode::unwritten())));
            match segments.is_empty() {
                true => drop(node.partitions.remove(&day)),
                false => drop(node.partitions.insert(day, Arc::new(Partition { segments }))),
            }
            if node.partitions.is_empty() {
                months.remove(&month);
            }
            if months.is_empty() {
                next.tenants.remove(&tenant);
            }
            changed.insert((tenant, month));
        }
        if let Some(tombstones) = change.tombstones {
            next.flushed_seq = tombstones.iter().map(|tombstone| tombstone.seq).fold(next.flushed_seq, Seq::max);
            next.tombstones = Arc::new(tombstones);
            next.deletes = None;
        }
        self.put(next, &changed)
    }

    /// Looks whether this is still the writer of the bucket.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub(crate) fn check(&self) -> Result<()> {
        match &self.stale {
            Some(reason) => Err(Error::new(ErrorKind::Closed, reason.clone())),
            None => Ok(()),
        }
    }

    /// Puts the next root and what it needs.
    fn put(&mut self, mut next: BucketState, changed: &BTreeSet<(Tenant, Month)>) -> Result<()> {
        next.version = self.state.version.checked_add(1).ok_or_else(|| Error::internal("versions are used up"))?;
        next.commit_time = self.env.clock.now_ns();
        let version = next.version;
        for (tenant, month) in changed {
            let Some(months) = next.tenants.get_mut(tenant) else { continue };
            let Some(node) = Arc::make_mut(months).get_mut(month) else { continue };
            let (file, bytes) = encode_month(version, self.salt(), (tenant, *month), node, next.flushed_seq)?;
            self.put_new(&file, &bytes)?;
            Arc::make_mut(node).file = file;
        }
        if next.deletes.is_none() && !next.tombstones.is_empty() {
            let (file, bytes) = DeletesFile::encode(version, self.salt(), &next.tombstones)?;
            self.put_new(&file, &bytes)?;
            next.deletes = Some(file);
        }
        let bytes = self.root(&next)?;
        let key = root_key(version);
        if !self.store.put_if_absent(&key, &bytes)? {
            return self.lost(version);
        }
        // A version may be free because it was collected: then a newer root is there.
        match roots(&*self.store)?.last_key_value() {
            Some((&newest, _)) if newest > version => return self.lost(version),
            _ => {}
        }
        if !self.store.has_atomic_put_if_absent() && self.store.get(&key)? != bytes {
            return self.lost(version);
        }
        next.root = Some(FileRef { path: key, len: bytes.len() as u64, crc32c: crc32c::crc32c(&bytes) });
        self.state = next;
        Ok(())
    }

    /// The bytes of the next root.
    fn root(&mut self, next: &BucketState) -> Result<Vec<u8>> {
        let root = RootFile {
            format: FORMAT,
            version: next.version,
            salt: self.salt(),
            epoch: next.epoch,
            writer: next.writer.clone(),
            database_id: next.database_id.clone(),
            commit_time: next.commit_time,
            manifest_version: next.manifest_version,
            flushed_seq: next.flushed_seq,
            previous: self.state.root.clone(),
            months: self.lists.of(&next.tenants)?,
            deletes: next.deletes.clone(),
        };
        root.encode()
    }

    fn salt(&self) -> String {
        format!("{:016x}", self.env.random.next_u64())
    }

    /// Puts what only a root that is still to come will name: nobody else's has its name.
    fn put_new(&self, file: &FileRef, bytes: &[u8]) -> Result<()> {
        match self.store.put_if_absent(&file.path, bytes)? {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Unavailable, format!("object `{}` is there already", file.path))),
        }
    }

    /// Finds out whose root is where ours should be.
    fn lost(&mut self, version: u64) -> Result<()> {
        let newest = load(&*self.store, Some(&self.state))?
            .ok_or_else(|| Error::corrupt(format!("root {version} is there and is not")))?;
        if newest.epoch == self.state.epoch && newest.writer == self.state.writer {
            self.state = newest;
            return Err(Error::new(ErrorKind::Unavailable, format!("root {version} was committed before, unnoticed")));
        }
        let reason = format!(
            "another writer (`{}`, epoch {}) has taken over `{}`: this one (epoch {}) commits there no more",
            newest.writer,
            newest.epoch,
            self.store.describe(),
            self.state.epoch
        );
        self.stale = Some(reason.clone());
        Err(Error::new(ErrorKind::Closed, reason))
    }
}
