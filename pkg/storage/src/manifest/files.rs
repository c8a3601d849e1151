//! Reading and writing single files of the manifest; their names.
//!
//! A root's name carries its version and its checksum, so the newest whole root can be found even
//! when the pointer is lost.

use super::format::{FormatError, NODE_BYTES_MAX, POINTER_BYTES_MAX, Pointer};
use super::model::FileRef;
use super::{MANIFEST_DIR, POINTER_FILE};
use std::io;
use std::path::{Path, PathBuf};
use timberlog_disk::checksum::is_right;
use timberlog_disk::{Disk, Env, Open, Unsynced};
use timberlog_types::{Error, ErrorKind};

/// What a file of the manifest holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Root,
    Month,
    Deletes,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Kind::Root => "root-",
            Kind::Month => "month-",
            Kind::Deletes => "deletes-",
        }
    }
}

/// Why a file cannot be used.
pub(super) enum ReadError {
    /// It is missing or its bytes are not what was written.
    Damaged(String),
    /// The start must stop: a newer format, no permission, a read that failed.
    Stop(Error),
}

/// Whether an I/O error says that the bytes are not there, or that the disk does not give them. Any
/// other (no permission, too many open files) may pass and must not make anyone give up a file.
pub(crate) fn is_lost(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof, io::ErrorKind::InvalidData];
    kinds.contains(&error.kind()) || is_io(error)
}

/// Whether the disk failed to read: a bad sector, or a cable.
fn is_io(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.raw_os_error() == Some(EIO)
}

impl ReadError {
    fn io(doing: String, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            Self::Damaged("missing".to_owned())
        } else if is_io(error) {
            // A disk that answers again gives the file back; falling back would lose what it names.
            let mut error = Error::io(doing, error);
            error.message.push_str(
                "; nothing was changed: try again, and if the file stays unreadable, move it away (it then counts as \
                 missing) and run `timberlog repair`",
            );
            Self::Stop(error)
        } else if is_lost(error) {
            Self::Damaged(format!("unreadable: {error}"))
        } else {
            Self::Stop(Error::io(doing, error))
        }
    }

    /// An error of the content of the file at `path`.
    pub(super) fn format(path: &str, error: FormatError) -> Self {
        match error {
            FormatError::Damaged(reason) => Self::Damaged(reason),
            FormatError::Newer(_) => Self::Stop(Error::new(ErrorKind::Invalid, format!("`{path}`: {error}"))),
        }
    }
}

/// Where a relative path of the manifest is.
pub(super) fn locate(data_dir: &Path, relative: &str) -> Result<PathBuf, ReadError> {
    timberlog_disk::join(data_dir, relative)
        .ok_or_else(|| ReadError::Damaged(format!("path `{relative}` leaves the data directory")))
}

/// Reads a root or a node and verifies length and checksum.
pub(super) fn read(env: &Env, data_dir: &Path, file: &FileRef) -> Result<Vec<u8>, ReadError> {
    let path = locate(data_dir, &file.path)?;
    if file.len > NODE_BYTES_MAX {
        return Err(ReadError::Damaged(format!("is said to have {} bytes, limit {NODE_BYTES_MAX}", file.len)));
    }
    let bytes = read_bytes(&*env.disk, &path, NODE_BYTES_MAX)?;
    if bytes.len() as u64 != file.len {
        return Err(ReadError::Damaged(format!("has {} bytes, expected {}", bytes.len(), file.len)));
    }
    if !is_right(file.crc32c, crc32c::crc32c(&bytes)) {
        return Err(ReadError::Damaged("checksum mismatch".to_owned()));
    }
    Ok(bytes)
}

/// Reads the pointer.
pub(super) fn read_pointer(env: &Env, data_dir: &Path) -> Result<Pointer, ReadError> {
    let bytes = read_bytes(&*env.disk, &data_dir.join(POINTER_FILE), POINTER_BYTES_MAX)?;
    Pointer::decode(&bytes).map_err(|error| ReadError::format(POINTER_FILE, error))
}

/// Reads a root that only its name vouches for.
pub(super) fn read_named(env: &Env, data_dir: &Path, name: &RootName) -> Result<(FileRef, Vec<u8>), ReadError> {
    let bytes = read_bytes(&*env.disk, &locate(data_dir, &name.path)?, NODE_BYTES_MAX)?;
    if !is_right(name.crc32c, crc32c::crc32c(&bytes)) {
        return Err(ReadError::Damaged("checksum mismatch".to_owned()));
    }
    Ok((FileRef { path: name.path.clone(), len: bytes.len() as u64, crc32c: name.crc32c }, bytes))
}

fn read_bytes(disk: &dyn Disk, path: &Path, len_max: u64) -> Result<Vec<u8>, ReadError> {
    let file = disk.open(path, Open::Read);
    file.and_then(|file| file.read_all(len_max))
        .map_err(|error| ReadError::io(format!("read `{}`", path.display()), &error))
}

/// A root's version and checksum, taken from its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RootName {
    pub version: u64,
    pub crc32c: u32,
    pub path: String,
}

/// The roots in the folder, newest first, by their names alone.
pub(super) fn root_names(env: &Env, data_dir: &Path) -> Result<Vec<RootName>, Error> {
    let folder = data_dir.join(MANIFEST_DIR);
    let entries = match env.disk.list(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| Error::io(format!("list `{}`", folder.display()), &error))?,
    };
    let mut names: Vec<_> =
        entries.iter().filter(|entry| !entry.is_dir).filter_map(|entry| root_name(&entry.name)).collect();
    names.sort_by(|a, b| b.cmp(a));
    Ok(names)
}

/// Whether a relative path is one that a root is found by.
pub(super) fn is_root(path: &str) -> bool {
    path.strip_prefix(MANIFEST_DIR).and_then(|path| path.strip_prefix('/')).and_then(root_name).is_some()
}

fn root_name(name: &str) -> Option<RootName> {
    let (version, crc) = name.strip_prefix(Kind::Root.prefix())?.strip_suffix(".json")?.split_once('-')?;
    if version.len() != 20 || crc.len() != 8 {
        return None;
    }
    let (version, crc32c) = (version.parse().ok()?, u32::from_str_radix(crc, 16).ok()?);
    let path = format!("{MANIFEST_DIR}/{name}");
    (node_path(Kind::Root, version, crc32c) == path).then_some(RootName { version, crc32c, path })
}

/// Whether a name in `manifest/` is one that this module gives.
pub(super) fn is_node_name(name: &str) -> bool {
    let ours = |kind: Kind| name.starts_with(kind.prefix());
    (ours(Kind::Root) || ours(Kind::Month) || ours(Kind::Deletes)) && name.ends_with(".json")
}

/// The path of a root or a node.
pub(super) fn node_path(kind: Kind, version: u64, crc32c: u32) -> String {
    format!("{MANIFEST_DIR}/{}{version:020}-{crc32c:08x}.json", kind.prefix())
}

/// Writes a root or a node, which is to be synced (the folder comes later, once for all). `written` is told the path of
/// the file once there is one, whole or not.
pub(super) fn write(
    env: &Env,
    data_dir: &Path,
    (kind, version): (Kind, u64),
    bytes: &[u8],
    written: &mut Vec<String>,
) -> Result<(FileRef, Unsynced), Error> {
    let crc32c = crc32c::crc32c(bytes);
    let file = FileRef { path: node_path(kind, version, crc32c), len: bytes.len() as u64, crc32c };
    let path = data_dir.join(&file.path);
    if file.len > NODE_BYTES_MAX {
        return Err(Error::internal(format!("`{}` would have {} bytes, limit {NODE_BYTES_MAX}", file.path, file.len)));
    }
    let failed = |error: io::Error| Error::io(format!("write `{}`", path.display()), &error);
    let open = env.disk.open(&path, Open::CreateNew).map_err(failed)?;
    written.push(file.path.clone());
    open.write_all_at(bytes, 0).map_err(failed)?;
    Ok((file, Unsynced::File(path, open)))
}

/// Makes roots and nodes durable, several at a time.
pub(super) fn sync(env: &Env, unsynced: &mut Vec<Unsynced>) -> Result<(), Error> {
    let all = std::mem::take(unsynced);
    env.disk.sync_all(&all).map_err(|error| Error::io(format!("write `{}`", error.path.display()), &error.source))
}

/// How far the move of the pointer came before it failed.
pub(super) enum MoveError {
    /// The old pointer is in place.
    Before(Error),
    /// It is not known which pointer a crash would leave.
    Unknown(Error),
}

/// Moves the pointer: makes the names of new files durable, then replaces `manifest.json`.
pub(super) fn move_pointer(env: &Env, data_dir: &Path, pointer: &Pointer) -> Result<(), MoveError> {
    let bytes = pointer.encode().map_err(|error| MoveError::Before(Error::internal(error.to_string())))?;
    let failed = |what: &str, path: &Path, error: io::Error| Error::io(format!("{what} `{}`", path.display()), &error);
    let folder = data_dir.join(MANIFEST_DIR);
    // A folder whose fsync failed once may seem fine the next time: no commit after that.
    env.disk.sync_dir(&folder).map_err(|error| MoveError::Unknown(failed("fsync", &folder, error)))?;
    let target = data_dir.join(POINTER_FILE);
    let temporary = data_dir.join(format!("{POINTER_FILE}.tmp"));
    timberlog_disk::atomic::write_new(&*env.disk, &temporary, &bytes).map_err(|error| {
        let _ = env.disk.remove_file(&temporary);
        MoveError::Before(failed("write", &temporary, error))
    })?;
    env.disk.rename(&temporary, &target).map_err(|error| {
        let error = failed("rename to", &target, error);
        // A folder may need a block for the name: a disk that is full for a while must not end all commits.
        let is_refused = error.kind == ErrorKind::Unavailable
            && read_pointer(env, data_dir).is_ok_and(|present| present.version < pointer.version);
        if !is_refused {
            return MoveError::Unknown(error);
        }
        let _ = env.disk.remove_file(&temporary);
        MoveError::Before(error)
    })?;
    env.disk.sync_dir(data_dir).map_err(|error| MoveError::Unknown(failed("fsync", data_dir, error)))
}
