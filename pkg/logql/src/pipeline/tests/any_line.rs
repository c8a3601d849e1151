//! What holds of any line: no stage panics, and hints change nothing that is looked at.

use proptest::prelude::*;

use super::{runner, value_of};
use crate::{Empties, Wanted, pipeline::IpFilter, pipeline::LinePattern};

/// Every stage that reads a line.
const READERS: &[&str] = &[
    "| json",
    "| json a, b=\"a.b[1].c\", c=\"[0]\", d=\"a[0][1]\", e=\"[\\\"x y\\\"]\"",
    "| unpack | json",
    "| logfmt",
    "| logfmt --strict --keep-empty",
    "| logfmt a, b=\"c\"",
    "| logfmt --strict a",
    "| pattern `<a>=<b> <_>\"<c>`",
    "| regexp `(?P<a>\\w+)=(?P<b>.)`",
    "| decolorize",
    "|> `<_>a<_>=`",
    "|= ip(\"1.0.0.0/8\")",
    "|~ \"(?i)ab|é\"",
    "| json | a > 1 | b > 1s | c > 1KB",
    "| logfmt | line_format `{{.a}} {{__line__}}` | label_format x=a, y=`{{.b}}` | drop a | keep y",
];

/// Bytes that mean something to a stage, in any order, and some that mean nothing.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(
        b"{ } [ ] : , \" \\ \\u \\ud83d \\ude00 \\\" = a b c _entry 1 -1 1.5 true null \xff \xc3\xa9 \x1b[31m 1.2.3.4 :: \t \"a\":\"b\" \"a\":{ a=b a=\"x _ <"
            .split(|&byte| byte == b' ')
            .map(<[u8]>::to_vec)
            .chain([b" ".to_vec()])
            .collect::<Vec<_>>(),
    );
    prop_oneof![
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat()),
        prop::collection::vec(any::<u8>(), 0..60),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_stage_panics(line in line()) {
        for stages in READERS {
            let mut runner = runner(stages, Wanted::All).unwrap();
            runner.set_stream(&[("app", "web"), ("a", "stream")]);
            runner.run(0, &line, &[("b", &line)]);
            let left = super::labels(&mut runner);
            prop_assert!(left.is_sorted_by(|left, right| left.0 < right.0), "{:?}", left);
            let mut key = Vec::new();
            runner.group_key(None, Empties::Keep, &mut key);
            super::Runner::key_labels(&key);
        }
    }

    #[test]
    fn hints_find_what_is_found_without_them(line in line()) {
        for stages in ["| json", "| logfmt", "| logfmt --keep-empty", "| unpack", "| json | logfmt"] {
            for wanted in [&["a"][..], &["c", "a_b"], &["a_extracted", "b"]] {
                let names = wanted.iter().map(|&name| name.to_owned()).collect();
                let (mut with, mut without) =
                    (runner(stages, Wanted::Names(names)).unwrap(), runner(stages, Wanted::All).unwrap());
                for stream in [&[("app", "web")][..], &[("a", "stream")]] {
                    with.set_stream(stream);
                    without.set_stream(stream);
                    prop_assert_eq!(with.run(0, &line, &[]), without.run(0, &line, &[]));
                    for name in wanted {
                        prop_assert_eq!(value_of(&mut with, name), value_of(&mut without, name), "{} {}", stages, name);
                    }
                }
            }
        }
    }

    #[test]
    fn matchers_of_raw_lines_do_not_panic(line in line(), pattern in ".{0,12}") {
        if let Ok(pattern) = LinePattern::new(&pattern)
            && pattern.is_match(&line)
        {
            for literal in pattern.literals() {
                prop_assert!(line.windows(literal.len()).any(|window| window == literal));
            }
        }
        for pattern in ["1.2.3.4", "::/1", "1.0.0.0-2.0.0.0"] {
            IpFilter::new(pattern).unwrap().is_match(&line);
        }
    }
}
