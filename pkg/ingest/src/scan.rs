//! A strict JSON scanner: finds where values begin and end, and copies nothing.
//!
//! Why not serde_json: a log record's numbers must keep their text, and after a record, or after
//! an error in one, the decoder must know the byte at which it stands. serde_json gives neither
//! together with a seed. What this scanner accepts is exactly what serde_json accepts; the tests
//! and the fuzz target hold it to that. It never recurses.

/// Bytes of the text: from, to (not included).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: usize,
    pub end: usize,
}

/// What a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A string without escapes; the span leaves the quotes out.
    Plain,
    /// A string with escapes; the span leaves the quotes out.
    Escaped,
    Number,
    Bool,
    #[default]
    Null,
    Array,
    Object,
}

impl Shape {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain | Self::Escaped => "a string",
            Self::Number => "a number",
            Self::Bool => "a boolean",
            Self::Null => "null",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// A value that was scanned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Raw {
    pub shape: Shape,
    pub span: Span,
}

/// Where the text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Syntax {
    /// The byte that should not be there, or the end of what was read.
    pub at: usize,
    /// What should be there.
    pub expected: &'static str,
}

/// A place in a text. The text is UTF-8; the scanner looks at its bytes up to a movable end.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    /// The next byte.
    pub at: usize,
    /// What encloses the place that `skip` is at: `b'{'` or `b'['`.
    open: Vec<u8>,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, open: Vec::new() }
    }

    /// Makes the text end at `end` for now.
    pub fn set_end(&mut self, end: usize) {
        self.bytes = self.text.as_bytes().get(..end).unwrap_or(self.text.as_bytes());
    }

    /// The text of a span that this scanner gave out.
    pub fn text(&self, span: Span) -> &'a str {
        // Spans begin and end at ASCII bytes.
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    pub fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    pub fn error<T>(&self, expected: &'static str) -> Result<T, Syntax> {
        Err(Syntax { at: self.at, expected })
    }

    #[inline]
    pub fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Syntax> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            self.error(expected)
        }
    }

    /// Reads a key and the colon behind it, up to the value's first byte.
    #[inline]
    pub fn key(&mut self) -> Result<Raw, Syntax> {
        self.expect(b'"', "a key in double quotes")?;
        let key = self.string()?;
        self.skip_whitespace();
        self.expect(b':', "`:`")?;
        self.skip_whitespace();
        Ok(key)
    }

    /// Reads what stands behind a value in an object; whether another key follows.
    #[inline]
    pub fn next_key(&mut self) -> Result<bool, Syntax> {
        self.skip_whitespace();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.skip_whitespace();
                Ok(true)
            }
            Some(b'}') => {
                self.at += 1;
                Ok(false)
            }
            _ => self.error("`,` or `}`"),
        }
    }

    /// Reads an object if it is empty; else stays in front of it.
    pub fn empty_object(&mut self) -> Option<Raw> {
        let start = self.at;
        if self.peek() == Some(b'{') {
            self.at += 1;
            self.skip_whitespace();
            if self.peek() == Some(b'}') {
                self.at += 1;
                return Some(Raw { shape: Shape::Object, span: Span { start, end: self.at } });
            }
        }
        self.at = start;
        None
    }

    /// Reads a string, number, `true`, `false` or `null`.
    #[inline]
    pub fn scalar(&mut self) -> Result<Raw, Syntax> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.string()
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true", Shape::Bool),
            Some(b'f') => self.word(b"false", Shape::Bool),
            Some(b'n') => self.word(b"null", Shape::Null),
            _ => self.error("a value"),
        }
    }

    /// Reads a whole value of any shape; the second part of the answer is how many arrays and
    /// objects stand in each other in it.
    pub fn skip(&mut self) -> Result<(Raw, usize), Syntax> {
        let start = self.at;
        let shape = match self.peek() {
            Some(b'{') => Shape::Object,
            Some(b'[') => Shape::Array,
            _ => return self.scalar().map(|raw| (raw, 0)),
        };
        self.open.clear();
        let mut deepest = 0;
        loop {
            // At a value.
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    self.at += 1;
                    self.skip_whitespace();
                    self.open.push(bracket);
                    deepest = deepest.max(self.open.len());
                    if self.peek() != Some(bracket + 2) {
                        if bracket == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                    // Empty: `{` and `}`, `[` and `]` are two apart.
                }
                _ => {
                    self.scalar()?;
                }
            }
            // Behind a value, or at the end of an empty one.
            if self.close_brackets()? {
                return Ok((Raw { shape, span: Span { start, end: self.at } }, deepest));
            }
        }
    }

    /// Reads closing brackets up to the next value; whether the outermost one was among them.
    fn close_brackets(&mut self) -> Result<bool, Syntax> {
        loop {
            let Some(&bracket) = self.open.last() else { return Ok(true) };
            self.skip_whitespace();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.skip_whitespace();
                    if bracket == b'{' {
                        self.key()?;
                    }
                    return Ok(false);
                }
                Some(byte) if byte == bracket + 2 => {
                    self.at += 1;
                    self.open.pop();
                }
                _ => return self.error(if bracket == b'{' { "`,` or `}`" } else { "`,` or `]`" }),
            }
        }
    }

    /// Reads the rest of a string whose opening quote was read.
    #[inline]
    fn string(&mut self) -> Result<Raw, Syntax> {
        let start = self.at;
        let mut shape = Shape::Plain;
        loop {
            self.at += plain_bytes(self.bytes.get(self.at..).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    let span = Span { start, end: self.at };
                    self.at += 1;
                    return Ok(Raw { shape, span });
                }
                Some(b'\\') => {
                    shape = Shape::Escaped;
                    self.escape()?;
                }
                Some(_) => return self.error("no control character in a string"),
                None => return self.error("`\"`, the end of the string"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Syntax> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    match self.peek() {
                        Some(b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.at += 1,
                        _ => return self.error("four hex digits behind `\\u`"),
                    }
                }
            }
            _ => return self.error("an escape that JSON knows"),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Raw, Syntax> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            if let Some(b'0'..=b'9') = self.peek() {
                return self.error("no digit behind a leading zero");
            }
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Raw { shape: Shape::Number, span: Span { start, end: self.at } })
    }

    fn digits(&mut self) -> Result<(), Syntax> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { self.error("a digit") } else { Ok(()) }
    }

    fn word(&mut self, word: &'static [u8], shape: Shape) -> Result<Raw, Syntax> {
        let start = self.at;
        for &byte in word {
            self.expect(byte, "a value")?;
        }
        Ok(Raw { shape, span: Span { start, end: self.at } })
    }
}

/// How many bytes come before the first quote, backslash or control character.
#[inline]
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = 0;
    let mut rest = bytes;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        // The lowest byte marked is right: a borrow only ever reaches the bytes above it.
        let zero_at = |word: u64| word.wrapping_sub(ONES) & !word;
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = zero_at(word ^ (ONES * u64::from(b'"')));
        let backslash = zero_at(word ^ (ONES * u64::from(b'\\')));
        let marks = (control | quote | backslash) & HIGH;
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
        rest = tail;
    }
    at + rest.iter().take_while(|&&byte| byte >= 0x20 && byte != b'"' && byte != b'\\').count()
}

#[cfg(test)]
mod tests;
