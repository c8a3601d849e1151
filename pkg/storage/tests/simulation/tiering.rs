//! Tiering within a history: passes that fail at any request, and what the bucket alone shows.

use crate::check;
use crate::machine::Process;
use crate::model::Contents;
use crate::records;
use crate::shelf::{Mishap, Shelf};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use timberlog_disk::sim::{Rng, Sim};
use timberlog_disk::{Clock, Env};
use timberlog_storage::tier::gc::{self, GcMode};
use timberlog_storage::{BufferedBatch, Options, Progress, Segment, Storage, Subscriber, TierOptions};
use timberlog_types::{ErrorKind, Tenant};

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
    // Nothing of the cache is synced, and it is read here without a second try; it is also written behind the answer,
    // by another thread, and a seed does the same twice.
    tier.read.data_bytes = 0;
    tier
}

/// A pass; something may befall one of its requests, or its lists may be old. Says whether it went through.
pub fn pass(storage: &Storage, process: &Process, shelf: &Shelf, rng: &mut Rng) -> Result<bool, String> {
    if rng.percent(40) {
        let requests = 1 + rng.below(60);
        let delay = Mishap::Delayed(requests);
        if requests.is_multiple_of(3) {
            shelf.befall_read(requests / 3);
        }
        let lost = if requests.is_multiple_of(2) { Mishap::AnswerLost } else { Mishap::ConditionalAnswerLost };
        let mishaps = [Mishap::Outage, lost, Mishap::Refused, Mishap::Repeated, delay];
        shelf.befall(rng.below(12), mishaps[rng.below(5) as usize]);
    }
    if rng.percent(10) {
        shelf.freeze_lists();
    }
    if rng.percent(30) {
        shelf.advance(rng.below(6_000) as i64);
    }
    let passed = storage.tier();
    let has_struck = shelf.heal();
    match passed {
        Ok(_) => Ok(true),
        Err(_) if has_struck || process.is_dead() => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether anything was ever committed to the bucket.
pub fn has_root(shelf: &Shelf) -> bool {
    let is_root = |key: &str| key.strip_prefix("manifest/").is_some_and(|name| name.bytes().next() == Some(b'0'));
    shelf.sizes().iter().any(|(key, _)| is_root(key))
}

/// A node that has nothing but the bucket.
pub fn follow(options: &Options) -> Result<Storage, String> {
    let mut options = options.clone();
    if let Some(tier) = &mut options.tier {
        tier.follow = true;
    }
    let follower = Storage::open(options, Sim::new(1).env(), Arc::new(Nobody), &Progress::default());
    follower.map_err(|error| format!("the bucket cannot be followed: {error}"))
}

/// Whoever follows the bucket sees nothing that the writer does not show, and nothing twice. Behind a pass.
pub fn check_follower(storage: &Storage, options: &Options, tenants: &[Tenant]) -> Result<u64, String> {
    let follower = follow(options)?;
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

/// What has left the disk is named by the newest root of the bucket: at any time, whatever was lost.
pub fn check_named(storage: &Storage, options: &Options, tenants: &[Tenant]) -> Result<(), String> {
    let segments = |storage: &Storage, tenant: &Tenant| {
        let snapshot = storage.snapshot(tenant);
        let of = |segment: &Arc<Segment>| (segment.entry.id.clone(), segment.entry.location.is_local());
        snapshot.segments.iter().map(of).collect::<BTreeMap<String, bool>>()
    };
    let away = |tenant| segments(storage, tenant).into_iter().filter(|(_, is_local)| !is_local).map(|(id, _)| id);
    let away: Vec<(&Tenant, Vec<String>)> = tenants.iter().map(|tenant| (tenant, away(tenant).collect())).collect();
    if away.iter().all(|(_, ids)| ids.is_empty()) {
        return Ok(());
    }
    let follower = follow(options)?;
    for (tenant, ids) in away {
        let named = segments(&follower, tenant);
        if let Some(id) = ids.iter().find(|id| !named.contains_key(*id)) {
            return Err(format!("segment {id} is only in the store, and no root of the bucket names it"));
        }
    }
    Ok(())
}

/// Does what may be tried again while puts of an earlier process arrive.
fn tried<T>(shelf: &Shelf, mut what: impl FnMut() -> timberlog_types::Result<T>) -> timberlog_types::Result<T> {
    shelf.heal();
    loop {
        match what() {
            Err(_) if shelf.heal() => {}
            done => return done,
        }
    }
}

/// Another machine takes the bucket over while its writer goes on: from then on only the new one's commits count.
pub fn take_over(
    sim: &Sim,
    options: &Options,
    tenants: &[Tenant],
    shelf: &Shelf,
    rng: &mut Rng,
) -> Result<u64, String> {
    let mut options = options.clone();
    let Some(tier) = &mut options.tier else { return Ok(0) };
    (tier.after, tier.local_bytes_max) = (Duration::ZERO, Some(0));
    options.archive = None;
    let open = |sim: &Sim, options: &Options| {
        tried(shelf, || Storage::open(options.clone(), sim.env(), Arc::new(Nobody), &Progress::default()))
    };
    let failed = |what: &'static str| move |error: timberlog_types::Error| format!("taking over: {what}: {error}");
    let old = open(sim, &options).map_err(failed("the old one opens"))?;
    tried(shelf, || old.tier()).map_err(failed("the old one's pass"))?;
    let other = Sim::new(rng.next());
    other.clock.set_wall(sim.clock.now_ns());
    let mut theirs = options.clone();
    if let Some(tier) = &mut theirs.tier {
        (tier.adopt, tier.take_over) = (true, true);
    }
    let new = open(&other, &theirs).map_err(failed("the new one opens"))?;
    // Of the same, in whatever order: the one may have in its buffer what the other has in segments.
    let shown = |storage: &Storage| {
        let mut contents = check::read(storage, tenants)?.contents;
        contents.values_mut().for_each(|records| records.sort());
        Ok(contents)
    };
    let (of_old, of_new) = (shown(&old).map_err(failed("read"))?, shown(&new).map_err(failed("read"))?);
    if of_old != of_new {
        let count = |contents: &Contents| contents.values().map(Vec::len).sum::<usize>();
        let (had, has) = (count(&of_old), count(&of_new));
        return Err(format!("who takes over {had} records of a bucket shows {has}"));
    }
    let mut number = 1 << 41;
    let mut write = |storage: &Storage| {
        number += 1;
        let batch = records::batch(number, rng);
        storage.append(&tenants[0], batch, None).and_then(|_| storage.flush()).map_err(failed("an append"))
    };
    write(&new)?;
    tried(shelf, || new.tier()).map_err(failed("the new one's pass"))?;
    for _ in 0..2 {
        write(&old)?;
        if old.tier().is_ok() {
            return Err("who has lost the bucket still writes to it".to_owned());
        }
    }
    check_follower(&new, &options, tenants)
}

/// Collects garbage long after; everything that is named stays, and nothing else.
pub fn collect(env: &Env, shelf: &Shelf, options: &Options, tenants: &[Tenant]) -> Result<u64, String> {
    shelf.advance(10_000);
    let report = match gc::collect(env, shelf, Duration::from_secs(3_600), GcMode::Delete, None) {
        Ok(report) => report,
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(format!("gc: {error}")),
    };
    if shelf.is_quiet() {
        let follower = follow(options)?;
        let named: usize = tenants.iter().map(|tenant| follower.snapshot(tenant).segments.len()).sum();
        let logs = shelf.sizes().iter().filter(|(key, _)| key.ends_with(".log")).count();
        if logs != named {
            return Err(format!("{logs} segments are in the bucket behind gc, and {named} are named"));
        }
    }
    Ok(report.garbage.len() as u64)
}
