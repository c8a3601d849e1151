//! What parsers find.

use super::{check, check_full};

#[test]
fn json_members_become_labels() {
    check(&[
        ("| json", r#"{"a":"b"}"#, r#"{"a":"b"} {+a="b"}"#),
        (
            "| json",
            r#"{"a":1.50,"b":true,"c":null,"d":[1],"e":{}}"#,
            r#"{"a":1.50,"b":true,"c":null,"d":[1],"e":{}} {+a="1.50", +b="true"}"#,
        ),
        ("| json", r#"{"a":{"b":{"c":"d"}},"x y":2}"#, r#"{"a":{"b":{"c":"d"}},"x y":2} {+a_b_c="d", +x_y="2"}"#),
        ("| json", r#"{"1a":1,"":2," ":3,"é":4}"#, r#"{"1a":1,"":2," ":3,"é":4} {+_="4", +_1a="1"}"#),
        ("| json", r#"{"a":"b\nc\u00e9\ud83d\ude00"}"#, "{\"a\":\"b\\nc\\u00e9\\ud83d\\ude00\"} {+a=\"b\\ncé😀\"}"),
        ("| json", r#"{"a":"\ud83d x"}"#, r#"{"a":"\ud83d x"} {+a=""}"#),
        (
            "| json",
            "",
            r#" {+__error__="JSONParserErr", +__error_details__="Value looks like object, but can't find closing '}' symbol"}"#,
        ),
        (
            "| json",
            "x",
            r#"x {+__error__="JSONParserErr", +__error_details__="Value looks like object, but can't find closing '}' symbol"}"#,
        ),
        (
            "| json",
            r#"{"a":1,"b":"#,
            r#"{"a":1,"b": {+__error__="JSONParserErr", +__error_details__="Malformed JSON error", +a="1"}"#,
        ),
        (
            "| json",
            r#"{"a":1,"b":{"c":2"#,
            r#"{"a":1,"b":{"c":2 {+__error__="JSONParserErr", +__error_details__="Value looks like object, but can't find closing '}' symbol", +a="1"}"#,
        ),
        (
            "| json",
            r#"{"a":"x"#,
            r#"{"a":"x {+__error__="JSONParserErr", +__error_details__="Value is string, but can't find closing '\"' symbol"}"#,
        ),
        (
            "| json",
            r#"{"a":nope}"#,
            r#"{"a":nope} {+__error__="JSONParserErr", +__error_details__="Unknown value type"}"#,
        ),
        ("| json", r#"{"a":12abc} and more"#, r#"{"a":12abc} and more {+a="12abc"}"#),
        ("| json", r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2} {+a="1"}"#),
    ]);
}

#[test]
fn a_parsed_name_that_is_taken_gets_a_suffix() {
    check_full(&[
        (
            "| json",
            r#"{"foo":1,"pod":2,"bar":3}"#,
            r#"{"foo":1,"pod":2,"bar":3} {app="web", +bar="3", foo="stream", +foo_extracted="1", ~pod="p-1", +pod_extracted="2"}"#,
        ),
        (
            "| logfmt",
            r#"foo=1 pod=2 bar=3"#,
            r#"foo=1 pod=2 bar=3 {app="web", +bar="3", foo="stream", +foo_extracted="1", ~pod="p-1", +pod_extracted="2"}"#,
        ),
        (
            r#"| regexp `(?P<foo>\d) (?P<x>\d)`"#,
            r#"1 2"#,
            r#"1 2 {app="web", foo="stream", +foo_extracted="1", ~pod="p-1", +x="2"}"#,
        ),
        (
            r#"| pattern `<foo> <x>`"#,
            r#"1 2"#,
            r#"1 2 {app="web", foo="stream", +foo_extracted="1", ~pod="p-1", +x="2"}"#,
        ),
    ]);
}

#[test]
fn logfmt_pairs_become_labels() {
    check(&[
        ("| logfmt", r#"a=b c="d e" f"#, r#"a=b c="d e" f {+a="b", +c="d e"}"#),
        ("| logfmt --keep-empty", r#"a= b="" c d=1"#, r#"a= b="" c d=1 {+a="", +b="", +c="", +d="1"}"#),
        ("| logfmt", r#"a=b=c d=1"#, r#"a=b=c d=1 {+d="1"}"#),
        (
            "| logfmt --strict",
            r#"x=1 a=b=c d=1"#,
            r#"x=1 a=b=c d=1 {+__error__="LogfmtParserErr", +__error_details__="logfmt syntax error at pos 8 : unexpected '='", +x="1"}"#,
        ),
        ("| logfmt", r#"a="b"#, r#"a="b {}"#),
        (
            "| logfmt --strict",
            r#"a="b"#,
            r#"a="b {+__error__="LogfmtParserErr", +__error_details__="logfmt syntax error at pos 5 : unterminated quoted value"}"#,
        ),
        ("| logfmt", r#"a="b\"c\n" d-e.f=1"#, r#"a="b\"c\n" d-e.f=1 {+a="b\"c\n", +d_e_f="1"}"#),
        (r#"| logfmt a, b="c", d"#, r#"a=1 c=2"#, r#"a=1 c=2 {+a="1", +b="2", +d=""}"#),
    ]);
}
