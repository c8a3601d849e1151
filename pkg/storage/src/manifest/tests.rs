//! Tests of the manifest on a simulated machine.

mod crash;
mod damage;
mod deletes;
mod golden;
mod life;
mod locations;
mod refusals;

use super::{Edit, FileRef, LevelCounts, Location, Manifest, ManifestOptions, OpenReport, SegmentEntry, State};
use super::{log_path, redb_path};
use std::collections::BTreeMap;
use std::path::Path;
use timberlog_disk::sim::Sim;
use timberlog_disk::{Env, atomic};
use timberlog_types::{Day, Level, Result, Seq, Tenant, TimeRange};

/// The data directory of every test.
const DIR: &str = "/db";
/// 2026-11-21.
const DAY: Day = Day(20_778);

fn dir() -> &'static Path {
    Path::new(DIR)
}

fn tenant(name: &str) -> Tenant {
    Tenant::new(name).unwrap()
}

fn sim(seed: u64) -> Sim {
    Sim::new(seed)
}

fn open(env: &Env, history: usize) -> Result<(Manifest, OpenReport)> {
    env.disk.create_dir_all(dir()).map_err(|error| timberlog_types::Error::io("create", &error))?;
    Manifest::open(env, dir(), ManifestOptions { history })
}

fn open_whole(env: &Env) -> Manifest {
    let (manifest, report) = open(env, 3).unwrap();
    assert!(!report.is_damaged(), "{report:?}");
    assert!(report.orphans_left.is_empty());
    manifest
}

/// An id that is a ULID in form and tells its number.
fn id(number: u64) -> String {
    format!("01KAB{number:021}")
}

fn entry(tenant: &Tenant, day: Day, number: u64, seqs: (Seq, Seq)) -> SegmentEntry {
    let start = day.range().start;
    let mut levels = LevelCounts::default();
    levels.add(Level::Info, 9);
    levels.add(Level::Error, 1);
    let content = content(number);
    let file = |path: String| FileRef { path, len: content.len() as u64, crc32c: crc32c::crc32c(&content) };
    SegmentEntry {
        id: id(number),
        seq_min: seqs.0,
        seq_max: seqs.1,
        range: TimeRange { start: start + 5, end: start + 1_000 + number as i64 },
        rows: 10,
        raw_bytes: 1_770,
        log: file(log_path(tenant, day, &id(number))),
        redb: number.is_multiple_of(2).then(|| file(redb_path(tenant, day, &id(number)))),
        levels,
        services: Some(BTreeMap::from([("web \"1\"".to_owned(), 7), ("db".to_owned(), 3)])),
        location: Location::Local,
        purged_seq: 0,
        index_object: None,
    }
}

fn content(number: u64) -> Vec<u8> {
    format!("content of segment {number}").into_bytes()
}

/// Writes the files of an entry as the engine does: durable, with their folder.
fn write_files(env: &Env, entry: &SegmentEntry, number: u64) -> std::io::Result<()> {
    for file in entry.files() {
        let path = dir().join(&file.path);
        env.disk.create_dir_all(path.parent().unwrap())?;
        atomic::write_new(&*env.disk, &path, &content(number))?;
        env.disk.sync_dir(path.parent().unwrap())?;
    }
    Ok(())
}

/// An entry with its files.
fn segment(env: &Env, tenant: &Tenant, day: Day, number: u64, seqs: (Seq, Seq)) -> SegmentEntry {
    let entry = entry(tenant, day, number, seqs);
    write_files(env, &entry, number).unwrap();
    entry
}

/// A flush of one segment for one batch.
fn flush(env: &Env, tenant: &Tenant, day: Day, seq: Seq) -> Edit {
    let add = vec![(tenant.clone(), day, segment(env, tenant, day, seq, (seq, seq)))];
    Edit { add, flushed_seq: Some(seq), ..Edit::default() }
}

/// Version, `flushed_seq`, segments and producers file.
type Told = (u64, Seq, Vec<(String, Day, String)>, Option<String>);

/// What a state says, without the names of its own files.
fn told(state: &State) -> Told {
    let segments = state.segments().map(|(tenant, day, entry)| (tenant.to_string(), day, entry.id.clone())).collect();
    (state.version, state.flushed_seq, segments, state.producers.as_ref().map(|file| file.path.clone()))
}

/// Every file of the directory, relative to it.
fn files(sim: &Sim) -> Vec<String> {
    let relative = |path: &Path| path.strip_prefix(DIR).unwrap().to_str().unwrap().to_owned();
    sim.disk.files().iter().map(|(path, _)| relative(path)).collect()
}
