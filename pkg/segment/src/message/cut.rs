//! Cutting: a message becomes a template (its static bytes, 0x00 for each variable) and variables.
//!
//! A word is a run of `[0-9A-Za-z]`. A word with a digit is a variable; if it also has a letter
//! beyond `f` and its digits stand together (`node01`), only the digits are. All messages of a
//! block are laid into an [`Arena`], and words are found by counting bits of its masks.

use super::arena::{Arena, MARGIN, Masks};
use super::tokens::{SHORT_NUMBER, word_hash};
use xxhash_rust::xxh3::xxh3_64;

/// The most bytes of a message that is cut; longer ones are stored as they are.
pub(super) const ROW_BYTES_MAX: usize = 32 << 10;
/// The most variables of a message that is cut.
pub(super) const VARIABLES_MAX: usize = 250;
/// The most bytes of a variable.
pub(super) const VARIABLE_BYTES_MAX: usize = 255;
/// The most digits that surely fit 64 bits.
pub(super) const DIGITS_MAX: usize = 19;
/// Bytes that are copied at a time.
pub(super) const COPY: usize = 32;
/// Hashes of tokens that were seen lately, to give each fewer times.
const RECENT: usize = 1024;

/// A variable of a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Variable {
    /// The number, if these are digits.
    pub(super) value: u64,
    pub(super) place: Place,
}

/// Where in the arena a variable stands and what it is made of: 32 bits of the former, 8 of its
/// length, 2 flags.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place(u64);

impl Place {
    const NUMBER: u64 = 1 << 40;
    const CANONICAL: u64 = 1 << 41;
    /// What all places are part of: the start of [`Place::common`].
    pub(super) const ALL: Self = Self(u64::MAX);

    #[inline]
    fn new(at: usize, len: usize, flags: u64) -> Self {
        // Both were held against their limits by the caller.
        Self(u64::from(at as u32) | u64::from(len as u8) << 32 | flags)
    }

    #[inline]
    pub(super) fn at(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline]
    pub(super) fn len(self) -> u8 {
        (self.0 >> 32) as u8
    }

    /// The flags that both have.
    #[inline]
    pub(super) fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it is at most [`DIGITS_MAX`] digits and nothing else.
    pub(super) fn is_number(self) -> bool {
        self.0 & Self::NUMBER != 0
    }

    /// Whether it is a number without zeros in front.
    pub(super) fn is_canonical(self) -> bool {
        self.0 & Self::CANONICAL != 0
    }
}

/// Cuts messages; holds the outcome of the last one.
pub(super) struct Cutter {
    /// The template of the last message, and more bytes behind it.
    key: Vec<u8>,
    variables: Box<[Variable; VARIABLES_MAX]>,
    recent: Box<[u64; RECENT]>,
}

impl Cutter {
    pub(super) fn new() -> Self {
        Self {
            key: vec![0; ROW_BYTES_MAX + VARIABLES_MAX + 2 * MARGIN],
            variables: Box::new([Variable::default(); VARIABLES_MAX]),
            recent: Box::new([0; RECENT]),
        }
    }

    /// Forgets which tokens were given: a new block begins.
    pub(super) fn reset(&mut self) {
        self.recent.fill(0);
    }

    /// Cuts a message: its template and its variables. `None` if it is one that
    /// is not cut. Its tokens are given in either case.
    pub(super) fn cut(&mut self, arena: &Arena, row: usize, tokens: &mut Vec<u64>) -> Option<(&[u8], &[Variable])> {
        let (start, end) = arena.bounds(row);
        if end - start > ROW_BYTES_MAX || u32::try_from(end).is_err() {
            super::token_hashes(arena.row(row), &mut |hash| tokens.push(hash));
            return None;
        }
        let variables = &mut self.variables;
        let mut count = 0;
        let mut is_cut = memchr::memchr(0, &arena.bytes()[start..end]).is_none();
        let (mut copied, mut key_len) = (start, 0);
        let mut at = arena.next_digit(start, end);
        while at < end {
            // The byte in front of the digit is in the window, too.
            let window = arena.window(at - 1);
            let (digits, words) = (window.digits >> 1, window.words >> 1);
            let len = words.trailing_ones() as usize;
            let is_plain_number = window.words & 1 == 0 && len == digits.trailing_ones() as usize && len <= DIGITS_MAX;
            let (word, variable);
            if is_plain_number {
                word = (at, at + len);
                variable = measure_number(arena.bytes(), at, at + len);
                if len > SHORT_NUMBER {
                    token(&mut self.recent, xxh3_64(&arena.bytes()[at..at + len]), tokens);
                }
            } else {
                let found = find_word(arena, at, start, end);
                word = (found.start, found.end);
                variable = found.variable(arena.bytes());
                if let Some(hash) = word_hash(&arena.bytes()[word.0..word.1]) {
                    token(&mut self.recent, hash, tokens);
                }
            }
            let (variable_at, variable_len) = (variable.place.at(), usize::from(variable.place.len()));
            if let Some(next) = variables.get_mut(count).filter(|_| variable_len > 0) {
                *next = variable;
                count += 1;
                key_len = copy(&mut self.key, key_len, arena.bytes(), copied, variable_at);
                self.key[key_len] = 0;
                key_len += 1;
                copied = variable_at + variable_len;
            } else {
                is_cut = false;
            }
            let rest = digits.checked_shr((word.1 - at) as u32).unwrap_or_default();
            at = if rest != 0 { word.1 + rest.trailing_zeros() as usize } else { arena.next_digit(word.1, end) };
        }
        if !is_cut {
            return None;
        }
        key_len = copy(&mut self.key, key_len, arena.bytes(), copied, end);
        Some((&self.key[..key_len], &self.variables[..count]))
    }
}

/// Gives a token, unless it was given lately.
#[inline]
fn token(recent: &mut [u64; RECENT], hash: u64, tokens: &mut Vec<u64>) {
    let recent = &mut recent[hash as usize % RECENT];
    if *recent != hash {
        *recent = hash;
        tokens.push(hash);
    }
}

/// A word with a digit, and which part of it is the variable.
struct Word {
    start: usize,
    end: usize,
    variable: (usize, usize),
    is_number: bool,
}

impl Word {
    /// The variable; of length 0 if it is too long for one.
    #[inline(never)]
    fn variable(&self, bytes: &[u8]) -> Variable {
        let (start, end) = self.variable;
        if self.is_number {
            return measure_number(bytes, start, end);
        }
        let len = if end - start > VARIABLE_BYTES_MAX { 0 } else { end - start };
        Variable { value: 0, place: Place::new(start, len, 0) }
    }
}

/// The word around the digit at `at`, which is its first.
fn find_word(arena: &Arena, at: usize, row_start: usize, row_end: usize) -> Word {
    let Masks { digits, words, .. } = arena.window(at);
    // MARGIN bytes are in front of the first message.
    let before = arena.window(at - 64).words.leading_ones() as usize;
    let len = words.trailing_ones() as usize;
    if before + len >= 64 {
        return find_long_word(arena, at, row_start, row_end);
    }
    let digits_len = digits.trailing_ones() as usize;
    let (start, end) = (at - before, at + len);
    let beyond = arena.window(start).beyond & ((1 << (before + len)) - 1);
    let is_contiguous = (digits & ((1 << len) - 1)) >> digits_len == 0;
    let only_digits = is_contiguous && (beyond != 0 || before + len == digits_len);
    let variable = if only_digits { (at, at + digits_len) } else { (start, end) };
    Word { start, end, variable, is_number: only_digits && digits_len <= DIGITS_MAX }
}

/// The same for a word that masks of 64 bits do not hold.
#[cold]
fn find_long_word(arena: &Arena, at: usize, row_start: usize, row_end: usize) -> Word {
    let bytes = arena.bytes();
    let start = (row_start..at).rev().take_while(|&at| bytes[at].is_ascii_alphanumeric()).last().unwrap_or(at);
    let end = (at..row_end).find(|&at| !bytes[at].is_ascii_alphanumeric()).unwrap_or(row_end);
    let digits_end = (at..end).find(|&at| !bytes[at].is_ascii_digit()).unwrap_or(end);
    let contiguous = !bytes[digits_end..end].iter().any(u8::is_ascii_digit);
    let beyond = bytes[start..end].iter().any(|byte| byte.is_ascii_alphabetic() && !byte.is_ascii_hexdigit());
    let variable = if contiguous && beyond { (at, digits_end) } else { (start, end) };
    let is_number = variable == (at, digits_end) && digits_end - at <= DIGITS_MAX;
    Word { start, end, variable, is_number }
}

/// The variable that at most [`DIGITS_MAX`] digits are.
#[inline(always)]
fn measure_number(bytes: &[u8], start: usize, end: usize) -> Variable {
    let is_canonical = end - start == 1 || bytes[start] != b'0';
    let flags = Place::NUMBER | if is_canonical { Place::CANONICAL } else { 0 };
    Variable { value: parse(bytes, start, end), place: Place::new(start, end - start, flags) }
}

/// The number that at most [`DIGITS_MAX`] digits say.
#[inline(always)]
fn parse(bytes: &[u8], start: usize, end: usize) -> u64 {
    let len = end - start;
    if len <= 8 {
        return parse_8(load(bytes, end - 8), len);
    }
    let low = parse_8(load(bytes, end - 8), 8);
    if len <= 16 {
        return parse_8(load(bytes, end - 16), len - 8) * 100_000_000 + low;
    }
    let middle = parse_8(load(bytes, end - 16), 8);
    parse_8(load(bytes, end - 24), len - 16) * 10_000_000_000_000_000 + middle * 100_000_000 + low
}

#[inline]
fn load(bytes: &[u8], at: usize) -> u64 {
    let mut chunk = [0; 8];
    chunk.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(chunk)
}

/// The number in the last `len` of 8 bytes.
#[inline]
fn parse_8(bytes: u64, len: usize) -> u64 {
    let digits = (bytes & 0x0f0f_0f0f_0f0f_0f0f) & (u64::MAX << (64 - 8 * len));
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let low = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
    let high = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
    low.wrapping_add(high) >> 32
}

/// Copies bytes behind the first `len` of `to`, 32 at a time; returns the new length. Both
/// buffers must have that many bytes to spare.
#[inline]
pub(super) fn copy(to: &mut [u8], len: usize, bytes: &[u8], start: usize, end: usize) -> usize {
    let mut done = 0;
    while start + done < end {
        let (from, at) = (start + done, len + done);
        to[at..at + COPY].copy_from_slice(&bytes[from..from + COPY]);
        done += COPY;
    }
    len + (end - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Option<(String, Vec<String>)> {
        let mut arena = Arena::default();
        arena.fill([b"9x".as_slice(), text.as_bytes(), b"7"].into_iter());
        let mut cutter = Cutter::new();
        let mut tokens = Vec::new();
        let (key, variables) = cutter.cut(&arena, 1, &mut tokens)?;
        let key = String::from_utf8(key.to_vec()).unwrap().replace('\0', "*");
        let texts = variables.iter().map(|&Variable { value, place }| {
            let text = String::from_utf8(arena.bytes()[place.at()..][..place.len().into()].to_vec()).unwrap();
            let number: Option<u64> = text.parse().ok().filter(|_| text.len() <= DIGITS_MAX);
            assert_eq!(number, place.is_number().then_some(value));
            assert_eq!(place.is_canonical(), number.is_some_and(|number| number.to_string() == text));
            text
        });
        Some((key, texts.collect()))
    }

    #[test]
    fn words_with_digits_are_variables() {
        let long = "f".repeat(70);
        let deep = format!("{}1", "q".repeat(80));
        for (text, key, variables) in [
            ("", "", &[] as &[&str]),
            ("no digits", "no digits", &[]),
            ("7", "*", &["7"]),
            ("took 0123 ms, 12345678901234567890 ns", "took * ms, * ns", &["0123", "12345678901234567890"]),
            ("node01 at v2x of 1a2b", "node* at v*x of *", &["01", "2", "1a2b"]),
            ("é1é deadbeef1 x1y2", "é*é * *", &["1", "deadbeef1", "x1y2"]),
            (&format!("{long}1 {deep}"), &format!("* {}*", &deep[..80]), &[&format!("{long}1"), "1"]),
            ("1234567890123456789 00000000001", "* *", &["1234567890123456789", "00000000001"]),
        ] {
            let variables = variables.iter().map(ToString::to_string).collect();
            assert_eq!(cut(text), Some((key.to_string(), variables)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_cut_is_left() {
        for text in ["a\0b".to_owned(), "1a".repeat(128), "1 ".repeat(251), "x".repeat(ROW_BYTES_MAX + 1)] {
            assert_eq!(cut(&text), None);
        }
        for text in ["1a".repeat(127), "1 ".repeat(250), "x".repeat(ROW_BYTES_MAX)] {
            assert!(cut(&text).is_some());
        }
    }
}
