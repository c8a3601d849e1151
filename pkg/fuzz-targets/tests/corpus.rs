//! Replays `fuzz/corpus`: what fuzzing found interesting, and what it found wrong once, as it is stored.
//!
//! Checksums hold here, unlike in a fuzz build: of formats under one, only inputs that are whole get far.

use std::path::{Path, PathBuf};
use timberlog_fuzz_targets::TARGETS;

/// Of one corpus; all of them are small enough to live in the tree.
const CORPUS_BYTES_MAX: u64 = 200 << 10;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

#[test]
fn every_corpus_passes() {
    std::thread::scope(|scope| {
        for (name, target) in TARGETS {
            scope.spawn(move || {
                let mut bytes = 0;
                let mut files = 0;
                for entry in std::fs::read_dir(fuzz().join("corpus").join(name))
                    .unwrap_or_else(|error| panic!("{name}: {error}"))
                {
                    let path = entry.unwrap().path();
                    let input = std::fs::read(&path).unwrap();
                    if std::panic::catch_unwind(|| target(&input)).is_err() {
                        panic!("target `{name}` fails with `{}`", path.display());
                    }
                    bytes += input.len() as u64;
                    files += 1;
                }
                assert!(files > 0, "the corpus of `{name}` is empty");
                assert!(bytes <= CORPUS_BYTES_MAX, "the corpus of `{name}` has {bytes} bytes: minimise it");
            });
        }
    });
}

#[test]
fn every_target_has_a_binary_and_a_corpus_and_no_other_has() {
    let mut names: Vec<&str> = TARGETS.map(|(name, _)| name).to_vec();
    names.sort_unstable();
    for (folder, ending) in [("fuzz_targets", ".rs"), ("corpus", "")] {
        let entries = std::fs::read_dir(fuzz().join(folder)).unwrap();
        let mut found: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap().trim_end_matches(ending).to_owned())
            .collect();
        found.sort_unstable();
        assert_eq!(found, names, "{folder}");
    }
}
