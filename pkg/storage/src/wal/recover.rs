//! The steps of opening a WAL: what counts is made durable, then given to the engine.
//!
//! What counts was decided by `replay`; this writes to the folder, which `replay` never does.

use super::files::{ClosedFile, DAMAGED};
use super::format::KIND_DELETE;
use super::meta::{self, META_NAME, Meta, Reach};
use super::replay::{self, Content, Event, Plan, Planned};
use super::types::{Body, Damage, Frame, ReplayReport, WalOptions};
use crate::deletes::Logged;
use std::sync::Arc;
use timberlog_disk::{Env, Open};
use timberlog_types::{Batch, Error, Result, Seq};

/// Checks `wal.meta`, and writes it where it is missing or damaged. Nothing depends on it: a full
/// disk must not keep a database from opening. Returns what stands in it.
pub(super) fn renew_meta(
    env: &Env,
    options: &WalOptions,
    database_id: [u8; 16],
    meta: meta::Read,
    report: &mut ReplayReport,
) -> Result<Meta> {
    match meta {
        meta::Read::Whole(meta) if meta.database_id == database_id => return Ok(meta),
        meta::Read::Whole(_) => {
            return Err(Error::invalid(format!("the WAL in `{}` is of another database", options.dir.display())));
        }
        meta::Read::Missing => {}
        meta::Read::Damaged => report.damages.push(Damage {
            file: META_NAME.to_owned(),
            offset: 0,
            lost: None,
            what: "checksum mismatch; it was written anew".to_owned(),
        }),
    }
    let meta = Meta { database_id, archived_seq: 0, reach: Reach::Unknown };
    if let Err(error) = meta.write(&*env.disk, &options.dir) {
        tracing::warn!(%error, "`{META_NAME}` was not written");
    }
    Ok(meta)
}

/// Makes sure that what replay is about to deliver is on disk. Pages that an earlier process wrote
/// and failed to sync count as clean: only writing them again makes an fsync reach them.
pub(super) fn make_durable(env: &Env, options: &WalOptions, plan: &Plan) -> Result<()> {
    let (Some(range), Some(newest)) = (plan.unproven.clone(), plan.files.last()) else { return Ok(()) };
    let doing = |error: &std::io::Error| Error::io(format_args!("make WAL file `{}` durable", newest.name), error);
    let file = env.disk.open(&options.dir.join(&newest.name), Open::Write).map_err(|error| doing(&error))?;
    let mut bytes = vec![0; usize::try_from((range.end - range.start).min(1 << 20)).unwrap_or(1 << 20)];
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(bytes.len());
        let chunk = &mut bytes[..len];
        file.read_exact_at(chunk, at).map_err(|error| doing(&error))?;
        file.write_all_at(chunk, at).map_err(|error| doing(&error))?;
        at += len as u64;
    }
    file.sync_data().map_err(|error| doing(&error))
}

/// Gives every frame behind `flushed_seq` to `on_frame`; returns the files.
pub(super) fn deliver(
    env: &Env,
    options: &WalOptions,
    plan: &Plan,
    flushed_seq: Seq,
    report: &mut ReplayReport,
    progress: &dyn Fn(u64, u64),
    on_frame: &mut dyn FnMut(Frame) -> Result<()>,
) -> Result<Vec<ClosedFile>> {
    let newest = plan.files.last().map(|file| file.first_seq);
    let is_needed = |file: &Planned| {
        // What a newest file that was cut off held, nobody knows.
        let is_unsure = file.header.is_none() || (file.is_cut() && Some(file.first_seq) == newest);
        file.end_seq > flushed_seq.saturating_add(1) || is_unsure
    };
    let total = plan.files.iter().filter(|file| is_needed(file)).map(|file| file.len).sum();
    let mut done = 0;
    progress(0, total);
    report.damages.extend(replay::missing_before(&plan.files, flushed_seq));
    let mut closed = Vec::with_capacity(plan.files.len());
    for (index, file) in plan.files.iter().enumerate() {
        let damages_before = report.damages.len();
        if is_needed(file) {
            report.files += 1;
            replay::read(&*env.disk, &options.dir, file, flushed_seq, &mut |event| match event {
                Event::Damage(damage) => {
                    tracing::error!(%damage, "the WAL is damaged");
                    report.damages.push(damage);
                    Ok(())
                }
                Event::Frame(content) if content.located.head.seq <= flushed_seq => Ok(()),
                Event::Frame(content) => {
                    let located = content.located;
                    progress(done + located.offset, total);
                    match decode(content) {
                        Ok(frame) => {
                            report.frames += 1;
                            report.rows += frame.body.rows() as u64;
                            report.bytes += located.head.frame_len();
                            on_frame(frame)
                        }
                        Err(what) => {
                            let seq = located.head.seq;
                            report.damages.push(file.damage(located.offset, Some((seq, seq)), what));
                            Ok(())
                        }
                    }
                }
            })?;
            done += file.len;
            progress(done, total);
        }
        let is_damaged = report.damages.len() > damages_before;
        let is_newest = index + 1 == plan.files.len();
        let holds_nothing = file.header.is_none() || (file.is_cut() && file.end_seq == file.first_seq);
        if holds_nothing && is_newest {
            // The next file may get the same name.
            let path = options.dir.join(&file.name);
            let aside = options.dir.join(format!("{}{DAMAGED}", file.name));
            let renamed = env.disk.rename(&path, &aside).and_then(|()| env.disk.sync_dir(&options.dir));
            renamed.map_err(|error| Error::io(format_args!("set WAL file `{}` aside", file.name), &error))?;
            continue;
        }
        closed.push(ClosedFile {
            name: file.name.clone(),
            first_seq: file.first_seq,
            last_seq: file.end_seq - 1,
            len: file.len,
            is_damaged,
        });
    }
    Ok(closed)
}

pub(super) fn decode(content: Content<'_>) -> Result<Frame, String> {
    let Content { located, tenant, producer, payload } = content;
    let body = if located.head.kind == KIND_DELETE {
        Body::Delete(Arc::new(Logged::decode(payload).map_err(|error| error.to_string())?))
    } else {
        Body::Batch(Arc::new(Batch::decode(Box::from(payload)).map_err(|error| error.to_string())?))
    };
    if body.rows() != located.head.rows as usize {
        return Err(format!("batch has {} records, its frame says {}", body.rows(), located.head.rows));
    }
    Ok(Frame { seq: located.head.seq, commit_time: located.head.commit_time, tenant, producer, body })
}
