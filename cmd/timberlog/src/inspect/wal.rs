//! The batches of a WAL.

use super::{Found, at};
use crate::{table, units};
use anyhow::Result;
use serde_json::json;
use std::path::{Path, PathBuf};
use timberlog_db::Env;
use timberlog_storage::manifest;
use timberlog_storage::wal::{self, FrameInfo, Inspected};
use timberlog_types::{Error, ErrorKind};

pub(super) fn inspect(path: &Path) -> Result<Found> {
    let env = Env::real();
    let (dir, only) = place(path)?;
    // What the manifest knows to be in segments may be gone from the WAL without damage.
    let state = dir.parent().and_then(|data_dir| manifest::read(&env, data_dir).ok());
    let flushed_seq = state.map(|state| state.flushed_seq);
    let mut found = Found { rows: ("batches", Vec::new()), ..Found::default() };
    let (mut files, mut batches, mut records, mut bytes) = (0, 0, 0, 0);
    let mut torn_tail = None;
    let mut table =
        table::with_header(["#batch", "file", "#offset", "#bytes", "committed", "tenant", "#records", "producer"]);
    wal::inspect(&*env.disk, &dir, flushed_seq, &mut |inspected| {
        let is_asked = |file: &str| only.as_ref().is_none_or(|only| only == file);
        match inspected {
            Inspected::File { name, .. } => files += u64::from(is_asked(&name)),
            Inspected::Frame(frame) if is_asked(&frame.file) => {
                (batches, records, bytes) = (batches + 1, records + u64::from(frame.rows), bytes + frame.bytes);
                found.rows.1.push(row(&frame));
                table.add_row(cells(&frame));
            }
            Inspected::Frame(_) => {}
            Inspected::Damage(damage) if is_asked(&damage.file) => found.damage.push(damage.to_string()),
            Inspected::Damage(_) => {}
            Inspected::TornTail(tail) => torn_tail = Some(tail),
        }
        Ok(())
    })?;
    found.text("folder", &dir.display().to_string());
    found.number("files", files);
    found.number("batch_count", batches);
    found.number("records", records);
    found.bytes("bytes", bytes);
    if let Some(seq) = flushed_seq {
        let text = format!("{}: batches up to this one are in segments", units::count(seq));
        found.head("flushed_seq", seq, text);
    }
    if let Some(tail) = torn_tail {
        let text = format!("`{}` at byte {}: a batch that was never acknowledged; no damage", tail.file, tail.offset);
        found.head("torn_tail", json!({ "file": tail.file, "offset": tail.offset }), text);
    }
    found.tables.push(table);
    Ok(found)
}

/// The WAL's folder, and the one file to look at.
fn place(path: &Path) -> Result<(PathBuf, Option<String>)> {
    let found = std::fs::metadata(path).map_err(|error| Error::io(format!("read `{}`", path.display()), &error))?;
    if found.is_file() {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::invalid(format!("`{}` is no WAL file", path.display())).into());
        };
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        return Ok((dir.to_owned(), Some(name.to_string_lossy().into_owned())));
    }
    let below = path.join("wal");
    let dir = if below.is_dir() { below } else { path.to_owned() };
    // Anything with a `.wal` file or a `wal.meta` is a WAL; the rest is a mistake.
    let is_wal = std::fs::read_dir(&dir)
        .map_err(|error| Error::io(format!("read `{}`", dir.display()), &error))?
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().contains("wal"));
    if is_wal {
        Ok((dir, None))
    } else {
        Err(Error::new(ErrorKind::NotFound, format!("no WAL in `{}`", path.display())).into())
    }
}

fn row(frame: &FrameInfo) -> serde_json::Value {
    json!({
        "seq": frame.seq, "file": frame.file, "offset": frame.offset, "bytes": frame.bytes,
        "commit_time": at(frame.commit_time), "synced_seq": frame.synced_seq, "tenant": frame.tenant.as_str(),
        "records": frame.rows, "producer": frame.producer.as_ref().map(|(name, _)| name),
        "producer_number": frame.producer.as_ref().map(|(_, number)| number),
    })
}

fn cells(frame: &FrameInfo) -> [String; 8] {
    [
        frame.seq.to_string(),
        frame.file.clone(),
        frame.offset.to_string(),
        units::count(frame.bytes),
        at(frame.commit_time),
        frame.tenant.to_string(),
        units::count(u64::from(frame.rows)),
        frame.producer.as_ref().map(|(name, number)| format!("{name}/{number}")).unwrap_or_default(),
    ]
}
