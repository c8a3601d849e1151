//! Tests of the simulator itself: each rule of its header, shown by some seed.

use super::{Fault, Op, Sim, SimDisk};
use crate::{Disk, Open, atomic};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

const SEEDS: u64 = 200;

fn machine() -> (Sim, SimDisk) {
    let sim = Sim::new(1);
    let disk = sim.disk.clone();
    disk.create_dir_all(Path::new("/db")).unwrap();
    (sim, disk)
}

fn read(disk: &dyn Disk, path: &str) -> Option<Vec<u8>> {
    match disk.open(Path::new(path), Open::Read) {
        Ok(file) => Some(file.read_all(1 << 20).unwrap()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            None
        }
    }
}

/// What a file can be after a crash, over many seeds.
fn outcomes(sim: &Sim, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    (0..SEEDS).map(|seed| read(&sim.recover(seed).disk, path)).collect()
}

#[test]
fn data_without_a_sync_is_lost_under_one_seed_and_kept_under_another() {
    let (sim, disk) = machine();
    let file = disk.open(Path::new("/db/a"), Open::CreateNew).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/db")).unwrap();
    file.write_all_at(b"hello", 0).unwrap();
    let outcomes = outcomes(&sim, "/db/a");
    assert!(outcomes.contains(&Some(b"".to_vec())));
    assert!(outcomes.contains(&Some(b"hello".to_vec())));
    assert!(outcomes.contains(&Some(vec![0; 5])), "the length may be there without the data");
    assert!(!outcomes.contains(&None), "its name was synced");
}

#[test]
fn synced_data_with_a_synced_name_is_always_there() {
    let (sim, disk) = machine();
    let file = disk.open(Path::new("/db/a"), Open::CreateNew).unwrap();
    file.write_all_at(b"hello", 0).unwrap();
    file.sync_data().unwrap();
    let unnamed = outcomes(&sim, "/db/a");
    assert_eq!(unnamed, BTreeSet::from([None, Some(b"hello".to_vec())]), "its name may be lost, its data not");
}

#[test]
fn a_synced_name_stays_whatever_the_seed() {
    let (sim, disk) = machine();
    atomic::write(&disk, Path::new("/db/a"), b"old").unwrap();
    assert_eq!(outcomes(&sim, "/db/a"), BTreeSet::from([Some(b"old".to_vec())]));
}

#[test]
fn a_large_write_is_torn_at_sectors_and_nowhere_else() {
    let (sim, disk) = machine();
    atomic::write(&disk, Path::new("/db/a"), &[1; 8192]).unwrap();
    let file = disk.open(Path::new("/db/a"), Open::Write).unwrap();
    file.write_all_at(&[2; 6000], 1000).unwrap();
    let mut torn = 0;
    for content in outcomes(&sim, "/db/a").into_iter().flatten() {
        assert_eq!(content.len(), 8192);
        assert!(content[..1000].iter().chain(&content[7000..]).all(|&b| b == 1));
        for place in (1001..7000).filter(|&place| content[place] != content[place - 1]) {
            assert_eq!(place % 512, 0, "torn within a sector");
            torn += 1;
        }
    }
    assert!(torn > 0);
}

#[test]
fn later_writes_may_survive_earlier_ones() {
    let (sim, disk) = machine();
    atomic::write(&disk, Path::new("/db/a"), b"..").unwrap();
    let file = disk.open(Path::new("/db/a"), Open::Write).unwrap();
    file.write_all_at(b"1", 0).unwrap();
    file.write_all_at(b"2", 1).unwrap();
    let expected = [b"..", b"1.", b".2", b"12"].map(|content| Some(content.to_vec()));
    assert_eq!(outcomes(&sim, "/db/a"), BTreeSet::from(expected));
}

#[test]
fn a_rename_without_a_folder_sync_may_be_lost_and_is_atomic() {
    let (sim, disk) = machine();
    atomic::write(&disk, Path::new("/db/a"), b"old").unwrap();
    atomic::write_new(&disk, Path::new("/db/a.tmp"), b"new").unwrap();
    disk.rename(Path::new("/db/a.tmp"), Path::new("/db/a")).unwrap();
    assert_eq!(read(&disk, "/db/a.tmp"), None);
    assert_eq!(outcomes(&sim, "/db/a"), BTreeSet::from([Some(b"old".to_vec()), Some(b"new".to_vec())]));
}

#[test]
fn an_atomic_write_leaves_the_old_or_the_new_at_every_step() {
    for step in 1.. {
        let (sim, disk) = machine();
        atomic::write(&disk, Path::new("/db/a"), b"old").unwrap();
        disk.crash_at(disk.steps() + step);
        let done = atomic::write(&disk, Path::new("/db/a"), b"new");
        let (old, new) = (Some(b"old".to_vec()), Some(b"new".to_vec()));
        if done.is_ok() {
            assert_eq!(outcomes(&sim, "/db/a"), BTreeSet::from([new]));
            return;
        }
        assert!(outcomes(&sim, "/db/a").is_subset(&BTreeSet::from([old, new])));
    }
}

#[test]
fn a_removal_without_a_folder_sync_may_be_undone() {
    let (sim, disk) = machine();
    atomic::write(&disk, Path::new("/db/a"), b"data").unwrap();
    disk.remove_file(Path::new("/db/a")).unwrap();
    assert_eq!(outcomes(&sim, "/db/a"), BTreeSet::from([None, Some(b"data".to_vec())]));
}

#[test]
fn a_synced_removal_stays() {
    let (sim, disk) = machine();
    atomic::write(&disk, Path::new("/db/a"), b"data").unwrap();
    disk.remove_file(Path::new("/db/a")).unwrap();
    disk.sync_dir(Path::new("/db")).unwrap();
    assert_eq!(outcomes(&sim, "/db/a"), BTreeSet::from([None]));
}

#[test]
fn what_a_failed_sync_left_behind_is_not_saved_by_the_next_one() {
    let (sim, disk) = machine();
    atomic::write(&disk, Path::new("/db/a"), b"..").unwrap();
    let file = disk.open(Path::new("/db/a"), Open::Write).unwrap();
    file.write_all_at(b"1", 0).unwrap();
    disk.inject(Op::Sync, "/db/a", 0, Fault::Io);
    assert!(file.sync_data().is_err());
    assert_eq!(read(&disk, "/db/a").unwrap(), b"1.", "it reads back all the same");
    file.write_all_at(b"2", 1).unwrap();
    file.sync_data().unwrap();
    assert_eq!(outcomes(&sim, "/db/a"), BTreeSet::from([Some(b".2".to_vec()), Some(b"12".to_vec())]));
}

#[test]
fn a_failed_folder_sync_is_not_made_good_by_the_next_one() {
    let (sim, disk) = machine();
    atomic::write_new(&disk, Path::new("/db/a"), b"data").unwrap();
    disk.inject(Op::SyncDir, "/db", 0, Fault::Io);
    assert!(disk.sync_dir(Path::new("/db")).is_err());
    disk.sync_dir(Path::new("/db")).unwrap();
    assert_eq!(outcomes(&sim, "/db/a"), BTreeSet::from([None, Some(b"data".to_vec())]));
}

#[test]
fn a_change_of_length_is_kept_or_lost() {
    let (sim, disk) = machine();
    atomic::write(&disk, Path::new("/db/a"), b"data").unwrap();
    let file = disk.open(Path::new("/db/a"), Open::Write).unwrap();
    file.set_len(2).unwrap();
    assert_eq!(outcomes(&sim, "/db/a"), BTreeSet::from([Some(b"da".to_vec()), Some(b"data".to_vec())]));
}

#[test]
fn after_a_crash_every_operation_fails_and_old_handles_stay_dead() {
    let (sim, disk) = machine();
    let file = disk.open(Path::new("/db/a"), Open::CreateNew).unwrap();
    let _lock = disk.lock(Path::new("/db/LOCK")).unwrap();
    assert_eq!(disk.lock(Path::new("/db/LOCK")).err().map(|error| error.kind()), Some(ErrorKind::WouldBlock));
    disk.crash_at(disk.steps() + 1);
    assert!(file.write_at(b"x", 0).is_err());
    assert!(disk.is_crashed());
    assert!(file.sync_data().is_err() && file.read_at(&mut [0], 0).is_err() && disk.list(Path::new("/db")).is_err());
    let after = sim.recover(7);
    assert!(after.disk.lock(Path::new("/db/LOCK")).is_ok(), "a crash releases locks");
    assert!(file.write_at(b"x", 0).is_err());
}

#[test]
fn a_full_disk_takes_what_fits_and_then_nothing() {
    let (_, disk) = machine();
    disk.set_capacity(Some(10));
    let file = disk.open(Path::new("/db/a"), Open::CreateNew).unwrap();
    assert_eq!(file.write_at(&[1; 16], 0).unwrap(), 10);
    assert_eq!(file.write_at(&[1; 6], 10).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.write_at(&[2; 6], 0).unwrap(), 6, "overwriting needs no room");
    assert_eq!(file.allocate(11).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.free_bytes(Path::new("/db")).unwrap(), 0);
}

#[test]
fn faults_strike_the_operation_that_was_named() {
    let (_, disk) = machine();
    disk.inject(Op::Write, "/db/b", 1, Fault::NoSpace);
    disk.inject(Op::Read, "/db/a", 0, Fault::Io);
    let a = disk.open(Path::new("/db/a"), Open::CreateNew).unwrap();
    let b = disk.open(Path::new("/db/b"), Open::CreateNew).unwrap();
    a.write_all_at(b"1", 0).unwrap();
    b.write_all_at(b"1", 0).unwrap();
    assert_eq!(b.write_at(b"2", 1).unwrap_err().kind(), ErrorKind::StorageFull);
    b.write_all_at(b"2", 1).unwrap();
    assert_eq!(a.read_at(&mut [0], 0).unwrap_err().raw_os_error(), Some(5));
    assert!(disk.flip_bit(Path::new("/db/a"), 1));
    assert_eq!(read(&disk, "/db/a").unwrap(), b"3");
}

#[test]
fn what_strikes_is_counted_and_who_looks_on_uses_nothing_up() {
    let (sim, disk) = machine();
    let file = disk.open(Path::new("/db/a"), Open::CreateNew).unwrap();
    file.write_all_at(b"1", 0).unwrap();
    disk.inject(Op::Read, "/db/a", 0, Fault::Io);
    disk.set_undisturbed(true);
    assert_eq!(read(&disk, "/db/a").unwrap(), b"1");
    disk.set_undisturbed(false);
    assert_eq!(disk.happened().values().sum::<u64>(), 0);
    assert!(file.read_at(&mut [0], 0).is_err());
    assert_eq!((disk.happened()["reads that failed"], disk.happened()["EIO"]), (1, 1));
    let lost = (0..SEEDS).filter(|&seed| sim.recover(seed).disk.happened().contains_key("new names lost")).count();
    let gone = (0..SEEDS).filter(|&seed| read(&sim.recover(seed).disk, "/db/a").is_none()).count();
    assert_eq!(lost, gone);
}

#[test]
fn short_reads_and_writes_still_move_every_byte() {
    let (_, disk) = machine();
    disk.set_short_io(90);
    let bytes: Vec<u8> = (0..=255).collect();
    atomic::write(&disk, Path::new("/db/a"), &bytes).unwrap();
    assert_eq!(read(&disk, "/db/a").unwrap(), bytes);
    assert!(disk.steps() > 6, "it took several writes");
}

#[test]
fn the_same_seeds_give_the_same_machine() {
    let run = |seed| {
        let (sim, disk) = machine();
        disk.set_short_io(50);
        let file = disk.open(Path::new("/db/a"), Open::CreateNew).unwrap();
        file.write_all_at(&[7; 100_000], 0).unwrap();
        let env = sim.env();
        (read(&sim.recover(seed).disk, "/db/a"), env.random.next_u64(), env.clock.now_ns())
    };
    assert_eq!(run(3), run(3));
    assert!((0..50).any(|seed| run(seed).0 != run(3).0));
}

#[test]
fn a_new_name_is_taken_once_on_both_disks() {
    let folder = std::env::temp_dir().join(format!("timberlog-rename-new-{}", std::process::id()));
    let (_sim, simulated) = machine();
    let disks: [(&dyn Disk, &Path); 2] = [(&simulated, Path::new("/db")), (&crate::real::RealDisk, &folder)];
    for (disk, dir) in disks {
        disk.create_dir_all(dir).unwrap();
        let (first, second, name) = (dir.join("first"), dir.join("second"), dir.join("name"));
        atomic::write_new(disk, &first, b"first").unwrap();
        atomic::write_new(disk, &second, b"second").unwrap();
        disk.rename_new(&first, &name).unwrap();
        assert_eq!(disk.rename_new(&second, &name).unwrap_err().kind(), ErrorKind::AlreadyExists);
        let content = |path: &Path| disk.open(path, Open::Read).unwrap().read_all(100).unwrap();
        assert_eq!((content(&name), content(&second)), (b"first".to_vec(), b"second".to_vec()));
        assert!(!disk.exists(&first).unwrap());
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
