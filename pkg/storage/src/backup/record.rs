//! The records of a backup store, version 1 (`manifest-spec.md`, chapter Backups).
//!
//! Each is a JSON object `{"crc32c":C,"record":R}` and a newline; `C` is the CRC32C of the bytes of
//! `R` as they stand. Unknown keys are ignored; whatever must not be ignored is a new `format`.

use super::source::Referenced;
use crate::manifest::FileRef;
use crate::objects::GET_BYTES_MAX;
use crate::producers::PRODUCERS_VERSION;
use crate::{manifest, wal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use timberlog_disk::{Random, checksum};
use timberlog_types::{Error, Result, Seq, time};

/// The version of the records that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// The longest record.
pub const RECORD_BYTES_MAX: u64 = GET_BYTES_MAX;
/// The longest id.
const ID_BYTES_MAX: usize = 64;

pub(super) const BACKUPS: &str = "backups/";
pub(super) const FILES: &str = "files/";
pub(super) const WALS: &str = "wal/";
pub(super) const PLANS: &str = "plans/";
pub(super) const PRUNES: &str = "prunes/";
pub(super) const VOIDS: &str = "void/";

/// The newest version of each format that a backup's files may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formats {
    /// Roots and nodes.
    pub manifest: u32,
    /// Segments.
    pub segment: u32,
    /// The sealed end of the WAL.
    pub wal: u32,
    /// The producers file.
    pub producers: u32,
}

impl Formats {
    /// Those of this program.
    pub const CURRENT: Self = Self {
        manifest: manifest::format::FORMAT,
        segment: timberlog_segment::FORMAT_VERSION,
        wal: wal::VERSION as u32,
        producers: PRODUCERS_VERSION as u32,
    };

    /// Refuses what a newer program wrote.
    pub(super) fn check(&self) -> Result<()> {
        let known = Self::CURRENT;
        let pairs = [
            ("manifest", self.manifest, known.manifest),
            ("segment", self.segment, known.segment),
            ("WAL", self.wal, known.wal),
            ("producers", self.producers, known.producers),
        ];
        match pairs.into_iter().find(|(_, found, known)| found > known) {
            None => Ok(()),
            Some((name, found, known)) => Err(Error::invalid(format!(
                "its {name} format is version {found}, this program reads up to {known}: use a newer TimberLog"
            ))),
        }
    }
}

/// The end of the WAL in a backup: frames that no segment of its root holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalTail {
    /// Where it is in the store: `wal/<backup>.wal`.
    pub key: String,
    /// Its bytes.
    pub len: u64,
    /// Their CRC32C.
    pub crc32c: u32,
    /// The number of its first frame.
    pub first_seq: Seq,
    /// The number of its last frame.
    pub last_seq: Seq,
}

/// A backup: `backups/<id>.json`. It exists when this object does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupRecord {
    /// The version of the record.
    pub format: u32,
    /// The same as in its key. Ids sort by time.
    pub id: String,
    /// The database that was backed up.
    pub database_id: String,
    /// The instant that the backup holds, in ns since 1970 UTC.
    pub pinned: i64,
    /// When the record was written.
    pub finished: i64,
    /// Everything in it was committed at or before this time; without it `finished` says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// The line of the archive that goes on from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// The version of the program that wrote it.
    pub program: String,
    /// The formats of its files.
    pub formats: Formats,
    /// The version of the root.
    pub version: u64,
    /// Every batch up to this number is in the backup.
    pub seq: Seq,
    /// Every batch up to this number is in its segments.
    pub flushed_seq: Seq,
    /// The root; it is one of `files`.
    pub root: FileRef,
    /// Every file but the WAL's end, as named in the database: root, nodes, producers, segments.
    pub files: Vec<FileRef>,
    /// The end of the WAL, if segments do not hold everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal: Option<WalTail>,
    /// Records in its segments.
    pub records: u64,
    /// Segments that it needs and does not hold: they are in the object store of the database's tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referenced: Option<Referenced>,
    /// Files that this backup brought into the store.
    pub copied_files: u64,
    /// Their bytes.
    pub copied_bytes: u64,
}

impl BackupRecord {
    /// The bytes of all files, the WAL's end included.
    pub fn bytes(&self) -> u64 {
        let files = self.files.iter().map(|file| file.len);
        files.chain(self.wal.iter().map(|wal| wal.len)).fold(0, u64::saturating_add)
    }

    /// Everything in it was committed at or before this time.
    pub fn until(&self) -> i64 {
        self.until.unwrap_or(self.finished)
    }

    /// The objects that it needs.
    pub(crate) fn keys(&self) -> impl Iterator<Item = String> + '_ {
        let files = self.files.iter().filter_map(|file| key_of(&file.path));
        files.chain(self.wal.iter().map(|wal| wal.key.clone()))
    }

    pub(crate) fn check(&self, id: &str) -> Result<()> {
        if self.id != id {
            return Err(Error::corrupt(format!("is of backup `{}`", self.id)));
        }
        self.formats.check()?;
        if let Some(file) = self.files.iter().find(|file| key_of(&file.path).is_none()) {
            return Err(Error::corrupt(format!("names the path `{}`", file.path.escape_debug())));
        }
        match &self.wal {
            Some(wal) if wal.key != wal_key(id) => Err(Error::corrupt(format!("names the WAL `{}`", wal.key))),
            _ => Ok(()),
        }
    }
}

/// What a backup that runs needs: `plans/<id>.json`. It keeps these objects from being deleted, and
/// lets the next backup go on where this one ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlanRecord {
    pub(super) format: u32,
    pub(super) id: String,
    pub(super) database_id: String,
    /// When it was written, in ns since 1970 UTC; a backup that runs renews it.
    pub(super) updated: i64,
    pub(super) files: Vec<FileRef>,
    /// The first so many files are in the store, whole.
    pub(super) done: u64,
}

/// What is about to be deleted: `prunes/<id>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PruneRecord {
    pub(super) format: u32,
    pub(super) id: String,
    /// When it was written, in ns since 1970 UTC.
    pub(super) updated: i64,
    pub(super) keys: Vec<String>,
}

/// A backup that was given up: `void/<id>.json`. That it is there is what counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoidRecord {
    pub(super) format: u32,
    pub(super) id: String,
    /// When, in ns since 1970 UTC.
    pub(super) given_up: i64,
}

/// The object of a file of the database: `files/` and the last part of its path, which is unique in
/// all databases. `None` if the path is none of a database.
pub fn key_of(path: &str) -> Option<String> {
    if !super::is_served(path) {
        return None;
    }
    path.rsplit('/').next().map(|name| format!("{FILES}{name}"))
}

pub(super) fn wal_key(id: &str) -> String {
    format!("{WALS}{id}.wal")
}

pub(super) fn record_key(folder: &str, id: &str) -> String {
    format!("{folder}{id}.json")
}

/// The id in a key of a folder of records.
pub(super) fn id_in<'a>(folder: &str, key: &'a str) -> Option<&'a str> {
    key.strip_prefix(folder)?.strip_suffix(".json").filter(|id| is_id(id))
}

/// Whether a text can be an id.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A new id: the time to the microsecond, and random digits: `20261121T101500123456Z-0a1b2c3d`.
pub(crate) fn new_id(now_ns: i64, random: &(dyn Random + 'static)) -> String {
    let text = time::format_rfc3339(now_ns);
    let digits: String = text.chars().take(26).filter(|c| c.is_ascii_alphanumeric()).collect();
    format!("{digits}Z-{:08x}", random.next_u64() as u32)
}

#[derive(Deserialize)]
struct Envelope<'a> {
    crc32c: u32,
    #[serde(borrow)]
    record: &'a RawValue,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// The bytes of a record.
pub(crate) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>> {
    let text = serde_json::to_string(record).map_err(|error| Error::internal(error.to_string()))?;
    let bytes = format!("{{\"crc32c\":{},\"record\":{text}}}\n", crc32c::crc32c(text.as_bytes())).into_bytes();
    if bytes.len() as u64 > RECORD_BYTES_MAX {
        return Err(Error::invalid(format!("a record of {} bytes; at most {RECORD_BYTES_MAX}", bytes.len())));
    }
    Ok(bytes)
}

/// Reads a record.
///
/// # Errors
/// `Corrupt` if it is not what was written, `Invalid` if a newer program wrote it.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let unreadable = |error: serde_json::Error| Error::corrupt(format!("unreadable: {error}"));
    let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(unreadable)?;
    let record = envelope.record.get();
    if !checksum::is_right(envelope.crc32c, crc32c::crc32c(record.as_bytes())) {
        return Err(Error::corrupt("checksum mismatch"));
    }
    match serde_json::from_str::<FormatOnly>(record).map_err(unreadable)?.format {
        FORMAT => serde_json::from_str(record).map_err(unreadable),
        0 => Err(Error::corrupt("unreadable: format version 0")),
        newer => Err(Error::invalid(format!(
            "format version {newer} is newer than {FORMAT}, the newest that this program reads: use a newer TimberLog"
        ))),
    }
}
