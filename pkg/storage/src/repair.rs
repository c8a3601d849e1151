//! Repair: accepts the loss of what is damaged, so that the rest is whole again. Never silent:
//! everything that is given up is in the report.

use crate::build::{IndexedFields, SegmentBuild};
use crate::deletes::Selectors;
use crate::engine::{Storage, Subscriber};
use crate::manifest::{self, Edit, Manifest, ManifestOptions, SegmentEntry};
use crate::options::Options;
use crate::snapshot::BufferedBatch;
use crate::stats::Progress;
use crate::tier::mirror;
use crate::verify;
use crate::wal::{self, Inspected};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use timberlog_disk::{Env, Open};
use timberlog_filter::Filter;
use timberlog_segment::{RowRef, SegmentReader};
use timberlog_types::{Day, Error, ErrorKind, Result, Tenant};

/// What a repair did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Repaired {
    /// Records that are lost, as far as the manifest knew of them.
    pub records_lost: u64,
    /// What was given up or rebuilt, for people.
    pub actions: Vec<String>,
}

struct Nobody;

impl Subscriber for Nobody {
    fn published(&self, _: &Tenant, _: &Arc<BufferedBatch>) {}
}

impl Storage {
    /// Repairs a data directory that no process has open: drops manifest parts that cannot be
    /// read, rewrites segments without their damaged blocks, rebuilds damaged indexes, flushes
    /// what the WAL still holds.
    ///
    /// # Errors
    /// As [`Storage::open`]; and where a segment cannot be judged (no permission, a newer format).
    pub fn repair(options: &Options, env: &Env) -> Result<Repaired> {
        let mut repaired = Repaired::default();
        let options = &options.clone().normalised();
        {
            let _lock = crate::engine::lock_directory(env, &options.data_dir)?;
            let manifest = open_manifest(options, env, &mut repaired)?;
            let found = manifest.repair()?;
            repaired.actions.extend(found.recovered.iter().map(|what| format!("read again: {what}")));
            repaired.actions.extend(found.months_lost.iter().map(|what| format!("given up: {what}")));
            repaired.actions.extend(found.roots_lost.iter().map(|what| format!("given up: old root {what}")));
            if found.history_cut {
                repaired.actions.push("the chain of old roots was cut behind a damaged one".into());
            }
            let state = manifest.state();
            for (tenant, day, entry) in state.segments().filter(|(.., entry)| entry.location.is_local()) {
                repair_segment(options, env, &manifest, (tenant, day, entry), &mut repaired)?;
            }
        }
        let mut options = options.clone();
        options.compaction.enabled = false;
        // Nothing is answered, purged or expired here: what selectors mean does not matter.
        options.selectors = Selectors::new(|_| Ok(Filter::None));
        (options.retention, options.retention_bytes) = (Vec::new(), None);
        let storage = Self::open(options.clone(), env.clone(), Arc::new(Nobody), &Progress::default())?;
        repaired.actions.extend(storage.stats().damage.into_iter().map(|what| format!("given up: {what}")));
        storage.close()?;
        drop(storage);
        forget_damaged_wal(&options, env, &mut repaired)?;
        Ok(repaired)
    }
}

/// Opens the manifest; where no root can be used because of its deletes, these are given up.
fn open_manifest(options: &Options, env: &Env, repaired: &mut Repaired) -> Result<Manifest> {
    let history = ManifestOptions { history: options.manifest_history };
    match Manifest::open(env, &options.data_dir, history) {
        Ok((manifest, _)) => Ok(manifest),
        Err(error) if error.kind == ErrorKind::Corrupt => {
            let (manifest, _) = Manifest::open_without_deletes(env, &options.data_dir, history)?;
            repaired.actions.push(format!(
                "given up: all deletes, records that were not removed from the files yet may be back: {error}"
            ));
            Ok(manifest)
        }
        Err(error) => Err(error),
    }
}

/// Removes WAL files that are damaged: after a flush of everything, what is whole in them is in
/// segments, and what is not was given up.
fn forget_damaged_wal(options: &Options, env: &Env, repaired: &mut Repaired) -> Result<()> {
    let _lock = crate::engine::lock_directory(env, &options.data_dir)?;
    let dir = options.data_dir.join("wal");
    let flushed_seq = manifest::read(env, &options.data_dir)?.flushed_seq;
    let (mut damaged, mut is_needed) = (BTreeMap::new(), false);
    wal::inspect(&*env.disk, &dir, Some(flushed_seq), &mut |inspected| {
        match inspected {
            Inspected::Frame(frame) => is_needed |= frame.seq > flushed_seq,
            Inspected::Damage(damage) => {
                damaged.entry(damage.file).or_insert(damage.what);
            }
            Inspected::File { .. } | Inspected::TornTail(_) => {}
        }
        Ok(())
    })?;
    if is_needed || damaged.is_empty() {
        return Ok(());
    }
    for (name, what) in damaged {
        let path = dir.join(&name);
        let io = |error: std::io::Error| Error::io(format!("remove `{}`", path.display()), &error);
        if env.disk.exists(&path).map_err(io)? {
            env.disk.remove_file(&path).map_err(io)?;
            repaired
                .actions
                .push(format!("WAL file `{name}` was removed ({what}): what was whole in it is in segments"));
        }
    }
    env.disk.sync_dir(&dir).map_err(|error| Error::io(format!("sync `{}`", dir.display()), &error))
}

fn repair_segment(
    options: &Options,
    env: &Env,
    manifest: &Manifest,
    (tenant, day, entry): (&Tenant, Day, &SegmentEntry),
    repaired: &mut Repaired,
) -> Result<()> {
    let health = verify::segment(env, &options.data_dir, entry);
    if health.damage.is_empty() {
        return Ok(());
    }
    if let Some(error) = health.unknown {
        return Err(error.context("nothing of it was given up"));
    }
    if entry.location.is_stored() {
        manifest.commit(Edit::move_to(vec![(tenant.clone(), day, mirror::cold(entry))]))?;
        let id = &entry.id;
        repaired.actions.push(format!("segment `{id}` is read from the object store: its files here are damaged"));
        repaired.actions.extend(health.damage);
        return Ok(());
    }
    let lost = entry.rows.saturating_sub(health.records_whole);
    let whole = rewrite(options, env, tenant, day, entry, &health)?;
    let edit = Edit {
        add: whole.into_iter().map(|entry| (tenant.clone(), day, entry)).collect(),
        remove: vec![(tenant.clone(), day, entry.id.clone())],
        ..Edit::default()
    };
    manifest.commit(edit)?;
    repaired.records_lost += lost;
    repaired.actions.push(format!(
        "segment `{}` was rewritten: {lost} of {} records are lost with {} of {} blocks",
        entry.id,
        entry.rows,
        health.damaged_blocks.len(),
        health.blocks
    ));
    repaired.actions.extend(health.damage);
    Ok(())
}

/// A segment of the whole blocks; `None` if there is none.
fn rewrite(
    options: &Options,
    env: &Env,
    tenant: &Tenant,
    day: Day,
    entry: &SegmentEntry,
    health: &verify::SegmentHealth,
) -> Result<Option<SegmentEntry>> {
    if health.records_whole == 0 {
        return Ok(None);
    }
    let path = timberlog_disk::join(&options.data_dir, &entry.log.path)
        .ok_or_else(|| Error::corrupt(format!("the path `{}` leaves the data directory", entry.log.path)))?;
    let file =
        env.disk.open(&path, Open::Read).map_err(|error| Error::io(format!("open `{}`", path.display()), &error))?;
    let reader = SegmentReader::open(file)?;
    let mut build = SegmentBuild::new(env, options, tenant, day, options.zstd_level, &mut Vec::new())?;
    for number in 0..health.blocks {
        if health.damaged_blocks.binary_search(&number).is_ok() {
            continue;
        }
        let batches = [Arc::new(reader.read_block_as_batch(number)?)];
        let rows: Vec<RowRef> = (0..batches[0].rows() as u32).map(|row| RowRef { batch: 0, row }).collect();
        build.block(&batches, &rows, &IndexedFields::new(&options.user_indexes, &batches))?;
    }
    let rewritten = build.finish((entry.seq_min, entry.seq_max))?;
    Ok(Some(SegmentEntry { purged_seq: entry.purged_seq, ..rewritten }))
}
