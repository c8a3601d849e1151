//! The producers file, version 1.

use super::{Producers};
use timberlog_types::{Result, Seq};

/// The version that is written, and the newest one that is read.
pub const PRODUCERS_VERSION: u16 = 1;
/// The longest file that is read.
pub const PRODUCERS_FILE_BYTES_MAX: u64 = 64 << 20;

impl<W> Producers<W> {
    /// The bytes of the file that a root with this `flushed_seq` names: batches behind it are left
    /// out, replay brings them back.
    pub fn encode(&self, flushed_seq: Seq) -> Vec<u8> {
        let _ = flushed_seq;
        Vec::new()
    }

    /// Reads the file.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are damaged, `Invalid` if a newer version wrote them.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let _ = bytes;
        Ok(Self::default())
    }
}
