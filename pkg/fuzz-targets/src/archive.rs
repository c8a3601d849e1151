//! Any bytes as an object of the archive: an error or frames, never a panic, and no more memory than
//! its limits say; and as the frames in one.

use crate::memory::MemoryFile;
use timberlog_storage::wal::Run;
use timberlog_storage::{archive, wal};

const HEADER_LEN: usize = 96;

/// See the module.
pub fn archive(input: &[u8]) {
    let _ = archive::decode([0; 16], input);
    if let Some(run) = run_of(input) {
        frames(&run.bytes, run.first_seq, run.last_seq);
    }
    // The body as it stands, as if it had been decompressed.
    if let Some(body) = input.get(HEADER_LEN..) {
        frames(body, 1, 3);
    }
}

/// What is in an object, once what is checked first is made right: else nothing behind it is ever reached.
pub(crate) fn run_of(input: &[u8]) -> Option<Run> {
    let mut bytes = input.to_vec();
    let (header, body) = bytes.split_at_mut_checked(HEADER_LEN)?;
    header[..16].copy_from_slice(b"\xF5TLARC\r\n\x01\0\0\0\x60\0\0\0");
    header[16..32].fill(0);
    header[64..72].copy_from_slice(&(body.len() as u64).to_le_bytes());
    header[76..80].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    let crc = crc32c::crc32c(&header[..HEADER_LEN - 4]);
    header[HEADER_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
    archive::decode([0; 16], &bytes).ok()
}

/// Reads frames one behind the other; whether they are all there, and nothing else is.
pub(crate) fn frames(bytes: &[u8], first: u64, last: u64) -> bool {
    let mut expected = first;
    let read = wal::read_run(MemoryFile::new(bytes), (first, last), &mut |frame| {
        assert_eq!(frame.seq, expected);
        expected = expected.wrapping_add(1);
        Ok(())
    });
    read.is_ok()
}
