//! The disk alone, as a WAL uses it: what no database on this machine can be faster than.

use crate::figures::Seen;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// What is written and synced at a time, so many times a second: about what the mixed load does on two cores.
const WRITE_BYTES: usize = 128 << 10;
const WRITES_PER_SECOND: u32 = 300;
/// The file is as large as the WAL's, and written again and again.
const FILE_BYTES: u64 = 64 << 20;

/// For people.
pub const WHAT: &str = "128 KiB written and fdatasynced 300 times a second, nothing else";

/// Writes and syncs at a fixed rate. A latency counts from when the write was due, as that of an append does.
pub fn alone(folder: &Path, time: Duration) -> Seen {
    let path = folder.join("disk");
    let file = File::create(&path).expect("a file");
    // Not zeros, which some disks do not write.
    let noise = |place: u64| place.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let bytes: Vec<u8> = (0..WRITE_BYTES as u64 / 8).flat_map(noise).collect();
    for place in 0..FILE_BYTES / WRITE_BYTES as u64 {
        file.write_all_at(&bytes, place * WRITE_BYTES as u64).expect("room on the disk");
    }
    file.sync_all().expect("fsync");
    let (started, mut seen) = (Instant::now(), Seen::default());
    for number in 0_u32.. {
        let due = Duration::from_secs(1) * number / WRITES_PER_SECOND;
        if due >= time {
            break;
        }
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        let place = u64::from(number) * WRITE_BYTES as u64 % FILE_BYTES;
        file.write_all_at(&bytes, place).expect("write");
        file.sync_data().expect("fdatasync");
        let now = started.elapsed();
        seen.requests.push((now.as_secs_f32(), (now - due).as_secs_f32() * 1e3));
    }
    let _ = std::fs::remove_file(path);
    seen
}
