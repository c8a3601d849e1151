//! The token filter: a set of 64-bit hashes that answers "perhaps" or "certainly not", in about
//! nine bits a hash.
//!
//! A binary fuse filter with 8-bit fingerprints (Thomas Mueller Graf and Daniel Lemire, "Binary
//! Fuse Filters: Fast and Smaller Than Xor Filters", ACM Journal of Experimental Algorithmics 27,
//! 2022): three places for each hash, whose bytes combined by XOR give its fingerprint; 0.4 % of
//! the hashes that were not put in seem to be there. This module owns the bytes, version 1; it
//! never knows what was hashed, and its checksum is the container's business.
//!
//! | at | type | content |
//! |---|---|---|
//! | 0 | u8 | version, 1 |
//! | 1 | u8 | kind: 0 list, 1 binary fuse |
//! | 2 | u8 | binary fuse: binary logarithm of the segment length, at most 18; list: 0 |
//! | 3 | u8 | 0 |
//! | 4 | u32 | binary fuse: number of segments that a first place may be in, at least 1; list: number of hashes |
//! | 8 | u64 × n | list: the hashes, ascending: the end |
//! | 8 | u64 | binary fuse: seed |
//! | 16 | u8 × ((segments + 2) × segment length) | binary fuse: the fingerprints |
//!
//! With `h = mix(hash XOR seed)`, where `mix` is the finalizer of MurmurHash3, the first place is
//! the upper half of the 128-bit product `h × (segments × segment length)`; the second and third
//! are one and two segments further, XORed in their low bits with `h >> 18` and `h`; the
//! fingerprint is the low byte of `h XOR (h >> 32)`.

mod construct;
mod group;
#[cfg(test)]
mod tests;

pub use group::{GroupAnswer, TokenFilterGroup};
use thiserror::Error;

const VERSION: u8 = 1;
const LIST: u8 = 0;
const FUSE: u8 = 1;
const LIST_HEADER: usize = 8;
const FUSE_HEADER: usize = 16;
const SEGMENT_LOG_MAX: u8 = 18;

/// Why bytes are not a token filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenFilterError {
    /// The bytes end before the header does.
    #[error("token filter has {0} bytes, fewer than its header")]
    Short(usize),
    /// A version that this program does not know.
    #[error("token filter has version {0}, expected {VERSION}")]
    Version(u8),
    /// A header that no filter has.
    #[error("token filter has a malformed header")]
    Header,
    /// More or fewer bytes than the header says.
    #[error("token filter has {actual} bytes, expected {expected}")]
    Length {
        /// The bytes given.
        actual: usize,
        /// The bytes that the header asks for.
        expected: u64,
    },
}

/// A token filter over its bytes.
#[derive(Clone, Copy, Debug)]
pub struct TokenFilter<'a> {
    header: Header,
    /// The hashes, or the fingerprints.
    content: &'a [u8],
}

/// What stands before the hashes or fingerprints.
#[derive(Clone, Copy, Debug)]
enum Header {
    List,
    Fuse(Places),
}

/// Where the fingerprints of a hash lie.
#[derive(Clone, Copy, Debug)]
struct Places {
    seed: u64,
    segment_len: u64,
    /// One past the last place that a first place can be.
    first_end: u64,
}

impl<'a> TokenFilter<'a> {
    /// The bytes of the filter that holds these hashes. Sorts them and drops repetitions; the
    /// same hashes give the same bytes, in whatever order they come.
    pub fn build(hashes: &mut Vec<u64>) -> Vec<u8> {
        construct::build(hashes)
    }

    /// Checks the header and every length.
    pub fn open(bytes: &'a [u8]) -> Result<Self, TokenFilterError> {
        let Some((&[version, kind, log, zero], rest)) = bytes.split_first_chunk() else {
            return Err(TokenFilterError::Short(bytes.len()));
        };
        let Some((&count, rest)) = rest.split_first_chunk() else {
            return Err(TokenFilterError::Short(bytes.len()));
        };
        let count = u64::from(u32::from_le_bytes(count));
        if version != VERSION {
            return Err(TokenFilterError::Version(version));
        }
        if zero != 0 {
            return Err(TokenFilterError::Header);
        }
        let check = |expected: u64| {
            let actual = bytes.len();
            if actual as u64 == expected { Ok(()) } else { Err(TokenFilterError::Length { actual, expected }) }
        };
        match kind {
            LIST if log == 0 => {
                check(LIST_HEADER as u64 + count * 8)?;
                Ok(Self { header: Header::List, content: rest })
            }
            FUSE if log <= SEGMENT_LOG_MAX && count > 0 => {
                let Some((&seed, fingerprints)) = rest.split_first_chunk() else {
                    return Err(TokenFilterError::Short(bytes.len()));
                };
                let segment_len = 1_u64 << log;
                check(FUSE_HEADER as u64 + (count + 2) * segment_len)?;
                let places = Places { seed: u64::from_le_bytes(seed), segment_len, first_end: count * segment_len };
                Ok(Self { header: Header::Fuse(places), content: fingerprints })
            }
            _ => Err(TokenFilterError::Header),
        }
    }

    /// Whether the hash may have been put in. `false` is certain.
    pub fn contains(&self, hash: u64) -> bool {
        match self.header {
            Header::List => list_contains(self.content, hash),
            Header::Fuse(places) => {
                let mixed = places.mix(hash);
                let at = |place: u64| usize::try_from(place).ok().and_then(|place| self.content.get(place));
                match places.of(mixed).map(at) {
                    [Some(a), Some(b), Some(c)] => fingerprint(mixed) == a ^ b ^ c,
                    // Cannot be: `open` checked the length that the places stay within.
                    _ => true,
                }
            }
        }
    }
}

impl Places {
    fn mix(self, hash: u64) -> u64 {
        let mut hash = hash ^ self.seed;
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }

    fn of(self, mixed: u64) -> [u64; 3] {
        let first = ((u128::from(mixed) * u128::from(self.first_end)) >> 64) as u64;
        let mask = self.segment_len - 1;
        let second = (first + self.segment_len) ^ ((mixed >> 18) & mask);
        let third = (first + 2 * self.segment_len) ^ (mixed & mask);
        [first, second, third]
    }
}

fn fingerprint(mixed: u64) -> u8 {
    (mixed ^ (mixed >> 32)) as u8
}

fn list_contains(hashes: &[u8], hash: u64) -> bool {
    let (hashes, _) = hashes.as_chunks();
    hashes.binary_search_by(|&bytes| u64::from_le_bytes(bytes).cmp(&hash)).is_ok()
}
