use super::*;
use proptest::prelude::*;
use serde::de::IgnoredAny;

/// Whether the scanner takes the whole text for one value.
fn accepts(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.skip_whitespace();
    if scanner.skip().is_err() {
        return false;
    }
    scanner.skip_whitespace();
    scanner.at == text.len()
}

fn agrees(text: &str) {
    assert_eq!(accepts(text), serde_json::from_str::<IgnoredAny>(text).is_ok(), "{text:?}");
}

#[test]
fn it_accepts_what_serde_json_accepts() {
    for text in [
        "",
        " ",
        "{}",
        "[]",
        "{",
        "[",
        "}",
        "]",
        "{]",
        "[}",
        "[,]",
        "[1,]",
        "[1,2]",
        "[[],{}]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1 \"b\":2}",
        "{a:1}",
        "{'a':1}",
        "0",
        "-0",
        "-",
        "01",
        "-01",
        "1.",
        ".1",
        "1.0",
        "1e",
        "1e+",
        "1E-5",
        "1e5",
        "+1",
        "1e999",
        "0x1",
        "NaN",
        "Infinity",
        "tru",
        "true",
        "truex",
        "nul",
        "null",
        "false",
        "\"",
        "\"\"",
        "\"\\\"",
        "\"\\\\\"",
        "\"\\u12\"",
        "\"\\u12aF\"",
        "\"\\ud800\"",
        "\"\\x\"",
        "\"\t\"",
        "\"\u{7f}ä😀\"",
        "\"a\0b\"",
        "1 2",
        "[1 2]",
        "\u{feff}1",
        "{\"a\":[{\"b\":[[]]}]}",
        "[1]]",
        "\u{a0}1",
        "\u{c}1",
    ] {
        agrees(text);
    }
}

#[test]
fn depth_costs_no_stack() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let text = format!("{}1{}", open.repeat(1_000_000), close.repeat(1_000_000));
        let (_, deepest) = Scanner::new(&text).skip().unwrap();
        assert_eq!(deepest, 1_000_000);
        assert!(Scanner::new(&text[..text.len() - 1]).skip().is_err());
    }
}

#[test]
fn every_byte_is_looked_at_wherever_it_stands() {
    for special in ["\"", "\\", "\u{1f}", "\n", "\0"] {
        for before in 0..40 {
            let text = format!("{}{special}{}", "ä~".repeat(before / 3) + &" ".repeat(before % 3), "x".repeat(17));
            assert_eq!(plain_bytes(text.as_bytes()), text.find(special).unwrap());
        }
    }
    assert_eq!(plain_bytes("\u{7f}\u{80}\u{ff}äöü~ !#[]".as_bytes()), 17);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn it_agrees_with_serde_json_on_anything(text in r#"[ \n\{\}\[\],:"\\a0-9.eE+\-tu]{0,24}"#) {
        agrees(&text);
    }

    #[test]
    fn it_agrees_with_serde_json_on_damaged_json(value in crate::tests::model::value(), at: prop::sample::Index, byte in 0u8..128) {
        let mut text = serde_json::to_string(&value).unwrap().into_bytes();
        agrees(std::str::from_utf8(&text).unwrap());
        let at = at.index(text.len());
        if text[at] < 128 {
            text[at] = byte;
            agrees(std::str::from_utf8(&text).unwrap());
        }
    }
}
