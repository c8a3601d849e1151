//! Any text as a filter tree of JSON, or as a regular expression with a line to search: refused or
//! compiled, within limits. A tree prints as JSON that reads as the same; a filter and its negation
//! share no row; what prunes a search lets everything through that matches.

use crate::blocks::batch_of;
use std::sync::OnceLock;
use timberlog_filter::{BatchColumns, Compiled, Filter, Op, Pattern, evaluate};
use timberlog_segment::{TextMatcher, token_hashes};
use timberlog_types::{Batch, RowSet};

/// See the module.
pub fn filters(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(value) = serde_json::from_str(text)
        && let Ok(filter) = Filter::from_json(&value)
    {
        assert_eq!(Filter::from_json(&filter.to_json()).as_ref(), Ok(&filter));
        run(filter);
    }
    let (pattern, line) = text.split_once('\n').unwrap_or((text, text));
    for op in [Op::Regex(Pattern::search(pattern)), Op::Token(pattern.to_owned()), Op::TokenNoCase(pattern.to_owned())]
    {
        search(op, line.as_bytes());
    }
    search(Op::ContainsNoCase(pattern.to_owned()), line.as_bytes());
    run(Filter::test("message", Op::Regex(Pattern::whole(pattern))));
}

fn search(op: Op, line: &[u8]) {
    let Ok(compiled) = Compiled::new(&Filter::test("message", op)) else { return };
    for test in compiled.tests().iter().filter(|test| test.matches_text(line)) {
        let mut hashes = Vec::new();
        token_hashes(line, &mut |hash| hashes.push(hash));
        assert!(test.tokens().may_match(&mut |hash| hashes.contains(&hash)), "{:?}", test.tokens());
        let Some(matcher) = test.matcher() else { continue };
        let same = |window: &[u8], literal: &[u8]| {
            if matcher.ignores_case() { window.eq_ignore_ascii_case(literal) } else { window == literal }
        };
        let stands = |literal: &Vec<u8>| literal.is_empty() || line.windows(literal.len()).any(|w| same(w, literal));
        assert!(matcher.literals().is_empty() || matcher.literals().iter().any(stands), "{:?}", matcher.literals());
    }
}

fn run(filter: Filter) {
    static BATCH: OnceLock<Batch> = OnceLock::new();
    let lines =
        b"!aaa=1;b=x;the first 17 of a1\n\"bba=2.5;status=500;GET /a?b=c 12ms\n#cc\xc3\xa9\n%dda=null;\xc3\xa9rror7";
    let batch = BATCH.get_or_init(|| batch_of(lines).expect("records"));
    let rows = |filter: &Filter| {
        let compiled = Compiled::new(filter).ok()?;
        let _ = compiled.to_filter();
        evaluate(&compiled, &BatchColumns::new(batch), RowSet::all(batch.rows())).ok()
    };
    let Some(found) = rows(&filter) else { return };
    if let Some(others) = rows(&filter.not()) {
        assert_eq!(found.count() + others.count(), batch.rows());
        assert!(found.iter().all(|row| !others.contains(row)));
    }
}
