//! Tiering within a history: passes that fail at any request, and what the bucket alone shows.

use crate::check;
use crate::machine::Process;
use crate::shelf::Shelf;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use timberlog_disk::sim::{Rng, Sim};
use timberlog_storage::tier::gc::{self, GcMode};
use timberlog_storage::{BufferedBatch, Options, Progress, Storage, Subscriber, TierOptions};
use timberlog_types::Tenant;

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

/// Settings with a store.
pub fn options(shelf: &Shelf, rng: &mut Rng) -> TierOptions {
    let after = Duration::from_secs(3600 * 24 * rng.below(3));
    let local_bytes_max = rng.percent(50).then(|| rng.below(40_000));
    let mut tier = TierOptions { after, local_bytes_max, ..TierOptions::new(Arc::new(shelf.clone())) };
    tier.read.threads = 1;
    // Nothing of the cache is synced, and it is read here without a second try.
    tier.read.data_bytes = 0;
    tier
}

/// A pass; the store may stop to answer in the middle of it. Says whether it went through.
pub fn pass(storage: &Storage, process: &Process, shelf: &Shelf, rng: &mut Rng) -> Result<bool, String> {
    if rng.percent(30) {
        shelf.fail_after(rng.below(12));
    }
    if rng.percent(30) {
        shelf.advance(rng.below(6_000) as i64);
    }
    let passed = storage.tier();
    let was_down = shelf.heal();
    match passed {
        Ok(_) => Ok(true),
        Err(_) if was_down || process.is_dead() => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

/// Whoever follows the bucket sees nothing that the writer does not show, and nothing twice. Behind a pass.
pub fn check_follower(storage: &Storage, options: &Options, tenants: &[Tenant]) -> Result<u64, String> {
    let env = Sim::new(1).env();
    let mut options = options.clone();
    let Some(tier) = &mut options.tier else { return Ok(0) };
    tier.follow = true;
    let follower = Storage::open(options, env, Arc::new(Nobody), &Progress::default());
    let follower = follower.map_err(|error| format!("the bucket cannot be followed: {error}"))?;
    let read = |storage: &Storage| check::read(storage, tenants).map_err(|error| format!("the bucket: {error}"));
    let (of_bucket, of_writer) = (read(&follower)?, read(storage)?);
    if let Some(wrong) = of_bucket.wrong {
        return Err(format!("the bucket: {wrong}"));
    }
    let mut found = 0;
    for (tenant, records) in of_bucket.contents {
        let mut left: BTreeMap<&str, u64> = BTreeMap::new();
        for record in of_writer.contents.get(&tenant).into_iter().flatten() {
            *left.entry(record).or_default() += 1;
        }
        for record in &records {
            match left.get_mut(record.as_str()) {
                Some(count) if *count > 0 => *count -= 1,
                _ => return Err(format!("the bucket shows what the writer does not: {record}")),
            }
        }
        found += records.len() as u64;
    }
    Ok(found)
}

/// Collects garbage long after; everything that is named stays.
pub fn collect(env: &timberlog_disk::Env, shelf: &Shelf) -> Result<u64, String> {
    shelf.advance(10_000);
    match gc::collect(env, shelf, Duration::from_secs(3_600), GcMode::Delete, None) {
        Ok(report) => Ok(report.garbage.len() as u64),
        Err(error) if error.kind == timberlog_types::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(format!("gc: {error}")),
    }
}
