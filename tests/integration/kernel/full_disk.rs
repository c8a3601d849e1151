//! A disk that is full: a small file system of its own on a loop device, or in memory in a user namespace where there are no
//! rights to mount one. It refuses clearly before anything is lost, answers queries, goes on when there is room, and a start on
//! it loses nothing.

use super::{Ledger, engine, poll, skip, tool, verify};
use crate::server::{Data, Server};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
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

/// Set where a test runs in a namespace of its own.
const NAMESPACE: &str = "TIMBERLOG_TEST_NAMESPACE";

/// A small file system, mounted.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let [image, at] = [folder.path().join("image"), mounted(&folder)];
        std::fs::create_dir(&at).map_err(|error| error.to_string())?;
        let at = at.to_string_lossy();
        if std::env::var_os(NAMESPACE).is_some() {
            tool("mount", &["-t", "tmpfs", "-o", &format!("size={DISK_BYTES}"), "none", &at])?;
            return Ok(Self { folder });
        }
        let made = std::fs::File::create(&image).and_then(|file| file.set_len(DISK_BYTES));
        made.map_err(|error| error.to_string())?;
        let image = image.to_string_lossy();
        // Nothing is kept back for root, who runs this.
        tool("mkfs.ext4", &["-q", "-m", "0", "-J", "size=4", &image])?;
        tool("mount", &["-o", "loop", &image, &at])?;
        Ok(Self { folder })
    }

    fn path(&self) -> PathBuf {
        mounted(&self.folder)
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

fn mounted(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("mounted")
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

/// Runs a test of this file in a user namespace, where it may mount a file system in memory.
///
/// # Errors
/// There can be none.
fn in_namespace(test: &str) -> Result<(), String> {
    const UNSHARE: [&str; 2] = ["--map-root-user", "--mount"];
    tool("unshare", &[&UNSHARE[..], &["true"]].concat())?;
    let path = format!("{}::{test}", module_path!().split_once("::").map_or("", |(_, path)| path));
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("unshare");
    command.args(UNSHARE).arg(this).args(["--exact", &path]).env(NAMESPACE, "1");
    let ran = command.output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    Ok(())
}

fn check_full_disk(test: &str, floor: &str, left: u64, refusal: &[&str]) {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(why) if std::env::var_os(NAMESPACE).is_some() => panic!("{why}"),
        Err(why) => match in_namespace(test) {
            Ok(()) => return,
            Err(nor) => return skip(&format!("no small disk here ({why}; {nor}); `RLIMIT_FSIZE` is tested instead")),
        },
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
    let test = "a_disk_that_fills_up_to_the_floor_refuses_and_loses_nothing";
    check_full_disk(test, "16MiB", (16 << 20) + (256 << 10), &["bytes free: no new records are taken"]);
}

#[test]
fn a_disk_without_a_byte_left_refuses_and_loses_nothing() {
    check_full_disk("a_disk_without_a_byte_left_refuses_and_loses_nothing", "0B", 0, &["No space left on device"]);
}
