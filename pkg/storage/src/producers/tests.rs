use super::*;
use timberlog_types::{ErrorKind, Seq, Tenant};

fn batch(producer: &str, number: u64) -> ProducerBatch {
    ProducerBatch::new(producer, number).unwrap()
}

fn stored(seq: Seq) -> Stored {
    Stored { seq, commit_time: 1000 + seq as i64, accepted: 3, refused: b"1 refused".to_vec() }
}

fn tenant() -> Tenant {
    Tenant::default()
}

fn store(producers: &Producers<u32>, producer: &str, number: u64, seq: Seq) -> Vec<u32> {
    producers.complete(&tenant(), &batch(producer, number), stored(seq))
}

fn begin(producers: &Producers<u32>, producer: &str, number: u64, waiter: u32) -> Begin<u32> {
    producers.begin(&tenant(), &batch(producer, number), waiter)
}

#[test]
fn a_duplicate_waits_for_the_first_one_and_gets_its_answer() {
    let producers = Producers::default();
    assert!(matches!(begin(&producers, "p", 5, 1), Begin::New(1)));
    assert!(matches!(begin(&producers, "p", 5, 2), Begin::Waiting));
    assert!(matches!(begin(&producers, "p", 5, 3), Begin::Waiting));
    assert_eq!(store(&producers, "p", 5, 9), [2, 3]);
    match begin(&producers, "p", 5, 4) {
        Begin::Done(answer, 4) => assert_eq!(answer, stored(9)),
        other => panic!("{other:?}"),
    }
    // Another tenant's producer of that name is another one.
    let other = Tenant::new("other").unwrap();
    assert!(matches!(producers.begin(&other, &batch("p", 5), 5), Begin::New(5)));
}

#[test]
fn a_number_whose_batch_failed_may_be_sent_again() {
    let producers = Producers::default();
    assert!(matches!(begin(&producers, "p", 5, 1), Begin::New(1)));
    assert!(matches!(begin(&producers, "p", 5, 2), Begin::Waiting));
    assert_eq!(producers.abort(&tenant(), &batch("p", 5)), [2]);
    assert!(producers.is_empty());
    assert!(matches!(begin(&producers, "p", 5, 3), Begin::New(3)));
}

#[test]
fn gaps_are_allowed_and_forgotten_numbers_are_conflicts() {
    let producers = Producers::default();
    let last = 10 + 2 * RESULTS_MAX as u64;
    for (seq, number) in (1..).zip((10..=last).step_by(2)) {
        assert!(matches!(begin(&producers, "p", number, 0), Begin::New(0)), "{number}");
        assert!(store(&producers, "p", number, seq).is_empty());
    }
    // Remembered: one less than were sent. 10 was forgotten, 9 never came, 11 was left out.
    for number in [9, 10] {
        match begin(&producers, "p", number, 7) {
            Begin::Refused(error, 7) => {
                assert_eq!(error.kind, ErrorKind::Conflict);
                assert!(error.message.contains("up to 10"), "{error}");
            }
            other => panic!("{number}: {other:?}"),
        }
    }
    assert!(matches!(begin(&producers, "p", 12, 0), Begin::Done(_, 0)));
    assert!(matches!(begin(&producers, "p", 11, 0), Begin::New(0)));
    assert!(matches!(begin(&producers, "p", last + 100, 0), Begin::New(0)));
}

#[test]
fn number_zero_is_a_number() {
    let producers = Producers::default();
    assert!(matches!(begin(&producers, "p", 0, 0), Begin::New(0)));
    assert!(store(&producers, "p", 0, 1).is_empty());
    assert!(matches!(begin(&producers, "p", 0, 0), Begin::Done(_, 0)));
    assert!(matches!(begin(&producers, "p", u64::MAX, 0), Begin::New(0)));
}

#[test]
fn waiters_and_batches_in_flight_are_bounded() {
    let producers = Producers::default();
    assert!(matches!(begin(&producers, "p", 1, 0), Begin::New(0)));
    for waiter in 0..WAITERS_MAX as u32 {
        assert!(matches!(begin(&producers, "p", 1, waiter), Begin::Waiting));
    }
    let refused =
        |begin| matches!(begin, Begin::Refused(error, 77) if matches!(error.kind, ErrorKind::Overloaded { .. }));
    assert!(refused(begin(&producers, "p", 1, 77)));
    for number in 2..=RESULTS_MAX as u64 {
        assert!(matches!(begin(&producers, "p", number, 0), Begin::New(0)));
    }
    assert!(refused(begin(&producers, "p", 1000, 77)));
}

#[test]
fn the_producer_that_was_quiet_longest_is_forgotten_first() {
    let producers = Producers::default();
    for index in 0..PRODUCERS_MAX as u64 {
        assert!(store(&producers, &format!("p{index}"), 1, index + 1).is_empty());
    }
    let mut seq = PRODUCERS_MAX as u64;
    let mut next = || {
        seq += 1;
        seq
    };
    assert!(store(&producers, "p0", 2, next()).is_empty());
    assert_eq!(producers.forgotten(), 0);
    assert!(store(&producers, "new", 1, next()).is_empty());
    assert_eq!((producers.forgotten(), producers.len()), (1, PRODUCERS_MAX));
    assert!(matches!(begin(&producers, "p0", 1, 0), Begin::Done(_, 0)));
    assert!(matches!(begin(&producers, "p1", 1, 0), Begin::New(0)));
}

#[test]
fn after_seven_days_a_producer_is_forgotten() {
    let producers = Producers::<u32>::default();
    let at = |seq, commit_time| Stored { commit_time, ..stored(seq) };
    assert!(producers.complete(&tenant(), &batch("old", 1), at(1, 0)).is_empty());
    assert!(producers.complete(&tenant(), &batch("p", 1), at(2, KEPT_NS)).is_empty());
    assert_eq!(producers.len(), 2);
    assert!(producers.complete(&tenant(), &batch("p", 2), at(3, KEPT_NS + 1)).is_empty());
    assert_eq!((producers.len(), producers.forgotten()), (1, 0));
}

#[test]
fn the_bytes_are_bounded() {
    let producers = Producers::<u32>::default();
    let mut seq = 0;
    for index in 0..1000 {
        for number in 1..=RESULTS_MAX as u64 {
            seq += 1;
            let answer = Stored { refused: vec![b'x'; REFUSED_BYTES_MAX], ..stored(seq) };
            assert!(producers.complete(&tenant(), &batch(&format!("p{index}"), number), answer).is_empty());
        }
    }
    assert!(producers.forgotten() > 500);
    assert!(producers.encode(seq).len() <= TABLE_BYTES_MAX);
}

#[test]
fn a_file_leaves_out_what_is_not_flushed_and_replay_brings_it_back() {
    let producers = Producers::<u32>::default();
    for number in 1..=100 {
        assert!(store(&producers, "p", number, number).is_empty());
    }
    assert!(store(&producers, "late", 1, 101).is_empty());
    let read = Producers::<u32>::decode(&producers.encode(60)).unwrap();
    assert_eq!((read.len(), read.newest_seq()), (1, 60));
    assert!(matches!(begin(&read, "p", 60, 0), Begin::Done(_, 0)));
    // Dropped from the table before the file was written: a conflict, never new.
    assert!(matches!(begin(&read, "p", 20, 0), Begin::Refused(..)));
    for number in 61..=100 {
        assert!(store(&read, "p", number, number).is_empty());
    }
    assert!(store(&read, "late", 1, 101).is_empty());
    assert_eq!(read.encode(101), producers.encode(101));
}

#[test]
fn a_damaged_file_is_refused() {
    let producers = Producers::<u32>::default();
    assert!(store(&producers, "p", 1, 1).is_empty());
    assert!(store(&producers, "q", 7, 2).is_empty());
    let bytes = producers.encode(2);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        assert_eq!(Producers::<u32>::decode(&damaged).map(|_| ()).unwrap_err().kind, ErrorKind::Corrupt, "byte {at}");
        assert!(Producers::<u32>::decode(&bytes[..at]).is_err(), "length {at}");
    }
    // A layout that is wrong under a right checksum.
    for at in 8..bytes.len() - 4 {
        let mut damaged = bytes[..bytes.len() - 4].to_vec();
        damaged[at] ^= 0x40;
        damaged.extend_from_slice(&crc32c::crc32c(&damaged).to_le_bytes());
        if let Ok(read) = Producers::<u32>::decode(&damaged) {
            assert!(read.len() <= 2);
            let _ = read.encode(u64::MAX);
        }
    }
}

#[test]
fn keys_are_checked() {
    assert_eq!(ProducerBatch::parse("a/b/7").unwrap(), batch("a/b", 7));
    for key in ["", "a", "a/", "/1", "a/-1", "a/1.5", "a\n/1", &format!("{}/1", "x".repeat(129))] {
        assert_eq!(ProducerBatch::parse(key).unwrap_err().kind, ErrorKind::Invalid, "{key:?}");
    }
}

/// Written once and read by every later version; never regenerated in place.
#[test]
fn the_golden_producers_file_of_version_1_is_read_as_it_was_written() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/producers-v1/67.producers");
    let bytes = std::fs::read(path).unwrap();
    let read = Producers::<u32>::decode(&bytes).unwrap();
    assert_eq!((read.len(), read.newest_seq()), (2, 67));
    match begin(&read, "p", 6, 1) {
        Begin::Done(Stored { seq: 3, commit_time: 1_767_225_600_000_000_003, accepted: 2, refused }, 1) => {
            assert_eq!(refused, b"");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(begin(&read, "p", 4, 1), Begin::Refused(..)));
    let team = Tenant::new("team-1_(x)").unwrap();
    match read.begin(&team, &batch("agent/7", 41), 1) {
        Begin::Done(stored, 1) => assert_eq!((stored.seq, stored.refused.as_slice()), (67, &b"1: too old"[..])),
        other => panic!("{other:?}"),
    }
    assert_eq!(read.encode(67), bytes);
}
