//! The golden folder `tests/golden/wal-v1`, written once and read by every later version. It is
//! never regenerated in place: a new format gets a folder of its own.

use super::*;
use std::path::PathBuf;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/wal-v1")
}

#[test]
fn the_golden_wal_of_version_1_is_read_as_it_was_written() {
    // Opening writes to the folder: only a copy is opened.
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let options = WalOptions { threading: Threading::Stepped, ..WalOptions::new(dir.path(), ID) };
    let opened = try_open(&Env::real(), options, 0).unwrap();
    assert_eq!((opened.report.files, opened.report.damages.len(), opened.report.last_seq), (2, 0, 4));
    let rows: Vec<_> = opened.frames.iter().map(|frame| frame.body.rows()).collect();
    assert_eq!(rows, [2, 1, 1, 3]);
    let tenants: Vec<_> = opened.frames.iter().map(|frame| frame.tenant.as_str()).collect();
    assert_eq!(tenants, ["default", "team-1_(x)", "default", "default"]);
    assert!(opened.frames.iter().all(|frame| frame.commit_time == 1_767_225_600_000_000_000));
    let agent = ProducerBatch { producer: "agent/7".into(), number: 41, refused: b"1: too old".to_vec() };
    let p = ProducerBatch { producer: "p".into(), number: u64::MAX, refused: Vec::new() };
    let producers: Vec<_> = opened.frames.iter().map(|frame| frame.producer.clone()).collect();
    assert_eq!(producers, [None, Some(agent), None, Some(p)]);
    assert_eq!(opened.frames[2].body.batch().unwrap().message(0), "x".repeat(3300).as_bytes());
    let first = opened.frames[0].body.batch().unwrap();
    assert_eq!((first.message(1), first.timestamp(1)), (&b"second"[..], -4));
    assert_eq!(first.field("host").unwrap().get(1).unwrap().text, "n\u{f6}de".as_bytes());
    assert_eq!(first.field("code").unwrap().get(0).unwrap().text, b"1.50");
}

#[test]
fn the_golden_wal_of_version_1_is_whole() {
    let verified = verify(&timberlog_disk::real::RealDisk, &golden(), Some(0)).unwrap();
    assert_eq!(verified.damages, []);
    assert_eq!((verified.files, verified.frames, verified.rows, verified.torn_tail), (2, 4, 7, None));
}
