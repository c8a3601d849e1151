//! Nodes outside of a data directory: those of a bucket have the very form of those on disk.

use super::files::{Kind, node_path};
use super::format::{self, FormatError, MonthFile};
use super::invariants;
use super::model::{FileRef, MonthNode};
use super::month::Month;
use timberlog_types::{Error, ErrorKind, Result, Seq, Tenant};

/// Makes the file of a node for the root of a version; `salt` is 16 random hexadecimal digits.
///
/// # Errors
/// `Internal` if the node breaks an invariant.
pub(crate) fn encode_month(
    version: u64,
    salt: String,
    (tenant, month): (&Tenant, Month),
    node: &MonthNode,
    flushed_seq: Seq,
) -> Result<(FileRef, Vec<u8>)> {
    invariants::check_node(tenant, node, flushed_seq)
        .map_err(|reason| Error::internal(format!("month {month} of tenant `{tenant}`: {reason}")))?;
    let file = MonthFile::new(version, salt, tenant, month, node);
    let bytes = format::encode(&file).map_err(|error| Error::internal(error.to_string()))?;
    let crc32c = crc32c::crc32c(&bytes);
    let path = node_path(Kind::Month, version, crc32c);
    Ok((FileRef { path, len: bytes.len() as u64, crc32c }, bytes))
}

/// Reads a node whose checksum was verified, and checks what a commit would have checked.
///
/// # Errors
/// `Corrupt` if it is not that of this tenant and month or breaks an invariant, `Invalid` if a newer program wrote it.
pub(crate) fn decode_month(
    bytes: &[u8],
    (tenant, month): (&Tenant, Month),
    file: &FileRef,
    flushed_seq: Seq,
) -> Result<MonthNode> {
    let node = MonthFile::decode(bytes).and_then(|node| node.into_node(tenant, month, file.clone()));
    let node = node.map_err(|error| match error {
        FormatError::Damaged(reason) => Error::corrupt(format!("`{}` {reason}", file.path)),
        FormatError::Newer(_) => Error::new(ErrorKind::Invalid, format!("`{}`: {error}", file.path)),
    })?;
    invariants::check_node(tenant, &node, flushed_seq)
        .map_err(|reason| Error::corrupt(format!("`{}` {reason}", file.path)))?;
    Ok(node)
}
