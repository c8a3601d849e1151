//! The manifest: what exists. It names all and only the files that make up the database.
//!
//! `manifest.json` is a small pointer to the current root; a root names one node for each tenant
//! and month, a node lists its days and their segments. Roots and nodes are immutable JSON files
//! under `manifest/`, each named by its parent with length and CRC32C; each root names the one
//! before it. A commit writes the nodes that it changed and a root, makes them durable, and only
//! then moves the pointer: before that nothing has happened, after it everything has.
//!
//! This module owns `manifest.json`, `manifest/` and the removal of files that nothing names any
//! more. It must never write a file that something names, and never remove one that a kept root
//! or a pinned [`State`] names. It does not lock the directory: the engine does.

pub(crate) mod adopted;
mod commit;
mod files;
pub mod format;
mod invariants;
mod load;
mod model;
mod month;
pub(crate) mod month_refs;
pub mod pins;
mod reclaim;
mod repair;
pub(crate) mod restored;
pub(crate) mod stored;
#[cfg(test)]
mod tests;
pub mod verify;

pub use load::{Chain, Loaded, load};
pub use model::{
    Edit, EditKind, FileRef, LevelCounts, Location, LostRoot, MonthNode, Months, Partition, SEGMENT_SERVICES_MAX,
    SegmentEntry, State, Unreachable, index_object_path, log_path, redb_path,
};
pub use month::Month;
pub use repair::RepairReport;
pub use verify::{Damage, Depth, VerifyReport, verify};

use files::MoveError;
pub(crate) use files::is_lost;
use load::Without;
pub(crate) use model::segment_folder;
use reclaim::Reclaim;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock, Weak};
use timberlog_disk::Env;
use timberlog_types::{Error, ErrorKind, Result, Seq};

/// The pointer to the current root, in the data directory.
pub const POINTER_FILE: &str = "manifest.json";
/// The folder of roots and nodes.
pub const MANIFEST_DIR: &str = "manifest";
/// The folder of segments: `segments/<tenant>/<day>/`.
pub const SEGMENTS_DIR: &str = "segments";
/// The folder of producers files.
pub const PRODUCERS_DIR: &str = "producers";

/// Settings of a manifest.
#[derive(Clone, Copy, Debug)]
pub struct ManifestOptions {
    /// Roots kept behind the current one, at least 1: the start falls back to them, and their
    /// files stay.
    pub history: usize,
}

impl Default for ManifestOptions {
    fn default() -> Self {
        Self { history: 10 }
    }
}

/// What [`Manifest::open`] found.
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    /// The directory was empty and holds a new database now.
    pub created: bool,
    /// The current root, or the pointer to it, could not be read.
    pub fallback: Option<Fallback>,
    /// Months that cannot be read, for people. Their partitions are missing from every answer.
    pub unreachable: Vec<String>,
    /// Damage outside of the current tree: old roots that are still kept, and their nodes.
    pub history_damage: Vec<Damage>,
    /// Files that nothing named (leftovers of a crash), removed. Relative paths.
    pub removed: Vec<String>,
    /// Files that nothing names and that could not be removed; every commit tries again.
    pub left: Vec<String>,
    /// Files that nothing names and that were left: something is damaged, `repair` comes first.
    pub orphans_left: Vec<String>,
}

impl OpenReport {
    /// Whether anything at all is damaged.
    pub fn is_damaged(&self) -> bool {
        self.fallback.is_some() || !self.unreachable.is_empty() || !self.history_damage.is_empty()
    }
}

/// The start fell back to an older root.
///
/// The WAL may have been truncated up to the lost root's `flushed_seq`. Batches in
/// `flushed_seq_used + 1 ..= flushed_seq_lost` that the WAL no longer holds are only in segments
/// that the lost root named; those files are left where they are until `repair`. New sequence
/// numbers must be above both.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// What could not be read.
    pub lost: LostRoot,
    /// The version that is used instead.
    pub version_used: u64,
    /// Its `flushed_seq`: replay starts behind it.
    pub flushed_seq_used: Seq,
    /// The lost root's `flushed_seq`, if the pointer could be read.
    pub flushed_seq_lost: Option<Seq>,
}

/// The manifest of an open database. Commits come one at a time; reading never waits for them.
pub struct Manifest {
    env: Env,
    data_dir: PathBuf,
    options: ManifestOptions,
    state: RwLock<Arc<State>>,
    writer: Mutex<Writer>,
    /// Why no commit is possible any more, for who must not wait for one.
    failure: OnceLock<String>,
}

/// What only a commit touches.
struct Writer {
    /// Why no commit is possible any more.
    poisoned: Option<String>,
    /// Damage in kept roots other than the current one: nothing is cleaned while there is any.
    history_damaged: bool,
    /// States that someone may still hold.
    pinned: Vec<(u64, Weak<State>)>,
    /// States that backups hold, across restarts too.
    pins: Vec<pins::Pin>,
    /// What the last root named of each tenant.
    lists: month_refs::Lists,
    reclaim: Reclaim,
}

/// Reads the manifest of a data directory and changes nothing.
///
/// # Errors
/// `NotFound` if there is no database.
pub fn read(env: &Env, data_dir: &Path) -> Result<State> {
    match load::load(env, data_dir)? {
        Some(Loaded { state, .. }) => Ok(state),
        None => Err(Error::new(ErrorKind::NotFound, format!("no database in `{}`", data_dir.display()))),
    }
}

/// Makes the pointer that was read durable: a process that ended between moving it and the fsync of
/// the folder left one that a power loss may still take back, and what is built on it must not be.
/// It is moved anew, since a folder whose fsync failed once may seem fine the next time and yet
/// forget. `false` if there is no room for that: then nothing that an older pointer names may go.
fn settle(env: &Env, data_dir: &Path, loaded: &Loaded) -> Result<bool> {
    if loaded.fallback.is_none() {
        match files::move_pointer(env, data_dir, &commit::pointer(&loaded.state)) {
            Ok(()) => return Ok(true),
            Err(MoveError::Before(_)) => {}
            Err(MoveError::Unknown(error)) => return Err(error),
        }
    }
    let synced = env.disk.sync_dir(data_dir);
    synced.map_err(|error| Error::io(format!("fsync `{}`", data_dir.display()), &error))?;
    Ok(false)
}

impl Manifest {
    /// Opens the manifest of a data directory, whose lock the caller holds; creates a new
    /// database if the directory has none. Removes what a crash left behind, unless something is
    /// damaged. Call it before anything else writes into the directory.
    pub fn open(env: &Env, data_dir: &Path, options: ManifestOptions) -> Result<(Self, OpenReport)> {
        Self::open_with(env, data_dir, options, Without::Nothing)
    }

    /// The same for a repair, where no root can be used because the deletes of all are damaged: gives
    /// them up. Records that they hid, and that no purge has removed, are back.
    pub fn open_without_deletes(env: &Env, data_dir: &Path, options: ManifestOptions) -> Result<(Self, OpenReport)> {
        let opened = Self::open_with(env, data_dir, options, Without::Deletes)?;
        opened.0.commit(Edit::default())?;
        Ok(opened)
    }

    fn open_with(env: &Env, data_dir: &Path, options: ManifestOptions, without: Without) -> Result<(Self, OpenReport)> {
        let options = ManifestOptions { history: options.history.max(1) };
        let mut report = OpenReport::default();
        let mut is_settled = true;
        let loaded = match load::load_with(env, data_dir, without)? {
            Some(loaded) => {
                is_settled = settle(env, data_dir, &loaded)?;
                loaded
            }
            None => {
                report.created = true;
                commit::create(env, data_dir)?
            }
        };
        let Loaded { state, mut chain, fallback } = loaded;
        let mut pins = pins::read(env, data_dir);
        pins::extend(env, data_dir, &state, &mut chain, &mut pins)?;
        report.fallback = fallback;
        report.unreachable = state.unreachable.iter().map(ToString::to_string).collect();
        report.history_damage = chain.damage.clone();
        let history_damaged = !chain.damage.is_empty();
        let orphans = reclaim::orphans(env, data_dir, &state, &chain)?;
        if state.is_damaged() || history_damaged || !is_settled {
            report.orphans_left = orphans;
        } else {
            (report.removed, report.left) = reclaim::remove_orphans(env, data_dir, orphans)?;
        }
        let mut reclaim = Reclaim::new(&state, &chain);
        reclaim.note_left(&report.left);
        let state = Arc::new(state);
        let writer = Writer {
            poisoned: None,
            history_damaged,
            pinned: vec![(state.version, Arc::downgrade(&state))],
            pins,
            lists: month_refs::Lists::default(),
            reclaim,
        };
        let manifest = Self {
            env: env.clone(),
            data_dir: data_dir.to_path_buf(),
            options,
            state: RwLock::new(state),
            writer: Mutex::new(writer),
            failure: OnceLock::new(),
        };
        Ok((manifest, report))
    }

    /// The current state. Whoever holds it pins its files: they are not removed before it is
    /// dropped.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Applies an edit: checks it, writes the next version, and returns it when it is durable.
    /// The files of `edit.add` must be durable, with their folders, before this is called.
    ///
    /// After an error nothing has changed. An error of kind [`ErrorKind::Closed`] says that it is
    /// not known whether the new version is durable: no further commit is possible, the
    /// directory must be opened anew.
    pub fn commit(&self, edit: Edit) -> Result<Arc<State>> {
        let mut writer = self.writer()?;
        let old = self.state();
        self.commit_locked(&mut writer, old, &edit)
    }

    /// Applies the edit that is made of the current state, which no other commit changes meanwhile; `None`: nothing
    /// is to be changed. As [`Self::commit`] otherwise.
    pub fn commit_with(&self, make: impl FnOnce(&State) -> Option<Edit>) -> Result<Option<Arc<State>>> {
        let mut writer = self.writer()?;
        let old = self.state();
        make(&old).map(|edit| self.commit_locked(&mut writer, old, &edit)).transpose()
    }

    fn commit_locked(&self, writer: &mut Writer, old: Arc<State>, edit: &Edit) -> Result<Arc<State>> {
        let next = commit::apply(&old, edit, self.options.history)?;
        let state = self.install(writer, &old, next, Some(edit))?;
        drop(old);
        self.collect_locked(writer);
        Ok(state)
    }

    /// Whether a commit is possible.
    ///
    /// # Errors
    /// `Closed` after a commit of which it is not known whether it is durable.
    pub fn check_alive(&self) -> Result<()> {
        self.writer().map(drop)
    }

    /// Why no commit is possible until the directory is opened anew, if that is so.
    pub fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }

    /// Removes files that no kept root and no pinned state names any more. A commit does it too;
    /// call this when a long-lived snapshot was dropped. Returns how many files went.
    pub fn collect(&self) -> Result<usize> {
        let mut writer = self.writer()?;
        Ok(self.collect_locked(&mut writer))
    }

    /// Accepts the loss of what cannot be read: drops unreachable months and lost roots from the
    /// manifest and cuts the chain behind a damaged old root. Months that can be read again are
    /// kept. The next start cleans what nothing names then.
    pub fn repair(&self) -> Result<RepairReport> {
        let mut writer = self.writer()?;
        let old = self.state();
        let (next, report) = repair::repair(&self.env, &self.data_dir, &old, writer.history_damaged)?;
        if let Some(next) = next {
            self.install(&mut writer, &old, next, None)?;
            writer.history_damaged = false;
        }
        Ok(report)
    }

    fn writer(&self) -> Result<MutexGuard<'_, Writer>> {
        let writer = self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &writer.poisoned {
            Some(reason) => Err(Error::new(
                ErrorKind::Closed,
                format!("manifest takes no more commits: {reason}; open the directory anew"),
            )),
            None => Ok(writer),
        }
    }
}
