//! What is in a backup store: its records, and who needs which object.

use super::record::{self, BACKUPS, BackupRecord, PLANS, PRUNES, PlanRecord, PruneRecord, id_in, record_key};
use super::void;
use crate::objects::ObjectStore;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashSet};
use timberlog_types::{Error, ErrorKind, Result};

/// A backup, or the reason why its record cannot be used.
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Its record.
    pub record: Result<BackupRecord>,
}

/// All backups of a store, oldest first.
///
/// # Errors
/// Of the store; a record that is damaged is one of those listed.
pub fn list(store: &dyn ObjectStore) -> Result<Vec<Listed>> {
    let record = |id: String| {
        let record = read_record(store, &id);
        match &record {
            // Pruned since it was listed.
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) if is_of_store(error) => Err(error.clone()),
            _ => Ok(Some(Listed { id, record })),
        }
    };
    backups(store)?.into_iter().filter_map(|id| record(id).transpose()).collect()
}

/// The ids of all backups, oldest first.
pub(super) fn backups(store: &dyn ObjectStore) -> Result<Vec<String>> {
    let mut all = ids(store, BACKUPS)?;
    // Behind the records: what is deleted of a backup that was given up is deleted behind that word.
    let void = void::ids(store)?;
    all.retain(|id| !void.contains(id));
    Ok(all)
}

/// Whether an error says nothing of what was read, only that it could not be.
pub(crate) fn is_of_store(error: &Error) -> bool {
    !matches!(error.kind, ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::Invalid)
}

/// The record of a backup; `latest` is the newest one.
///
/// # Errors
/// `NotFound` if there is none.
pub fn find(store: &dyn ObjectStore, id: &str) -> Result<BackupRecord> {
    if id != "latest" {
        return read(store, id);
    }
    let newest = backups(store)?.pop();
    let none = || Error::new(ErrorKind::NotFound, format!("there is no backup in `{}`", store.describe()));
    read_record(store, &newest.ok_or_else(none)?)
}

/// The record of one backup.
///
/// # Errors
/// `NotFound`, `Corrupt`, or `Invalid` if a newer program wrote it.
pub fn read(store: &dyn ObjectStore, id: &str) -> Result<BackupRecord> {
    if !record::is_id(id) {
        return Err(none(store, id));
    }
    let record = read_record(store, id)?;
    if void::is(store, id)? { Err(none(store, id)) } else { Ok(record) }
}

fn none(store: &dyn ObjectStore, id: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no backup `{id}` in `{}`", store.describe()))
}

/// The record of a backup that was not given up.
pub(super) fn read_record(store: &dyn ObjectStore, id: &str) -> Result<BackupRecord> {
    let key = record_key(BACKUPS, id);
    let absent = |error: Error| if error.kind == ErrorKind::NotFound { none(store, id) } else { error };
    let bytes = store.get(&key).map_err(absent)?;
    let record: BackupRecord = record::decode(&bytes).map_err(|error| error.context(format!("object `{key}`")))?;
    record.check(id).map_err(|error| error.context(format!("object `{key}`")))?;
    Ok(record)
}

/// The ids of a folder of records, oldest first.
pub(super) fn ids(store: &dyn ObjectStore, folder: &str) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    store.list(folder, &mut |object| {
        ids.extend(id_in(folder, &object.key).map(str::to_owned));
        Ok(())
    })?;
    ids.sort_unstable();
    Ok(ids)
}

/// The objects below a prefix, with their sizes.
pub(super) fn objects(store: &dyn ObjectStore, prefix: &str) -> Result<BTreeMap<String, u64>> {
    let mut objects = BTreeMap::new();
    store.list(prefix, &mut |object| {
        objects.insert(object.key, object.size);
        Ok(())
    })?;
    Ok(objects)
}

fn records<T: DeserializeOwned>(store: &dyn ObjectStore, folder: &str) -> Result<Vec<(String, Result<T>)>> {
    let mut records = Vec::new();
    for id in ids(store, folder)? {
        let key = record_key(folder, &id);
        match store.get(&key).and_then(|bytes| record::decode(&bytes)) {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) if is_of_store(&error) => return Err(error),
            record => records.push((id, record.map_err(|error| error.context(format!("object `{key}`"))))),
        }
    }
    Ok(records)
}

/// What to do about a record that cannot be read.
pub(super) fn given_up(error: Error) -> Error {
    error.context("nothing is deleted, and nothing relied on, until this object can be read or is removed by hand")
}

/// The backups that run, or were interrupted.
pub(super) fn plans(store: &dyn ObjectStore) -> Result<Vec<(String, PlanRecord)>> {
    records(store, PLANS)?.into_iter().map(|(id, plan)| Ok((id, plan.map_err(given_up)?))).collect()
}

/// Those that can be read: what others name is copied again.
pub(super) fn readable_plans(store: &dyn ObjectStore) -> Result<Vec<(String, PlanRecord)>> {
    Ok(records(store, PLANS)?.into_iter().filter_map(|(id, plan)| Some((id, plan.ok()?))).collect())
}

/// The deletions that run, or were interrupted.
pub(super) fn prunes(store: &dyn ObjectStore) -> Result<Vec<(String, PruneRecord)>> {
    records(store, PRUNES)?.into_iter().map(|(id, prune)| Ok((id, prune.map_err(given_up)?))).collect()
}

/// Who needs which objects of a store.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Objects that a backup or a plan names.
    pub named: HashSet<String>,
}

impl Catalog {
    /// Reads every record and every plan that was renewed after `plans_since`. Returns the plans
    /// that were not.
    ///
    /// # Errors
    /// Of the store, and if any record cannot be read: what it names is not known then.
    pub(super) fn read(store: &dyn ObjectStore, plans_since: i64) -> Result<(Self, Vec<String>)> {
        // Plans first: a backup that finishes in between has its record when the records are read.
        let (named, old) = Self::plans_only(store, plans_since)?;
        let mut catalog = Self { named };
        for listed in list(store)? {
            let record = listed.record.map_err(given_up)?;
            catalog.named.extend(record.keys());
        }
        Ok((catalog, old))
    }

    /// What plans name that were renewed after `plans_since`, and the plans that were not.
    pub(super) fn plans_only(store: &dyn ObjectStore, plans_since: i64) -> Result<(HashSet<String>, Vec<String>)> {
        let (mut named, mut old) = (HashSet::new(), Vec::new());
        for (id, plan) in plans(store)? {
            if plan.updated < plans_since {
                old.push(id);
                continue;
            }
            named.insert(record::wal_key(&id));
            named.extend(plan.files.iter().filter_map(|file| record::key_of(&file.path)));
        }
        Ok((named, old))
    }
}
