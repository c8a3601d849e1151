//! Tokens: which words of a text a token filter knows about, and their hashes.
//!
//! A token is a maximal run of `[0-9A-Za-z]`; bytes from 0x80 on are not part of one. A filter
//! holds the tokens that contain a digit: a word without digits is static text, which the block's
//! own templates answer for. Digits alone, up to [`SHORT_NUMBER`] of them, are in almost every
//! block and so in no filter. Writers and planners must both use this module: a token that one
//! side hashes and the other does not would lose rows.

use xxhash_rust::xxh3::xxh3_64;

/// A number of at most so many digits is never a token of a filter.
pub const SHORT_NUMBER: usize = 4;

const LOWERED_MAX: usize = 256;

/// Calls `f` with the hash of every token of `text` that a token filter holds: the XXH3-64 of the
/// token's bytes in ASCII lower case. Tokens of `text` that its ends may have cut are the caller's
/// concern.
pub fn token_hashes(text: &[u8], f: &mut dyn FnMut(u64)) {
    for word in text.split(|byte| !byte.is_ascii_alphanumeric()) {
        if word.iter().any(u8::is_ascii_digit)
            && let Some(hash) = word_hash(word)
        {
            f(hash);
        }
    }
}

/// The hash of a word that has a digit; `None` if filters do not hold it.
pub(super) fn word_hash(word: &[u8]) -> Option<u64> {
    if word.len() <= SHORT_NUMBER && word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if !word.iter().any(u8::is_ascii_uppercase) {
        return Some(xxh3_64(word));
    }
    let mut lowered = [0; LOWERED_MAX];
    match lowered.get_mut(..word.len()) {
        Some(lowered) => {
            lowered.copy_from_slice(word);
            lowered.make_ascii_lowercase();
            Some(xxh3_64(lowered))
        }
        None => Some(xxh3_64(&word.to_ascii_lowercase())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_whole_words_with_a_digit_in_lower_case() {
        let mut found = Vec::new();
        token_hashes("node01 GET 1234 12345 x=1A2b\u{e9}7z plain 99".as_bytes(), &mut |hash| found.push(hash));
        let expected: Vec<u64> =
            ["node01", "12345", "1a2b", "7z"].iter().map(|word| xxh3_64(word.as_bytes())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_word_of_any_length_is_lowered() {
        for len in [1, 255, 256, 257, 1000] {
            let word = format!("{}7", "Q".repeat(len));
            assert_eq!(word_hash(word.as_bytes()), Some(xxh3_64(word.to_lowercase().as_bytes())));
        }
    }
}
