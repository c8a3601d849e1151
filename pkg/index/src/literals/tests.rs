use super::*;
use proptest::prelude::*;
use regex_syntax::hir::{Class, HirKind};

fn parse(pattern: &str) -> Option<Hir> {
    regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern).ok()
}

fn alternatives(pattern: &str) -> (Vec<String>, Case) {
    let Alternatives { mut literals, case } = Alternatives::of_regex(&parse(pattern).unwrap());
    literals.sort();
    (literals.iter().map(|literal| String::from_utf8_lossy(literal).into_owned()).collect(), case)
}

/// Whether a text with just these words may match.
fn may_match(tokens: &Tokens, words: &str) -> bool {
    let mut hashes = Vec::new();
    token_hashes(words.as_bytes(), &mut |hash| hashes.push(hash));
    tokens.may_match(&mut |hash| hashes.contains(&hash))
}

#[test]
fn the_literals_of_a_pattern() {
    use Case::{Exact, Ignored};
    for (pattern, literals, case) in [
        ("authentication failure", &["authentication failure"][..], Exact),
        ("(?i)error", &["error"], Ignored),
        (r"[0-9]{3} ?ms|timed? ?out", &["ms", "time out", "timed out", "timedout", "timeout"], Exact),
        ("(foo|bar)baz", &["barbaz", "foobaz"], Exact),
        ("a.*needle.*b", &["needle"], Exact),
        ("x{3}", &["xxx"], Exact),
        ("(ab){2,}c", &["abab"], Exact),
        ("(ab)+.*longest one", &["longest one"], Exact),
        ("gr[ae]y", &["gray", "grey"], Exact),
        (r"\d+", &[], Exact),
        ("foo|.", &[], Exact),
        ("foo|(bar.*|qux)?", &[], Exact),
        ("", &[], Exact),
        (r"user=\w+ failed", &[" failed"], Exact),
        ("(?i)ab7k", &["ab7k", "ab7\u{212a}"], Ignored),
        ("[^\\s\\S]", &[], Exact),
        ("é+ß", &["é"], Exact),
    ] {
        let mut literals = literals.to_vec();
        literals.sort();
        assert_eq!(alternatives(pattern), (literals.iter().map(|text| text.to_string()).collect(), case), "{pattern}");
    }
}

#[test]
fn an_alternation_of_many_words_has_them_all_or_none() {
    let words = |count: usize| (100..100 + count).map(|n| format!("w{n}q")).collect::<Vec<_>>().join("|");
    assert_eq!(alternatives(&words(100)).0.len(), 100);
    assert_eq!(alternatives(&words(400)).0.len(), 0);
}

#[test]
fn a_literal_asks_for_whole_words_with_digits_only() {
    use Edge::{Delimited, Open};
    for (text, before, after, asked) in [
        ("error", Open, Open, ""),
        ("error7", Open, Open, ""),
        ("error7", Delimited, Open, ""),
        ("error7", Delimited, Delimited, "error7"),
        ("x error7 y", Open, Open, "error7"),
        (" ERROR7 ", Open, Open, "error7"),
        ("a7 b7 c7", Open, Open, "b7"),
        ("a7 b7 c7", Delimited, Open, "a7 b7"),
        ("=1234 ", Open, Open, ""),
        ("=12345 word ", Open, Open, "12345"),
        ("é7é", Open, Open, "7"),
        ("", Delimited, Delimited, ""),
    ] {
        let tokens = Tokens::of_literal(text.as_bytes(), before, after);
        let mut asked_hashes = Vec::new();
        token_hashes(asked.as_bytes(), &mut |hash| asked_hashes.push(Tokens::Token(hash)));
        assert_eq!(tokens, Tokens::all(asked_hashes), "{text}");
    }
}

#[test]
fn a_regex_asks_for_tokens_that_it_delimits() {
    for (pattern, words, expected) in [
        (r"\bnode01\b", "node01", true),
        (r"\bnode01\b", "node012", false),
        (r"node01", "xnode012", true),
        (r"\snode01\s", "anode01", false),
        (r"^node01[ :]", "anode01", false),
        (r"node01\b", "anode01", true),
        (r"id=(7a7a7|8b8b8);", "8b8b8", true),
        (r"id=(7a7a7|8b8b8);", "9c9c9", false),
        (r"id=(7a7a7|8b8b8|.*);", "9c9c9", true),
        (r" 7a7a7\s*:", "none", false),
        (r" 7a7a7\w*:", "7a7a7b", true),
        (r"(?i) ABC1 ", "abc1", true),
        (r"(?i) ABC1 ", "abc2", false),
        (r"( 12345 ){1000}", "12346", false),
        (r"(.* 12345 x?)?", "12346", true),
        (r"_n7_", "zzz", false),
        (r"\b_?n7x", "n7xy", true),
    ] {
        assert_eq!(may_match(&Tokens::of_regex(&parse(pattern).unwrap()), words), expected, "{pattern} in {words}");
    }
}

#[test]
fn patterns_made_to_explode_stay_small() {
    let mut nested = "(ab|cd)".to_owned();
    for _ in 0..40 {
        nested = format!("({nested}{{4}}|x)");
    }
    for pattern in [nested.as_str(), &"(a|b)".repeat(500), &"[ab]{900}".repeat(20), &"ab*".repeat(2000)] {
        // The compiled size of these is the caller's concern; here only the parse must work.
        if let Some(hir) = parse(pattern) {
            Alternatives::of_regex(&hir);
            Tokens::of_regex(&hir);
        }
    }
}

fn pattern() -> impl Strategy<Value = String> {
    let atom = prop::sample::select(vec![
        "a",
        "b",
        "7",
        "k",
        "K7",
        "a7b7c",
        "12345",
        "-",
        "_",
        " ",
        "é",
        ".",
        r"\s",
        r"\w",
        r"\W",
        r"\d",
        "[ab7]",
        "[^a]",
        r"\b",
        r"\B",
        "^",
        "$",
        "(?m:$)",
        r"\b{start}",
        r"\b{end-half}",
        r"(?-u:\b)",
        "(?i:aK7)",
        "(?i:s)",
        r"[-_ ]",
        r"(?s-u:.)",
        "x1 y2",
    ]);
    atom.prop_map(str::to_owned).prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 1..5).prop_map(|parts| parts.concat()),
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("(?:{})", parts.join("|"))),
            1 => (inner.clone(), prop::sample::select(vec!["*", "+", "?", "{2}", "{1,3}", "{2,}", "{0}", "{6}", "+?"]))
                .prop_map(|(part, times)| format!("(?:{part}){times}")),
            1 => inner.prop_map(|part| format!("(?i:{part})")),
        ]
    })
}

/// A text that matches, if no assertion is in the way.
fn sample(hir: &Hir, random: &mut u64, out: &mut Vec<u8>) {
    let mut next = |below: usize| {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*random >> 33) as usize % below.max(1)
    };
    match hir.kind() {
        HirKind::Empty => {}
        // A space where a boundary is asked for makes a match likelier.
        HirKind::Look(_) => out.extend_from_slice([&b""[..], b" ", b"-"][next(3)]),
        HirKind::Literal(literal) => out.extend_from_slice(&literal.0),
        HirKind::Class(Class::Unicode(class)) => {
            if let Some(range) = class.ranges().get(next(class.ranges().len())) {
                let member =
                    char::from_u32(u32::from(range.start()) + next(range.len()) as u32 % 64).unwrap_or(range.start());
                out.extend_from_slice(member.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        HirKind::Class(Class::Bytes(class)) => {
            if let Some(range) = class.ranges().get(next(class.ranges().len())) {
                out.push(range.start() + next(range.len()) as u8);
            }
        }
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(repetition.min + 3) - repetition.min;
            for _ in 0..repetition.min as usize + next(most as usize + 1) {
                sample(&repetition.sub, random, out);
            }
        }
        HirKind::Capture(capture) => sample(&capture.sub, random, out),
        HirKind::Concat(parts) => parts.iter().for_each(|part| sample(part, random, out)),
        HirKind::Alternation(parts) => sample(&parts[next(parts.len())], random, out),
    }
}

fn contains(text: &[u8], literal: &[u8], case: Case) -> bool {
    text.windows(literal.len()).any(|part| match case {
        Case::Exact => part == literal,
        Case::Ignored => part.eq_ignore_ascii_case(literal),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn every_match_holds_a_literal_and_the_tokens(
        pattern in pattern(),
        random: u64,
        before in "[aAkK7_ é-]{0,3}",
        after in "[aAkK7_ é-]{0,3}",
    ) {
        let Some(hir) = parse(&pattern) else { return Ok(()) };
        let Ok(regex) = regex::bytes::RegexBuilder::new(&pattern).build() else { return Ok(()) };
        let alternatives = Alternatives::of_regex(&hir);
        let tokens = Tokens::of_regex(&hir);
        let mut random = random;
        for _ in 0..8 {
            let mut text = before.clone().into_bytes();
            sample(&hir, &mut random, &mut text);
            text.extend_from_slice(after.as_bytes());
            if !regex.is_match(&text) {
                continue;
            }
            let shown = String::from_utf8_lossy(&text).into_owned();
            let Alternatives { literals, case } = &alternatives;
            prop_assert!(
                literals.is_empty() || literals.iter().any(|literal| contains(&text, literal, *case)),
                "{:?} matches {:?}, which holds none of {:?}", pattern, shown, literals
            );
            let mut hashes = Vec::new();
            token_hashes(&text, &mut |hash| hashes.push(hash));
            prop_assert!(
                tokens.may_match(&mut |hash| hashes.contains(&hash)),
                "{:?} matches {:?}, which has not the tokens {:?}", pattern, shown, tokens
            );
        }
    }
}
