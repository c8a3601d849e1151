//! JSON texts walked without a tree, as leniently as the parser that Loki uses.
//!
//! A value is what stands between its delimiters: a number is whatever begins like one, an object
//! ends at the brace that balances its first, and nothing within is looked at before it is asked
//! for. Errors carry that parser's texts, because they end up in `__error_details__`. All
//! positions are checked; nothing here recurses.

/// What a text is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::pipeline) enum JsonError {
    #[error("Unknown value type")]
    UnknownType,
    #[error("Malformed JSON error")]
    Malformed,
    #[error("Value is string, but can't find closing '\"' symbol")]
    MalformedString,
    #[error("Value is array, but can't find closing ']' symbol")]
    MalformedArray,
    #[error("Value looks like object, but can't find closing '}}' symbol")]
    MalformedObject,
    #[error("Encountered an invalid escape sequence in a string")]
    MalformedEscape,
    #[error("expecting json object(6), but it is not")]
    NotAnObject,
    #[error("Value is nested too deeply")]
    TooDeep,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Kind {
    String,
    Number,
    Object,
    Array,
    Boolean,
    Null,
}

/// A value and where the text goes on behind it.
#[derive(Clone, Copy, Debug)]
pub(in crate::pipeline) struct Value<'a> {
    pub(in crate::pipeline) kind: Kind,
    /// Without the quotes of a string.
    pub(in crate::pipeline) text: &'a [u8],
    /// Offset of what is behind it, in the text that was asked about.
    pub(in crate::pipeline) end: usize,
}

/// The value at the beginning of a text, behind spaces.
pub(in crate::pipeline) fn value(data: &[u8]) -> Result<Value<'_>, JsonError> {
    let start = skip_space(data, 0).ok_or(JsonError::Malformed)?;
    let rest = data.get(start..).unwrap_or_default();
    let first = rest.first().copied().unwrap_or_default();
    let (kind, length) = match first {
        b'"' => (Kind::String, 1 + string_end(rest, 1).ok_or(JsonError::MalformedString)?.0),
        b'[' => (Kind::Array, block_end(rest, b'[', b']').ok_or(JsonError::MalformedArray)?),
        b'{' => (Kind::Object, block_end(rest, b'{', b'}').ok_or(JsonError::MalformedObject)?),
        _ => {
            let length = rest.iter().position(|&byte| ends_token(byte)).unwrap_or(rest.len());
            let kind = match (first, rest.get(..length).unwrap_or_default()) {
                (b't' | b'f', b"true" | b"false") => Kind::Boolean,
                (b'n', b"null") => Kind::Null,
                (b'0'..=b'9' | b'-', _) => Kind::Number,
                _ => return Err(JsonError::UnknownType),
            };
            (kind, length)
        }
    };
    let text = match kind {
        Kind::String => rest.get(1..length - 1),
        _ => rest.get(..length),
    };
    Ok(Value { kind, text: text.unwrap_or_default(), end: start + length })
}

fn ends_token(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b',' | b'}' | b']')
}

/// Where the next byte that is no space is.
pub(super) fn skip_space(data: &[u8], from: usize) -> Option<usize> {
    let rest = data.get(from..)?;
    let is_space = |byte: u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    rest.iter().position(|&byte| !is_space(byte)).map(|at| from + at)
}

/// Where the string that begins at an offset ends (the offset of its quote), and whether a backslash
/// is in it.
pub(in crate::pipeline) fn string_end(data: &[u8], from: usize) -> Option<(usize, bool)> {
    let mut at = from;
    let mut escaped = false;
    loop {
        let rest = data.get(at..)?;
        // Most strings are short: a few bytes are cheaper to look at than to hand over.
        let found = rest
            .iter()
            .take(16)
            .position(|&byte| byte == b'"' || byte == b'\\')
            .or_else(|| memchr::memchr2(b'"', b'\\', rest.get(16..)?).map(|found| found + 16))?;
        if rest.get(found) == Some(&b'"') {
            return Some((at + found, escaped));
        }
        escaped = true;
        at += found + 2;
    }
}

/// The length of the block that a text begins with. Strings are skipped.
pub(super) fn block_end(data: &[u8], open: u8, close: u8) -> Option<usize> {
    let mut level = 0usize;
    let mut at = 0;
    loop {
        at += memchr::memchr3(b'"', open, close, data.get(at..)?)?;
        match data.get(at) {
            Some(b'"') => at = string_end(data, at + 1)?.0,
            Some(&byte) if byte == open => level += 1,
            _ => {
                level = level.saturating_sub(1);
                if level == 0 {
                    return Some(at + 1);
                }
            }
        }
        at += 1;
    }
}

/// The members of an object, one after the other.
#[derive(Debug)]
pub(in crate::pipeline) struct Members<'a> {
    data: &'a [u8],
    at: usize,
    done: bool,
}

/// A member: its key as written, whether that has escapes, and its value.
#[derive(Clone, Copy, Debug)]
pub(in crate::pipeline) struct Member<'a> {
    pub(in crate::pipeline) key: &'a [u8],
    pub(in crate::pipeline) key_escaped: bool,
    pub(in crate::pipeline) value: Value<'a>,
}

impl<'a> Members<'a> {
    /// Those of the object that a text begins with.
    pub(in crate::pipeline) fn new(data: &'a [u8]) -> Result<Self, JsonError> {
        let open = skip_space(data, 0).ok_or(JsonError::MalformedObject)?;
        if data.get(open) != Some(&b'{') {
            return Err(JsonError::MalformedObject);
        }
        let at = skip_space(data, open + 1).ok_or(JsonError::Malformed)?;
        Ok(Self { data, at, done: data.get(at) == Some(&b'}') })
    }

    /// The next member, before anything behind it is looked at.
    pub(in crate::pipeline) fn next(&mut self) -> Result<Option<Member<'a>>, JsonError> {
        if self.done {
            return Ok(None);
        }
        match self.data.get(self.at) {
            Some(b'"') => {}
            Some(b'}') => {
                self.done = true;
                return Ok(None);
            }
            _ => return Err(JsonError::MalformedObject),
        }
        let start = self.at + 1;
        let (end, key_escaped) = string_end(self.data, start).ok_or(JsonError::Malformed)?;
        let key = self.data.get(start..end).unwrap_or_default();
        // The key's escapes come before what is behind it.
        if key_escaped && unescape(key, &mut Vec::new()).is_err() {
            return Err(JsonError::MalformedEscape);
        }
        let colon = skip_space(self.data, end + 1).ok_or(JsonError::Malformed)?;
        if self.data.get(colon) != Some(&b':') {
            return Err(JsonError::Malformed);
        }
        let value = value(self.data.get(colon + 1..).unwrap_or_default())?;
        self.at = colon + 1 + value.end;
        Ok(Some(Member { key, key_escaped, value }))
    }

    /// Goes on behind the member that was given last.
    pub(in crate::pipeline) fn advance(&mut self) -> Result<(), JsonError> {
        let at = skip_space(self.data, self.at).ok_or(JsonError::MalformedArray)?;
        match self.data.get(at) {
            Some(b'}') => {
                self.done = true;
                Ok(())
            }
            Some(b',') => {
                self.at = skip_space(self.data, at + 1).ok_or(JsonError::MalformedArray)?;
                Ok(())
            }
            _ => Err(JsonError::MalformedObject),
        }
    }
}

/// Appends a string with its escapes undone.
pub(in crate::pipeline) fn unescape(text: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let (byte, length) = match escape.get(1).copied().ok_or(JsonError::MalformedEscape)? {
            byte @ (b'"' | b'\\' | b'/') => (byte, 2),
            b'b' => (0x08, 2),
            b'f' => (0x0c, 2),
            b'n' => (b'\n', 2),
            b'r' => (b'\r', 2),
            b't' => (b'\t', 2),
            b'u' => {
                let (c, length) = unicode_escape(escape)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = escape.get(length..).unwrap_or_default();
                continue;
            }
            _ => return Err(JsonError::MalformedEscape),
        };
        out.push(byte);
        rest = escape.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// The character of `\uXXXX` or of a pair of them, and how long that is. As in the parser that Loki
/// uses, the second of a pair is not checked to be an escape at all, only to have four digits.
fn unicode_escape(text: &[u8]) -> Result<(char, usize), JsonError> {
    let first = code_unit(text)?;
    if !(0xd800..=0xdfff).contains(&first) {
        return Ok((char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6));
    }
    let second = code_unit(text.get(6..).unwrap_or_default())?;
    let low = second.checked_sub(0xdc00).ok_or(JsonError::MalformedEscape)?;
    let combined = 0x10000 + ((first - 0xd800) << 10) + low;
    Ok((char::from_u32(combined).unwrap_or(char::REPLACEMENT_CHARACTER), 12))
}

fn code_unit(text: &[u8]) -> Result<u32, JsonError> {
    let digits = text.get(2..6).ok_or(JsonError::MalformedEscape)?;
    digits.iter().try_fold(0, |unit, &digit| {
        let digit = char::from(digit).to_digit(16).ok_or(JsonError::MalformedEscape)?;
        Ok(unit * 16 + digit)
    })
}
