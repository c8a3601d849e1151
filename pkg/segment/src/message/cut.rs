//! Cutting: a message becomes a template (its static bytes, 0x00 for each variable) and variables.
//!
//! A word is a run of `[0-9A-Za-z]`. A word with a digit is a variable; if it also has a letter
//! beyond `f` and its digits stand together (`node01`), only the digits are. All messages of a
//! block are laid into one arena, and its bytes are classified 64 at a time into bit masks; words
//! are found by counting bits.

use super::tokens::{SHORT_NUMBER, word_hash};

/// The most bytes of a message that is cut; longer ones are stored as they are.
pub(super) const ROW_BYTES_MAX: usize = 32 << 10;
/// The most variables of a message that is cut.
pub(super) const VARIABLES_MAX: usize = 250;
/// The most bytes of a variable.
pub(super) const VARIABLE_BYTES_MAX: usize = 255;
/// The most digits that surely fit 64 bits.
pub(super) const DIGITS_MAX: usize = 19;
/// Bytes in front of the first and behind the last message, so that 16 can be read at any place.
const MARGIN: usize = 64;
/// Hashes of tokens that were seen lately, to give each fewer times.
const RECENT: usize = 4096;

/// A variable of a message.
#[derive(Clone, Copy, Default)]
pub(super) struct Variable {
    /// The number, if these are digits.
    pub(super) value: u64,
    /// Where it stands in the arena.
    pub(super) at: u32,
    /// Its length.
    pub(super) len: u8,
    /// Whether it is at most [`DIGITS_MAX`] digits and nothing else.
    pub(super) is_number: bool,
    /// Whether it is a number without zeros in front.
    pub(super) is_canonical: bool,
}

/// The messages of a block, one behind the other, and the classes of their bytes.
#[derive(Default)]
pub(super) struct Arena {
    bytes: Vec<u8>,
    digits: Vec<u64>,
    words: Vec<u64>,
    beyond: Vec<u64>,
    /// Where each message begins; one more for the end of the last.
    starts: Vec<usize>,
}

impl Arena {
    pub(super) fn fill<'a>(&mut self, rows: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.bytes.clear();
        self.bytes.resize(MARGIN, 0);
        self.starts.clear();
        self.starts.push(MARGIN);
        for row in rows {
            self.bytes.extend_from_slice(row);
            self.bytes.push(0);
            self.starts.push(self.bytes.len());
        }
        self.bytes.resize((self.bytes.len() + MARGIN).next_multiple_of(64), 0);
        self.digits.clear();
        self.words.clear();
        self.beyond.clear();
        for chunk in self.bytes.as_chunks::<64>().0 {
            let [digits, words, beyond] = classify(chunk);
            self.digits.push(digits);
            self.words.push(words);
            self.beyond.push(beyond);
        }
        self.words.push(0);
        self.digits.push(0);
        self.beyond.push(0);
    }

    /// Gives memory back that an unusually large block has taken.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(bytes_max);
        for masks in [&mut self.digits, &mut self.words, &mut self.beyond] {
            masks.clear();
            masks.shrink_to(bytes_max / 64);
        }
        self.starts.clear();
        self.starts.shrink_to(bytes_max / 64);
    }

    pub(super) fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn row(&self, row: usize) -> &[u8] {
        &self.bytes[self.starts[row]..self.starts[row + 1] - 1]
    }

    /// 64 bits of a mask from any place on.
    #[inline]
    fn window(masks: &[u64], at: usize) -> u64 {
        let (index, shift) = (at / 64, at % 64);
        masks[index] >> shift | (masks[index + 1] << 1) << (63 - shift)
    }

    /// The first digit at or behind `at`, or `end` if none is before it.
    #[inline]
    fn next_digit(&self, at: usize, end: usize) -> usize {
        let mut index = at / 64;
        let mut mask = self.digits[index] >> (at % 64) << (at % 64);
        while mask == 0 {
            index += 1;
            if index * 64 >= end {
                return end;
            }
            mask = self.digits[index];
        }
        (index * 64 + mask.trailing_zeros() as usize).min(end)
    }
}

/// Cuts messages; holds the outcome of the last one.
pub(super) struct Cutter {
    /// The template of the last message, and more bytes behind it.
    key: Vec<u8>,
    recent: Vec<u64>,
}

impl Cutter {
    pub(super) fn new() -> Self {
        Self { key: vec![0; ROW_BYTES_MAX + VARIABLES_MAX + 2 * MARGIN], recent: vec![0; RECENT] }
    }

    /// Forgets which tokens were given: a new block begins.
    pub(super) fn reset(&mut self) {
        self.recent.fill(0);
    }

    /// Cuts a message: its template, with its variables appended to `variables`. `None` if it is
    /// one that is not cut. Its tokens are given in either case.
    pub(super) fn cut(
        &mut self,
        arena: &Arena,
        row: usize,
        variables: &mut Vec<Variable>,
        tokens: &mut Vec<u64>,
    ) -> Option<&[u8]> {
        let (start, end) = (arena.starts[row], arena.starts[row + 1] - 1);
        if end - start > ROW_BYTES_MAX || u32::try_from(end).is_err() {
            super::token_hashes(arena.row(row), &mut |hash| tokens.push(hash));
            return None;
        }
        let first = variables.len();
        let mut is_cut = memchr::memchr(0, &arena.bytes[start..end]).is_none();
        let (mut copied, mut key_len) = (start, 0);
        let mut at = arena.next_digit(start, end);
        while at < end {
            let word = find_word(arena, at, start, end);
            let variable = word.variable;
            if variable.1 - variable.0 > VARIABLE_BYTES_MAX || variables.len() - first == VARIABLES_MAX {
                is_cut = false;
            } else {
                key_len = copy_static(&mut self.key, key_len, &arena.bytes, copied, variable.0);
                self.key[key_len] = 0;
                key_len += 1;
                variables.push(measure(arena, variable, word.is_number));
            }
            if word.end - word.start > SHORT_NUMBER
                || word.end - word.start > variable.1 - variable.0
                || !word.is_number
            {
                self.token(&arena.bytes[word.start..word.end], tokens);
            }
            copied = variable.1;
            at = arena.next_digit(word.end, end);
        }
        if !is_cut {
            variables.truncate(first);
            return None;
        }
        key_len = copy_static(&mut self.key, key_len, &arena.bytes, copied, end);
        Some(&self.key[..key_len])
    }

    #[inline]
    fn token(&mut self, word: &[u8], tokens: &mut Vec<u64>) {
        let Some(hash) = word_hash(word) else { return };
        let recent = &mut self.recent[hash as usize % RECENT];
        if *recent != hash {
            *recent = hash;
            tokens.push(hash);
        }
    }
}

struct Word {
    start: usize,
    end: usize,
    variable: (usize, usize),
    is_number: bool,
}

/// The word around the digit at `at`, which is its first.
#[inline]
fn find_word(arena: &Arena, at: usize, row_start: usize, row_end: usize) -> Word {
    let digits = Arena::window(&arena.digits, at);
    let words = Arena::window(&arena.words, at);
    // MARGIN bytes are in front of the first message.
    let before = Arena::window(&arena.words, at - 64).leading_ones() as usize;
    let digits_len = digits.trailing_ones() as usize;
    let len = words.trailing_ones() as usize;
    if before == 0 && len == digits_len && len < 64 {
        return Word { start: at, end: at + len, variable: (at, at + len), is_number: len <= DIGITS_MAX };
    }
    if before + len >= 64 {
        return find_long_word(arena, at, row_start, row_end);
    }
    let (start, end) = (at - before, at + len);
    let beyond = Arena::window(&arena.beyond, start) & ((1 << (before + len)) - 1);
    let contiguous = (digits & ((1 << len) - 1)) >> digits_len == 0;
    if beyond != 0 && contiguous {
        Word { start, end, variable: (at, at + digits_len), is_number: digits_len <= DIGITS_MAX }
    } else {
        Word { start, end, variable: (start, end), is_number: false }
    }
}

/// The same for a word that masks of 64 bits do not hold.
#[cold]
fn find_long_word(arena: &Arena, at: usize, row_start: usize, row_end: usize) -> Word {
    let bytes = &arena.bytes;
    let start = (row_start..at).rev().take_while(|&at| bytes[at].is_ascii_alphanumeric()).last().unwrap_or(at);
    let end = (at..row_end).find(|&at| !bytes[at].is_ascii_alphanumeric()).unwrap_or(row_end);
    let digits_end = (at..end).find(|&at| !bytes[at].is_ascii_digit()).unwrap_or(end);
    let contiguous = !bytes[digits_end..end].iter().any(u8::is_ascii_digit);
    let beyond = bytes[start..end].iter().any(|byte| byte.is_ascii_alphabetic() && !byte.is_ascii_hexdigit());
    let variable = if contiguous && beyond { (at, digits_end) } else { (start, end) };
    let is_number = variable == (at, digits_end) && digits_end - at <= DIGITS_MAX;
    Word { start, end, variable, is_number }
}

#[inline]
fn measure(arena: &Arena, (start, end): (usize, usize), is_number: bool) -> Variable {
    let mut variable = Variable {
        value: 0,
        // Both were held against their limits by the caller.
        at: start as u32,
        len: (end - start) as u8,
        is_number,
        is_canonical: false,
    };
    if is_number {
        variable.value = parse(&arena.bytes, start, end);
        variable.is_canonical = end - start == 1 || arena.bytes[start] != b'0';
    }
    variable
}

/// The number that at most [`DIGITS_MAX`] digits say.
#[inline]
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

/// Copies static bytes behind the key, 16 at a time; returns the key's new length. Both buffers
/// have that many bytes to spare.
#[inline]
fn copy_static(key: &mut [u8], key_len: usize, bytes: &[u8], start: usize, end: usize) -> usize {
    let (mut from, mut to) = (start, key_len);
    while from < end {
        key[to..to + 16].copy_from_slice(&bytes[from..from + 16]);
        from += 16;
        to += 16;
    }
    key_len + (end - start)
}

/// Which of 64 bytes are digits, belong to words, are letters beyond `f`.
#[inline]
fn classify(bytes: &[u8; 64]) -> [u64; 3] {
    [
        gather(bytes, |byte| byte.wrapping_sub(b'0') < 10),
        gather(bytes, |byte| (byte | 0x20).wrapping_sub(b'a') < 26 || byte.wrapping_sub(b'0') < 10),
        gather(bytes, |byte| (byte | 0x20).wrapping_sub(b'g') < 20),
    ]
}

/// One bit for each byte. The compiler makes vector instructions of the first loop; the second
/// brings the lowest bits of 8 bytes together by a multiplication.
#[inline]
fn gather(bytes: &[u8; 64], test: impl Fn(u8) -> bool) -> u64 {
    let mut flags = [0; 64];
    for (flag, &byte) in flags.iter_mut().zip(bytes) {
        *flag = u8::from(test(byte));
    }
    let mut mask = 0;
    for (index, &chunk) in flags.as_chunks::<8>().0.iter().enumerate() {
        let bits = u64::from_le_bytes(chunk).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        mask |= bits << (index * 8);
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_classified_at_every_place() {
        for first in 0..=255_u8 {
            let bytes: [u8; 64] = std::array::from_fn(|index| first.wrapping_add((index as u8).wrapping_mul(17)));
            let masks = classify(&bytes);
            for (index, byte) in bytes.iter().enumerate() {
                let is_beyond = byte.is_ascii_alphabetic() && !byte.is_ascii_hexdigit();
                let expected = [byte.is_ascii_digit(), byte.is_ascii_alphanumeric(), is_beyond];
                assert_eq!(masks.map(|mask| mask >> index & 1 == 1), expected, "{byte}");
            }
        }
    }

    fn cut(text: &str) -> Option<(String, Vec<String>)> {
        let mut arena = Arena::default();
        arena.fill([b"9x".as_slice(), text.as_bytes(), b"7"].into_iter());
        let mut variables = Vec::new();
        let mut cutter = Cutter::new();
        let key = cutter.cut(&arena, 1, &mut variables, &mut Vec::new())?;
        let key = String::from_utf8(key.to_vec()).unwrap().replace('\0', "*");
        let bytes = |at: usize, len: usize| String::from_utf8(arena.bytes()[at..at + len].to_vec()).unwrap();
        for variable in &variables {
            let text = bytes(variable.at as usize, variable.len.into());
            assert_eq!(
                text.parse().ok().filter(|_| text.len() <= DIGITS_MAX),
                variable.is_number.then_some(variable.value)
            );
        }
        Some((key, variables.iter().map(|variable| bytes(variable.at as usize, variable.len.into())).collect()))
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
