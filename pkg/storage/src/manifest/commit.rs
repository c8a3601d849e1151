//! A commit: the next state, its files, and the move of the pointer, in this order.
//!
//! nodes (write, fsync) → root (write, fsync) → folder fsync → pointer (write, fsync, rename,
//! fsync the folder) → the state in memory → files that nothing names any more go.

use super::files::{self, Kind, MoveError};
use super::format::{self, DeletesFile, FORMAT, LostMonth, MonthFile, Pointer, RootFile};
use super::invariants;
use super::load::{Chain, Loaded};
use super::model::{Edit, FileRef, Location, MonthNode, Partition, SegmentEntry, State};
use super::month::Month;
use super::month_refs::Lists;
use super::{MANIFEST_DIR, Manifest, Writer};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use timberlog_disk::Env;
use timberlog_types::{Day, Error, ErrorKind, Result, Tenant};

/// Nodes that are written before they are synced together. They are open meanwhile.
const NODES_AT_ONCE: usize = 32;

/// A state that is not on disk yet: `root` and the files of `changed` are still to be written.
pub(super) struct Next {
    pub state: State,
    pub changed: BTreeSet<(Tenant, Month)>,
    /// Whether the file of deletes is to be written anew.
    pub deletes_changed: bool,
}

impl Next {
    /// The state after `old`, with nothing changed but the version.
    pub(super) fn after(old: &State, history: usize) -> Result<Self> {
        let mut state = old.clone();
        state.version = old.version.checked_add(1).ok_or_else(|| Error::internal("manifest versions are used up"))?;
        state.chain_start = old.chain_start.max(state.version.saturating_sub(history as u64));
        Ok(Self { state, changed: BTreeSet::new(), deletes_changed: false })
    }

    /// Replaces a day; an empty one goes, and its month with its last day. Copies the path from
    /// the state to the day, nothing else.
    pub(super) fn set_partition(&mut self, tenant: &Tenant, day: Day, segments: Vec<Arc<SegmentEntry>>) {
        let month = Month::of(day);
        self.changed.insert((tenant.clone(), month));
        let months = Arc::make_mut(self.state.tenants.entry(tenant.clone()).or_default());
        let node = Arc::make_mut(months.entry(month).or_insert_with(|| Arc::new(MonthNode::unwritten())));
        if segments.is_empty() {
            node.partitions.remove(&day);
        } else {
            node.partitions.insert(day, Arc::new(Partition { segments }));
        }
        if node.partitions.is_empty() {
            months.remove(&month);
        }
        if months.is_empty() {
            self.state.tenants.remove(tenant);
        }
    }
}

impl MonthNode {
    /// A node that is not on disk yet.
    pub(crate) fn unwritten() -> Self {
        Self { file: FileRef { path: String::new(), len: 0, crc32c: 0 }, partitions: BTreeMap::new() }
    }
}

/// The state after an edit. Whatever the edit does wrong is found here or by the invariants.
pub(super) fn apply(old: &State, edit: &Edit, history: usize) -> Result<Next> {
    let mut next = Next::after(old, history)?;
    let mut days: BTreeMap<(&Tenant, Day), Vec<Arc<SegmentEntry>>> = BTreeMap::new();
    let segments = |tenant: &Tenant, day: Day| {
        old.partition(tenant, day).map(|partition| partition.segments.clone()).unwrap_or_default()
    };
    for (tenant, day, id) in &edit.remove {
        let segments = days.entry((tenant, *day)).or_insert_with(|| segments(tenant, *day));
        let place = segments.iter().position(|entry| entry.id == *id);
        let place = place.ok_or_else(|| {
            Error::internal(format!(
                "manifest: segment `{id}` to remove is not in partition {day} of tenant `{tenant}`"
            ))
        })?;
        segments.remove(place);
    }
    for (tenant, day, entry) in &edit.add {
        let segments = days.entry((tenant, *day)).or_insert_with(|| segments(tenant, *day));
        let place = segments.partition_point(|other| other.seq_min < entry.seq_min);
        segments.insert(place, Arc::new(entry.clone()));
    }
    for (tenant, day, id, purged_seq) in &edit.raise {
        let segments = days.entry((tenant, *day)).or_insert_with(|| segments(tenant, *day));
        let entry = segments.iter_mut().find(|entry| entry.id == *id);
        let entry = entry.ok_or_else(|| Error::internal(format!("manifest: no segment `{id}` to note a purge of")))?;
        let raised = Arc::make_mut(entry);
        raised.purged_seq = raised.purged_seq.max(*purged_seq);
    }
    for ((tenant, day), segments) in days {
        next.set_partition(tenant, day, segments);
    }
    if let Some(flushed_seq) = edit.flushed_seq {
        next.state.flushed_seq = flushed_seq;
    }
    if let Some(producers) = &edit.producers {
        next.state.producers = Some(producers.clone());
    }
    if let Some(deletes) = old.deletes.apply(&edit.deletes, old.flushed_seq) {
        next.state.deletes = Arc::new(deletes);
        next.deletes_changed = true;
    }
    if let Some(clock_ns) = edit.clock_ns {
        next.state.clock_ns = clock_ns;
    }
    if edit.cut_history {
        next.state.chain_start = next.state.chain_start.max(old.version);
    }
    Ok(next)
}

/// Writes the first root of a new database.
pub(super) fn create(env: &Env, data_dir: &Path) -> Result<Loaded> {
    let folder = data_dir.join(MANIFEST_DIR);
    env.disk.create_dir_all(&folder).map_err(|error| Error::io(format!("create `{}`", folder.display()), &error))?;
    let mut id = [0; 16];
    env.random.fill(&mut id);
    let mut state = State {
        version: 1,
        database_id: format!("{:032x}", u128::from_le_bytes(id)),
        flushed_seq: 0,
        tenants: BTreeMap::new(),
        producers: None,
        deletes: Arc::default(),
        clock_ns: env.clock.now_ns(),
        unreachable: Vec::new(),
        lost_roots: Vec::new(),
        root: MonthNode::unwritten().file,
        chain_start: 1,
    };
    state.root = write_root(env, data_dir, &state, None, &mut Lists::default(), &mut Vec::new())?;
    match files::move_pointer(env, data_dir, &pointer(&state)) {
        Ok(()) => {}
        Err(MoveError::Before(error) | MoveError::Unknown(error)) => return Err(error),
    }
    let chain = Chain { roots: vec![(state.version, state.root.clone())], ..Chain::default() };
    Ok(Loaded { state, chain, fallback: None })
}

impl Manifest {
    /// Checks, writes and installs a state. `edit` is `None` for a repair.
    pub(super) fn install(
        &self,
        writer: &mut Writer,
        old: &Arc<State>,
        mut next: Next,
        edit: Option<&Edit>,
    ) -> Result<Arc<State>> {
        let holds = match edit {
            Some(edit) => {
                let is_new = |(_, _, entry): &&(Tenant, Day, SegmentEntry)| entry.location == Location::Local;
                let added = edit.add.iter().filter(is_new).flat_map(|(_, _, entry)| entry.files());
                let added = added.chain(&edit.producers);
                writer.reclaim.check_new(added).and_then(|()| invariants::check_commit(old, &next.state, edit))
            }
            None => invariants::check_repair(old, &next.state),
        };
        holds.map_err(|reason| Error::internal(format!("manifest: {reason}; nothing was written")))?;

        let mut written = Vec::new();
        let files = write_files(&self.env, &self.data_dir, Some(&old.root), &mut next, &mut writer.lists, &mut written);
        let moved = files
            .and_then(|()| writer.reclaim.check_written(&written))
            .map_err(MoveError::Before)
            .and_then(|()| files::move_pointer(&self.env, &self.data_dir, &pointer(&next.state)));
        match moved {
            Ok(()) => {}
            Err(MoveError::Before(error)) => {
                // Nothing names them. What cannot be removed is tried again.
                written.retain(|path| self.env.disk.remove_file(&self.data_dir.join(path)).is_err());
                writer.reclaim.note_left(&written);
                return Err(error.context("manifest commit failed, nothing has changed"));
            }
            Err(MoveError::Unknown(error)) => {
                writer.poisoned = Some(error.message.clone());
                let message = format!("manifest commit failed and may or may not be durable: {}", error.message);
                // The first one stays.
                let _ = self.failure.set(message.clone());
                return Err(Error::new(ErrorKind::Closed, message));
            }
        }
        let state = Arc::new(next.state);
        writer.reclaim.retire(old, &state, &next.changed);
        writer.pinned.push((state.version, Arc::downgrade(&state)));
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&state);
        Ok(state)
    }
}

/// Writes the nodes that changed and the root behind `previous`, each durably; `written` is told the path of each file.
pub(super) fn write_files(
    env: &Env,
    data_dir: &Path,
    previous: Option<&FileRef>,
    next: &mut Next,
    lists: &mut Lists,
    written: &mut Vec<String>,
) -> Result<()> {
    let version = next.state.version;
    let mut unsynced = Vec::new();
    for (tenant, month) in &next.changed {
        let Some(months) = next.state.tenants.get_mut(tenant) else { continue };
        let Some(node) = Arc::make_mut(months).get_mut(month) else { continue };
        let file = MonthFile::new(version, salt(env), tenant, *month, node);
        let bytes = format::encode(&file).map_err(|error| Error::internal(error.to_string()))?;
        let (file, open) = files::write(env, data_dir, (Kind::Month, version), &bytes, written)?;
        Arc::make_mut(node).file = file;
        unsynced.push(open);
        if unsynced.len() >= NODES_AT_ONCE {
            files::sync(env, &mut unsynced)?;
        }
    }
    if next.deletes_changed {
        let deletes = Arc::make_mut(&mut next.state.deletes);
        let file = DeletesFile::new(version, salt(env), deletes);
        let bytes = format::encode(&file).map_err(|error| Error::internal(error.to_string()))?;
        let (file, open) = files::write(env, data_dir, (Kind::Deletes, version), &bytes, written)?;
        deletes.file = Some(file);
        unsynced.push(open);
    }
    // Before there is a root: a start that cannot read the pointer may take it.
    files::sync(env, &mut unsynced)?;
    next.state.root = write_root(env, data_dir, &next.state, previous, lists, written)?;
    Ok(())
}

pub(super) fn pointer(state: &State) -> Pointer {
    Pointer { format: FORMAT, version: state.version, flushed_seq: state.flushed_seq, root: state.root.clone() }
}

fn salt(env: &Env) -> String {
    format!("{:016x}", env.random.next_u64())
}

fn write_root(
    env: &Env,
    data_dir: &Path,
    state: &State,
    previous: Option<&FileRef>,
    lists: &mut Lists,
    written: &mut Vec<String>,
) -> Result<FileRef> {
    let root = RootFile {
        format: FORMAT,
        version: state.version,
        salt: salt(env),
        commit_time: env.clock.now_ns(),
        database_id: state.database_id.clone(),
        flushed_seq: state.flushed_seq,
        previous: previous.cloned(),
        chain_start: state.chain_start,
        producers: state.producers.clone(),
        deletes: state.deletes.file.clone(),
        clock_ns: Some(state.clock_ns),
        months: lists.of(&state.tenants)?,
        unreachable: state.unreachable.iter().map(LostMonth::of).collect(),
        lost_roots: state.lost_roots.clone(),
    };
    let bytes = format::encode(&root).map_err(|error| Error::internal(error.to_string()))?;
    let (file, open) = files::write(env, data_dir, (Kind::Root, state.version), &bytes, written)?;
    files::sync(env, &mut vec![open])?;
    Ok(file)
}
