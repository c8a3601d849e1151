//! The two ends of a `.log`, before its first block and behind its last token filter: with them a
//! segment is opened and planned over without its other bytes.
//!
//! Owns cutting them out of a file; which of them is what stays with the layout.

use super::{read, read_footer, read_header_bytes};
use crate::error::SegmentError;
use std::sync::Arc;
use timberlog_disk::File;

/// The ends of a `.log`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The header: the first bytes of the file.
    pub head: Vec<u8>,
    /// The footer and the trailer: the last bytes of the file.
    pub tail: Vec<u8>,
    /// The length of the file.
    pub len: u64,
}

/// Reads the ends of a `.log`.
pub fn read_ends(file: &Arc<dyn File>) -> Result<Ends, SegmentError> {
    let len = file.len().map_err(|error| SegmentError::io("read the length", error))?;
    let head = read_header_bytes(file, len).map_err(|error| error.in_column("header"))?;
    let (trailer, _) = read_footer(file, len, super::TAIL_BYTES).map_err(|error| error.in_column("footer"))?;
    // The trailer says where the footer begins, and it was checked: it is inside of the file and within its limit.
    let tail_len = usize::try_from(len.saturating_sub(trailer.footer_offset)).unwrap_or(usize::MAX);
    let tail = read(file, len, trailer.footer_offset, tail_len)?;
    Ok(Ends { head, tail, len })
}
