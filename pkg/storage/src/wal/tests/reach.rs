//! Files that are cut off or removed by somebody: noticed, unlike what a crash leaves.

use super::*;

const META: &str = meta::META_NAME;

/// Three files, `wal.meta` the last; how many frames they have. The process was killed.
fn three_files() -> (Sim, Vec<(Seq, String)>, Seq) {
    let sim = Sim::new(3);
    let opened = open(&sim, 0);
    let filler = "x".repeat(1500);
    let mut last = 0;
    while wal_files(&sim).len() < 3 {
        last = opened.append(&filler).unwrap();
    }
    let files = wal_files(&sim);
    let sim = sim.recover(0);
    drop(opened);
    (sim, files, last)
}

fn wal_files(sim: &Sim) -> Vec<(Seq, String)> {
    let names = files(sim).into_iter().filter_map(|name| Some((name.strip_suffix(".wal")?.parse().ok()?, name)));
    names.collect()
}

fn remove(sim: &Sim, name: &str) {
    sim.disk.remove_file(&Path::new(DIR).join(name)).unwrap();
    sim.disk.sync_dir(Path::new(DIR)).unwrap();
}

fn cut(sim: &Sim, name: &str, len: u64) {
    let file = sim.disk.open(&Path::new(DIR).join(name), Open::Write).unwrap();
    file.set_len(len).unwrap();
    file.sync_data().unwrap();
}

/// The damage that a start reports; `verify` reports the same before it.
fn damages(sim: &Sim, flushed_seq: Seq) -> Vec<Damage> {
    let verified = verify(&sim.disk, Path::new(DIR), Some(flushed_seq)).unwrap();
    let opened = open(sim, flushed_seq);
    let mut found = verified.damages;
    let key = |damage: &Damage| (damage.file.clone(), damage.offset);
    found.sort_by_key(key);
    let mut reported = opened.report.damages.clone();
    reported.sort_by_key(key);
    assert_eq!(found, reported);
    reported
}

#[test]
fn what_is_whole_is_not_reported() {
    let (sim, _, last) = three_files();
    for flushed in [0, last] {
        assert_eq!(damages(&sim, flushed), []);
    }
}

#[test]
fn a_file_that_is_cut_off_is_reported_wherever_that_is() {
    for index in 0..3 {
        for len in [0, 64, 4096, 8192, 8200, 9000, 12_287] {
            let (sim, files, _) = three_files();
            let name = &files[index].1;
            cut(&sim, name, len);
            let found = damages(&sim, 0);
            assert!(found.iter().any(|damage| damage.file == *name), "{name} cut to {len}: {found:?}");
            if index < 2 && len < 9000 {
                assert!(found.iter().any(|damage| damage.lost.is_some()), "{name} cut to {len}: {found:?}");
            }
        }
    }
    // Also where everything is flushed: whether the newest held more, nobody knows.
    let (sim, files, last) = three_files();
    cut(&sim, &files[2].1, 8200);
    assert!(damages(&sim, last).iter().any(|damage| damage.what.contains("cut off")));
}

#[test]
fn a_file_cut_off_is_set_aside_when_it_is_flushed() {
    let (sim, files, last) = three_files();
    cut(&sim, &files[2].1, 12_000);
    let opened = open(&sim, 0);
    assert_eq!((opened.report.damages.len(), opened.report.last_seq), (1, last));
    assert_eq!(opened.append("next"), Ok(last + 1));
    opened.wal.truncate(last).unwrap();
    assert!(super::files(&sim).contains(&format!("{}.damaged", files[2].1)));
    drop(opened);
    assert_eq!(open(&sim, last).report.damages, []);
}

#[test]
fn a_header_that_says_no_length_is_read_as_before() {
    let sample = sample();
    let name = "00000000000000000001.wal";
    let (mut bytes, bounds) = (read(&sample.disk, name), bounds(&sample));
    for at in [0, format::HEADER_COPY_AT as usize] {
        bytes[at + 56..at + 60].fill(0);
        let crc = crc32c::crc32c(&bytes[at..at + 60]);
        bytes[at + 60..at + 64].copy_from_slice(&crc.to_le_bytes());
    }
    for (len, whole) in [(bytes.len(), 7), (bounds[7], 7), (bounds[3] + 10, 3)] {
        let opened = open(&machine(&[(name, &bytes[..len])]), 0);
        assert_eq!((opened.replayed(), opened.report.damages), (letters(whole), vec![]), "{len} bytes");
    }
}

#[test]
fn a_file_that_is_removed_is_reported_whichever_it_is() {
    for index in 0..3 {
        let (sim, files, _) = three_files();
        let (first, name) = &files[index];
        remove(&sim, name);
        let found = damages(&sim, 0);
        assert_eq!(found.len(), 1, "{found:?}");
        let lost = files.get(index + 1).map(|(next, _)| (*first, next - 1));
        assert_eq!(found[0].lost, lost, "{found:?}");
        // The log goes on, and the next file is the newest then.
        let opened = open(&sim, 0);
        let next = opened.report.last_seq + 1;
        assert_eq!(opened.append("next"), Ok(next));
        drop(opened);
        let found = open(&sim, 0).report.damages;
        assert_eq!(found.len(), usize::from(lost.is_some()), "{found:?}");
    }
    // All of them.
    let (sim, files, _) = three_files();
    files.iter().for_each(|(_, name)| remove(&sim, name));
    let found = damages(&sim, 0);
    assert_eq!((found[0].file.as_str(), found[0].lost), (files[2].1.as_str(), Some((1, files[2].0 - 1))));
    assert!(found[0].to_string().contains("missing"), "{}", found[0]);
}

#[test]
fn what_is_missing_after_a_clean_close_is_named() {
    let (sim, files, last) = three_files();
    open(&sim, 0).wal.close().unwrap();
    assert_eq!(damages(&sim, 0), []);
    let newest = files[2].0;
    remove(&sim, &files[2].1);
    let sim = sim.recover(1);
    assert_eq!(damages(&sim, 0).iter().map(|damage| damage.lost).collect::<Vec<_>>(), [Some((newest, last))]);
    // Nothing is lost of what is in segments.
    let sim = sim.recover(1);
    assert_eq!(open(&sim, last).report.damages, []);
}

#[test]
fn without_its_meta_file_the_wal_is_read_and_knows_no_more_than_its_files() {
    let (sim, files, last) = three_files();
    remove(&sim, META);
    remove(&sim, &files[2].1);
    assert_eq!(damages(&sim, 0), []);
    assert_eq!(open(&sim, 0).report.last_seq, files[2].0 - 1);
    assert!(last >= files[2].0);
}

/// The writer has retired a file and failed to make the next one: the newest is not trimmed.
#[test]
fn trimming_leaves_the_newest_file_also_between_two() {
    let sim = Sim::new(1);
    let opened = open(&sim, 0);
    let filler = "x".repeat(1500);
    assert_eq!((opened.append(&filler), opened.append(&filler)), (Ok(1), Ok(2)));
    sim.disk.set_capacity(Some(0));
    assert!(opened.append(&filler).is_err());
    opened.wal.truncate(2).unwrap();
    assert_eq!(wal_files(&sim).len(), 1);
    assert_eq!(damages(&sim.recover(1), 2), []);
}
