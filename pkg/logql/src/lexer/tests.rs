//! Tests of the lexer: tokens, and the lines and columns that Loki gives them.

use super::*;

fn tokens(text: &str) -> Vec<(Kind, usize, usize)> {
    let mut lexer = Lexer::new(text);
    let mut tokens = Vec::new();
    loop {
        let token = lexer.token();
        tokens.push((token.kind, token.line, token.column));
        if token.kind == Kind::End {
            return tokens;
        }
    }
}

fn kinds(text: &str) -> Vec<Kind> {
    tokens(text).into_iter().map(|(kind, ..)| kind).filter(|&kind| kind != Kind::End).collect()
}

#[test]
fn places_are_those_of_go() {
    assert_eq!(tokens(""), [(Kind::End, 0, 0)]);
    assert_eq!(tokens("  "), [(Kind::End, 1, 3)]);
    assert_eq!(tokens("a\n"), [(Kind::Identifier, 1, 1), (Kind::End, 2, 1)]);
    assert_eq!(tokens("ä b"), [(Kind::Identifier, 1, 1), (Kind::Identifier, 1, 3), (Kind::End, 1, 4)]);
    assert_eq!(
        tokens("{a=\"b\"}\n\t|= `c`[5m]"),
        [
            (Kind::OpenBrace, 1, 1),
            (Kind::Identifier, 1, 2),
            (Kind::Eq, 1, 3),
            (Kind::String, 1, 4),
            (Kind::CloseBrace, 1, 7),
            (Kind::PipeExact, 0, 2),
            (Kind::String, 2, 5),
            (Kind::Range, 0, 8),
            (Kind::End, 2, 12),
        ]
    );
    assert_eq!(tokens("# a\n  5m # b"), [(Kind::Duration, 0, 3), (Kind::End, 2, 9)]);
}

#[test]
fn functions_are_names_unless_they_are_called() {
    for (text, expected) in [
        ("sum(", vec![Kind::Sum, Kind::Open]),
        ("sum (", vec![Kind::Sum, Kind::Open]),
        ("SUM by (", vec![Kind::Sum, Kind::By, Kind::Open]),
        ("sum without(", vec![Kind::Sum, Kind::Without, Kind::Open]),
        ("sum by", vec![Kind::Identifier, Kind::By]),
        ("sum bytes(", vec![Kind::Identifier, Kind::BytesConv, Kind::Open]),
        ("sum=", vec![Kind::Identifier, Kind::Eq]),
        ("ip=ip(", vec![Kind::Identifier, Kind::Eq, Kind::Ip, Kind::Open]),
        ("json(", vec![Kind::Json, Kind::Open]),
        ("JSON", vec![Kind::Json]),
    ] {
        assert_eq!(kinds(text), expected, "{text}");
    }
}

#[test]
fn numbers_have_units_or_not() {
    for (text, expected) in [
        ("5 5m 5MB", vec![Kind::Number, Kind::Duration, Kind::Bytes]),
        ("1h30m 1.5s -5m -1h2m", vec![Kind::Duration; 4]),
        ("-5", vec![Kind::Sub, Kind::Number]),
        ("- 5m", vec![Kind::Sub, Kind::Duration]),
        ("-0", vec![Kind::Duration]),
        ("5x", vec![Kind::Number, Kind::Identifier]),
        ("5mm", vec![Kind::Number, Kind::Identifier]),
        ("1.5.5", vec![Kind::Number, Kind::Number]),
        ("1e3 0x1F 0o7 .5 5. 1_0", vec![Kind::Number; 6]),
        ("1kB 1KiB 1.5GB 2PB 5k", vec![Kind::Bytes; 5]),
        ("5ZB", vec![Kind::Number, Kind::Identifier]),
        (".", vec![Kind::Dot]),
        ("--strict --keep-empty", vec![Kind::Flag, Kind::Flag]),
        ("--other", vec![Kind::Sub, Kind::Sub, Kind::Identifier]),
        ("1//x\n2/*y*/3/4", vec![Kind::Number, Kind::Number, Kind::Number, Kind::Div, Kind::Number]),
        ("@ $ 'a' ?", vec![Kind::Identifier; 4]),
    ] {
        assert_eq!(kinds(text), expected, "{text}");
    }
}

#[test]
fn the_first_error_is_kept() {
    for (text, expected) in [
        ("\"a", "parse error at line 1, col 1: literal not terminated"),
        ("a\n `b", "parse error at line 2, col 2: literal not terminated"),
        ("\"\\q\" \"", "parse error at line 1, col 1: invalid char escape"),
        ("'ab'", "parse error at line 1, col 1: invalid char literal"),
        ("1e", "parse error at line 1, col 1: exponent has no digits"),
        ("0x.8", "parse error at line 1, col 1: hexadecimal mantissa requires a 'p' exponent"),
        ("0b12", "parse error at line 1, col 1: invalid digit '2' in binary literal"),
        ("09", "parse error at line 1, col 1: invalid digit '9' in octal literal"),
        ("1__0", "parse error at line 1, col 1: '_' must separate successive digits"),
        ("/* a", "parse error at line 1, col 1: comment not terminated"),
        ("[5m", "parse error at line 0, col 1: missing closing ']' in duration"),
        ("a\0", "parse error at line 1, col 1: invalid character NUL"),
        ("\"\\xff\"", "parse error at line 1, col 1: escapes do not spell UTF-8"),
    ] {
        let mut lexer = Lexer::new(text);
        while lexer.token().kind != Kind::End {}
        assert_eq!(lexer.error().map(ToString::to_string).as_deref(), Some(expected), "{text}");
    }
}
