//! The end of a backup's WAL becomes segments of the restored directory, as a flush would have
//! made them: so one tenant, or a few days, can be restored of it, and nothing is to be replayed.

use super::Selection;
use super::at::Tail;
use super::record::BackupRecord;
use super::restore::get;
use super::verify::read_tail;
use crate::buffer::Generation;
use crate::deletes::{DeletesEdit, Logged, What};
use crate::flush::{self, NewSegment};
use crate::manifest::restored::Restoring;
use crate::manifest::{FileRef, PRODUCERS_DIR};
use crate::objects::ObjectStore;
use crate::options::Options;
use crate::producers::{Producers, Stored};
use crate::snapshot::BufferedBatch;
use crate::wal::{Body, Frame};
use std::path::Path;
use std::sync::Arc;
use timberlog_disk::{Env, atomic};
use timberlog_types::{BatchBuilder, Error, Result};

/// Adds the frames of the WAL's end, and then those of the archive, to what is restored; returns how
/// many there were.
pub(super) fn restore(
    env: &Env,
    store: &dyn ObjectStore,
    record: &BackupRecord,
    archived: Option<&Tail>,
    dir: &Path,
    selection: &Selection,
    restoring: &mut Restoring,
) -> Result<u64> {
    let options = Options::new(dir);
    let mut producers = match &restoring.state().producers {
        Some(file) => Producers::<()>::decode(&get(store, file)?)?,
        None => Producers::default(),
    };
    let (mut merger, mut generation, mut frames) = (BatchBuilder::new(), Generation::default(), 0);
    let mut segments = Vec::new();
    let mut deletes = DeletesEdit { now_ns: env.clock.now_ns(), ..DeletesEdit::default() };
    let mut take = |frame: Frame| {
        frames += 1;
        let batch = match &frame.body {
            Body::Batch(batch) => Arc::clone(batch),
            Body::Delete(logged) => {
                note_delete(&frame, logged, &mut deletes);
                // No segment may have records on both sides of a delete.
                segments.extend(flush::write(env, &options, &std::mem::take(&mut generation), &mut Vec::new())?);
                return Ok(());
            }
        };
        if let Some(producer) = &frame.producer {
            let accepted = u32::try_from(batch.rows()).unwrap_or(u32::MAX);
            let refused = producer.refused.clone();
            let stored = Stored { seq: frame.seq, commit_time: frame.commit_time, accepted, refused };
            drop(producers.complete(&frame.tenant, producer, stored));
        }
        if selection.tenant.as_ref().is_none_or(|tenant| *tenant == frame.tenant) {
            let batch = Arc::new(BufferedBatch::new(frame.seq, batch));
            generation.push(&frame.tenant, batch, 0, &mut merger);
        }
        if generation.bytes >= options.flush_bytes {
            segments.extend(flush::write(env, &options, &std::mem::take(&mut generation), &mut Vec::new())?);
        }
        Ok(())
    };
    if let Some(tail) = &record.wal {
        read_tail(store, record, tail, &mut take)?;
    }
    let last_seq = match archived {
        Some(archived) => archived.frames(store, &record.database_id, &mut take)?,
        None => record.seq,
    };
    segments.extend(flush::write(env, &options, &generation, &mut Vec::new())?);
    let producers = match producers.is_empty() {
        true => None,
        false => Some(write_producers(env, dir, &mut producers, last_seq)?),
    };
    let wanted = segments.into_iter().filter(|segment| selection.has(&segment.tenant, segment.day));
    let wanted = wanted.map(|NewSegment { tenant, day, entry }| (tenant, day, entry)).collect();
    restoring.add(wanted, last_seq, producers, &deletes);
    Ok(frames)
}

/// Notes a delete, or its cancellation.
fn note_delete(frame: &Frame, logged: &Logged, deletes: &mut DeletesEdit) {
    match logged.what() {
        What::Cancel { id } => deletes.cancel.push(id.clone()),
        what => deletes.add.extend(what.tombstone(&frame.tenant, frame.seq)),
    }
}

fn write_producers(env: &Env, dir: &Path, producers: &mut Producers<()>, flushed_seq: u64) -> Result<FileRef> {
    let bytes = producers.encode(flushed_seq);
    let path = format!("{PRODUCERS_DIR}/{flushed_seq:020}-{:016x}.producers", env.random.next_u64());
    let folder = dir.join(PRODUCERS_DIR);
    env.disk
        .create_dir_all(&folder)
        .and_then(|()| atomic::write_new(&*env.disk, &dir.join(&path), &bytes))
        .and_then(|()| env.disk.sync_dir(&folder))
        .map_err(|error| Error::io(format!("write `{path}`"), &error))?;
    Ok(FileRef { path, len: bytes.len() as u64, crc32c: crc32c::crc32c(&bytes) })
}
