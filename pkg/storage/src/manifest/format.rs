//! The manifest's files, version 2 (version 1 is read): JSON in UTF-8, one object a file, ended by a newline.
//!
//! | file | content |
//! |---|---|
//! | `manifest.json` | `{"crc32c": n, "pointer": P}`; the CRC32C of the bytes of `P` |
//! | `manifest/root-<version, 20 digits>-<CRC32C, 8 hex>.json` | [`RootFile`] |
//! | `manifest/month-<version, 20 digits>-<CRC32C, 8 hex>.json` | [`MonthFile`] |
//! | `manifest/deletes-<version, 20 digits>-<CRC32C, 8 hex>.json` | [`DeletesFile`] |
//!
//! Unknown keys are ignored, and dropped when a node is rewritten; whatever must not be ignored or
//! dropped needs a new `format`. A file of a newer format stops the start.

use super::model::{FileRef, LostRoot, MonthNode, Partition, SegmentEntry, Unreachable};
use super::month::Month;
use crate::deletes::Deletes;
use crate::deletes::list::Written;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use timberlog_disk::checksum::is_right;
use timberlog_types::{Day, Seq, Tenant};

/// The version of the format that this program writes, and the newest that it reads. Version 1 named
/// each node of a root by an object of its own, and knew no object store.
pub const FORMAT: u32 = 2;
/// The longest `manifest.json`.
pub const POINTER_BYTES_MAX: u64 = 64 << 10;
/// The longest root or node.
pub const NODE_BYTES_MAX: u64 = 256 << 20;

/// Why a file of the manifest cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FormatError {
    /// Its bytes are not what was written.
    #[error("{0}")]
    Damaged(String),
    /// It was written by a newer program.
    #[error("format version {0} is newer than {FORMAT}, the newest that this program reads: use a newer program")]
    Newer(u32),
}

/// The content of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// The version of the format.
    pub format: u32,
    /// The version of the root.
    pub version: u64,
    /// The root's `flushed_seq`, so that it is known even when the root is lost.
    pub flushed_seq: Seq,
    /// The root.
    pub root: FileRef,
}

#[derive(Deserialize)]
struct PointerEnvelope<'a> {
    crc32c: u32,
    #[serde(borrow)]
    pointer: &'a RawValue,
}

/// A root; `M` are its nodes, which are read one by one and written as the entries of tenants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(serialize = "M: super::month_refs::Listed", deserialize = "M: From<Vec<MonthRef>>"))]
pub struct RootFile<M = Vec<MonthRef>> {
    /// The version of the format.
    pub format: u32,
    /// 1 for the first root, one more for each.
    pub version: u64,
    /// 16 random hexadecimal digits: no two files have the same content, so none the same name.
    pub salt: String,
    /// When it was written: ns since 1970 UTC by the writer's clock.
    pub commit_time: i64,
    /// 32 hexadecimal digits.
    pub database_id: String,
    /// Every batch up to here is in a segment.
    pub flushed_seq: Seq,
    /// The root before this one.
    pub previous: Option<FileRef>,
    /// The version of the oldest root that is kept: the chain may end there and not before.
    pub chain_start: u64,
    /// The file of producers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producers: Option<FileRef>,
    /// The file of deletes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletes: Option<FileRef>,
    /// The clock of retention, in ns since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ns: Option<i64>,
    /// The nodes, by tenant and month; on disk one entry a tenant.
    #[serde(with = "super::month_refs")]
    pub months: M,
    /// Nodes that could not be read when this root was written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<LostMonth>,
    /// Roots that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_roots: Vec<LostRoot>,
}

/// A node as its root names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonthRef {
    /// Whose month.
    pub tenant: String,
    /// `2026-11`.
    pub month: String,
    /// The node.
    pub file: FileRef,
}

/// A node that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostMonth {
    /// Whose month.
    pub tenant: String,
    /// `2026-11`.
    pub month: String,
    /// The node.
    pub file: FileRef,
    /// What is wrong with it.
    pub reason: String,
}

/// A node: the days of one tenant in one month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonthFile {
    /// The version of the format.
    pub format: u32,
    /// The version of the root that it was written for.
    pub version: u64,
    /// 16 random hexadecimal digits.
    pub salt: String,
    /// Whose month.
    pub tenant: String,
    /// `2026-11`.
    pub month: String,
    /// The days that have segments, oldest first.
    pub partitions: Vec<DayEntry>,
}

/// A partition within its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayEntry {
    /// `2026-11-21`.
    pub day: String,
    /// In the order of their sequence ranges.
    #[serde(with = "shared")]
    pub segments: Vec<Arc<SegmentEntry>>,
}

/// The deletes of a root.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeletesFile {
    /// The version of the format.
    pub format: u32,
    /// The version of the root that it was written for.
    pub version: u64,
    /// 16 random hexadecimal digits.
    pub salt: String,
    /// In the order of their numbers.
    deletes: Vec<Written>,
}

impl DeletesFile {
    pub(super) fn new(version: u64, salt: String, deletes: &Deletes) -> Self {
        let deletes = deletes.entries.iter().map(|entry| Written::of(entry)).collect();
        Self { format: FORMAT, version, salt, deletes }
    }

    /// Reads a file of deletes whose checksum was verified.
    pub(super) fn decode(bytes: &[u8], file: FileRef) -> Result<Deletes, FormatError> {
        let read: Self = parse(bytes)?;
        let entries = read.deletes.into_iter().map(|written| written.entry().map(Arc::new));
        let entries = entries.collect::<Result<Vec<_>, String>>().map_err(damaged)?;
        let deletes = Deletes { file: Some(file), entries };
        deletes.check().map_err(damaged)?;
        Ok(deletes)
    }
}

fn damaged(reason: impl Into<String>) -> FormatError {
    FormatError::Damaged(reason.into())
}

/// A file that has the reason to be refused before the rest of it is looked at.
#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FormatError> {
    let unreadable = |error: serde_json::Error| damaged(format!("unreadable: {error}"));
    match serde_json::from_slice::<FormatOnly>(bytes).map_err(unreadable)?.format {
        0 => Err(damaged("unreadable: format version 0")),
        1..=FORMAT => serde_json::from_slice(bytes).map_err(unreadable),
        newer => Err(FormatError::Newer(newer)),
    }
}

/// Writes a root or a node. Writing to memory cannot fail, and keys are strings.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

impl Pointer {
    /// The bytes of `manifest.json`.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let pointer = serde_json::to_string(self)?;
        let crc32c = crc32c::crc32c(pointer.as_bytes());
        Ok(format!("{{\"crc32c\":{crc32c},\"pointer\":{pointer}}}\n").into_bytes())
    }

    /// Reads `manifest.json`.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let envelope: PointerEnvelope<'_> =
            serde_json::from_slice(bytes).map_err(|error| damaged(format!("unreadable: {error}")))?;
        let pointer = envelope.pointer.get().as_bytes();
        if !is_right(envelope.crc32c, crc32c::crc32c(pointer)) {
            return Err(damaged("checksum mismatch"));
        }
        parse(pointer)
    }
}

impl RootFile {
    /// Reads a root whose checksum was verified.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let root: Self = parse(bytes)?;
        let hex = |text: &str, len: usize| text.len() == len && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !hex(&root.database_id, 32) {
            return Err(damaged("database id is not 32 hexadecimal digits"));
        }
        if root.version == 0 || root.chain_start > root.version {
            return Err(damaged("root version is out of range"));
        }
        Ok(root)
    }
}

impl MonthRef {
    /// The tenant and the month, checked.
    pub(crate) fn key(&self) -> Result<(Tenant, Month), FormatError> {
        key(&self.tenant, &self.month)
    }
}

impl LostMonth {
    pub(super) fn of(lost: &Unreachable) -> Self {
        Self {
            tenant: lost.tenant.as_str().to_owned(),
            month: lost.month.to_string(),
            file: lost.file.clone(),
            reason: lost.reason.clone(),
        }
    }

    pub(super) fn decode(self) -> Result<Unreachable, FormatError> {
        let (tenant, month) = key(&self.tenant, &self.month)?;
        Ok(Unreachable { tenant, month, file: self.file, reason: self.reason })
    }
}

impl MonthFile {
    pub(super) fn new(version: u64, salt: String, tenant: &Tenant, month: Month, node: &MonthNode) -> Self {
        let day = |(day, partition): (&Day, &Arc<Partition>)| DayEntry {
            day: day.to_string(),
            segments: partition.segments.clone(),
        };
        Self {
            format: FORMAT,
            version,
            salt,
            tenant: tenant.as_str().to_owned(),
            month: month.to_string(),
            partitions: node.partitions.iter().map(day).collect(),
        }
    }

    /// Reads a node whose checksum was verified.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        parse(bytes)
    }

    /// The node in memory; it must be the one of this tenant and month.
    pub(super) fn into_node(self, tenant: &Tenant, month: Month, file: FileRef) -> Result<MonthNode, FormatError> {
        if key(&self.tenant, &self.month)? != (tenant.clone(), month) {
            return Err(damaged(format!("holds `{}` of tenant `{}`", self.month, self.tenant)));
        }
        let mut node = MonthNode { file, partitions: Default::default() };
        for entry in self.partitions {
            let day = Day::parse(&entry.day).filter(|day| day.to_string() == entry.day);
            let Some(day) = day.filter(|&day| Month::of(day) == month) else {
                return Err(damaged(format!("`{}` is not a day of {month}", entry.day)));
            };
            if node.partitions.insert(day, Arc::new(Partition { segments: entry.segments })).is_some() {
                return Err(damaged(format!("{day} stands twice")));
            }
        }
        Ok(node)
    }
}

fn key(tenant: &str, month: &str) -> Result<(Tenant, Month), FormatError> {
    let tenant = Tenant::new(tenant).map_err(|error| damaged(error.message))?;
    let month = Month::parse(month).ok_or_else(|| damaged(format!("`{month}` is not a month")))?;
    Ok((tenant, month))
}

/// A list of entries that are shared in memory.
mod shared {
    use crate::manifest::model::SegmentEntry;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::sync::Arc;

    pub fn serialize<S: Serializer>(entries: &[Arc<SegmentEntry>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(entries.iter().map(|entry| &**entry))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Arc<SegmentEntry>>, D::Error> {
        Ok(Vec::<SegmentEntry>::deserialize(deserializer)?.into_iter().map(Arc::new).collect())
    }
}

/// `{"start": ns, "end": ns}`, both included.
pub(super) mod time_range {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use timberlog_types::TimeRange;

    #[derive(Serialize, Deserialize)]
    struct Json {
        start: i64,
        end: i64,
    }

    pub fn serialize<S: Serializer>(range: &TimeRange, serializer: S) -> Result<S::Ok, S::Error> {
        Json { start: range.start, end: range.end }.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeRange, D::Error> {
        Json::deserialize(deserializer).map(|json| TimeRange { start: json.start, end: json.end })
    }
}

/// `{"info": 12, "error": 3}`: levels without records are left out.
pub(super) mod level_counts {
    use crate::manifest::model::LevelCounts;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::collections::BTreeMap;
    use timberlog_types::Level;

    pub fn serialize<S: Serializer>(levels: &LevelCounts, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(levels.iter().map(|(level, rows)| (level.as_str(), rows)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LevelCounts, D::Error> {
        let mut levels = LevelCounts::default();
        for (name, rows) in BTreeMap::<String, u64>::deserialize(deserializer)? {
            let level = Level::ALL.into_iter().find(|level| level.as_str() == name);
            levels.add(level.ok_or_else(|| D::Error::custom(format_args!("unknown level `{name}`")))?, rows);
        }
        Ok(levels)
    }
}
