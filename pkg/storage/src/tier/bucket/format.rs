//! The bucket's own files, version 1: JSON in UTF-8, one object, ended by a newline.
//!
//! | object | content |
//! |---|---|
//! | `manifest/<version, 20 digits>.json` | `{"crc32c": n, "root": R}`; the CRC32C of the bytes of `R`, a [`RootFile`] |
//! | `manifest/deletes-<version>-<CRC32C>.json` | [`DeletesFile`] |
//!
//! Unknown keys are ignored, and dropped when the next root is written; what must not be is a new `format`.

use crate::deletes::Tombstone;
use crate::manifest::FileRef;
use crate::manifest::format::MonthRef;
use crate::manifest::month_refs;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use timberlog_disk::checksum;
use timberlog_types::{Error, ErrorKind, Result, Seq, Tenant, TimeRange};

/// The version that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// A root of a bucket; `M` as in [`crate::manifest::format::RootFile`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(serialize = "M: month_refs::Listed", deserialize = "M: From<Vec<MonthRef>>"))]
pub(crate) struct RootFile<M = Vec<MonthRef>> {
    /// The version of the format.
    pub format: u32,
    /// 1 for the first root, one more for each.
    pub version: u64,
    /// 16 random hexadecimal digits: no two roots have the same bytes.
    pub salt: String,
    /// Raised by each claim.
    pub epoch: u64,
    /// 32 hexadecimal digits.
    pub writer: String,
    /// 32 hexadecimal digits.
    pub database_id: String,
    /// ns since 1970 UTC by the writer's clock.
    pub commit_time: i64,
    /// The version of the writer's own manifest.
    pub manifest_version: u64,
    /// No record of a segment or tombstone has a higher number.
    pub flushed_seq: Seq,
    /// The root before this one.
    pub previous: Option<FileRef>,
    /// The nodes.
    #[serde(with = "crate::manifest::month_refs")]
    pub months: M,
    /// The tombstones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletes: Option<FileRef>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    crc32c: u32,
    #[serde(borrow)]
    root: &'a RawValue,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// The key of a root.
pub(crate) fn root_key(version: u64) -> String {
    format!("manifest/{version:020}.json")
}

/// The version in the key of a root; `None` for other keys.
pub(crate) fn root_version(key: &str) -> Option<u64> {
    let digits = key.strip_prefix("manifest/")?.strip_suffix(".json")?;
    let version = (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok());
    version.flatten()
}

fn parse<'a, T: Deserialize<'a>>(key: &str, bytes: &'a [u8]) -> Result<T> {
    let unreadable = |error: serde_json::Error| Error::corrupt(format!("object `{key}` is unreadable: {error}"));
    match serde_json::from_slice::<FormatOnly>(bytes).map_err(unreadable)?.format {
        FORMAT => serde_json::from_slice(bytes).map_err(unreadable),
        newer => Err(Error::new(
            ErrorKind::Invalid,
            format!("object `{key}` has format version {newer}, this program reads {FORMAT}: use a newer program"),
        )),
    }
}

impl<M: month_refs::Listed> RootFile<M> {
    /// The bytes of the object.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let root = serde_json::to_string(self).map_err(|error| Error::internal(error.to_string()))?;
        let crc32c = crc32c::crc32c(root.as_bytes());
        Ok(format!("{{\"crc32c\":{crc32c},\"root\":{root}}}\n").into_bytes())
    }
}

impl RootFile {
    /// Reads the root of a version.
    ///
    /// # Errors
    /// `Corrupt` if it is not what was written, `Invalid` if a newer program wrote it.
    pub(crate) fn decode(version: u64, bytes: &[u8]) -> Result<Self> {
        let key = root_key(version);
        let damaged = |reason: &str| Error::corrupt(format!("object `{key}` {reason}"));
        let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(|_| damaged("is unreadable"))?;
        let root = envelope.root.get().as_bytes();
        if !checksum::is_right(envelope.crc32c, crc32c::crc32c(root)) {
            return Err(damaged("has another checksum"));
        }
        let root: Self = parse(&key, root)?;
        let hex = |text: &str, len: usize| text.len() == len && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if root.version != version || version == 0 || root.epoch == 0 {
            return Err(damaged("is of another version"));
        }
        if !hex(&root.database_id, 32) || !hex(&root.writer, 32) {
            return Err(damaged("names no database or no writer"));
        }
        Ok(root)
    }
}

/// The tombstones of a root.
#[derive(Serialize, Deserialize)]
pub(crate) struct DeletesFile {
    format: u32,
    version: u64,
    salt: String,
    deletes: Vec<Delete>,
}

#[derive(Serialize, Deserialize)]
struct Delete {
    id: String,
    tenant: String,
    selector: String,
    start: i64,
    end: i64,
    seq: Seq,
    created: i64,
}

impl DeletesFile {
    /// The object that holds tombstones for a root of this version.
    pub(crate) fn encode(version: u64, salt: String, tombstones: &[Tombstone]) -> Result<(FileRef, Vec<u8>)> {
        let delete = |tombstone: &Tombstone| Delete {
            id: tombstone.id.clone(),
            tenant: tombstone.tenant.as_str().to_owned(),
            selector: tombstone.selector.clone(),
            start: tombstone.range.start,
            end: tombstone.range.end,
            seq: tombstone.seq,
            created: tombstone.created_ns,
        };
        let file = Self { format: FORMAT, version, salt, deletes: tombstones.iter().map(delete).collect() };
        let mut bytes = serde_json::to_vec(&file).map_err(|error| Error::internal(error.to_string()))?;
        bytes.push(b'\n');
        let crc32c = crc32c::crc32c(&bytes);
        let path = format!("manifest/deletes-{version:020}-{crc32c:08x}.json");
        Ok((FileRef { path, len: bytes.len() as u64, crc32c }, bytes))
    }

    /// Reads an object whose checksum was verified.
    ///
    /// # Errors
    /// As [`RootFile::decode`].
    pub(crate) fn decode(key: &str, bytes: &[u8]) -> Result<Vec<Tombstone>> {
        let file: Self = parse(key, bytes)?;
        let tombstone = |delete: Delete| {
            let tenant = Tenant::new(&delete.tenant)
                .map_err(|error| Error::corrupt(format!("object `{key}`: {}", error.message)))?;
            let range = TimeRange { start: delete.start, end: delete.end };
            let Delete { id, selector, seq, created, .. } = delete;
            Ok(Tombstone { id, tenant, selector, range, seq, created_ns: created })
        };
        file.deletes.into_iter().map(tombstone).collect()
    }
}
