//! Files that nothing names any more: by reference while the database runs, by a scan at start.
//!
//! A file lives from the version that added it to the one that no longer names it. It goes when
//! no kept root and no pinned state is of a version in between. While anything is damaged,
//! nothing goes.
//!
//! A file that cannot be removed may stay, since none of its kind is ever found by its name: what
//! names a file has made it, under a name that nothing had. Roots are found by their names by a
//! start that cannot read the pointer, so a start leaves none that nothing names.

use super::files::{is_node_name, is_root};
use super::load::Chain;
use super::model::{FileRef, SegmentEntry, State};
use super::month::Month;
use super::{MANIFEST_DIR, Manifest, POINTER_FILE, PRODUCERS_DIR, SEGMENTS_DIR, Writer};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use timberlog_disk::{Entry, Env};
use timberlog_types::{Error, Result, Tenant};

/// The version since which nothing names a file that an earlier process has left: every one is later.
const LEFT: u64 = 0;

/// Files that the current state does not name, and since which version.
#[derive(Debug, Default)]
pub(super) struct Reclaim {
    retired: BTreeMap<String, u64>,
}

impl Reclaim {
    /// What only the older roots of the chain name.
    pub(super) fn new(state: &State, chain: &Chain) -> Self {
        let named = named_by(state);
        let mut retired: BTreeMap<String, u64> = chain
            .old_files
            .iter()
            .filter(|(path, _)| !named.contains(path.as_str()))
            .map(|(path, &last)| (path.clone(), last.saturating_add(1)))
            .collect();
        let old_roots = chain.roots.iter().filter(|(version, _)| *version < state.version);
        retired.extend(old_roots.map(|(version, file)| (file.path.clone(), version.saturating_add(1))));
        Self { retired }
    }

    /// A file that is added must not have the name of one that an older root still names.
    pub(super) fn check_new<'a>(&self, mut files: impl Iterator<Item = &'a FileRef>) -> Result<(), String> {
        match files.find(|file| self.retired.contains_key(&file.path)) {
            Some(file) => Err(format!("invariant `an added file is new`: `{}` is not", file.path)),
            None => Ok(()),
        }
    }

    /// A root or a node that was written must not have the name of a file that may go at any time.
    pub(super) fn check_written(&self, written: &[String]) -> Result<()> {
        match written.iter().find(|path| self.retired.contains_key(*path)) {
            Some(path) => Err(Error::internal(format!("`{path}` has the name of a file that could not be removed"))),
            None => Ok(()),
        }
    }

    /// Notes files that nothing names and that could not be removed.
    pub(super) fn note_left(&mut self, paths: &[String]) {
        self.retired.extend(paths.iter().map(|path| (path.clone(), LEFT)));
    }

    /// Notes what the step from `old` to `new` no longer names.
    pub(super) fn retire(&mut self, old: &State, new: &State, changed: &BTreeSet<(Tenant, Month)>) {
        let mut retire = |file: &FileRef| {
            self.retired.insert(file.path.clone(), new.version);
        };
        retire(&old.root);
        if let Some(producers) = old.producers.as_ref().filter(|file| new.producers.as_ref() != Some(file)) {
            retire(producers);
        }
        if let Some(deletes) = old.deletes.file.as_ref().filter(|file| new.deletes.file.as_ref() != Some(file)) {
            retire(deletes);
        }
        for lost in old.unreachable.iter().filter(|lost| !new.unreachable.contains(lost)) {
            retire(&lost.file);
        }
        for (tenant, month) in changed {
            let Some(node) = old.tenants.get(tenant).and_then(|months| months.get(month)) else { continue };
            retire(&node.file);
            for (day, partition) in &node.partitions {
                let now = new.partition(tenant, *day);
                if now.is_some_and(|now| Arc::ptr_eq(now, partition)) {
                    continue;
                }
                // What is only in the object store now has no local files any more.
                let stays: HashSet<&str> = now
                    .iter()
                    .flat_map(|now| &now.segments)
                    .filter(|entry| entry.location.is_local())
                    .map(|entry| entry.id.as_str())
                    .collect();
                let gone = |entry: &&Arc<SegmentEntry>| !stays.contains(entry.id.as_str());
                partition.segments.iter().filter(gone).flat_map(|entry| entry.local_files()).for_each(&mut retire);
            }
        }
    }

    /// Files that no live version names: `oldest_kept` and later roots, and `pinned` states.
    pub(super) fn removable(&self, oldest_kept: u64, pinned: &[u64]) -> Vec<String> {
        let oldest = pinned.iter().copied().min().map_or(oldest_kept, |pinned| pinned.min(oldest_kept));
        self.retired.iter().filter(|&(_, &retired)| retired <= oldest).map(|(path, _)| path.clone()).collect()
    }
}

impl Manifest {
    /// Whether older roots alone name segments: those were merged, removed, or left the disk.
    ///
    /// # Errors
    /// `Closed` if nothing can be committed any more.
    pub(crate) fn keeps_old_segments(&self) -> Result<bool> {
        let writer = self.writer()?;
        let mut retired = writer.reclaim.retired.iter();
        Ok(retired.any(|(path, &since)| since > LEFT && path.starts_with(SEGMENTS_DIR)))
    }

    /// Removes what can go. A file that cannot be removed stays noted; the next call tries again.
    pub(super) fn collect_locked(&self, writer: &mut Writer) -> usize {
        let state = self.state();
        writer.pinned.retain(|(_, pinned)| pinned.strong_count() > 0);
        if state.is_damaged() || writer.history_damaged {
            return 0;
        }
        self.drop_expired(writer);
        let pinned: Vec<u64> = writer.held().collect();
        let mut removed = 0;
        for path in writer.reclaim.removable(state.chain_start, &pinned) {
            match remove(&self.env, &self.data_dir, &path) {
                Ok(()) => {
                    writer.reclaim.retired.remove(&path);
                    removed += 1;
                }
                Err(error) => tracing::warn!(path, %error, "a file that nothing names cannot be removed"),
            }
        }
        removed
    }
}

/// Removes a file; one that is gone already is fine.
fn remove(env: &Env, data_dir: &Path, relative: &str) -> io::Result<()> {
    let path = timberlog_disk::join(data_dir, relative).ok_or(io::ErrorKind::InvalidInput)?;
    match env.disk.remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The files that a state names.
fn named_by(state: &State) -> HashSet<&str> {
    let nodes = state.tenants.values().flat_map(|months| months.values()).map(|node| &node.file);
    let lost = state.unreachable.iter().map(|lost| &lost.file);
    let segments = state.segments().flat_map(|(_, _, entry)| entry.local_files());
    let files =
        nodes.chain(lost).chain(segments).chain(&state.producers).chain(&state.deletes.file).chain([&state.root]);
    files.map(|file| file.path.as_str()).collect()
}

/// Files in the folders of the database that no kept root names. Only names of the kinds that
/// this program writes: anything else in these folders is not ours.
pub(super) fn orphans(env: &Env, data_dir: &Path, state: &State, chain: &Chain) -> Result<Vec<String>> {
    let mut named = named_by(state);
    named.extend(chain.old_files.keys().map(String::as_str));
    named.extend(chain.roots.iter().map(|(_, file)| file.path.as_str()));

    let mut orphans = Vec::new();
    let mut look = |folder: &str, ours: &dyn Fn(&str) -> bool| -> Result<Vec<String>> {
        let entries = list(env, data_dir, folder)?;
        let files = entries.iter().filter(|entry| !entry.is_dir && ours(&entry.name));
        let paths =
            files.map(|entry| if folder.is_empty() { entry.name.clone() } else { format!("{folder}/{}", entry.name) });
        orphans.extend(paths.filter(|path| !named.contains(path.as_str())));
        Ok(entries.into_iter().filter(|entry| entry.is_dir).map(|entry| format!("{folder}/{}", entry.name)).collect())
    };
    look("", &|name| name.strip_suffix(".tmp") == Some(POINTER_FILE))?;
    look(MANIFEST_DIR, &is_node_name)?;
    look(PRODUCERS_DIR, &|_| true)?;
    for tenant in look(SEGMENTS_DIR, &|_| false)? {
        for day in look(&tenant, &|_| false)? {
            look(&day, &|name| [".log", ".redb", ".tmp"].iter().any(|end| name.ends_with(end)))?;
        }
    }
    Ok(orphans)
}

fn list(env: &Env, data_dir: &Path, folder: &str) -> Result<Vec<Entry>> {
    let path = data_dir.join(folder);
    match env.disk.list(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|error| Error::io(format!("list `{}`", path.display()), &error)),
    }
}

/// Removes orphans, and folders of days that are empty then. Returns what is gone, and what could not be removed.
///
/// # Errors
/// A root cannot be removed.
pub(super) fn remove_orphans(
    env: &Env,
    data_dir: &Path,
    mut orphans: Vec<String>,
) -> Result<(Vec<String>, Vec<String>)> {
    let mut left = Vec::new();
    // While a root can be found, so can what it names.
    orphans.sort_by_key(|path| !is_root(path));
    for path in &orphans {
        match remove(env, data_dir, path) {
            Ok(()) => {}
            Err(error) if is_root(path) => {
                let doing = format!(
                    "remove `{path}`, which nothing names and which must not stay: a start that cannot read \
                     `{POINTER_FILE}` could take it for the newest root"
                );
                return Err(Error::io(doing, &error));
            }
            Err(error) => {
                tracing::warn!(path, %error, "a file that nothing names cannot be removed; trying again later");
                left.push(path.clone());
            }
        }
    }
    for tenant in list(env, data_dir, SEGMENTS_DIR)?.iter().filter(|entry| entry.is_dir) {
        for day in list(env, data_dir, &format!("{SEGMENTS_DIR}/{}", tenant.name))?.iter().filter(|entry| entry.is_dir)
        {
            let folder = format!("{SEGMENTS_DIR}/{}/{}", tenant.name, day.name);
            if list(env, data_dir, &folder)?.is_empty() {
                // Only tidiness: an empty folder may stay.
                let _ = env.disk.remove_dir(&data_dir.join(folder));
            }
        }
    }
    orphans.retain(|path| !left.contains(path));
    Ok((orphans, left))
}
