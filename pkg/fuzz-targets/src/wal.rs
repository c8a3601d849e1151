//! Any bytes as a WAL: the headers and frames of one or two files, and `wal.meta`. In fuzz builds
//! checksums pass.
//!
//! The first byte says what follows: bit 0 a second file from the middle on, bit 1 `wal.meta` in front,
//! the rest the number up to which everything was flushed. A file stands without what is not read: its
//! header is put at its two places, and the frames where they begin.

use crate::memory::{Folder, MemoryFile};
use std::path::Path;
use timberlog_storage::wal;

const HEADER: usize = 64;
const COPY_AT: usize = 4096;
const FRAMES_AT: usize = 8192;
const META: usize = 64;
const DATABASE: &str = "00000000000000000000000000000000";

/// See the module.
pub fn wal(input: &[u8]) {
    let Some((&flags, mut rest)) = input.split_first() else { return };
    let mut folder = Folder::default();
    if flags & 2 != 0 {
        let (meta, behind) = rest.split_at(rest.len().min(META));
        folder.0.insert("wal.meta".to_owned(), meta.to_vec());
        rest = behind;
    }
    let cut = if flags & 1 != 0 { rest.len() / 2 } else { rest.len() };
    for bytes in [&rest[..cut], &rest[cut..]].into_iter().filter(|bytes| bytes.len() >= HEADER) {
        let first = u64::from_le_bytes(bytes[32..40].try_into().expect("eight bytes"));
        folder.0.insert(format!("{first:020}.wal"), file(bytes));
    }
    let (dir, flushed) = (Path::new("wal"), u64::from(flags >> 2));
    let _ = wal::inspect(&folder, dir, None, &mut |_| Ok(()));
    let verified = wal::verify(&folder, dir, Some(flushed));
    let sealed = wal::seal(&folder, dir, DATABASE, flushed, None, 7);
    if let (Ok(verified), Ok(Some(sealed))) = (verified, sealed) {
        let mut frames = 0;
        let read = wal::read_sealed(
            MemoryFile::new(&sealed.bytes),
            DATABASE,
            (sealed.first_seq, sealed.last_seq),
            &mut |frame| {
                assert_eq!(frame.seq, sealed.first_seq + frames);
                frames += 1;
                Ok(())
            },
        );
        assert!(read.is_ok() || !verified.damages.is_empty(), "{read:?}");
    }
    let _ = wal::waiting_bytes(&folder, dir, flushed, u64::MAX);
    for bytes in folder.0.values() {
        let _ = wal::read_sealed(MemoryFile::new(bytes), DATABASE, (1, 4), &mut |_| Ok(()));
    }
}

/// A file as it stands on disk.
fn file(bytes: &[u8]) -> Vec<u8> {
    let (header, frames) = bytes.split_at(HEADER);
    let mut file = vec![0; FRAMES_AT];
    file[..HEADER].copy_from_slice(header);
    file[COPY_AT..COPY_AT + HEADER].copy_from_slice(header);
    file.extend_from_slice(frames);
    file
}
