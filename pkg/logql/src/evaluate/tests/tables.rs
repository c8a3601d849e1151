//! The files of questions and answers, and facts that no file can state.

use super::fixture;
use crate::evaluate::samples;

#[test]
fn ranges() {
    fixture::run(include_str!("range.txt"));
}

#[test]
fn counters() {
    fixture::run(include_str!("counter.txt"));
}

#[test]
fn vectors() {
    fixture::run(include_str!("vector.txt"));
}

#[test]
fn binary_operations() {
    fixture::run(include_str!("binary.txt"));
}

#[test]
fn label_replace() {
    fixture::run(include_str!("replace.txt"));
}

#[test]
fn errors() {
    fixture::run(include_str!("errors.txt"));
}

#[test]
fn facts_of_loki() {
    fixture::run(include_str!("loki.txt"));
}

/// Windows of nanoseconds, as Loki's test of range vectors has them.
#[test]
fn a_counter_over_nanoseconds() {
    let points = [(2, 1.0), (3, 2.0), (4, 3.0)];
    assert_eq!(samples::counter_rate(&points, 2, 4), 9.999999999999999e8);
}

#[test]
fn seconds_are_rounded_once() {
    assert_eq!(samples::seconds(60_000_000_000), 60.0);
    assert_eq!(samples::seconds(1), 1e-9);
    assert_eq!(samples::seconds(1_500_000_001), 1.0 + 500_000_001.0 / 1e9);
}
