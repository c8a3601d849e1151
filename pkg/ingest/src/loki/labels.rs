//! Labels of a stream: the text `{a="b", c="d"}` as Prometheus reads it, and back.
//!
//! Pairs come out sorted by name and without empty values; two of one name stay two, for the limit
//! on them to say so.

use super::pairs::Pairs;
use std::fmt::Write as _;

/// Reads labels as text.
///
/// # Errors
/// In Prometheus' words, with line and column.
pub(super) fn parse(text: &str, out: &mut Pairs) -> Result<(), String> {
    out.clear();
    let mut parser = Parser { text, at: 0 };
    parser.metric(out).map_err(|(at, what)| {
        let before = text.get(..at).unwrap_or(text);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        let column = at - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
        format!("couldn't parse labels: {line}:{column}: parse error: {what}")
    })?;
    out.drop_empty();
    out.sort();
    Ok(())
}

/// Checks and sorts labels that came apart; of two of one name the last counts.
pub(super) fn settle(labels: &mut Pairs) -> Result<(), String> {
    labels.sort();
    labels.keep_last();
    if labels.iter().any(|(name, _)| !is_name(name)) {
        // Loki prints them and reads what it printed.
        let text = display(labels.iter());
        return parse(&text, labels);
    }
    labels.drop_empty();
    Ok(())
}

/// `{a="b", c="d"}`, quoted as Go does.
pub(super) fn display<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::from("{");
    for (index, (name, value)) in labels.enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let _ = write!(out, "{comma}{name}=");
        quote(value, &mut out);
    }
    out.push('}');
    out
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            char if u32::from(char) < 0x20 || char == '\u{7f}' => drop(write!(out, "\\x{:02x}", u32::from(char))),
            char => out.push(char),
        }
    }
    out.push('"');
}

fn is_name(text: &str) -> bool {
    !text.starts_with(|char: char| char.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A place in the text, and what is wrong there.
type Wrong = (usize, String);

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

/// A piece of the text.
enum Token<'a> {
    Name(&'a str),
    String(String),
    /// `{`, `}`, `,`, `=` or another operator.
    Sign(&'static str),
    End,
}

impl Token<'_> {
    fn words(&self) -> String {
        match self {
            Self::Name(name) => format!("identifier {name:?}"),
            Self::String(text) => format!("string {text:?}"),
            Self::Sign(sign @ ("!=" | "=~" | "!~")) => format!("<op:{sign}>"),
            Self::Sign(sign) => format!("{sign:?}"),
            Self::End => "end of input".into(),
        }
    }
}

impl<'a> Parser<'a> {
    fn metric(&mut self, out: &mut Pairs) -> Result<(), Wrong> {
        let mut next = self.outside()?;
        if let (_, Token::Name(name)) = next {
            out.push("__name__", name);
            next = self.outside()?;
        }
        if let (_, Token::Sign("{")) = next {
            self.set(out)?;
            next = self.outside()?;
        }
        match next {
            (_, Token::End) => Ok(()),
            (at, token) => Err((at, format!("unexpected {}", token.words()))),
        }
    }

    fn set(&mut self, out: &mut Pairs) -> Result<(), Wrong> {
        loop {
            let (at, token) = self.inside()?;
            let (name, is_quoted) = match token {
                Token::Sign("}") => return Ok(()),
                Token::Name(name) => (name.to_owned(), false),
                Token::String(name) => (name, true),
                token => {
                    return Err((at, unexpected(&token, "identifier or \"}\"")));
                }
            };
            let (at, token) = self.inside()?;
            match token {
                Token::Sign("=") => {
                    let (at, token) = self.inside()?;
                    let Token::String(value) = token else { return Err((at, unexpected(&token, "string"))) };
                    out.push(&name, &value);
                    let (at, token) = self.inside()?;
                    match token {
                        Token::Sign(",") => {}
                        Token::Sign("}") => return Ok(()),
                        token => return Err((at, unexpected(&token, "\",\" or \"}\""))),
                    }
                }
                // A name in quotes alone is that of the metric.
                Token::Sign(sign @ ("," | "}")) if is_quoted => {
                    out.push("__name__", &name);
                    if sign == "}" {
                        return Ok(());
                    }
                }
                token => return Err((at, unexpected(&token, "\"=\""))),
            }
        }
    }

    fn skip_space(&mut self) -> usize {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.bytes().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at
    }

    fn outside(&mut self) -> Result<(usize, Token<'a>), Wrong> {
        let at = self.skip_space();
        let rest = self.text.get(at..).unwrap_or_default();
        let Some(first) = rest.chars().next() else { return Ok((at, Token::End)) };
        if first == '{' {
            self.at += 1;
            return Ok((at, Token::Sign("{")));
        }
        match self.name(true) {
            Some(name) => Ok((at, Token::Name(name))),
            None => Err((at, format!("unexpected character: {first:?}"))),
        }
    }

    fn inside(&mut self) -> Result<(usize, Token<'a>), Wrong> {
        let at = self.skip_space();
        let rest = self.text.get(at..).unwrap_or_default();
        let Some(first) = rest.chars().next() else {
            return Err((at, "unexpected end of input inside braces".into()));
        };
        for sign in ["!=", "!~", "=~", "=", ",", "}"] {
            if rest.starts_with(sign) {
                self.at += sign.len();
                return Ok((at, Token::Sign(sign)));
            }
        }
        if matches!(first, '"' | '\'' | '`') {
            return Ok((at, Token::String(self.string(first)?)));
        }
        match self.name(false) {
            Some(name) => Ok((at, Token::Name(name))),
            None => Err((at, format!("unexpected character inside braces: {first:?}"))),
        }
    }

    fn name(&mut self, with_colon: bool) -> Option<&'a str> {
        let rest = self.text.get(self.at..)?;
        if rest.starts_with(|char: char| char.is_ascii_digit()) {
            return None;
        }
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || (with_colon && *byte == b':');
        let len = rest.bytes().take_while(is_part).count();
        let name = rest.get(..len).filter(|name| !name.is_empty())?;
        self.at += len;
        Some(name)
    }

    /// Reads a string, from its opening quote on.
    fn string(&mut self, quote: char) -> Result<String, Wrong> {
        let start = self.at;
        let unterminated = || (start, "unterminated quoted string".to_owned());
        let mut rest = self.text.get(start + 1..).unwrap_or_default();
        let mut out = Vec::new();
        loop {
            let char = rest.chars().next().ok_or_else(unterminated)?;
            rest = rest.get(char.len_utf8()..).unwrap_or_default();
            if char == quote {
                self.at = self.text.len() - rest.len();
                return Ok(String::from_utf8_lossy(&out).into_owned());
            }
            match char {
                '\n' if quote != '`' => return Err(unterminated()),
                '\\' if quote != '`' => rest = escape(rest, quote, &mut out).map_err(|what| (start, what))?,
                char => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
}

fn unexpected(token: &Token<'_>, expected: &str) -> String {
    format!("unexpected {} in label set, expected {expected}", token.words())
}

/// Undoes the escape whose backslash was read; what stands behind it.
fn escape<'a>(rest: &'a str, quote: char, out: &mut Vec<u8>) -> Result<&'a str, String> {
    let first = rest.chars().next().ok_or("escape sequence not terminated")?;
    let behind = rest.get(first.len_utf8()..).unwrap_or_default();
    let plain = match first {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' => Some(b'\\'),
        char if char == quote => u8::try_from(quote).ok(),
        _ => None,
    };
    if let Some(byte) = plain {
        out.push(byte);
        return Ok(behind);
    }
    let (digits, radix, from) = match first {
        'x' => (2, 16, behind),
        'u' => (4, 16, behind),
        'U' => (8, 16, behind),
        '0'..='7' => (3, 8, rest),
        other => return Err(format!("unknown escape sequence U+{:04X} {other:?}", u32::from(other))),
    };
    let number = from.get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let number = number.and_then(|text| u32::from_str_radix(text, radix).ok());
    let number = number.ok_or("illegal character in escape sequence")?;
    if matches!(first, 'u' | 'U') {
        let char = char::from_u32(number).ok_or("escape sequence is an invalid Unicode code point")?;
        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        out.push(u8::try_from(number).map_err(|_| "escape sequence is out of range")?);
    }
    Ok(from.get(digits..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Vec<(String, String)>, String> {
        let mut pairs = Pairs::default();
        parse(text, &mut pairs)?;
        Ok(pairs.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn labels_are_read_and_sorted() {
        for (text, labels) in [
            ("{}", &[][..]),
            ("", &[]),
            (r#"{b="2", a='1',}"#, &[("a", "1"), ("b", "2")]),
            ("foo{a=`\\`}", &[("__name__", "foo"), ("a", "\\")]),
            (r#"{"a-b"="c", "m"}"#, &[("__name__", "m"), ("a-b", "c")]),
            (r#"{a="\x41\u00e4\101\n\"", b=""}"#, &[("a", "AäA\n\"")]),
            (r#"{a="1", a="2"}"#, &[("a", "1"), ("a", "2")]),
        ] {
            let expected: Vec<_> = labels.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect();
            assert_eq!(parsed(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_as_prometheus_does() {
        for (text, at, what) in [
            (r#"{a-b="x"}"#, "1:3", "unexpected character inside braces: '-'"),
            (r#"{1a="x"}"#, "1:2", "unexpected character inside braces: '1'"),
            (r#"{ä="x"}"#, "1:2", "unexpected character inside braces: 'ä'"),
            (r#"{="x"}"#, "1:2", r#"unexpected "=" in label set, expected identifier or "}""#),
            (r#"{a b="x"}"#, "1:4", r#"unexpected identifier "b" in label set, expected "=""#),
            (r#"{a="b" c="d"}"#, "1:8", r#"unexpected identifier "c" in label set, expected "," or "}""#),
            ("{a=b}", "1:4", r#"unexpected identifier "b" in label set, expected string"#),
            (r#"{a!="b"}"#, "1:3", r#"unexpected <op:!=> in label set, expected "=""#),
            ("{", "1:2", "unexpected end of input inside braces"),
            (r#"{a="b"} x"#, "1:9", r#"unexpected identifier "x""#),
            (r#"{a="\q"}"#, "1:4", "unknown escape sequence U+0071 'q'"),
            ("{a}", "1:3", r#"unexpected "}" in label set, expected "=""#),
            ("{,}", "1:2", r#"unexpected "," in label set, expected identifier or "}""#),
            (r#"{a="b",,}"#, "1:8", r#"unexpected "," in label set, expected identifier or "}""#),
            (r#"{a="b"#, "1:4", "unterminated quoted string"),
            ("{\n a=}", "2:4", r#"unexpected "}" in label set, expected string"#),
        ] {
            assert_eq!(parsed(text), Err(format!("couldn't parse labels: {at}: parse error: {what}")), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(labels in proptest::collection::btree_map("[a-z_][a-z0-9_]{0,4}", ".{1,9}", 0..5)) {
            let text = display(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            prop_assert_eq!(parsed(&text), Ok(labels.into_iter().collect()));
        }

        #[test]
        fn no_text_is_too_strange(text in "[{}=,\"'`\\\\a-cxuU0-9~! \n]{0,30}", other: String) {
            let _ = (parsed(&text), parsed(&other));
        }
    }
}
