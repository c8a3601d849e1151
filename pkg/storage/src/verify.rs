//! Verification of a whole data directory: every checksum, every index against its blocks, the
//! manifest chain, the WAL. Changes nothing; goes on after damage.

use crate::manifest::{self, SegmentEntry, verify as manifest_verify};
use crate::wal;
use serde::Serialize;
use std::path::Path;
use timberlog_disk::{Env, Open};
use timberlog_index::SegmentIndex;
use timberlog_segment::{SegmentError, SegmentReader};
use timberlog_types::{Error, Result};

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The manifest's version.
    pub manifest_version: u64,
    /// Segments that the manifest names and whose files are in the data directory.
    pub segments: u64,
    /// Segments that are in the object store alone: they are not looked at.
    pub segments_stored: u64,
    /// Segments that are whole.
    pub segments_whole: u64,
    /// Blocks of all segments that could be opened.
    pub blocks: u64,
    /// Blocks that are whole.
    pub blocks_whole: u64,
    /// Records in segments, as the manifest says.
    pub records: u64,
    /// Records in whole blocks.
    pub records_whole: u64,
    /// Batches in the WAL.
    pub wal_batches: u64,
    /// Where the WAL ends in a torn batch that was never acknowledged; not damage.
    pub wal_torn_tail: Option<String>,
    /// Everything that is damaged, for people.
    pub damage: Vec<String>,
}

/// What is whole and what is not of one segment.
#[derive(Clone, Debug, Default)]
pub(crate) struct SegmentHealth {
    pub(crate) blocks: u32,
    /// Blocks of which a part is damaged, ascending.
    pub(crate) damaged_blocks: Vec<u32>,
    pub(crate) records_whole: u64,
    pub(crate) damage: Vec<String>,
    /// Why it is not known what is whole: no permission, a newer format. Nothing may be given up
    /// then.
    pub(crate) unknown: Option<Error>,
}

impl SegmentHealth {
    fn note(&mut self, segment: &str, error: SegmentError) {
        self.damage.push(format!("segment `{segment}`: {error}"));
        let is_damage = match &error {
            SegmentError::Io { source, .. } => manifest::is_lost(source),
            SegmentError::Corrupt { .. } => true,
            SegmentError::UnknownEncoding { .. }
            | SegmentError::UnknownFormat { .. }
            | SegmentError::TooLarge { .. } => false,
        };
        if !is_damage && self.unknown.is_none() {
            self.unknown = Some(Error::from(error).context(format!("segment `{segment}`")));
        }
    }
}

/// Verifies a data directory that no process has open; `progress` is told segments done and all.
///
/// # Errors
/// `Conflict` if a process has it open, `NotFound` if there is none, `Invalid` if a newer version
/// wrote it. Damage is in the report.
pub fn verify(env: &Env, data_dir: &Path, progress: &dyn Fn(u64, u64)) -> Result<Report> {
    let _lock = crate::engine::lock_directory(env, data_dir)?;
    let found = manifest_verify::verify(env, data_dir, manifest_verify::Depth::Checksum)?;
    let mut report = Report { manifest_version: found.version, ..Report::default() };
    report.damage.extend(found.damage.iter().map(ToString::to_string));
    let state = manifest::read(env, data_dir)?;
    let is_local = |entry: &SegmentEntry| entry.location.is_local();
    let total = state.segments().filter(|(.., entry)| is_local(entry)).count() as u64;
    report.segments_stored = state.segments().count() as u64 - total;
    for (_, _, entry) in state.segments().filter(|(.., entry)| is_local(entry)) {
        progress(report.segments, total);
        let health = segment(env, data_dir, entry);
        report.segments += 1;
        report.segments_whole += u64::from(health.damage.is_empty());
        report.blocks += u64::from(health.blocks);
        report.blocks_whole += u64::from(health.blocks) - health.damaged_blocks.len() as u64;
        report.records += entry.rows;
        report.records_whole += health.records_whole;
        report.damage.extend(health.damage);
    }
    progress(total, total);
    let wal = wal::verify(&*env.disk, &data_dir.join("wal"), Some(state.flushed_seq))?;
    report.wal_batches = wal.frames;
    report.wal_torn_tail = wal.torn_tail.map(|tail| format!("WAL file `{}` at byte {}", tail.file, tail.offset));
    report.damage.extend(wal.damages.iter().map(ToString::to_string));
    Ok(report)
}

/// Verifies the files of one segment.
pub(crate) fn segment(env: &Env, data_dir: &Path, entry: &SegmentEntry) -> SegmentHealth {
    let mut health = SegmentHealth::default();
    let path = data_dir.join(&entry.log.path);
    let file = match env.disk.open(&path, Open::Read) {
        Ok(file) => file,
        Err(error) => {
            let is_lost = manifest::is_lost(&error);
            let error = Error::io(format!("segment `{}`: open `{}`", entry.id, entry.log.path), &error);
            health.damage.push(error.to_string());
            health.unknown = (!is_lost).then_some(error);
            return health;
        }
    };
    let reader = match SegmentReader::open(file) {
        Ok(reader) => reader,
        Err(error) => {
            health.note(&entry.id, error);
            return health;
        }
    };
    let directory = reader.directory();
    health.blocks = directory.blocks.len() as u32;
    reader.verify(&mut |damage| {
        health.damaged_blocks.extend(damage.block);
        health.note(&entry.id, damage.error);
    });
    health.damaged_blocks.sort_unstable();
    health.damaged_blocks.dedup();
    let is_whole = |number: &u32| health.damaged_blocks.binary_search(number).is_err();
    health.records_whole =
        directory.blocks.iter().filter(|block| is_whole(&block.number)).map(|block| u64::from(block.rows)).sum();
    if let Err(error) = index(env, data_dir, entry, &reader) {
        health.damage.push(format!("segment `{}`: index: {error}", entry.id));
    }
    health
}

fn index(env: &Env, data_dir: &Path, entry: &SegmentEntry, reader: &SegmentReader) -> Result<()> {
    let Some(redb) = &entry.redb else { return Ok(()) };
    let pages = reader.redb_pages().ok_or_else(|| Error::corrupt("the footer has no page checksums of the index"))?;
    let file = open(env, data_dir, &redb.path)?;
    let damaged = timberlog_index::damaged_pages(std::sync::Arc::clone(&file), pages.clone())?;
    if !damaged.is_empty() {
        return Err(Error::corrupt(format!("{} pages do not match their checksum", damaged.len())));
    }
    Ok(SegmentIndex::open(file, pages.clone())?.check(reader.directory())?)
}

fn open(env: &Env, data_dir: &Path, relative: &str) -> Result<std::sync::Arc<dyn timberlog_disk::File>> {
    let path = timberlog_disk::join(data_dir, relative)
        .ok_or_else(|| Error::corrupt(format!("the path `{relative}` leaves the data directory")))?;
    env.disk.open(&path, Open::Read).map_err(|error| Error::io(format!("open `{relative}`"), &error))
}
