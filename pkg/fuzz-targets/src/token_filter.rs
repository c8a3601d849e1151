//! A token filter. Any bytes: an error or answers, no panic. Hashes that were put in are found.

use timberlog_index::TokenFilter;

/// See the module.
pub fn token_filter(input: &[u8]) {
    if let Ok(filter) = TokenFilter::open(input) {
        for hash in [0, 1, u64::MAX, 0x9E37_79B9_7F4A_7C15] {
            let _ = filter.contains(hash);
        }
    }
    let mut hashes: Vec<u64> = input.as_chunks().0.iter().map(|&bytes| u64::from_le_bytes(bytes)).collect();
    let all = hashes.clone();
    let bytes = TokenFilter::build(&mut hashes);
    let filter = TokenFilter::open(&bytes).expect("what was built");
    assert!(all.iter().all(|&hash| filter.contains(hash)));
}
