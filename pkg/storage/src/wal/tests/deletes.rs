//! Frames of deletes: numbered, replayed and sealed like batches, and nothing else.

use super::*;
use crate::deletes::{Logged, What};

fn delete(id: &str) -> What {
    let selector = "{service=\"wéb\"} |= `x`".to_owned();
    What::Delete { id: id.into(), selector, start: i64::MIN, end: 7, created_ns: -1 }
}

fn append(opened: &Opened, what: What) -> Seq {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let done = Box::new(move |result: Result<Seq>| sender.send(result).unwrap());
    let body = Body::Delete(Arc::new(Logged::new(what, None).unwrap()));
    opened.wal.append(Append { tenant: Tenant::new("a").unwrap(), body, producer: None, done }).unwrap();
    opened.wal.step();
    receiver.recv().unwrap().unwrap()
}

struct Ignored;

impl Publish for Ignored {
    fn publish(&self, _: Vec<Frame>) {}
    fn synced(&self, _: Seq) {}
}

fn open(env: &Env, flushed_seq: Seq) -> Opened {
    let mut frames = Vec::new();
    let mut keep = |frame| {
        frames.push(frame);
        Ok(())
    };
    let (wal, report) = Wal::open(env, options(), flushed_seq, Arc::new(Ignored), &mut keep, &|_, _| {}).unwrap();
    Opened { wal, log: Arc::default(), report, frames }
}

fn whats(frames: &[Frame]) -> Vec<(Seq, Option<What>)> {
    let what = |body: &Body| match body {
        Body::Batch(_) => None,
        Body::Delete(logged) => Some(logged.what().clone()),
    };
    frames.iter().map(|frame| (frame.seq, what(&frame.body))).collect()
}

#[test]
fn deletes_are_replayed_between_the_batches() {
    let sim = Sim::new(5);
    let env = sim.env();
    let opened = open(&env, 0);
    let cancel = What::Cancel { id: "1".into() };
    opened.queue("a").unwrap();
    opened.wal.step();
    assert_eq!((append(&opened, delete("1")), append(&opened, cancel.clone())), (2, 3));
    opened.queue("b").unwrap();
    opened.wal.step();
    drop(opened);
    let expected = vec![(1, None), (2, Some(delete("1"))), (3, Some(cancel)), (4, None)];
    let opened = open(&env, 0);
    assert_eq!(whats(&opened.frames), expected);
    assert_eq!((opened.report.frames, opened.report.rows, &opened.report.damages[..]), (4, 2, &[][..]));
    assert!(opened.frames[1].tenant.as_str() == "a" && opened.frames[1].producer.is_none());
    let mut seen = Vec::new();
    inspect(&sim.disk, Path::new(DIR), Some(0), &mut |inspected| {
        seen.extend(match inspected {
            Inspected::Frame(frame) => Some((frame.is_delete, frame.rows)),
            _ => None,
        });
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, [(false, 1), (true, 0), (true, 0), (false, 1)]);
    let sealed = seal(&sim.disk, Path::new(DIR), ID, 1, None, 9).unwrap().unwrap();
    let path = Path::new("/sealed");
    timberlog_disk::atomic::write_new(&sim.disk, path, &sealed.bytes).unwrap();
    let mut frames = Vec::new();
    read_sealed(sim.disk.open(path, Open::Read).unwrap(), ID, (2, 4), &mut |frame| {
        frames.push(frame);
        Ok(())
    })
    .unwrap();
    assert_eq!(whats(&frames), expected[1..]);
}

/// A payload whose checksum is right and that says nothing known is damage, and never passed over.
#[test]
fn a_payload_that_is_no_delete_is_refused() {
    for payload in ["", "{}", "[]", "{\"op\":\"keep\",\"id\":\"1\"}", "{\"op\":\"delete\",\"id\":\"1\"}"] {
        assert_eq!(Logged::decode(payload.as_bytes()).unwrap_err().kind, ErrorKind::Corrupt, "{payload}");
    }
    let long = format!("{{\"op\":\"cancel\",\"id\":\"{}\"}}", "x".repeat(200_000));
    assert!(Logged::decode(long.as_bytes()).is_err());
    let written = Logged::new(delete("1"), None).unwrap();
    assert_eq!(Logged::decode(written.as_bytes()).unwrap().what(), &delete("1"));
}

/// A kind above 2 is of a newer program.
#[test]
fn a_frame_of_another_kind_is_refused() {
    let sim = Sim::new(6);
    let env = sim.env();
    let opened = open(&env, 0);
    append(&opened, delete("1"));
    drop(opened);
    let (path, _) =
        sim.disk.files().into_iter().find(|(path, _)| path.extension().is_some_and(|e| e == "wal")).unwrap();
    let file = sim.disk.open(&path, Open::Write).unwrap();
    let at = format::FRAMES_AT;
    let mut head = vec![0; 48 + 9 + 1];
    file.read_exact_at(&mut head, at).unwrap();
    let mut salt = [0; 8];
    file.read_exact_at(&mut salt, 40).unwrap();
    assert_eq!(head[9], 2);
    head[9] = 3;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&salt), &head[8..]);
    head[4..8].copy_from_slice(&crc.to_le_bytes());
    file.write_all_at(&head, at).unwrap();
    file.sync_data().unwrap();
    let error = verify(&sim.disk, Path::new(DIR), Some(0)).unwrap_err();
    assert!(error.kind == ErrorKind::Invalid && error.message.contains("kind 3"), "{error}");
}

/// The golden folder of a WAL with deletes, written once and read by every later version.
#[test]
fn the_golden_wal_with_deletes_is_read_as_it_was_written() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/wal-v1-deletes");
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(&golden).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let options = WalOptions { threading: Threading::Stepped, ..WalOptions::new(dir.path(), ID) };
    let opened = try_open(&Env::real(), options, 0).unwrap();
    assert_eq!((opened.report.damages.len(), opened.report.last_seq), (0, 4));
    let cancel = What::Cancel { id: "1".into() };
    assert_eq!(whats(&opened.frames), [(1, None), (2, Some(delete("1"))), (3, Some(cancel)), (4, None)]);
}
