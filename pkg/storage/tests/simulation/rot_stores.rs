//! The end of a history, in its stores: bits flip in an object at rest. Nothing wrong is shown or restored, what is lost is
//! named, and all that does not need the object is there as it was.

use crate::backups::{Backups, NotRestored};
use crate::check;
use crate::rot::{Raw, Rotten};
use crate::shelf::Shelf;
use crate::tiering;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use timberlog_disk::sim::Rng;
use timberlog_storage::Options;
use timberlog_storage::backup::{self, BackupRecord, Depth, Event, key_of};
use timberlog_storage::objects::ObjectStore;
use timberlog_types::Tenant;

/// An object that bits have flipped in.
struct Flipped {
    key: String,
    /// Each once: twice is not at all.
    bits: BTreeSet<u64>,
}

impl Flipped {
    /// Flips bits in an object whose key begins so, if there is one.
    fn draw(shelf: &Shelf, prefix: &str, rng: &mut Rng) -> Option<Self> {
        let keys: Vec<(String, u64)> = shelf.sizes().into_iter().filter(|(key, _)| key.starts_with(prefix)).collect();
        let (key, len) = keys.get(rng.below(keys.len() as u64) as usize).filter(|(_, len)| *len > 0)?;
        let flipped = Self { key: key.clone(), bits: (0..1 + rng.below(3)).map(|_| rng.below(len * 8)).collect() };
        flipped.flip(shelf);
        Some(flipped)
    }

    /// Once more: it is as it was.
    fn flip(&self, shelf: &Shelf) {
        self.bits.iter().for_each(|bit| shelf.flip_bit(&self.key, *bit));
    }
}

/// Of a bucket, seen by a node that has nothing else.
pub fn rot_bucket(shelf: &Shelf, options: &Options, tenants: &[Tenant], rng: &mut Rng) -> Result<Rotten, String> {
    shelf.rest();
    if !tiering::has_root(shelf) {
        return Ok(Rotten::default());
    }
    let follower = tiering::follow(options)?;
    let before = Raw::read(&follower, tenants);
    let shown = |follower| check::read(follower, tenants).map(|shown| shown.contents);
    let shown_before = shown(&follower).map_err(|error| format!("the bucket: {error}"))?;
    let prefix = ["segments/", "segments/", ""][rng.below(3) as usize];
    let Some(Flipped { key, .. }) = Flipped::draw(shelf, prefix, rng) else { return Ok(Rotten::default()) };
    let failed = |wrong: String| format!("bits flipped in the object `{key}`: {wrong}");
    let follower = match tiering::follow(options) {
        Ok(follower) => follower,
        Err(error) if !key.starts_with("segments/") && error.contains(&key) => return Ok(Rotten { named: 1, lost: 0 }),
        Err(error) => return Err(failed(error)),
    };
    let after = Raw::read(&follower, tenants);
    let mut rotten = Rotten::default();
    for (place, lines) in &before.blocks {
        match after.blocks.get(place) {
            Some(found) if found == lines => {}
            // The `.log` has all records, whatever becomes of the index.
            Some(None) | None if key.contains(&place.1) && key.ends_with(".log") => rotten.lost += 1,
            found => {
                return Err(failed(format!(
                    "block {place:?} shows {:?} records",
                    found.map(|found| found.as_ref().map(Vec::len))
                )));
            }
        }
    }
    if let Some(place) = after.blocks.keys().find(|place| !before.blocks.contains_key(*place)) {
        return Err(failed(format!("block {place:?} was not there before")));
    }
    if rotten.lost == 0 && shown(&follower).map_err(|error| failed(error.to_string()))? != shown_before {
        return Err(failed("what was hidden is shown, or the other way round".to_owned()));
    }
    let mut said = after.damage.iter().chain(&after.errors);
    let name = Path::new(&key).file_stem().and_then(OsStr::to_str).unwrap_or(&key);
    rotten.named = u64::from(said.any(|said| said.contains(name)));
    let is_index = key.ends_with(".index") && before.blocks.keys().any(|(_, id, _)| id == name);
    if (rotten.lost > 0 || is_index) && rotten.named == 0 {
        return Err(failed(format!("blocks are lost, and nothing names it: {:?}, {:?}", after.damage, after.errors)));
    }
    Ok(rotten)
}

/// Whether a backup needs an object.
fn needs(record: &BackupRecord, key: &str) -> bool {
    let files = record.files.iter().filter_map(|file| key_of(&file.path));
    files.chain(record.wal.iter().map(|wal| wal.key.clone())).any(|needed| needed == key)
}

/// Of a store of backups, an object of each kind.
pub fn rot_backups(
    backups: &Backups,
    options: &Options,
    tenants: &[Tenant],
    now_ns: i64,
    rng: &mut Rng,
) -> Result<Rotten, String> {
    let shelf = backups.shelf();
    shelf.rest();
    let listed = backup::list(shelf).map_err(|error| error.to_string())?;
    let records: Vec<BackupRecord> = listed.into_iter().filter_map(|one| one.record.ok()).collect();
    let mut rotten = Rotten::default();
    for prefix in ["files/", "wal/", "backups/", "archive/"] {
        let Some(flipped) = Flipped::draw(shelf, prefix, rng) else { continue };
        let key = &flipped.key;
        let failed = |wrong: String| format!("bits flipped in the object `{key}`: {wrong}");
        rotten.named += check_records(shelf, &records, key).map_err(failed)?;
        for _ in 0..3 {
            let number = rng.below(backups.taken()) as usize;
            // An instant needs what the backups before it need.
            let is_needed = backups.id(number).is_none_or(|id| {
                key.contains(id) || records.iter().any(|record| record.id == id && needs(record, key))
            });
            match backups.restored(options, tenants, now_ns, number, rng) {
                Ok(_) => {}
                Err(NotRestored::Failed(error)) if is_needed && error.contains(key) => rotten.lost += 1,
                Err(NotRestored::Failed(error) | NotRestored::Wrong(error)) => return Err(failed(error)),
            }
        }
        flipped.flip(shelf);
    }
    Ok(rotten)
}

/// Every backup is listed as it was, and those that need the object say so. How many do.
fn check_records(shelf: &Shelf, records: &[BackupRecord], key: &str) -> Result<u64, String> {
    let store: Arc<dyn ObjectStore> = Arc::new(shelf.clone());
    let listed = backup::list(shelf).map_err(|error| format!("nothing is listed: {error}"))?;
    let mut named = 0;
    for before in records {
        let one = listed.iter().find(|one| one.id == before.id);
        let said = match one.map(|one| &one.record) {
            Some(Ok(record)) if record == before => {
                let verified = backup::verify(&store, record, Depth::Full, &|_: Event<'_>| {});
                verified.map_err(|error| format!("verify: {error}"))?.damage
            }
            Some(Err(error)) => vec![error.to_string()],
            _ => return Err(format!("backup {} is another one", before.id)),
        };
        let is_named = said.iter().any(|damage| damage.contains(key));
        let is_needed = needs(before, key) || key.contains(&before.id);
        if is_named != is_needed && !key.starts_with("archive/") {
            return Err(format!("`verify` of backup {} says {said:?}", before.id));
        }
        named += u64::from(is_named);
    }
    Ok(named)
}
