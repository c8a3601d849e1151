//! The files of questions and answers, and facts that no file can state.

use super::fixture;
use crate::ast::BinaryOp;
use crate::evaluate::{arithmetic, samples};

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

#[test]
fn uneven_samples() {
    fixture::run(include_str!("uneven.txt"));
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

/// Powers as a Loki answers them.
#[test]
fn powers() {
    let facts = [
        (1.1, 10.0, 2.593742460100002),
        (1.1, 3.0, 1.3310000000000004),
        (3.7, 5.0, 693.4395700000001),
        (1.7, 13.0, 990.4578032905931),
        (2.3, -7.0, 0.0029370081243991616),
        (1.1, 2.5, 1.2690587062858836),
        (7.3, 0.3, 1.8155025282199486),
        (123.456, 3.7, 54776609.3406535),
        (0.001, -1.7, 125892.5411794167),
        (2.0, 0.1, 1.0717734625362931),
        (10.0, -5.0, 0.00001),
        (10.0, 22.0, 1e22),
        (10.0, 23.0, 1e23),
        (1.0000001, 1_000_000.0, 1.1051709126081526),
        (-3.3, 3.0, -35.937),
        (10.0, 400.0, f64::INFINITY),
        (-10.0, 401.0, f64::NEG_INFINITY),
        (10.0, -400.0, 0.0),
        (0.0, 0.0, 1.0),
        (5.0, 0.0, 1.0),
        (9.0, 0.5, 3.0),
        (4.0, -0.5, 0.5),
        (0.0, -1.0, f64::INFINITY),
        (2.0, -1074.0, 5e-324),
        (5e-324, 2.0, 0.0),
        (2.0, f64::INFINITY, f64::INFINITY),
        (f64::INFINITY, -1.0, 0.0),
    ];
    let power = |base, exponent| arithmetic::apply(BinaryOp::Pow, base, exponent);
    for (base, exponent, expected) in facts {
        assert_eq!(power(base, exponent), expected, "{base} ^ {exponent}");
    }
    assert!(power(-8.0, 1.0 / 3.0).is_nan());
    assert!(power(f64::NAN, 2.0).is_nan());
}
