//! Any line through the stages that read lines: no panic, labels sorted with each name once, and a
//! key of them that reads back as the same labels. A byte for the stages, the line up to a 0x00, and
//! structured metadata.

use crate::split_at_nul;
use std::sync::Arc;
use timberlog_logql::{Empties, Pipeline, Runner, Wanted, parse_log};

const STAGES: &[&str] = &[
    "| json",
    "| json a, b=\"a.b[1].c\", c=\"[0]\", d=\"a[0][1]\"",
    "| unpack | json | logfmt",
    "| logfmt --strict --keep-empty",
    "| logfmt a, b=\"c\"",
    "| pattern `<a>=<b> <_>\"<c>` | decolorize | line_format `{{.a}}` |> `<_>a<_>`",
    "| regexp `(?P<a>\\w+)=(?P<b>.)` | a > 1 or b > 1s or c < 1KB",
    "|~ \"(?i)ab|é\" != ip(\"1.0.0.0/8\") | label_format b=a, c=`{{__line__}}` | keep b, c",
];

/// See the module.
pub fn pipeline(input: &[u8]) {
    let Some((&choice, rest)) = input.split_first() else { return };
    let (line, metadata) = split_at_nul(rest);
    let stages = STAGES[usize::from(choice) % STAGES.len()];
    let log = parse_log(&format!("{{app=\"web\"}} {stages}")).expect("the stages are valid");
    let wanted = if choice & 0x80 == 0 { Wanted::All } else { Wanted::Names(vec!["a".to_owned(), "b_c".to_owned()]) };
    let pipeline = Arc::new(Pipeline::new(&log.stages, None, wanted).expect("the stages are valid"));
    let mut runner = pipeline.runner();
    runner.set_stream(&[("app", "web"), ("b", "stream")]);
    for _ in 0..2 {
        if !runner.run(0, line, &[("m", metadata)]) {
            continue;
        }
        let mut labels = Vec::new();
        runner.for_each_label(&mut |label| labels.push((label.name.to_owned(), label.value.to_owned())));
        assert!(labels.is_sorted_by(|left, right| left.0 < right.0));
        for empties in [Empties::Keep, Empties::Drop] {
            let mut key = Vec::new();
            runner.group_key(None, empties, &mut key);
            // Of a line with an error empty labels stay. A key of the line that is named like it is none.
            if empties == Empties::Drop && runner.error().is_none() {
                labels.retain(|(_, value)| !value.is_empty());
            }
            let from_key: Vec<_> = Runner::key_labels(&key).iter().map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
            assert_eq!(from_key, labels);
        }
    }
}
