//! A disk that is full: a small file system of its own on a loop device. It refuses clearly before anything is lost,
//! answers queries, goes on when there is room, and a start on it loses nothing.

use super::{Ledger, engine, poll, skip, tool, verify};
use crate::server::{Data, Server};
use std::io::Write;
use std::path::{Path, PathBuf};
use timberlog_types::ErrorKind;

/// The size of the file system; ext4 makes none that is useful below.
const DISK_BYTES: u64 = 96 << 20;
/// Small files, so that they come and go.
const FLAGS: [&str; 10] = [
    "--wal-file-bytes",
    "512KiB",
    "--flush-bytes",
    "512KiB",
    "--buffer-bytes-max",
    "2MiB",
    "--waiting-bytes-max",
    "1MiB",
    "--manifest-history",
    "1",
];

/// A file system in a file, mounted.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Result<Self, String> {
        let disk = Self { folder: tempfile::tempdir().map_err(|error| error.to_string())? };
        let image = disk.folder.path().join("image");
        let made = std::fs::File::create(&image).and_then(|file| file.set_len(DISK_BYTES));
        made.and_then(|()| std::fs::create_dir(disk.path())).map_err(|error| error.to_string())?;
        let [image, at] = [&image, &disk.path()].map(|path| path.to_string_lossy().into_owned());
        // Nothing is kept back for root, who runs this.
        tool("mkfs.ext4", &["-q", "-m", "0", "-J", "size=4", &image])?;
        tool("mount", &["-o", "loop", &image, &at])?;
        Ok(disk)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// Fills it but for so many bytes.
    fn fill(&self, left: u64) {
        let path = self.path();
        let mut filler = std::fs::OpenOptions::new().create(true).append(true).open(filler(&path)).expect("a filler");
        for len in [1 << 20, 64 << 10, 4 << 10, 512] {
            let chunk = vec![7; len];
            while free_bytes(&path) >= left + len as u64 {
                if filler.write_all(&chunk).and_then(|()| filler.sync_data()).is_err() {
                    break;
                }
            }
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(filler(&self.path())).expect("a filler");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let at = self.path().to_string_lossy().into_owned();
        if let Err(error) = tool("umount", &[&at]).or_else(|_| tool("umount", &["--lazy", &at])) {
            eprintln!("{error}");
        }
    }
}

fn filler(mounted: &Path) -> PathBuf {
    mounted.join("filler")
}

fn free_bytes(path: &Path) -> u64 {
    timberlog_db::Env::real().disk.free_bytes(path).expect("a file system")
}

/// Sends until it is refused, and looks at the refusal.
fn load_until_refused(server: &Server, ledger: &Ledger) -> String {
    let error = poll("it is refused", || {
        let error = (0..20).find_map(|_| ledger.send(server).err())?;
        // A buffer that is full for a moment is another matter.
        (!matches!(error.kind, ErrorKind::Overloaded { .. })).then_some(error)
    });
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(error.message.contains("the server answered 503"), "{error}");
    error.message
}

fn until_taken(server: &Server, ledger: &Ledger) {
    poll("it takes records again", || ledger.send(server).ok());
}

fn check_full_disk(floor: &str, left: u64, refusal: &[&str]) {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(why) => return skip(&format!("no small disk here ({why}); `RLIMIT_FSIZE` is tested instead")),
    };
    let data = Data::within(&disk.path());
    let flags = [&FLAGS[..], &["--disk-free-min", floor]].concat();
    let ledger = Ledger::default();
    let server = Server::start(&data, &flags);
    for _ in 0..20 {
        ledger.send(&server).expect("there is room");
    }
    for _ in 0..2 {
        disk.fill(left);
        let said = load_until_refused(&server, &ledger);
        assert!(refusal.iter().any(|expected| said.contains(expected)), "{said}");
        // Reading goes on.
        ledger.check(&server);
        server.client().get("/ready").expect("a full disk is no reason to be stopped");
        disk.make_room();
        until_taken(&server, &ledger);
        for _ in 0..20 {
            poll("it takes records", || ledger.send(&server).ok());
        }
    }

    // Killed, and started where there is not a byte left.
    disk.fill(left);
    load_until_refused(&server, &ledger);
    server.kill();
    disk.fill(0);
    let server = match Server::try_start(&data, &flags) {
        Ok(server) => {
            ledger.check(&server);
            load_until_refused(&server, &ledger);
            disk.make_room();
            server
        }
        Err(said) => {
            assert!(said.contains("No space left on device"), "{said}");
            disk.make_room();
            Server::start(&data, &flags)
        }
    };
    until_taken(&server, &ledger);
    ledger.check(&server);
    poll("all is flushed", || (engine(&server)["flush_error"].is_null()).then_some(()));
    assert!(server.stop().success());
    verify(&data.path());
    let server = Server::start(&data, &flags);
    ledger.check(&server);
}

#[test]
fn a_disk_that_fills_up_to_the_floor_refuses_and_loses_nothing() {
    check_full_disk("16MiB", (16 << 20) + (256 << 10), &["bytes free: no new records are taken"]);
}

#[test]
fn a_disk_without_a_byte_left_refuses_and_loses_nothing() {
    check_full_disk("0B", 0, &["No space left on device"]);
}
