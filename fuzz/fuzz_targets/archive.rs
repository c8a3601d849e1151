//! Any bytes as an object of the archive: an error or frames, never a panic, and no more memory than
//! its limits say.

#![no_main]

use libfuzzer_sys::fuzz_target;
use timberlog_storage::archive;

const HEADER_LEN: usize = 96;

fuzz_target!(|bytes: &[u8]| {
    let _ = archive::decode([0; 16], bytes);
    // Once more with what is checked first made right: else nothing behind it is ever reached.
    let mut bytes = bytes.to_vec();
    if bytes.len() < HEADER_LEN {
        return;
    }
    let (header, body) = bytes.split_at_mut(HEADER_LEN);
    header[..16].copy_from_slice(b"\xF5TLARC\r\n\x01\0\0\0\x60\0\0\0");
    header[16..32].fill(0);
    header[64..72].copy_from_slice(&(body.len() as u64).to_le_bytes());
    header[76..80].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    let crc = crc32c::crc32c(&header[..HEADER_LEN - 4]);
    header[HEADER_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
    let _ = archive::decode([0; 16], &bytes);
});
