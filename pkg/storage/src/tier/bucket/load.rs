//! Reading a bucket: its roots, the newest of them with its nodes. Reads only.

use super::format::{DeletesFile, RootFile, root_key, root_version};
use super::{BucketState, MANIFEST, SEGMENTS};
use crate::manifest::stored::decode_month;
use crate::manifest::{FileRef, Month, MonthNode, Months};
use crate::objects::{GET_BYTES_MAX, ObjectMeta, ObjectStore};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use timberlog_disk::checksum;
use timberlog_types::{Error, ErrorKind, Result, Tenant};

/// Nodes asked for at once: a start waits for them.
const PARALLEL: usize = 8;
/// How often the newest root is looked for when it was gone before it could be read.
const TRIES: usize = 4;
/// Versions before a damaged one that are looked at.
const LOOK_BACK: usize = 8;

/// The roots of a bucket, by version.
pub(crate) fn roots(store: &dyn ObjectStore) -> Result<BTreeMap<u64, ObjectMeta>> {
    let mut roots = BTreeMap::new();
    // Roots begin with a digit, and with one of these as long as there are fewer than 2 × 10¹⁹.
    for digit in ["0", "1"] {
        store.list(&format!("{MANIFEST}{digit}"), &mut |object| {
            if let Some(version) = root_version(&object.key) {
                roots.insert(version, object);
            }
            Ok(())
        })?;
    }
    Ok(roots)
}

/// A root as it was put, and its bytes.
pub(crate) fn read_root(store: &dyn ObjectStore, version: u64) -> Result<(FileRef, RootFile)> {
    let bytes = store.get(&root_key(version))?;
    let file = FileRef { path: root_key(version), len: bytes.len() as u64, crc32c: crc32c::crc32c(&bytes) };
    Ok((file, RootFile::decode(version, &bytes)?))
}

/// The newest state of a bucket; `None` if it has no root. Nodes that `known` has are not read again.
///
/// # Errors
/// `Corrupt` if the newest root or one of its nodes is not what was written, and what the store answers.
pub(crate) fn load(store: &dyn ObjectStore, known: Option<&BucketState>) -> Result<Option<BucketState>> {
    for _ in 0..TRIES {
        let Some((&version, _)) = roots(store)?.last_key_value() else { return Ok(None) };
        if let Some(known) = known.filter(|known| known.version == version) {
            return Ok(Some(known.clone()));
        }
        match read_root(store, version).and_then(|(file, root)| read_tree(store, file, &root, known)) {
            // Others commit, and collect what is older than their grace.
            Err(error) if error.kind == ErrorKind::NotFound => {}
            other => return other.map(Some),
        }
    }
    Err(Error::corrupt(format!("`{}`: the newest root or a node of it is missing", store.describe())))
}

/// The state of one version, whole: all that its root names is there.
///
/// # Errors
/// `NotFound` if the version or something that it names is gone, `Corrupt` if something is not what was written, and
/// what the store answers.
pub(crate) fn load_whole(store: &dyn ObjectStore, version: u64) -> Result<BucketState> {
    let (file, root) = read_root(store, version)?;
    let state = read_tree(store, file, &root, None)?;
    let mut sizes: HashMap<String, u64> = HashMap::new();
    store.list(SEGMENTS, &mut |object| {
        sizes.insert(object.key, object.size);
        Ok(())
    })?;
    for object in state.segments().flat_map(|(_, _, entry)| entry.objects()) {
        if sizes.get(&object.path) != Some(&object.len) {
            let message = format!("version {version} names `{}`, which is not there as it was", object.path);
            return Err(Error::new(ErrorKind::NotFound, message));
        }
    }
    Ok(state)
}

/// The newest version of a bucket whose newest root is damaged, and those before it that are whole, newest first.
pub(crate) struct Damaged {
    pub(crate) newest: u64,
    pub(crate) whole: Vec<BucketState>,
}

/// Looks for versions that could be used instead of the newest one.
pub(crate) fn damaged(store: &dyn ObjectStore) -> Result<Damaged> {
    let versions: Vec<u64> = roots(store)?.into_keys().rev().collect();
    let mut damaged = Damaged { newest: versions.first().copied().unwrap_or(0), whole: Vec::new() };
    for &version in versions.iter().skip(1).take(LOOK_BACK) {
        match load_whole(store, version) {
            Ok(state) => damaged.whole.push(state),
            Err(error) if matches!(error.kind, ErrorKind::Corrupt | ErrorKind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(damaged)
}

fn read_tree(
    store: &dyn ObjectStore,
    file: FileRef,
    root: &RootFile,
    known: Option<&BucketState>,
) -> Result<BucketState> {
    let nodes: HashMap<&str, &Arc<MonthNode>> = known
        .into_iter()
        .flat_map(|known| known.tenants.values().flat_map(|months| months.values()))
        .map(|node| (node.file.path.as_str(), node))
        .collect();
    let mut tenants: BTreeMap<Tenant, Months> = BTreeMap::new();
    let mut wanted: Vec<(Tenant, Month, &FileRef)> = Vec::new();
    for reference in &root.months {
        let key = reference.key().map_err(|error| Error::corrupt(format!("object `{}`: {error}", file.path)))?;
        match nodes.get(reference.file.path.as_str()) {
            Some(&node) => drop(tenants.entry(key.0).or_default().insert(key.1, Arc::clone(node))),
            None => wanted.push((key.0, key.1, &reference.file)),
        }
    }
    let bytes = fetch_all(store, &wanted.iter().map(|(_, _, file)| *file).collect::<Vec<_>>())?;
    for ((tenant, month, file), bytes) in wanted.into_iter().zip(bytes) {
        let node = decode_month(&bytes, (&tenant, month), file, root.flushed_seq)?;
        tenants.entry(tenant).or_default().insert(month, Arc::new(node));
    }
    let tombstones = match (&root.deletes, known) {
        (None, _) => Arc::default(),
        (Some(file), Some(known)) if known.deletes.as_ref() == Some(file) => Arc::clone(&known.tombstones),
        (Some(file), _) => Arc::new(DeletesFile::decode(&file.path, &fetch(store, file)?)?),
    };
    Ok(BucketState {
        version: root.version,
        epoch: root.epoch,
        writer: root.writer.clone(),
        database_id: root.database_id.clone(),
        manifest_version: root.manifest_version,
        flushed_seq: root.flushed_seq,
        commit_time: root.commit_time,
        tenants: tenants.into_iter().map(|(tenant, months)| (tenant, Arc::new(months))).collect(),
        tombstones,
        deletes: root.deletes.clone(),
        root: Some(file),
    })
}

/// An object that a root names, checked.
pub(crate) fn fetch(store: &dyn ObjectStore, file: &FileRef) -> Result<Vec<u8>> {
    if file.len > GET_BYTES_MAX {
        return Err(Error::corrupt(format!("object `{}` is said to have {} bytes", file.path, file.len)));
    }
    let bytes = store.get(&file.path)?;
    if bytes.len() as u64 != file.len || !checksum::is_right(file.crc32c, crc32c::crc32c(&bytes)) {
        return Err(Error::corrupt(format!("object `{}` is not what its root names", file.path)));
    }
    Ok(bytes)
}

/// Objects, several at a time, in the order of `files`.
fn fetch_all(store: &dyn ObjectStore, files: &[&FileRef]) -> Result<Vec<Vec<u8>>> {
    let next = AtomicUsize::new(0);
    let fetched: Mutex<BTreeMap<usize, Result<Vec<u8>>>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL.min(files.len()) {
            scope.spawn(|| {
                while let Some((at, file)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, files.get(at)?)))
                {
                    let bytes = fetch(store, file);
                    fetched.lock().unwrap_or_else(PoisonError::into_inner).insert(at, bytes);
                }
            });
        }
    });
    fetched.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}
