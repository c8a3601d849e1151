//! Checking a manifest without changing anything: the chain, every node, every named file.

use super::files::locate;
use super::load::{Loaded, load};
use super::model::{FileRef, State};
use std::path::Path;
use timberlog_disk::{Env, Open};
use timberlog_types::{Error, Result};

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file, relative to the data directory.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` {}", self.path, self.reason)
    }
}

/// How closely [`verify`] looks at the named files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// They exist and have the right length.
    Length,
    /// Their checksum is right as well: reads every byte.
    Checksum,
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// The version that was checked.
    pub version: u64,
    /// Roots that could be read, the current one included.
    pub roots: usize,
    /// Nodes of the current root that could be read.
    pub nodes: usize,
    /// Segments that the current root names.
    pub segments: usize,
    /// Files that the current root names and that are as they should be.
    pub files_whole: usize,
    /// Everything that is wrong.
    pub damage: Vec<Damage>,
}

/// Checks the manifest of a data directory. An error says that it cannot be read at all.
pub fn verify(env: &Env, data_dir: &Path, depth: Depth) -> Result<VerifyReport> {
    let Some(Loaded { state, chain, fallback }) = load(env, data_dir)? else {
        return Err(Error::new(
            timberlog_types::ErrorKind::NotFound,
            format!("no database in `{}`", data_dir.display()),
        ));
    };
    let mut report = VerifyReport {
        version: state.version,
        roots: chain.roots.len(),
        nodes: state.tenants.values().map(|months| months.len()).sum(),
        segments: state.segments().count(),
        damage: chain.damage,
        ..VerifyReport::default()
    };
    // The root that the start just fell back from is among the lost ones.
    drop(fallback);
    for lost in &state.lost_roots {
        report.damage.push(Damage { path: lost.path.clone(), reason: lost.reason.clone() });
    }
    for lost in &state.unreachable {
        let reason = format!("{}: month {} of tenant `{}` is unreachable", lost.reason, lost.month, lost.tenant);
        report.damage.push(Damage { path: lost.file.path.clone(), reason });
    }
    for file in data_files(&state) {
        match check_file(env, data_dir, file, depth) {
            Ok(()) => report.files_whole += 1,
            Err(reason) => report.damage.push(Damage { path: file.path.clone(), reason }),
        }
    }
    Ok(report)
}

/// Segments and producers; nodes were verified when they were read.
fn data_files(state: &State) -> impl Iterator<Item = &FileRef> {
    state.segments().flat_map(|(_, _, entry)| entry.local_files()).chain(&state.producers)
}

/// Checks one named file; the error says what is wrong with it.
pub fn check_file(env: &Env, data_dir: &Path, expected: &FileRef, depth: Depth) -> Result<(), String> {
    let path = locate(data_dir, &expected.path).map_err(|_| "leaves the data directory".to_owned())?;
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "missing".to_owned(),
        _ => format!("unreadable: {error}"),
    };
    let file = env.disk.open(&path, Open::Read).map_err(unreadable)?;
    let len = file.len().map_err(unreadable)?;
    if len != expected.len {
        return Err(format!("has {len} bytes, expected {}", expected.len));
    }
    if depth == Depth::Length {
        return Ok(());
    }
    let mut buffer = vec![0; 1 << 20];
    let (mut offset, mut crc32c) = (0, 0);
    loop {
        match file.read_at(&mut buffer, offset) {
            Ok(0) => break,
            Ok(read) => {
                crc32c = crc32c::crc32c_append(crc32c, buffer.get(..read).unwrap_or_default());
                offset += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    if offset == expected.len && crc32c == expected.crc32c { Ok(()) } else { Err("checksum mismatch".to_owned()) }
}
