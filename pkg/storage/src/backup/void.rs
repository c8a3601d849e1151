//! Backups that were given up: `void/<id>.json` says that a backup does not exist and never will.
//!
//! The record of a backup is put last, and a put is answered late or never: it may be done when the backup's plan is
//! long gone, and with it the objects that it names. So whoever gives a plan up says so first, for good, and nobody
//! looks at such a record any more. It must never be said of a backup that has its record by then.

use super::catalog;
use super::record::{BACKUPS, FORMAT, VOIDS, VoidRecord, decode, encode, record_key};
use crate::objects::ObjectStore;
use std::collections::BTreeSet;
use timberlog_disk::Clock;
use timberlog_types::Result;

/// How long it is remembered: no put comes later than that.
const VOID_KEPT_NS: i64 = 30 * 24 * 3600 * 1_000_000_000;

/// The backups that were given up.
pub(super) fn ids(store: &dyn ObjectStore) -> Result<BTreeSet<String>> {
    Ok(catalog::ids(store, VOIDS)?.into_iter().collect())
}

/// Whether a backup was given up.
pub(super) fn is(store: &dyn ObjectStore, id: &str) -> Result<bool> {
    Ok(store.head(&record_key(VOIDS, id))?.is_some())
}

/// Says of the plans `ids` that none of them becomes a backup, but of those that did. What they name may be deleted
/// behind it, and then the plans.
pub(super) fn give_up(store: &dyn ObjectStore, ids: &[String], clock: &dyn Clock) -> Result<()> {
    for id in ids {
        let (record, void) = (record_key(BACKUPS, id), record_key(VOIDS, id));
        if store.head(&record)?.is_some() || store.head(&void)?.is_some() {
            continue;
        }
        store.put(&void, &encode(&VoidRecord { format: FORMAT, id: id.clone(), given_up: clock.now_ns() })?)?;
        if store.head(&record)?.is_some() {
            // It was quiet, and has come to its end in between.
            store.delete(&[void])?;
        }
    }
    Ok(())
}

/// Deletes records that came too late, and forgets backups that were given up long ago.
pub(super) fn clear(store: &dyn ObjectStore, clock: &dyn Clock) -> Result<()> {
    let void = ids(store)?;
    if void.is_empty() {
        return Ok(());
    }
    let mut late = catalog::ids(store, BACKUPS)?;
    late.retain(|id| void.contains(id));
    let late: Vec<String> = late.iter().map(|id| record_key(BACKUPS, id)).collect();
    store.delete(&late)?;
    let before = clock.now_ns().saturating_sub(VOID_KEPT_NS);
    let mut old = Vec::new();
    for id in &void {
        let key = record_key(VOIDS, id);
        // One that cannot be read counts like any other.
        let found = store.get(&key).and_then(|bytes| decode::<VoidRecord>(&bytes));
        if found.is_ok_and(|found| found.given_up < before) {
            old.push(key);
        }
    }
    store.delete(&old)
}
