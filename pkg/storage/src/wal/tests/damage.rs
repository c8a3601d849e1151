//! Cuts and flipped bytes: a torn tail is quiet, damage is reported, what is whole is read.

use super::*;

const NAME: &str = "00000000000000000001.wal";

#[test]
fn a_wal_cut_at_any_byte_gives_the_frames_before_the_cut() {
    let sample = sample();
    let bytes = read(&sample.disk, NAME);
    let bounds = bounds(&sample);
    assert_eq!(bounds.len(), 8);
    for cut in format::FRAMES_AT as usize..=bounds[7] {
        let mut zeroed = bytes.clone();
        zeroed[cut..].fill(0);
        // A crash makes no file shorter: that is reported.
        for (content, reported) in [(&bytes[..cut], 1), (&zeroed, 0)] {
            // Zeros that are cut off and come back as zeros were not cut off.
            let whole = bounds[1..].iter().filter(|&&end| content.get(..end) == bytes.get(..end)).count();
            let sim = machine(&[(NAME, content)]);
            let opened = open(&sim, 0);
            assert_eq!(opened.replayed(), letters(whole), "cut {cut}");
            assert_eq!(opened.report.damages.len(), reported, "cut {cut}");
            assert!(reported == 0 || opened.report.torn_tail.is_none(), "cut {cut}");
            // What comes next takes the next number, and the log goes on.
            assert_eq!(opened.append("next"), Ok(whole as Seq + 1));
            drop(opened);
            let mut expected = letters(whole);
            expected.push((whole as Seq + 1, "next".into()));
            let opened = open(&sim, 0);
            // Without a frame it has been set aside.
            let reported = if whole == 0 { 0 } else { reported };
            assert_eq!((opened.replayed(), opened.report.damages.len()), (expected, reported), "cut {cut}");
        }
    }
}

#[test]
fn a_flipped_byte_costs_one_frame_and_is_reported_where_a_later_frame_proves_it() {
    let sample = sample();
    let bytes = read(&sample.disk, NAME);
    let bounds = bounds(&sample);
    for at in bounds[0]..bounds[7] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x01;
        let sim = machine(&[(NAME, &damaged)]);
        let opened = open(&sim, 0);
        let hit = bounds[1..].iter().filter(|&&end| end <= at).count() as Seq + 1;
        if hit < 5 {
            let rest: Vec<_> = letters(7).into_iter().filter(|(seq, _)| *seq != hit).collect();
            assert_eq!(opened.replayed(), rest, "byte {at}");
            assert_eq!(opened.report.damages.len(), 1, "byte {at}");
            assert_eq!(opened.report.damages[0].lost, Some((hit, hit)), "byte {at}");
            assert_eq!(opened.report.damages[0].offset as usize, bounds[hit as usize - 1]);
            let verified = verify(&sim.disk, Path::new(DIR), Some(0)).unwrap();
            assert_eq!((verified.damages.as_slice(), verified.frames), (opened.report.damages.as_slice(), 6));
            assert_eq!(open(&sim, hit).report.damages.iter().filter(|damage| damage.lost.is_some()).count(), 0);
        } else {
            // The last group: nothing says that its fsync ever succeeded.
            assert_eq!(opened.replayed(), letters(hit as usize - 1), "byte {at}");
            assert_eq!(opened.report.damages, [], "byte {at}");
            assert_eq!(opened.report.last_seq, hit - 1);
        }
    }
}

#[test]
fn a_flipped_byte_in_a_file_header_costs_nothing() {
    let sample = sample();
    let bytes = read(&sample.disk, NAME);
    for at in 0..format::FRAMES_AT as usize {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x80;
        let opened = open(&machine(&[(NAME, &damaged)]), 0);
        assert_eq!(opened.replayed(), letters(7), "byte {at}");
        let is_header = at % (format::HEADER_COPY_AT as usize) < format::FILE_HEADER_LEN;
        assert_eq!(opened.report.damages.len(), usize::from(is_header), "byte {at}");
    }
}

#[test]
fn noise_over_several_frames_loses_just_those() {
    let sample = sample();
    let mut bytes = read(&sample.disk, NAME);
    let bounds = bounds(&sample);
    bytes[bounds[1] + 10..bounds[2] + 30].fill(0xAB);
    let opened = open(&machine(&[(NAME, &bytes)]), 0);
    assert_eq!(opened.report.damages.iter().map(|damage| damage.lost).collect::<Vec<_>>(), [Some((2, 3))]);
    assert_eq!(opened.replayed().len(), 5);
    assert_eq!(
        opened.report.damages[0].to_string(),
        format!("WAL file `{NAME}` at byte {}: frame checksum mismatch: batches 2 to 3 are lost", bounds[1])
    );
}

/// Two files: `a` to the last of the first, the rest in the second one.
fn two_files() -> (Sim, Vec<(String, Vec<u8>)>, Seq) {
    let sim = Sim::new(3);
    let opened = open(&sim, 0);
    let filler = "x".repeat(1500);
    for _ in 0..4 {
        assert!(opened.append(&filler).is_ok());
    }
    let names: Vec<_> = files(&sim).into_iter().filter(|name| name.ends_with(".wal")).collect();
    assert_eq!(names.len(), 2);
    let second = names[1].trim_end_matches(".wal").parse().unwrap();
    let files = names.into_iter().map(|name| (name.clone(), read(&sim.disk, &name))).collect();
    (sim, files, second)
}

fn with(files: &[(String, Vec<u8>)]) -> Sim {
    machine(&files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect::<Vec<_>>())
}

#[test]
fn a_bad_frame_in_an_older_file_is_always_damage() {
    let (_, files, second) = two_files();
    let whole = with(&files);
    assert_eq!(open(&whole, 0).report.damages, []);
    // Even its last frame, behind which that file holds nothing.
    let mut damaged = files.clone();
    let at = format::FRAMES_AT as usize + 2000;
    damaged[0].1[at..].fill(0);
    let opened = open(&with(&damaged), 0);
    assert_eq!(opened.report.damages.iter().map(|damage| damage.lost).collect::<Vec<_>>(), [Some((2, second - 1))]);
    assert_eq!(opened.report.last_seq, 4);
    assert_eq!(opened.append("next"), Ok(5));
}

#[test]
fn a_file_that_is_missing_or_has_no_header_is_damage_and_the_others_are_read() {
    let (_, files, second) = two_files();
    let first_gone = open(&with(&files[1..]), 0);
    assert_eq!(first_gone.report.damages.iter().map(|damage| damage.lost).collect::<Vec<_>>(), [Some((1, second - 1))]);
    assert_eq!(first_gone.frames.len() as Seq, 4 - (second - 1));
    // Flushed: then its file may be gone.
    assert_eq!(open(&with(&files[1..]), second - 1).report.damages, []);

    for (index, lost) in [(0, Some((1, second - 1))), (1, None)] {
        let mut damaged = files.clone();
        damaged[index].1[..format::FRAMES_AT as usize].fill(0);
        let sim = with(&damaged);
        let opened = open(&sim, 0);
        assert!(opened.report.damages.iter().any(|damage| damage.file == files[index].0 && damage.lost == lost));
        let first_good = if index == 0 { second } else { 1 };
        assert_eq!(opened.frames[0].seq, first_good);
        // The log goes on, and the lost file stays to be looked at.
        let next = opened.report.last_seq + 1;
        assert_eq!(opened.append("next"), Ok(next));
        drop(opened);
        let opened = open(&sim, 0);
        assert_eq!(opened.replayed().last(), Some(&(next, "next".into())));
        opened.wal.truncate(next).unwrap();
        assert!(super::files(&sim).iter().any(|name| name.ends_with(".damaged")), "{index}");
        let verified = verify(&sim.disk, Path::new(DIR), Some(next)).unwrap();
        assert!(verified.damages.iter().any(|damage| damage.file.ends_with(".damaged")));
    }
}

/// What an earlier life of a file left behind its last frame may look just right.
#[test]
fn frames_of_another_life_are_no_frames_of_this_one() {
    let write = |seed| {
        let sim = Sim::new(seed);
        let opened = open(&sim, 0);
        for text in ["a", "b", "c"] {
            assert!(opened.append(text).is_ok());
        }
        (read(&sim.disk, NAME), bounds(&sim))
    };
    let ((mut this, ends), (other, other_ends)) = (write(10), write(11));
    assert_eq!(ends, other_ends);
    assert_eq!(open(&machine(&[(NAME, &this)]), 0).replayed(), letters(3));
    this[ends[1]..].copy_from_slice(&other[ends[1]..]);
    let opened = open(&machine(&[(NAME, &this)]), 0);
    assert_eq!((opened.replayed(), opened.report.damages), (letters(1), vec![]));
}

#[test]
fn another_databases_or_a_newer_versions_files_are_refused() {
    let sim = sample();
    let other = WalOptions { database_id: "ff".repeat(16), ..options() };
    assert_eq!(try_open(&sim.env(), other.clone(), 0).map(|_| ()).unwrap_err().kind, ErrorKind::Invalid);
    // Also without `wal.meta`, which nothing depends on.
    sim.disk.remove_file(&Path::new(DIR).join(meta::META_NAME)).unwrap();
    assert_eq!(try_open(&sim.env(), other, 0).map(|_| ()).unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(open(&sim, 0).report.damages, []);

    let mut bytes = read(&sim.disk, NAME);
    for at in [0, format::HEADER_COPY_AT as usize] {
        bytes[at + 8] = 2;
        let crc = crc32c::crc32c(&bytes[at..at + 60]);
        bytes[at + 60..at + 64].copy_from_slice(&crc.to_le_bytes());
    }
    let error = try_open(&machine(&[(NAME, &bytes)]).env(), options(), 0).map(|_| ()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("version 2"), "{error}");
    let short_id = WalOptions { database_id: "12".into(), ..options() };
    assert_eq!(try_open(&Sim::new(0).env(), short_id, 0).map(|_| ()).unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn a_damaged_meta_file_is_reported_and_written_anew() {
    let sim = sample();
    assert!(sim.disk.flip_bit(&Path::new(DIR).join(meta::META_NAME), 77));
    assert_eq!(verify(&sim.disk, Path::new(DIR), Some(0)).unwrap().damages.len(), 1);
    let opened = open(&sim, 0);
    assert_eq!((opened.report.damages.len(), opened.replayed()), (1, letters(7)));
    drop(opened);
    assert_eq!(open(&sim, 0).report.damages, []);
}
