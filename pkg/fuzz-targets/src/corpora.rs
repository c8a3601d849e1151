//! Each parser takes some inputs of its corpus, and refuses some: else a replay, and a fuzzer that begins there, sees one side
//! of it only. Checksums hold here.

use crate::{archive, config, index, manifest, messages, store_records};
use std::collections::BTreeMap;
use timberlog_index::TokenFilter;
use timberlog_types::Batch;

/// The inputs of a target.
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

/// Which parsers an input was for, and whether they took it.
type Said = Vec<(String, bool)>;

/// A target, how many parsers it has, and what they say of an input.
type Parsers = (&'static str, usize, fn(&[u8]) -> Said);

fn one(parser: &str, is_taken: bool) -> Said {
    vec![(parser.to_owned(), is_taken)]
}

fn of_kind(said: Option<(u8, bool)>) -> Said {
    said.map_or_else(Vec::new, |(kind, is_taken)| one(&format!("kind {kind}"), is_taken))
}

fn named(said: &[(&str, bool)]) -> Said {
    said.iter().map(|&(parser, is_taken)| (parser.to_owned(), is_taken)).collect()
}

fn of_archive(input: &[u8]) -> Said {
    let run = archive::run_of(input);
    let frames = run.as_ref().map(|run| archive::frames(&run.bytes, run.first_seq, run.last_seq));
    [one("an object", run.is_some()), frames.map_or_else(Vec::new, |read| one("its frames", read))].concat()
}

/// The targets whose corpora are held against their parsers.
const PARSERS: [Parsers; 8] = [
    ("archive", 2, of_archive),
    ("batch", 1, |input| one("a batch", Batch::decode(input.into()).is_ok())),
    ("config", 8, |input| std::str::from_utf8(input).map_or_else(|_| Vec::new(), |text| named(&config::read(text)))),
    ("index", 7, |input| of_kind(index::read(input))),
    ("manifest", 4, |input| named(&manifest::read(input))),
    ("messages", 1, |input| match input.split_first() {
        Some((&rows, payload)) if rows < 128 => one("a column", messages::read(payload, usize::from(rows))),
        _ => Vec::new(),
    }),
    ("store_records", 14, |input| of_kind(store_records::read(input))),
    ("token_filter", 1, |input| one("a filter", TokenFilter::open(input).is_ok())),
];

#[test]
fn every_parser_takes_some_inputs_of_its_corpus_and_refuses_some() {
    let mut one_sided = Vec::new();
    for (target, count, parsers) in PARSERS {
        let mut said: BTreeMap<String, [u32; 2]> = BTreeMap::new();
        for (parser, is_taken) in corpus(target).iter().flat_map(|input| parsers(input)) {
            said.entry(parser).or_default()[usize::from(is_taken)] += 1;
        }
        println!("{target}: refused and taken: {said:?}");
        one_sided.extend(said.iter().filter(|(_, count)| count.contains(&0)).map(|said| format!("{target}: {said:?}")));
        assert_eq!(said.len(), count, "{target} has parsers that no input is for: {said:?}");
    }
    assert!(one_sided.is_empty(), "refused and taken: {one_sided:#?}");
}
