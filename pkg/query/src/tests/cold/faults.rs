//! A store that is slow, wrong or gone: what is local is answered, and the answer says what is missing.

use super::{Cold, day, needle};
use crate::{Query, page};
use std::time::{Duration, Instant};
use timberlog_types::Tenant;

#[test]
fn an_outage_names_the_partition_and_the_rest_is_answered() {
    let world = day(4, true);
    let there = Cold::of(&world, &|number| number != 2);
    there.shelf.with(|inner| inner.is_down = true);
    let all = Query { limit: 100_000, ..Query::new(Tenant::default()) };
    let answer = there.page(&all);
    assert_eq!(answer.records.len(), 4_000);
    assert!(answer.missing.iter().all(|what| what.starts_with("partition 20")), "{:?}", answer.missing);
    assert_eq!(answer.missing.len(), 1);
    // With its indexes at hand, but none of the data.
    there.shelf.with(|inner| inner.is_down = false);
    there.page(&needle(65_000));
    let there = there.forget_data();
    there.shelf.with(|inner| inner.is_down = true);
    let answer = there.page(&all);
    assert_eq!((answer.records.len(), answer.missing.len()), (4_000, 1), "{:?}", answer.missing);
    assert!(answer.statistics.object_gets < 40, "{:?}", answer.statistics);
    // It comes back.
    there.shelf.with(|inner| inner.is_down = false);
    assert_eq!(there.page(&all).records.len(), 16_000);
}

#[test]
fn a_store_that_hangs_costs_a_query_a_third_of_its_time() {
    let world = day(2, true);
    let there = Cold::of(&world, &|number| number == 0);
    there.shelf.with(|inner| inner.hangs = true);
    let mut all = Query { limit: 100_000, ..Query::new(Tenant::default()) };
    // The rest is enough for what is here, on a busy machine too.
    all.limits.time = Duration::from_secs(6);
    let start = Instant::now();
    let answer = there.page(&all);
    let took = start.elapsed();
    there.shelf.with(|inner| inner.hangs = false);
    assert_eq!((answer.records.len(), answer.missing.len()), (4_000, 1), "{:?}", answer.missing);
    assert!(took < all.limits.time, "{took:?}");
}

#[test]
fn a_query_that_is_cancelled_does_not_wait_for_the_store() {
    let world = day(1, true);
    let there = Cold::of(&world, &|_| true);
    let (begun, deadline) = there.shelf.with(|inner| {
        inner.hangs = true;
        (inner.begun, Instant::now() + Duration::from_secs(20))
    });
    let all = Query::new(Tenant::default());
    std::thread::scope(|scope| {
        let query = scope.spawn(|| page(&there.snapshot(), &all));
        let until = |what: &str, is_so: &dyn Fn() -> bool| {
            while !is_so() {
                assert!(Instant::now() < deadline, "{what}");
                std::thread::yield_now();
            }
        };
        until("it asks the store", &|| there.shelf.with(|inner| inner.begun > begun));
        all.cancel.cancel();
        until("it ends", &|| query.is_finished());
        there.shelf.with(|inner| inner.hangs = false);
        assert!(query.join().unwrap().is_err());
    });
}

#[test]
fn wrong_bytes_are_asked_for_once_more() {
    let world = day(2, true);
    let there = Cold::of(&world, &|_| true);
    there.page(&needle(65_000));
    let there = there.forget_data();
    there.shelf.with(|inner| inner.wrong = 1);
    let answer = there.page(&needle(4_000 + 9));
    assert_eq!((answer.records.len(), answer.missing.len()), (1, 0), "{:?}", answer.missing);
    // Wrong each time: damage, by name.
    let there = there.forget_data();
    there.shelf.with(|inner| inner.wrong = u64::MAX);
    let answer = there.page(&needle(4_000 + 9));
    assert!(answer.records.is_empty());
    assert!(answer.missing.len() == 1 && answer.missing[0].contains("block"), "{:?}", answer.missing);
    assert!(there.shelf.taken().len() <= 4);
    there.shelf.with(|inner| inner.wrong = 0);
    assert_eq!(there.page(&needle(4_000 + 9)).records.len(), 1, "and nothing wrong was kept");
}

/// Nothing wrong is kept: each query asks for it as the first one did, and once more.
#[test]
fn an_object_that_stays_damaged_costs_each_query_the_same_few_requests() {
    let world = day(2, true);
    let there = Cold::of(&world, &|_| true);
    there.page(&needle(65_000));
    let there = there.forget_data();
    there.shelf.with(|inner| inner.wrong = u64::MAX);
    for query in 0..4 {
        let answer = there.page(&needle(4_000 + 9));
        assert_eq!((answer.records.len(), answer.missing.len()), (0, 1), "{:?}", answer.missing);
        assert_eq!(there.shelf.taken().len(), 2, "query {query}");
    }
    there.shelf.with(|inner| inner.wrong = 0);
    assert_eq!(there.page(&needle(4_000 + 9)).records.len(), 1);
    assert_eq!(there.shelf.taken().len(), 1, "it is whole again");
}

#[test]
fn an_object_that_is_cut_or_gone_is_named() {
    let world = day(2, true);
    let there = Cold::of(&world, &|_| true);
    there.page(&needle(65_000));
    let there = there.forget_data();
    there.shelf.with(|inner| inner.cut = 1);
    assert_eq!(there.page(&needle(9)).records.len(), 1, "once more");
    let there = there.forget_data();
    there.shelf.with(|inner| inner.objects.retain(|key, _| key.ends_with(".index")));
    let answer = there.page(&needle(9));
    assert!(answer.records.is_empty());
    assert!(answer.missing.len() == 1 && answer.missing[0].contains("segment"), "{:?}", answer.missing);
}

/// What the cache keeps in a file: an answer may leave before it is there.
fn kept(path: &std::path::Path) -> Vec<u8> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let bytes = std::fs::read(path).unwrap();
        if !bytes.is_empty() {
            return bytes;
        }
        assert!(Instant::now() < end, "{} stays empty", path.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_damaged_cache_is_filled_again() {
    let world = day(2, true);
    let there = Cold::of(&world, &|_| true);
    assert_eq!(there.page(&needle(9)).records.len(), 1);
    let tier = there.options.data_dir.join("tier");
    // Each file of both caches, at three places.
    for part in 0..3 {
        for folder in ["index", "data"] {
            for entry in std::fs::read_dir(tier.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let mut bytes = kept(&path);
                let at = (bytes.len() - 1) * part / 2;
                bytes[at] ^= 1;
                std::fs::write(&path, bytes).unwrap();
            }
        }
        let there = Cold::again(&there);
        let answer = there.page(&needle(9));
        assert_eq!((answer.records.len(), answer.missing.len()), (1, 0), "{:?}", answer.missing);
    }
}
