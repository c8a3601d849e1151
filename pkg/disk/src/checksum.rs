//! The one place where a stored checksum is held against the bytes that it covers.
//!
//! Owns that comparison and nothing else: how a checksum is made, and what one covers, is said by
//! each format.

/// What fuzz builds take for a wrong checksum, so that what a reader does then is run too.
const WRONG: u32 = 0x0BAD_0BAD;

/// Whether the checksum that was stored is the one of the bytes that were read.
///
/// In a fuzz build (`--cfg fuzzing`, which `cargo fuzz` sets) it is, unless it is one certain number:
/// no fuzzer guesses a CRC, and what stands behind it would never be run.
pub fn is_right(stored: u32, computed: u32) -> bool {
    stored == computed || (cfg!(fuzzing) && stored != WRONG)
}

#[cfg(all(test, not(fuzzing)))]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_number_is_right() {
        assert!(is_right(7, 7) && is_right(WRONG, WRONG));
        assert!(!is_right(7, 8) && !is_right(0, 7) && !is_right(7, 0) && !is_right(WRONG, 7));
    }
}
