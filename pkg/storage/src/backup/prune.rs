//! Deleting old backups: their records first, then the objects that nothing names any more.
//!
//! Beside a backup that runs: what is to be deleted is written down (`prunes/<id>.json`) before the
//! plans and the records are read again, and only then deleted. A backup writes its plan and then
//! reads what is being deleted. So either the plan is seen here and its objects stay, or the backup
//! sees that they go, and stops. What did not go on for too long counts as interrupted: a backup is given up for good
//! (`void`) before what it needs goes, a deletion does not go on when it wakes.

use super::record::{self, BACKUPS, FILES, FORMAT, PLANS, PRUNES, PruneRecord, WALS, encode, record_key};
use super::{Catalog, Event, Watch, catalog, prune_archive, void};
use crate::objects::ObjectStore;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use timberlog_disk::Env;
use timberlog_types::{Error, ErrorKind, Result};

/// How long the plan of a backup counts after it was renewed last, unless said otherwise.
pub const PLAN_KEPT: Duration = Duration::from_secs(24 * 3600);
/// A deletion that is quiet for so long was interrupted.
pub(super) const PRUNE_QUIET_NS: i64 = 15 * 60 * 1_000_000_000;
/// How often one that runs says so.
const RENEWED_NS: i64 = 30 * 1_000_000_000;
/// Objects deleted at once.
const DELETED_AT_ONCE: usize = 1_000;

/// What was deleted, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// The backups that are kept, oldest first.
    pub kept: Vec<String>,
    /// The backups that are deleted, oldest first.
    pub backups: Vec<String>,
    /// Plans of backups that were interrupted long ago.
    pub plans: u64,
    /// Objects that no backup needs any more.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects of the archive that all kept backups hold already.
    pub archive_objects: u64,
    /// Their bytes.
    pub archive_bytes: u64,
}

/// Keeps the newest `keep_last` backups of each database, and deletes the others and what nothing
/// names. Plans that were not renewed for `plan_kept` are given up. With `dry_run` it only says
/// what it would do. Interrupted, the next one goes on.
///
/// # Errors
/// `Invalid` if none would be kept; `Corrupt` if a record cannot be read: then nothing is deleted.
pub fn prune(
    env: &Env,
    store: &dyn ObjectStore,
    keep_last: usize,
    plan_kept: Duration,
    dry_run: bool,
    watch: &Watch<'_>,
) -> Result<Pruned> {
    if keep_last == 0 {
        return Err(Error::invalid("at least one backup must be kept"));
    }
    let plans_since = env.clock.now_ns().saturating_sub(i64::try_from(plan_kept.as_nanos()).unwrap_or(i64::MAX));
    let mut pruned = Pruned::default();
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept = Vec::new();
    let mut kept_keys = std::collections::HashSet::new();
    for listed in catalog::list(store)?.into_iter().rev() {
        let record = listed.record.map_err(catalog::given_up)?;
        let left = left.entry(record.database_id.clone()).or_insert(keep_last);
        if *left == 0 {
            pruned.backups.push(listed.id);
        } else {
            *left -= 1;
            kept_keys.extend(record.keys());
            pruned.kept.push(listed.id);
            kept.push(record);
        }
    }
    pruned.backups.reverse();
    pruned.kept.reverse();
    if !dry_run {
        let keys: Vec<String> = pruned.backups.iter().map(|id| record_key(BACKUPS, id)).collect();
        store.delete(&keys)?;
    }
    let (mut catalog, old_plans) = Catalog::read(store, plans_since)?;
    if dry_run {
        // The records that would go are still there.
        let (plans, _) = Catalog::plans_only(store, plans_since)?;
        catalog.named = kept_keys;
        catalog.named.extend(plans);
    }
    let unnamed = unnamed(store, &catalog)?;
    pruned.plans = old_plans.len() as u64;
    if dry_run {
        pruned.objects = unnamed.len() as u64;
        pruned.bytes = unnamed.values().sum();
        let going = prune_archive::unneeded(store, &kept, plans_since)?;
        pruned.archive_objects = going.len() as u64;
        pruned.archive_bytes = going.iter().map(|(_, size)| size).sum();
        return Ok(pruned);
    }
    void::give_up(store, &old_plans, &*env.clock)?;
    delete(env, store, unnamed, plans_since, &mut pruned, watch)?;
    let plans: Vec<String> = old_plans.iter().map(|id| record_key(PLANS, id)).collect();
    store.delete(&plans)?;
    void::clear(store, &*env.clock)?;
    delete_archived(store, &prune_archive::unneeded(store, &kept, plans_since)?, &mut pruned, watch)?;
    Ok(pruned)
}

fn delete_archived(
    store: &dyn ObjectStore,
    going: &[(String, u64)],
    pruned: &mut Pruned,
    watch: &Watch<'_>,
) -> Result<()> {
    if going.is_empty() {
        return Ok(());
    }
    let bytes = going.iter().map(|(_, size)| size).sum();
    watch(Event::Phase { name: "delete", files: going.len() as u64, bytes });
    for some in going.chunks(DELETED_AT_ONCE) {
        let keys: Vec<String> = some.iter().map(|(key, _)| key.clone()).collect();
        store.delete(&keys)?;
        for (key, bytes) in some {
            pruned.archive_objects += 1;
            pruned.archive_bytes += bytes;
            watch(Event::Bytes(*bytes));
            watch(Event::File(key));
        }
    }
    Ok(())
}

/// Whether a deletion has ended: done, or interrupted for so long that it does not go on.
pub(super) fn is_quiet(record: &PruneRecord, now_ns: i64) -> bool {
    record.updated <= now_ns.saturating_sub(PRUNE_QUIET_NS)
}

/// Objects of the kinds that this program writes and that nothing names.
fn unnamed(store: &dyn ObjectStore, catalog: &Catalog) -> Result<BTreeMap<String, u64>> {
    let mut objects = catalog::objects(store, FILES)?;
    objects.extend(catalog::objects(store, WALS)?);
    objects.retain(|key, _| !catalog.named.contains(key));
    Ok(objects)
}

fn delete(
    env: &Env,
    store: &dyn ObjectStore,
    mut objects: BTreeMap<String, u64>,
    plans_since: i64,
    pruned: &mut Pruned,
    watch: &Watch<'_>,
) -> Result<()> {
    let now = env.clock.now_ns();
    // What an interrupted one wrote down counts no more.
    let old = catalog::prunes(store)?.into_iter().filter(|(_, prune)| is_quiet(prune, now));
    let old: Vec<String> = old.map(|(id, _)| record_key(PRUNES, &id)).collect();
    store.delete(&old)?;
    if objects.is_empty() {
        return Ok(());
    }
    let id = record::new_id(now, &*env.random);
    let key = record_key(PRUNES, &id);
    let mut written = PruneRecord { format: FORMAT, id, updated: now, keys: objects.keys().cloned().collect() };
    store.put(&key, &encode(&written)?)?;
    let (catalog, _) = Catalog::read(store, plans_since)?;
    objects.retain(|key, _| !catalog.named.contains(key));
    let bytes = objects.values().sum();
    watch(Event::Phase { name: "delete", files: objects.len() as u64, bytes });
    let keys: Vec<String> = objects.keys().cloned().collect();
    for some in keys.chunks(DELETED_AT_ONCE) {
        let now = env.clock.now_ns();
        if is_quiet(&written, now) {
            let message = "the deletion did not go on for too long, others may rely on what was to go: begin again";
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        if now.saturating_sub(written.updated) > RENEWED_NS {
            written.updated = now;
            store.put(&key, &encode(&written)?)?;
        }
        store.delete(some)?;
        for key in some {
            let bytes = objects.get(key).copied().unwrap_or(0);
            pruned.objects += 1;
            pruned.bytes += bytes;
            watch(Event::Bytes(bytes));
            watch(Event::File(key));
        }
    }
    store.delete(&[key])
}
