use super::*;
use proptest::prelude::*;

fn mixed(number: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes())
}

#[test]
fn every_hash_is_found_and_few_others_are() {
    for count in [0, 1, 2, 7, 8, 9, 10, 17, 100, 1_000, 19_000, 100_000] {
        let mut hashes: Vec<u64> = (0..count).map(mixed).collect();
        let bytes = TokenFilter::build(&mut hashes);
        let filter = TokenFilter::open(&bytes).unwrap();
        assert!(hashes.iter().all(|&hash| filter.contains(hash)), "{count}");
        let wrong = (0..100_000).filter(|&number| filter.contains(mixed(1 << 40 | number))).count();
        assert!(wrong < 600, "{wrong} of 100000 others seem to be among {count}");
        if count >= 10_000 {
            assert!(bytes.len() as f64 <= 16.0 + count as f64 * 1.25, "{} bytes for {count}", bytes.len());
        }
    }
}

#[test]
fn the_bytes_do_not_depend_on_order_or_repetition() {
    let mut hashes: Vec<u64> = (0..5_000).map(mixed).collect();
    let bytes = TokenFilter::build(&mut hashes.clone());
    hashes.reverse();
    hashes.extend_from_within(..100);
    assert_eq!(TokenFilter::build(&mut hashes), bytes);
    assert_eq!(xxhash_rust::xxh3::xxh3_64(&bytes), 0x7ef1ed0e3d554596, "the bytes of version 1 have changed");
}

#[test]
fn hashes_that_are_no_hashes_are_found() {
    let mut hashes: Vec<u64> = (0..10_000).collect();
    let bytes = TokenFilter::build(&mut hashes);
    let filter = TokenFilter::open(&bytes).unwrap();
    assert!((0..10_000).all(|hash| filter.contains(hash)));
}

#[test]
fn damage_is_an_error_or_an_answer() {
    for count in [0, 1, 5, 40, 300] {
        let bytes = TokenFilter::build(&mut (0..count).map(mixed).collect());
        for len in 0..bytes.len() {
            assert!(TokenFilter::open(&bytes[..len]).is_err());
        }
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                if let Ok(filter) = TokenFilter::open(&damaged) {
                    for number in 0..400 {
                        filter.contains(mixed(number));
                    }
                }
            }
        }
    }
    let mut huge = vec![VERSION, FUSE, 18, 0, 0xff, 0xff, 0xff, 0xff];
    huge.extend_from_slice(&[0; 64]);
    assert!(matches!(TokenFilter::open(&huge), Err(TokenFilterError::Length { .. })));
    assert_eq!(TokenFilter::open(&[2, 0, 0, 0, 0, 0, 0, 0]).unwrap_err(), TokenFilterError::Version(2));
}

proptest! {
    #[test]
    fn any_bytes_open_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..64), hash: u64) {
        if let Ok(filter) = TokenFilter::open(&bytes) {
            filter.contains(hash);
        }
    }

    #[test]
    fn what_was_put_in_is_found(mut hashes in prop::collection::vec(any::<u64>(), 0..200)) {
        let all = hashes.clone();
        let bytes = TokenFilter::build(&mut hashes);
        let filter = TokenFilter::open(&bytes).unwrap();
        prop_assert!(all.iter().all(|&hash| filter.contains(hash)));
    }
}
