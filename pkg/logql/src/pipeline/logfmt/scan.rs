//! The pairs of a logfmt line, one after the other.
//!
//! Any byte up to the space separates pairs. A pair that is malformed is skipped up to the next
//! separator and remembered as the error; only strict parsing stops there.

use std::fmt;

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) struct LogfmtError {
    problem: Problem,
    /// Offset from 1.
    position: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Unexpected(u8),
    InvalidKey,
    Unterminated,
    InvalidQuote,
}

impl fmt::Display for LogfmtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "logfmt syntax error at pos {} : ", self.position)?;
        match self.problem {
            Problem::Unexpected(byte) => write!(f, "unexpected '{}'", char::from(byte)),
            Problem::InvalidKey => f.write_str("invalid key"),
            Problem::Unterminated => f.write_str("unterminated quoted value"),
            Problem::InvalidQuote => f.write_str("invalid quoted value"),
        }
    }
}

/// Reads one line.
#[derive(Debug)]
pub(in crate::pipeline) struct Scanner<'a, 'b> {
    line: &'a [u8],
    at: usize,
    value: &'a [u8],
    /// Where the value is once its escapes are undone.
    unquoted: &'b mut Vec<u8>,
    is_unquoted: bool,
    error: Option<LogfmtError>,
}

impl<'a, 'b> Scanner<'a, 'b> {
    pub(in crate::pipeline) fn new(line: &'a [u8], unquoted: &'b mut Vec<u8>) -> Self {
        Self { line, at: 0, value: &[], unquoted, is_unquoted: false, error: None }
    }

    pub(in crate::pipeline) fn is_at_end(&self) -> bool {
        self.at >= self.line.len()
    }

    /// The value of the key that was given last.
    pub(in crate::pipeline) fn value(&self) -> &[u8] {
        if self.is_unquoted { self.unquoted } else { self.value }
    }

    /// What was wrong last.
    pub(in crate::pipeline) fn error(&self) -> Option<LogfmtError> {
        self.error
    }

    /// The next key; `None` if what was read is no pair.
    pub(in crate::pipeline) fn next(&mut self) -> Option<&'a [u8]> {
        self.value = &[];
        self.is_unquoted = false;
        let rest = self.rest();
        let Some(space) = rest.iter().position(|&byte| byte > b' ') else {
            self.at = self.line.len();
            return None;
        };
        self.at += space;
        let rest = self.rest();
        let length = rest.iter().position(|&byte| ENDS[usize::from(byte)]).unwrap_or(rest.len());
        let key = rest.get(..length).unwrap_or_default();
        let end = rest.get(length).copied();
        self.at += length;
        match end {
            Some(b'"') => {
                self.fail(Problem::Unexpected(b'"'));
                self.skip_value();
                None
            }
            Some(b'=') if key.is_empty() => {
                self.fail(Problem::Unexpected(b'='));
                self.skip_value();
                None
            }
            _ if super::has_bad_bytes(key) => {
                self.fail(Problem::InvalidKey);
                if end == Some(b'=') {
                    self.skip_value();
                }
                None
            }
            Some(b'=') => {
                self.at += 1;
                self.read_value().then_some(key)
            }
            _ => Some(key),
        }
    }

    /// Reads what is behind `=`; false if it is malformed.
    fn read_value(&mut self) -> bool {
        let rest = self.rest();
        match rest.first() {
            None => return true,
            Some(&byte) if byte <= b' ' => return true,
            Some(b'"') => return self.read_quoted(),
            Some(_) => {}
        }
        let length = rest.iter().position(|&byte| ENDS[usize::from(byte)]).unwrap_or(rest.len());
        self.at += length;
        match rest.get(length) {
            Some(&byte @ (b'=' | b'"')) => {
                self.fail(Problem::Unexpected(byte));
                self.skip_value();
                false
            }
            _ => {
                self.value = rest.get(..length).unwrap_or_default();
                true
            }
        }
    }

    fn read_quoted(&mut self) -> bool {
        let rest = self.rest();
        let Some((quote, escaped)) = crate::pipeline::json::scan::string_end(rest, 1) else {
            self.at = self.line.len();
            self.fail(Problem::Unterminated);
            return false;
        };
        self.at += quote + 1;
        let text = rest.get(1..quote).unwrap_or_default();
        if !escaped {
            self.value = text;
            return true;
        }
        self.unquoted.clear();
        self.is_unquoted = true;
        let valid = unquote(text, self.unquoted).is_some();
        if !valid {
            self.fail(Problem::InvalidQuote);
        }
        valid
    }

    fn skip_value(&mut self) {
        let rest = self.rest();
        self.at += rest.iter().position(|&byte| byte <= b' ').unwrap_or(rest.len());
    }

    fn fail(&mut self, problem: Problem) {
        self.error = Some(LogfmtError { problem, position: self.at + 1 });
    }

    fn rest(&self) -> &'a [u8] {
        self.line.get(self.at..).unwrap_or_default()
    }
}

/// Bytes that end a key or a value.
const ENDS: [bool; 256] = {
    let mut ends = [false; 256];
    let mut byte = 0;
    while byte <= b' ' as usize {
        ends[byte] = true;
        byte += 1;
    }
    ends[b'=' as usize] = true;
    ends[b'"' as usize] = true;
    ends
};

/// Appends a quoted value with its escapes undone: those of JSON and `\'`. Characters that are none
/// become replacement characters.
fn unquote(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        push_valid(rest.get(..at)?, out);
        let escape = rest.get(at..)?;
        let byte = match *escape.get(1)? {
            byte @ (b'"' | b'\\' | b'/' | b'\'') => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (c, length) = unicode(escape)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = escape.get(length..)?;
                continue;
            }
            _ => return None,
        };
        out.push(byte);
        rest = escape.get(2..)?;
    }
    push_valid(rest, out);
    Some(())
}

fn push_valid(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        chunk.invalid().iter().for_each(|_| out.extend_from_slice("\u{fffd}".as_bytes()));
    }
}

/// The character of `\uXXXX` or of a surrogate pair; half a pair is the replacement character.
fn unicode(escape: &[u8]) -> Option<(char, usize)> {
    let first = unit(escape)?;
    if let Some(c) = char::from_u32(first) {
        return Some((c, 6));
    }
    let second = escape.get(6..).and_then(unit).filter(|unit| (0xdc00..0xe000).contains(unit));
    match second {
        Some(second) if first < 0xdc00 => {
            let c = char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            Some((c.unwrap_or(char::REPLACEMENT_CHARACTER), 12))
        }
        _ => Some((char::REPLACEMENT_CHARACTER, 6)),
    }
}

fn unit(escape: &[u8]) -> Option<u32> {
    let digits = escape.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit * 16 + char::from(digit).to_digit(16)?))
}
