//! WAL files that somebody cut off or removed: `verify` and the start say so, `repair` ends it.

use super::*;
use std::path::{Path, PathBuf};
use timberlog_disk::Disk;
use timberlog_disk::sim::Sim;

const WAL: &str = "/data/wal";

fn options() -> Options {
    Options { background: false, wal_file_bytes: 12 << 10, ..Options::new("/data") }
}

fn opened(sim: &Sim) -> Storage {
    Storage::open(options(), sim.env(), Arc::new(Nobody), &Progress::default()).unwrap()
}

/// A killed process has left some WAL files; the newest.
fn killed() -> (Sim, PathBuf) {
    let sim = Sim::new(7);
    let storage = opened(&sim);
    for _ in 0..6 {
        storage.append(&Tenant::default(), batch(&[7; 50]), None).unwrap();
    }
    let sim = sim.recover(1);
    let names = sim.disk.list(Path::new(WAL)).unwrap().into_iter().map(|entry| entry.name);
    let newest = names.filter(|name| name.ends_with(".wal")).max().unwrap();
    (sim, Path::new(WAL).join(newest))
}

fn verified(sim: &Sim) -> Vec<String> {
    crate::verify::verify(&sim.env(), Path::new("/data"), &|_, _| {}).unwrap().damage
}

#[test]
fn what_was_done_to_the_newest_file_is_told_and_repaired() {
    for is_cut in [true, false] {
        let (sim, newest) = killed();
        assert!(verified(&sim).is_empty());
        if is_cut {
            sim.disk.open(&newest, Open::Write).unwrap().set_len(9_000).unwrap();
        } else {
            sim.disk.remove_file(&newest).unwrap();
        }
        let name = newest.file_name().unwrap().to_str().unwrap();
        let found = verified(&sim);
        assert!(found.len() == 1 && found[0].contains(name), "{found:?}");
        assert_eq!(opened(&sim).stats().damage, found);
        let repaired = Storage::repair(&options(), &sim.env()).unwrap();
        // The start and the close before have forgotten a file that is missing.
        assert_eq!(repaired.actions.is_empty(), !is_cut, "{repaired:?}");
        assert_eq!(verified(&sim), Vec::<String>::new());
        assert!(opened(&sim).stats().damage.is_empty());
    }
}
