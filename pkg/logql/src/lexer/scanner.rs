//! The characters below the tokens: spaces, comments, names, quotes, and where each of them is.

use crate::parser::ParseError;

/// What was scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scanned {
    /// Nothing is left.
    End,
    /// A number without its unit.
    Number,
    /// A quoted text, with its quotes.
    Text,
    /// A name, or a character in single quotes.
    Word,
    /// Any other character.
    Other(char),
}

/// Goes through a text once.
pub(super) struct Scanner<'a> {
    text: &'a str,
    /// Where the next character is.
    pub(super) at: usize,
    /// Line and column of `at`, from 1.
    position: (usize, usize),
    /// The token that was scanned last, and its line and column.
    token: (usize, usize),
    place: (usize, usize),
    /// The character that the last scan began with, be it a space.
    pub(super) begin: Option<char>,
    error: Option<ParseError>,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        let mut scanner =
            Self { text, at: 0, position: (1, 1), token: (0, 0), place: (0, 0), begin: None, error: None };
        if scanner.peek() == Some('\0') {
            scanner.refuse("invalid character NUL");
        }
        if scanner.peek() == Some('\u{feff}') {
            scanner.bump();
        }
        scanner
    }

    /// The first error.
    pub fn error(&self) -> Option<&ParseError> {
        self.error.as_ref()
    }

    /// The text of the token.
    pub fn text(&self) -> &'a str {
        self.text.get(self.token.0..self.token.1).unwrap_or_default()
    }

    /// Line and column of the token.
    pub fn place(&self) -> (usize, usize) {
        self.place
    }

    /// The character behind the token.
    pub fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Scans the next token.
    pub fn scan(&mut self) -> Scanned {
        self.begin = self.peek();
        self.skip_spaces();
        self.token = (self.at, self.at);
        self.place = if self.text.is_empty() { (0, 0) } else { self.position };
        let scanned = match self.peek() {
            None => Scanned::End,
            Some(c) if c == '_' || c.is_alphabetic() => {
                while self.peek().is_some_and(|c| c == '_' || c.is_alphabetic() || is_digit(c)) {
                    self.bump();
                }
                Scanned::Word
            }
            Some('0'..='9') => {
                self.number(false);
                Scanned::Number
            }
            Some('.') => {
                self.bump();
                if self.peek().is_some_and(|c| c.is_ascii_digit()) {
                    self.number(true);
                    Scanned::Number
                } else {
                    Scanned::Other('.')
                }
            }
            Some('"') => {
                self.quoted('"');
                Scanned::Text
            }
            Some('`') => {
                self.raw();
                Scanned::Text
            }
            Some('\'') => {
                if self.quoted('\'') != 1 {
                    self.refuse("invalid char literal");
                }
                Scanned::Word
            }
            Some(c) => {
                self.bump();
                Scanned::Other(c)
            }
        };
        self.token.1 = self.at;
        scanned
    }

    /// Passes over the rest of the line.
    pub fn skip_line(&mut self) {
        while self.bump().is_some_and(|c| c != '\n') {}
    }

    /// Passes over all that is left.
    pub fn end(&mut self) {
        self.at = self.text.len();
    }

    /// The token with what follows it of digits, points and characters that `is_unit` takes;
    /// `None` if nothing does.
    pub fn run(&self, is_unit: impl Fn(char) -> bool) -> Option<&'a str> {
        let rest = self.rest();
        let len = rest.find(|c: char| !(c.is_numeric() || c == '.' || is_unit(c))).unwrap_or(rest.len());
        if len == 0 { None } else { self.text.get(self.token.0..self.at + len) }
    }

    /// `--` with the letters and dashes behind it, if the token is a dash before another.
    pub fn flag(&self) -> Option<&'a str> {
        let rest = self.rest();
        let len = rest.find(|c: char| !(c == '-' || c.is_alphabetic())).unwrap_or(rest.len());
        if rest.starts_with('-') { self.text.get(self.token.0..self.at + len) } else { None }
    }

    /// Makes what [`Self::run`] or [`Self::flag`] gave the token.
    pub fn take_run(&mut self, run: Option<&str>) {
        let end = self.token.0 + run.map_or(0, str::len);
        while self.at < end {
            self.take_one();
        }
    }

    /// Makes the next character part of the token.
    pub fn take_one(&mut self) {
        self.bump();
        self.token.1 = self.at;
        // Loki's scanner forgets its line when it is read on by hand.
        self.place.0 = 0;
    }

    /// What is up to the next `]`; `None`, and the text is at its end, if there is none.
    pub fn bracketed(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.place.0 = 0;
        while let Some(c) = self.bump() {
            if c == ']' {
                self.token.1 = self.at;
                return self.text.get(start..self.at - 1);
            }
        }
        None
    }

    /// Whether a parenthesis or a grouping follows, which makes a name a function.
    pub fn calls(&self) -> bool {
        let rest = self.rest().trim_start();
        let behind = ["by", "without"].iter().find_map(|word| {
            let start = rest.get(..word.len())?;
            if start.eq_ignore_ascii_case(word) { rest.get(word.len()..) } else { None }
        });
        behind.map_or(rest, str::trim_start).starts_with('(')
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        self.position = match c {
            '\n' => (self.position.0 + 1, 1),
            _ => (self.position.0, self.position.1 + 1),
        };
        if self.peek() == Some('\0') {
            self.refuse("invalid character NUL");
        }
        Some(c)
    }

    pub(super) fn refuse(&mut self, message: impl Into<String>) {
        if self.error.is_none() {
            self.error = Some(ParseError::new(message, self.place.0, self.place.1));
        }
    }

    /// The token up to here.
    pub(super) fn so_far(&self) -> &'a str {
        self.text.get(self.token.0..self.at).unwrap_or_default()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_spaces(&mut self) {
        loop {
            let rest = self.rest();
            if rest.starts_with([' ', '\t', '\n', '\r']) {
                self.bump();
            } else if rest.starts_with("//") {
                self.skip_line();
            } else if rest.starts_with("/*") {
                self.place = self.position;
                match rest.get(2..).and_then(|rest| rest.find("*/")) {
                    Some(len) => {
                        let end = self.at + len + 4;
                        while self.at < end {
                            self.bump();
                        }
                    }
                    None => {
                        self.refuse("comment not terminated");
                        while self.bump().is_some() {}
                    }
                }
            } else {
                return;
            }
        }
    }

    fn raw(&mut self) {
        self.bump();
        loop {
            match self.bump() {
                Some('`') => return,
                Some(_) => {}
                None => return self.refuse("literal not terminated"),
            }
        }
    }

    /// A quoted text with escapes. How many characters it has.
    fn quoted(&mut self, quote: char) -> usize {
        self.bump();
        let mut len = 0;
        loop {
            match self.peek() {
                None | Some('\n') => {
                    self.refuse("literal not terminated");
                    self.bump();
                    return len;
                }
                Some('\\') => {
                    self.bump();
                    self.escape(quote);
                }
                Some(c) => {
                    self.bump();
                    if c == quote {
                        return len;
                    }
                }
            }
            len += 1;
        }
    }

    fn escape(&mut self, quote: char) {
        let (radix, digits) = match self.peek() {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\') => {
                self.bump();
                return;
            }
            Some(c) if c == quote => {
                self.bump();
                return;
            }
            Some('0'..='7') => (8, 3),
            Some('x') => (16, 2),
            Some('u') => (16, 4),
            Some('U') => (16, 8),
            _ => return self.refuse("invalid char escape"),
        };
        if radix == 16 {
            self.bump();
        }
        for _ in 0..digits {
            if !self.peek().is_some_and(|c| c.is_digit(radix)) {
                return self.refuse("invalid char escape");
            }
            self.bump();
        }
    }
}

/// A decimal digit of any script.
fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || (!c.is_ascii() && c.is_numeric())
}
