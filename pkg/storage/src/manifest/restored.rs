//! The manifest of a restored directory: nodes and a root that name what was restored, and the
//! pointer. The directory is one that nobody has open.

use super::commit::{self, Next};
use super::files::MoveError;
use super::format::{DeletesFile, FormatError, MonthFile, RootFile};
use super::model::{FileRef, Location, MonthNode, SegmentEntry, State};
use super::month_refs::Lists;
use super::{files, invariants, load};
use crate::deletes::{Deletes, DeletesEdit};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use timberlog_disk::Env;
use timberlog_types::{Day, Error, ErrorKind, Result, Tenant};

fn format_error(path: &str) -> impl Fn(FormatError) -> Error + '_ {
    move |error| match error {
        FormatError::Damaged(reason) => Error::corrupt(format!("`{path}` {reason}")),
        FormatError::Newer(_) => Error::new(ErrorKind::Invalid, format!("`{path}`: {error}")),
    }
}

/// Reads the tree of a root whose files come from elsewhere. `fetch` gives the bytes of a file,
/// checked against length and checksum.
///
/// # Errors
/// `Corrupt` if a node is not what its parent says, and what `fetch` answers.
pub(crate) fn read_tree(root: &FileRef, fetch: &dyn Fn(&FileRef) -> Result<Vec<u8>>) -> Result<State> {
    let file = RootFile::decode(&fetch(root)?).map_err(format_error(&root.path))?;
    load::check_root(&file).map_err(|reason| Error::corrupt(format!("`{}` {reason}", root.path)))?;
    if !file.unreachable.is_empty() || !file.lost_roots.is_empty() {
        return Err(Error::corrupt(format!("`{}` names what was lost", root.path)));
    }
    let deletes = match &file.deletes {
        Some(deletes) => DeletesFile::decode(&fetch(deletes)?, deletes.clone()).map_err(format_error(&deletes.path))?,
        None => Deletes::default(),
    };
    let mut state = State {
        version: file.version,
        database_id: file.database_id,
        flushed_seq: file.flushed_seq,
        tenants: BTreeMap::new(),
        producers: file.producers,
        deletes: Arc::new(deletes),
        clock_ns: file.clock_ns.unwrap_or(file.commit_time),
        unreachable: Vec::new(),
        lost_roots: Vec::new(),
        root: root.clone(),
        chain_start: file.chain_start,
    };
    for reference in &file.months {
        let (tenant, month) = reference.key().map_err(format_error(&root.path))?;
        let path = &reference.file.path;
        let bytes = fetch(&reference.file)?;
        let node = MonthFile::decode(&bytes).and_then(|node| node.into_node(&tenant, month, reference.file.clone()));
        let node = node.map_err(format_error(path))?;
        invariants::check_node(&tenant, &node, state.flushed_seq)
            .map_err(|reason| Error::corrupt(format!("`{path}` {reason}")))?;
        Arc::make_mut(state.tenants.entry(tenant).or_default()).insert(month, Arc::new(node));
    }
    Ok(state)
}

/// A state that is to be written into a new directory.
pub(crate) struct Restoring {
    next: Next,
}

impl Restoring {
    /// The partitions of `state` that `is_wanted` lets through. Segments of the object store whose files the backup
    /// `is_held` says to hold become local.
    pub(crate) fn new(
        state: &State,
        is_wanted: &dyn Fn(&Tenant, Day) -> bool,
        is_held: &dyn Fn(&SegmentEntry) -> bool,
    ) -> Result<Self> {
        let mut next = Next::after(state, 0)?;
        let is_moved = |entry: &SegmentEntry| !entry.location.is_local() && is_held(entry);
        for (tenant, day, partition) in state.all_partitions() {
            if !partition.segments.iter().any(|entry| is_moved(entry)) {
                continue;
            }
            let local = |entry: &Arc<SegmentEntry>| match is_moved(entry) {
                true => Arc::new(SegmentEntry { location: Location::Local, index_object: None, ..(**entry).clone() }),
                false => Arc::clone(entry),
            };
            next.set_partition(tenant, day, partition.segments.iter().map(local).collect());
        }
        let all: Vec<(Tenant, Day)> = state.all_partitions().map(|(tenant, day, _)| (tenant.clone(), day)).collect();
        for (tenant, day) in all.into_iter().filter(|(tenant, day)| !is_wanted(tenant, *day)) {
            next.set_partition(&tenant, day, Vec::new());
        }
        // The chain begins here.
        next.state.chain_start = next.state.version;
        Ok(Self { next })
    }

    /// What will be there.
    pub(crate) fn state(&self) -> &State {
        &self.next.state
    }

    /// Adds segments whose files are in the directory; every batch up to `flushed_seq` is in
    /// segments then.
    pub(crate) fn add(
        &mut self,
        segments: Vec<(Tenant, Day, SegmentEntry)>,
        flushed_seq: u64,
        producers: Option<FileRef>,
        deletes: &DeletesEdit,
    ) {
        for (tenant, day, entry) in segments {
            let mut partition =
                self.next.state.partition(&tenant, day).map(|partition| partition.segments.clone()).unwrap_or_default();
            partition.push(Arc::new(entry));
            self.next.set_partition(&tenant, day, partition);
        }
        if let Some(deletes) = self.next.state.deletes.apply(deletes, self.next.state.flushed_seq) {
            self.next.state.deletes = Arc::new(deletes);
            self.next.deletes_changed = true;
        }
        self.next.state.flushed_seq = flushed_seq;
        self.next.state.producers = producers;
    }

    /// The nodes that are as they were: their files are to be in the directory.
    pub(crate) fn unchanged_nodes(&self) -> impl Iterator<Item = &Arc<MonthNode>> {
        let tenants = self.next.state.tenants.iter();
        let nodes = tenants
            .flat_map(|(tenant, months)| months.iter().map(move |(month, node)| ((tenant.clone(), *month), node)));
        nodes.filter(|(key, _)| !self.next.changed.contains(key)).map(|(_, node)| node)
    }

    /// Writes changed nodes, the root, and the pointer. Every named file is durable by now.
    pub(crate) fn write(mut self, env: &Env, data_dir: &Path) -> Result<State> {
        let old = self.next.state.root.clone();
        // New numbers are above those of the deletes.
        self.next.state.flushed_seq = self.next.state.flushed_seq.max(self.next.state.deletes.seq_max());
        for (tenant, months) in &self.next.state.tenants {
            for node in months.values() {
                invariants::check_node(tenant, node, self.next.state.flushed_seq)
                    .map_err(|reason| Error::internal(format!("restored manifest: {reason}")))?;
            }
        }
        commit::write_files(env, data_dir, Some(&old), &mut self.next, &mut Lists::default(), &mut Vec::new())?;
        let moved = files::move_pointer(env, data_dir, &commit::pointer(&self.next.state));
        moved.map_err(|error| match error {
            MoveError::Before(error) | MoveError::Unknown(error) => error,
        })?;
        Ok(self.next.state)
    }
}
