//! Reading the manifest at start: the pointer, the root, its nodes, and the chain of kept roots.
//!
//! A node that cannot be read makes its month unreachable and nothing else. A root that cannot be
//! read is replaced by the newest whole one. This module reads only; it never writes or removes.

use super::files::{self, ReadError, RootName};
use super::format::{DeletesFile, LostMonth, MonthFile, MonthRef, RootFile};
use super::invariants;
use super::model::{FileRef, LostRoot, MonthNode, Months, State, Unreachable};
use super::month::Month;
use super::verify::Damage;
use super::{Fallback, MANIFEST_DIR, POINTER_FILE, SEGMENTS_DIR};
use crate::deletes::Deletes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use timberlog_disk::Env;
use timberlog_types::{Error, Result, Tenant};

/// A manifest as it was read.
#[derive(Debug)]
pub struct Loaded {
    /// The state of the current root, or of the one that replaces it.
    pub state: State,
    /// The roots that are kept.
    pub chain: Chain,
    /// Why the current root was replaced.
    pub fallback: Option<Fallback>,
}

/// The roots that are kept, and what only the older ones name.
#[derive(Debug, Default)]
pub struct Chain {
    /// Version and file of each kept root, newest (the current one) first.
    pub roots: Vec<(u64, FileRef)>,
    /// Files that older roots name, each with the newest version that does; the current root may
    /// name them too.
    pub old_files: BTreeMap<String, u64>,
    /// What could not be read of the older roots.
    pub damage: Vec<Damage>,
}

/// Reads the manifest of a data directory; `None` if there is no database in it yet. Changes
/// nothing.
pub fn load(env: &Env, data_dir: &Path) -> Result<Option<Loaded>> {
    load_with(env, data_dir, Without::Nothing)
}

/// What a root may be read without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    Nothing,
    /// Its deletes, if they cannot be read: a repair gives them up when there is no other root.
    Deletes,
}

pub(super) fn load_with(env: &Env, data_dir: &Path, without: Without) -> Result<Option<Loaded>> {
    let mut lost = match files::read_pointer(env, data_dir) {
        Ok(pointer) => match read_root(env, data_dir, &pointer.root) {
            Ok(root) if root.version == pointer.version && root.flushed_seq == pointer.flushed_seq => {
                match read_deletes(env, data_dir, &root, without) {
                    Ok(deletes) => return read_tree(env, data_dir, root, deletes, pointer.root, None).map(Some),
                    Err(ReadError::Damaged(reason)) => Lost::root(&pointer, reason),
                    Err(ReadError::Stop(error)) => return Err(error),
                }
            }
            Ok(_) => Lost::root(&pointer, "is not the version that the pointer names".to_owned()),
            Err(ReadError::Damaged(reason)) => Lost::root(&pointer, reason),
            Err(ReadError::Stop(error)) => return Err(error),
        },
        Err(ReadError::Damaged(reason)) => Lost::pointer(reason),
        Err(ReadError::Stop(error)) => return Err(error),
    };
    for name in files::root_names(env, data_dir)? {
        if name.version >= lost.version_end {
            // Written for a commit that never happened.
            continue;
        }
        match read_named_root(env, data_dir, &name, without) {
            Ok((file, root, deletes)) => {
                if root.version == 1 && lost.pointer && is_empty(env, data_dir)? {
                    // A crash while the database was created.
                    return Ok(None);
                }
                return read_tree(env, data_dir, root, deletes, file, Some(lost.root)).map(Some);
            }
            Err(ReadError::Damaged(reason)) => {
                lost.older.push(format!("`{}` {reason}", name.path));
            }
            Err(ReadError::Stop(error)) => return Err(error),
        }
    }
    if lost.pointer && is_empty(env, data_dir)? {
        return Ok(None);
    }
    let mut reasons = vec![format!("`{}` {}", lost.root.path, lost.root.reason)];
    reasons.append(&mut lost.older);
    Err(Error::corrupt(format!("manifest: no root can be read: {}", reasons.join(", "))))
}

/// What the pointer leads to and cannot be read.
struct Lost {
    root: LostRoot,
    /// Roots of this version or a later one are no replacement.
    version_end: u64,
    /// Whether it is the pointer itself.
    pointer: bool,
    /// Older roots that cannot be read either.
    older: Vec<String>,
}

impl Lost {
    fn root(pointer: &super::format::Pointer, reason: String) -> Self {
        let root = LostRoot { path: pointer.root.path.clone(), reason, flushed_seq: Some(pointer.flushed_seq) };
        Self { root, version_end: pointer.version, pointer: false, older: Vec::new() }
    }

    fn pointer(reason: String) -> Self {
        let root = LostRoot { path: POINTER_FILE.to_owned(), reason, flushed_seq: None };
        Self { root, version_end: u64::MAX, pointer: true, older: Vec::new() }
    }
}

/// Whether the directory holds no data: nothing was ever acknowledged in it.
fn is_empty(env: &Env, data_dir: &Path) -> Result<bool> {
    for folder in [SEGMENTS_DIR, "wal"] {
        let folder = data_dir.join(folder);
        let entries = match env.disk.list(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.map_err(|error| Error::io(format!("list `{}`", folder.display()), &error))?,
        };
        if !entries.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn read_root(env: &Env, data_dir: &Path, file: &FileRef) -> Result<RootFile, ReadError> {
    let bytes = files::read(env, data_dir, file)?;
    let root = RootFile::decode(&bytes).map_err(|error| ReadError::format(&file.path, error))?;
    check_root(&root).map_err(ReadError::Damaged)?;
    Ok(root)
}

/// Reads the deletes of a root. Without them records that were deleted would be back: a root whose
/// deletes cannot be read cannot be used.
fn read_deletes(env: &Env, data_dir: &Path, root: &RootFile, without: Without) -> Result<Deletes, ReadError> {
    let Some(file) = &root.deletes else { return Ok(Deletes::default()) };
    let named = |error: ReadError| match error {
        ReadError::Damaged(reason) => ReadError::Damaged(format!("names the deletes `{}`: {reason}", file.path)),
        stop => stop,
    };
    let bytes = files::read(env, data_dir, file);
    let decode = |bytes: Vec<u8>| {
        DeletesFile::decode(&bytes, file.clone()).map_err(|error| ReadError::format(&file.path, error))
    };
    match bytes.and_then(decode) {
        Err(ReadError::Damaged(_)) if without == Without::Deletes => Ok(Deletes::default()),
        read => read.map_err(named),
    }
}

fn read_named_root(
    env: &Env,
    data_dir: &Path,
    name: &RootName,
    without: Without,
) -> Result<(FileRef, RootFile, Deletes), ReadError> {
    let (file, bytes) = files::read_named(env, data_dir, name)?;
    let root = RootFile::decode(&bytes).map_err(|error| ReadError::format(&name.path, error))?;
    check_root(&root).map_err(ReadError::Damaged)?;
    let deletes = read_deletes(env, data_dir, &root, without)?;
    Ok((file, root, deletes))
}

pub(super) fn check_root(root: &RootFile) -> Result<(), String> {
    let mut keys = BTreeSet::new();
    for month in &root.months {
        let key = month.key().map_err(|error| error.to_string())?;
        if !keys.insert(key) {
            return Err(format!("names `{}` of tenant `{}` twice", month.month, month.tenant));
        }
    }
    for lost in &root.unreachable {
        lost.clone().decode().map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Reads the nodes of a root and the chain behind it.
fn read_tree(
    env: &Env,
    data_dir: &Path,
    root: RootFile,
    deletes: Deletes,
    file: FileRef,
    lost: Option<LostRoot>,
) -> Result<Loaded> {
    let mut tenants: BTreeMap<Tenant, Months> = BTreeMap::new();
    let mut unreachable = Vec::new();
    for reference in &root.months {
        let (tenant, month) = reference.key().map_err(|error| Error::corrupt(error.to_string()))?;
        match read_node(env, data_dir, reference, Some(root.flushed_seq)) {
            Ok(node) => {
                tenants.entry(tenant).or_default().insert(month, Arc::new(node));
            }
            Err(ReadError::Damaged(reason)) => {
                unreachable.push(Unreachable { tenant, month, file: reference.file.clone(), reason });
            }
            Err(ReadError::Stop(error)) => return Err(error),
        }
    }
    for known in root.unreachable.iter().cloned().map(LostMonth::decode) {
        unreachable.push(known.map_err(|error| Error::corrupt(error.to_string()))?);
    }
    let chain = read_chain(env, data_dir, &root, &file)?;
    let mut lost_roots = root.lost_roots;
    let fallback = lost.map(|lost| {
        if !lost_roots.contains(&lost) {
            lost_roots.push(lost.clone());
        }
        let (version_used, flushed_seq_used) = (root.version, root.flushed_seq);
        Fallback { version_used, flushed_seq_used, flushed_seq_lost: lost.flushed_seq, lost }
    });
    let state = State {
        version: root.version,
        database_id: root.database_id,
        flushed_seq: root.flushed_seq,
        tenants: tenants.into_iter().map(|(tenant, months)| (tenant, Arc::new(months))).collect(),
        producers: root.producers,
        deletes: Arc::new(deletes),
        clock_ns: root.clock_ns.unwrap_or(root.commit_time),
        unreachable,
        lost_roots,
        root: file,
        chain_start: root.chain_start,
    };
    Ok(Loaded { state, chain, fallback })
}

/// Reads a node and checks what a commit would have checked.
pub(super) fn read_node(
    env: &Env,
    data_dir: &Path,
    reference: &MonthRef,
    flushed_seq: Option<u64>,
) -> Result<MonthNode, ReadError> {
    let (tenant, month) = reference.key().map_err(|error| ReadError::format(&reference.file.path, error))?;
    read_month(env, data_dir, &tenant, month, &reference.file, flushed_seq)
}

/// Reads the node of a tenant and month.
pub(super) fn read_month(
    env: &Env,
    data_dir: &Path,
    tenant: &Tenant,
    month: Month,
    file: &FileRef,
    flushed_seq: Option<u64>,
) -> Result<MonthNode, ReadError> {
    let bytes = files::read(env, data_dir, file)?;
    let node = MonthFile::decode(&bytes).and_then(|node| node.into_node(tenant, month, file.clone()));
    let node = node.map_err(|error| ReadError::format(&file.path, error))?;
    invariants::check_node(tenant, &node, flushed_seq.unwrap_or(u64::MAX)).map_err(ReadError::Damaged)?;
    Ok(node)
}

/// Walks from a root back to the oldest kept one.
fn read_chain(env: &Env, data_dir: &Path, current: &RootFile, file: &FileRef) -> Result<Chain> {
    let mut chain = Chain { roots: vec![(current.version, file.clone())], ..Chain::default() };
    let mut seen: BTreeSet<String> = current.months.iter().map(|month| month.file.path.clone()).collect();
    let mut previous = current.previous.clone();
    let mut version = current.version;
    while version > current.chain_start {
        let Some(file) = previous.take() else {
            chain.damage.push(Damage {
                path: format!("{MANIFEST_DIR}/"),
                reason: format!("root {version} names none before it, expected roots from {}", current.chain_start),
            });
            break;
        };
        let root = match read_root(env, data_dir, &file) {
            Ok(root) if root.version + 1 == version => root,
            Ok(root) => {
                let reason = format!("is version {}, expected {}", root.version, version - 1);
                chain.damage.push(Damage { path: file.path, reason });
                break;
            }
            Err(ReadError::Damaged(reason)) => {
                chain.damage.push(Damage { path: file.path, reason });
                break;
            }
            Err(ReadError::Stop(error)) => return Err(error),
        };
        version = root.version;
        chain.roots.push((version, file));
        previous = root.previous.clone();
        read_old_root(env, data_dir, &root, &mut seen, &mut chain)?;
    }
    Ok(chain)
}

/// Notes the files that an older root names through nodes that no newer root has.
pub(super) fn read_old_root(
    env: &Env,
    data_dir: &Path,
    root: &RootFile,
    seen: &mut BTreeSet<String>,
    chain: &mut Chain,
) -> Result<()> {
    let mut note = |path: &str| {
        // Newest first: the first version that names it is the newest.
        chain.old_files.entry(path.to_owned()).or_insert(root.version);
    };
    for file in root.producers.iter().chain(&root.deletes) {
        note(&file.path);
    }
    for lost in &root.unreachable {
        note(&lost.file.path);
    }
    for reference in root.months.iter() {
        if !seen.insert(reference.file.path.clone()) {
            continue;
        }
        note(&reference.file.path);
        match read_node(env, data_dir, reference, None) {
            Ok(node) => {
                let segments = node.partitions.values().flat_map(|partition| &partition.segments);
                segments.flat_map(|entry| entry.local_files()).for_each(|file| note(&file.path));
            }
            Err(ReadError::Damaged(reason)) => {
                chain.damage.push(Damage { path: reference.file.path.clone(), reason });
            }
            Err(ReadError::Stop(error)) => return Err(error),
        }
    }
    Ok(())
}
