//! The level that a line tells, found as Loki's distributor finds it: a key of JSON or logfmt, else
//! the first word of the line that names a level. Nothing is allocated, and no line is refused.

use memchr::memchr;
use timberlog_types::level;

/// What nothing was found in comes to.
pub(super) const UNKNOWN: &str = "unknown";
/// Objects in objects that are looked into.
const DEPTH_MAX: usize = 2;

/// Words that are looked for in a line.
const WORDS: [(&str, &str); 9] = [
    ("trace", "trace"),
    ("debug", "debug"),
    ("fatal", "fatal"),
    ("critical", "critical"),
    ("error", "error"),
    ("err", "error"),
    ("warning", "warn"),
    ("warn", "warn"),
    ("info", "info"),
];

/// The level of OpenTelemetry's severity number.
pub(super) fn of_severity_number(text: &str) -> &'static str {
    match text.parse::<i64>() {
        Err(_) => "info",
        Ok(0) => UNKNOWN,
        Ok(..=4) => "trace",
        Ok(5..=8) => "debug",
        Ok(9..=12) => "info",
        Ok(13..=16) => "warn",
        Ok(17..=20) => "error",
        Ok(21..=24) => "fatal",
        Ok(_) => UNKNOWN,
    }
}

/// The level of a line; [`UNKNOWN`] if it tells none.
pub(super) fn of_line(line: &[u8]) -> &'static str {
    let trimmed = line.trim_ascii();
    let named = if trimmed.first() == Some(&b'{') && trimmed.last() == Some(&b'}') {
        json(trimmed)
    } else if memchr(b'=', line).is_some() {
        logfmt(line)
    } else {
        None
    };
    named.and_then(level::detected).unwrap_or_else(|| word(line))
}

/// The first word of a line that names a level and stands alone.
fn word(line: &[u8]) -> &'static str {
    let mut at_start = true;
    for (at, &byte) in line.iter().enumerate() {
        if at_start
            && matches!(byte | 0x20, b't' | b'd' | b'f' | b'c' | b'e' | b'w' | b'i')
            && let Some(level) = word_at(line.get(at..).unwrap_or_default())
        {
            return level;
        }
        at_start = matches!(byte, b' ' | b'\t' | b'\n' | b'[' | b'(' | b'{' | b'"' | b'\'' | b'=' | b'|');
    }
    UNKNOWN
}

fn word_at(rest: &[u8]) -> Option<&'static str> {
    let ends = |byte: Option<&u8>| {
        byte.is_none_or(|byte| {
            matches!(
                byte,
                b' ' | b'\t'
                    | b'\n'
                    | b'['
                    | b']'
                    | b'('
                    | b')'
                    | b'{'
                    | b'}'
                    | b':'
                    | b','
                    | b'!'
                    | b'"'
                    | b'\''
                    | b'='
                    | b'|'
            )
        })
    };
    let is_word = |word: &str| {
        rest.get(..word.len()).is_some_and(|text| text.eq_ignore_ascii_case(word.as_bytes()))
            && ends(rest.get(word.len()))
    };
    WORDS.iter().find(|(word, _)| is_word(word)).map(|&(_, level)| level)
}

/// The value of the key that counts most.
fn logfmt(line: &[u8]) -> Option<&[u8]> {
    let mut best = level::KEYS.len();
    let mut found = None;
    let mut at = 0;
    while let Some((key, value, next)) = logfmt_pair(line, at) {
        if let Some(rank) = level::KEYS.iter().position(|other| other.as_bytes().eq_ignore_ascii_case(key))
            && rank < best
        {
            (best, found) = (rank, Some(value));
            if rank == 0 {
                break;
            }
        }
        at = next;
    }
    found
}

/// The pair at or behind a place, and the place behind it; `None` at the end and at what is no pair.
fn logfmt_pair(line: &[u8], at: usize) -> Option<(&[u8], &[u8], usize)> {
    let start = at + line.get(at..)?.iter().position(|&byte| byte > b' ')?;
    let key_end = until(line, start, |byte| byte == b'=' || byte == b'"' || byte <= b' ');
    let key = line.get(start..key_end)?;
    match line.get(key_end) {
        Some(b'"') => return None,
        Some(b'=') if key.is_empty() => return None,
        Some(b'=') => {}
        _ => return Some((key, &[], key_end)),
    }
    let value = key_end + 1;
    if line.get(value) == Some(&b'"') {
        let mut end = value + 1;
        loop {
            match line.get(end)? {
                b'\\' => end += 2,
                b'"' => return Some((key, line.get(value + 1..end)?, end + 1)),
                _ => end += 1,
            }
        }
    }
    let end = until(line, value, |byte| byte == b'=' || byte == b'"' || byte <= b' ');
    match line.get(end) {
        Some(b'=' | b'"') => None,
        _ => Some((key, line.get(value..end)?, end)),
    }
}

fn until(line: &[u8], from: usize, stops: impl Fn(u8) -> bool) -> usize {
    line.get(from..).and_then(|rest| rest.iter().position(|&byte| stops(byte))).map_or(line.len(), |len| from + len)
}

/// The first text in an object, or in an object in it, whose key is one of a level.
fn json(text: &[u8]) -> Option<&[u8]> {
    Members { text, at: 0 }.find(1)
}

/// Walks JSON for its keys; what is not JSON ends the walk.
struct Members<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Members<'a> {
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.get(self.at..)?;
        self.at += rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// A string from its opening quote on.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            match self.text.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        let string = self.text.get(start..self.at);
        self.at += 1;
        string
    }

    fn find(&mut self, depth: usize) -> Option<&'a [u8]> {
        self.take(b'{')?;
        while self.peek()? != b'}' {
            let key = self.string()?;
            self.take(b':')?;
            match self.peek()? {
                b'"' => {
                    let value = self.string()?;
                    if level::KEYS.iter().any(|other| other.as_bytes() == key) {
                        return Some(value);
                    }
                }
                b'{' if depth < DEPTH_MAX => {
                    if let Some(found) = self.find(depth + 1) {
                        return Some(found);
                    }
                    self.take(b'}')?;
                }
                _ => self.skip()?,
            }
            if self.peek()? == b',' {
                self.at += 1;
            }
        }
        None
    }

    /// Passes a value that is no string.
    fn skip(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    open += 1;
                    self.at += 1;
                }
                b'}' | b']' if open == 0 => return Some(()),
                b'}' | b']' => {
                    open -= 1;
                    self.at += 1;
                }
                b',' if open == 0 => return Some(()),
                _ => self.at += 1,
            }
            if open == 0 && matches!(self.peek()?, b',' | b'}') {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_tells_its_level() {
        for (line, level) in [
            (r#"{"msg":"x","level":"WARNING"}"#, "warn"),
            (r#" {"a":{"b":{"level":"error"}},"severity":"dbg"} "#, "debug"),
            (r#"{"a":{"Level":"Inf"},"level":"error"}"#, "info"),
            (r#"{"a":[1,{"level":"error"},"]"],"lvl":"trc"}"#, "trace"),
            (r#"{"a":{},"b":null,"level":3,"severity_text":"critical"}"#, "critical"),
            (r#"{"level":"notice","msg":"an error, then"}"#, "error"),
            (r#"{"level":"loud"}"#, "unknown"),
            (r#"{"level":"#, "unknown"),
            ("{broken} error}", "error"),
            ("ts=1 lvl=debug LEVEL=Error x", "error"),
            ("a=b severity=\"fa\\\"tal\" lvl=wrn", "unknown"),
            ("a=b level=\"information\"", "info"),
            ("a=\"cut level=error", "error"),
            ("a==b level=info", "info"),
            ("x=1 the disk is [WARN] full", "warn"),
            ("ERROR: it broke", "error"),
            ("err", "error"),
            ("(critical)", "critical"),
            ("errors and warnings, informed", "unknown"),
            ("misc:error", "unknown"),
            ("first info, then error", "info"),
            ("", "unknown"),
            ("noerror error", "error"),
        ] {
            assert_eq!(of_line(line.as_bytes()), level, "{line}");
        }
        assert_eq!(
            ["x", "0", "4", "9", "17", "24", "25", "-1"].map(of_severity_number),
            ["info", "unknown", "trace", "info", "error", "fatal", "unknown", "trace"]
        );
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in "[{}\\[\\]\":,=\\\\ a-e\n]{0,40}", bytes: Vec<u8>) {
            of_line(line.as_bytes());
            of_line(format!("{{{line}}}").as_bytes());
            of_line(&bytes);
        }
    }
}
