use super::*;
use crate::Tokens;
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

/// Filters side by side, and where each is.
fn side_by_side(filters: &[Vec<u8>]) -> TokenFilterGroup {
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    for filter in filters {
        let start = u32::try_from(bytes.len()).unwrap();
        bytes.extend_from_slice(filter);
        places.push(start..u32::try_from(bytes.len()).unwrap());
    }
    TokenFilterGroup::open(bytes, &places)
}

#[test]
fn a_filter_that_is_malformed_or_not_there_says_nothing() {
    let sound = TokenFilter::build(&mut (0..100).map(mixed).collect());
    for at in 0..8 {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x40;
        let group = side_by_side(&[sound.clone(), damaged, Vec::new(), sound.clone()]);
        let of = |number| {
            let answer = group.ask(&Tokens::Token(mixed(number)));
            [32, 33, 34, 35, 36].map(|block| answer.may_match(block))
        };
        assert_eq!(of(7), [Some(true), None, None, Some(true), None], "byte {at}");
        assert_eq!(of(1 << 40), [Some(false), None, None, Some(false), None], "byte {at}");
    }
}

fn any_tokens() -> impl Strategy<Value = Tokens> {
    let token = (0..60_u64).prop_map(|number| Tokens::Token(mixed(number)));
    token.prop_recursive(3, 12, 4, |part| {
        let parts = prop::collection::vec(part, 0..4);
        prop_oneof![parts.clone().prop_map(Tokens::All), parts.prop_map(Tokens::Any)]
    })
}

proptest! {
    #[test]
    fn a_group_says_what_each_of_its_filters_says(
        sets in prop::collection::vec(prop::option::of(prop::collection::vec(0..60_u64, 0..40)), 0..=32),
        tokens in any_tokens(),
    ) {
        let build = |numbers: &Vec<u64>| TokenFilter::build(&mut numbers.iter().copied().map(mixed).collect());
        let filters: Vec<Vec<u8>> = sets.iter().map(|set| set.as_ref().map(build).unwrap_or_default()).collect();
        let answer = side_by_side(&filters).ask(&tokens);
        for (block, filter) in (0..32).zip(filters.iter().map(Vec::as_slice).chain(std::iter::repeat(&[][..]))) {
            let alone = TokenFilter::open(filter).ok();
            let alone = alone.map(|filter| tokens.may_match(&mut |hash| filter.contains(hash)));
            prop_assert_eq!(answer.may_match(block), alone, "block {}", block);
        }
    }

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
