use super::*;
use crate::tests::{NOW, decode};
use std::collections::{BTreeMap, BTreeSet};

fn sample(seed: u64, count: usize) -> Vec<u8> {
    let mut out = Vec::new();
    Traffic::new(seed).records(count, NOW, 1_000_000, &mut out);
    out
}

#[test]
fn a_seed_determines_the_traffic() {
    assert_eq!(sample(1, 200), sample(1, 200));
    assert_ne!(sample(1, 200), sample(2, 200));
    let mut traffic = Traffic::new(1);
    let mut out = Vec::new();
    traffic.records(100, NOW, 1_000_000, &mut out);
    traffic.records(100, NOW + 100_000_000, 1_000_000, &mut out);
    assert_eq!(out, sample(1, 200));
}

#[test]
fn the_traffic_looks_like_logs() {
    let count = 20_000;
    let body = sample(7, count);
    let decoded = decode(&body).unwrap();
    assert_eq!((decoded.accepted, decoded.refused_total), (count, 0));
    let batch = decoded.batch.unwrap();
    assert_eq!(batch.stream_count(), SERVICES);
    let mut levels: BTreeMap<&str, usize> = BTreeMap::new();
    let mut late = 0;
    let mut traces: BTreeMap<String, usize> = BTreeMap::new();
    for row in 0..count {
        *levels.entry(batch.level(batch.level_id(row)).spelling.unwrap()).or_default() += 1;
        let behind = NOW + row as i64 * 1_000_000 - batch.timestamp(row);
        assert!((0..LATE_NS_MAX as i64).contains(&behind));
        late += usize::from(behind > 0);
        let trace = batch.field("trace_id").unwrap().get(row).unwrap();
        *traces.entry(String::from_utf8(trace.text.to_vec()).unwrap()).or_default() += 1;
    }
    for (level, share) in LEVELS.into_iter().zip(LEVEL_SHARES) {
        let expected = count * share / 100;
        assert!(levels[level].abs_diff(expected) < expected / 5, "{level}: {}", levels[level]);
    }
    assert!((300..500).contains(&late), "{late}");
    assert!(traces.values().all(|&records| records <= 40));
    let hosts: BTreeSet<_> = (0..count).map(|row| batch.field("host").unwrap().get(row).unwrap().text).collect();
    assert_eq!(hosts.len(), 50);
}

#[test]
fn every_family_has_messages_of_every_level() {
    assert_eq!(FAMILIES.len() * 2, SERVICES);
    let templates: BTreeSet<&str> = FAMILIES.iter().flat_map(|family| family.templates).copied().collect();
    assert_eq!(templates.len(), 300);
    for family in FAMILIES {
        assert!(family.templates.iter().all(|template| template.starts_with(['d', 'i', 'w', 'e'])));
        for letter in family.templates.iter().flat_map(|template| template.split('%').skip(1)) {
            let letter = letter.chars().next().unwrap_or(' ');
            assert!(!letter.is_ascii_alphanumeric() || "45abcdDefhHijkmnNopqrstuUvwxz".contains(letter), "%{letter}");
        }
        assert!(compile(family.templates).iter().all(|messages| messages.len() >= 3), "{:?}", family.services);
    }
}
