//! JSON → values, as Go's `encoding/json` reads it without a type: numbers are floats.

use super::value::{List, Value};
use std::collections::BTreeMap;
use std::rc::Rc;

/// How deep lists and objects may be nested; Go allows 10,000.
const DEPTH_MAX: usize = 128;

/// `None` if the text is no JSON.
pub(super) fn parse(text: &[u8]) -> Option<Value<'static>> {
    let mut input = Input { text, at: 0 };
    let value = input.value(0)?;
    input.spaces();
    (input.at == text.len()).then_some(value)
}

struct Input<'t> {
    text: &'t [u8],
    at: usize,
}

impl Input<'_> {
    fn spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.spaces();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Option<Value<'static>> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.spaces();
        match self.peek()? {
            b'{' => {
                self.at += 1;
                let mut map = BTreeMap::new();
                if !self.eat(b'}') {
                    loop {
                        self.spaces();
                        let name = self.string()?;
                        self.eat(b':').then_some(())?;
                        map.insert(name, self.value(depth + 1)?);
                        if self.eat(b'}') {
                            break;
                        }
                        self.eat(b',').then_some(())?;
                    }
                }
                Some(Value::Map(Rc::new(map)))
            }
            b'[' => {
                self.at += 1;
                let mut items = Vec::new();
                if !self.eat(b']') {
                    loop {
                        items.push(self.value(depth + 1)?);
                        if self.eat(b']') {
                            break;
                        }
                        self.eat(b',').then_some(())?;
                    }
                }
                Some(Value::List(List::new(items)))
            }
            b'"' => self.string().map(Value::text),
            b't' => self.word(b"true", Value::Bool(true)),
            b'f' => self.word(b"false", Value::Bool(false)),
            b'n' => self.word(b"null", Value::Invalid),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8], value: Value<'static>) -> Option<Value<'static>> {
        self.text.get(self.at..)?.starts_with(word).then_some(())?;
        self.at += word.len();
        Some(value)
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<Value<'static>> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let number: f64 = std::str::from_utf8(self.text.get(start..self.at)?).ok()?.parse().ok()?;
        number.is_finite().then_some(Value::Float(number))
    }

    /// What is no UTF-8, and half a surrogate pair, becomes U+FFFD.
    fn string(&mut self) -> Option<Vec<u8>> {
        (self.peek()? == b'"').then_some(())?;
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let rest = self.text.get(self.at..)?;
            let plain = rest.iter().position(|&byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
            out.extend_from_slice(String::from_utf8_lossy(rest.get(..plain)?).as_bytes());
            self.at += plain + 1;
            match rest.get(plain)? {
                b'"' => return Some(out),
                b'\\' => {
                    let c = self.escape()?;
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit(self.at)?;
                self.at += 4;
                let second = match self.text.get(self.at..self.at + 2) {
                    Some(b"\\u") => self.unit(self.at + 2),
                    _ => None,
                };
                match (first, second) {
                    (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) => {
                        self.at += 6;
                        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))?
                    }
                    _ => char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER),
                }
            }
            _ => return None,
        })
    }

    /// Four hexadecimal digits.
    fn unit(&self, at: usize) -> Option<u32> {
        self.text.get(at..at + 4)?.iter().try_fold(0, |value, &byte| Some(value * 16 + char::from(byte).to_digit(16)?))
    }
}
