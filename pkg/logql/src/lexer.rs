//! The lexer: a text to tokens, each with the line and column that errors name.
//!
//! Loki's lexer stands on Go's `text/scanner`, and its habits show in what is a query and in where
//! errors are said to be; they are kept: Go's comments are spaces, any character that means nothing
//! is an identifier, a name is a function only before a parenthesis or a grouping, and a token
//! that was read on past its first part has line 0.

mod number;
mod scanner;
mod token;

pub(crate) use token::{Kind, Token};

use crate::parser::ParseError;
use crate::units::{UnitError, parse_bytes, parse_duration, parse_prometheus_duration, unquote};
use scanner::{Scanned, Scanner};

/// Reads one token after the other.
pub(crate) struct Lexer<'a> {
    scanner: Scanner<'a>,
    error: Option<ParseError>,
}

impl<'a> Lexer<'a> {
    /// A lexer at the start of a text.
    pub fn new(text: &'a str) -> Self {
        Self { scanner: Scanner::new(text), error: None }
    }

    /// The first error, if there was one. Tokens go on after it, but the text is refused.
    pub fn error(&self) -> Option<&ParseError> {
        self.error.as_ref().or(self.scanner.error())
    }

    /// The next token; [`Kind::End`] for ever once the text is at its end.
    pub fn token(&mut self) -> Token<'a> {
        loop {
            let scanned = self.scanner.scan();
            if scanned != Scanned::Other('#') {
                return self.of(scanned);
            }
            self.scanner.skip_line();
        }
    }

    fn of(&mut self, scanned: Scanned) -> Token<'a> {
        match scanned {
            Scanned::End => self.token_of(Kind::End),
            Scanned::Number => self.number(),
            Scanned::Text => match unquote(self.scanner.text()) {
                Ok(text) => Token { string: text, ..self.token_of(Kind::String) },
                Err(error) => self.refuse(error),
            },
            Scanned::Other('[') => self.range(),
            Scanned::Other('-') => self.minus(),
            Scanned::Word | Scanned::Other(_) => self.word(),
        }
    }

    fn number(&mut self) -> Token<'a> {
        let run = self.scanner.run(|c| matches!(c, 'n' | 'u' | 'µ' | 'm' | 's' | 'h' | 'd' | 'w' | 'y'));
        if let Some(Ok(ns)) = run.map(parse_duration) {
            self.scanner.take_run(run);
            return Token { ns, ..self.token_of(Kind::Duration) };
        }
        let run = self.scanner.run(|c| matches!(c, 'B' | 'i' | 'k' | 'K' | 'M' | 'G' | 'T' | 'P'));
        if let Some(Ok(bytes)) = run.map(parse_bytes) {
            self.scanner.take_run(run);
            return Token { bytes, ..self.token_of(Kind::Bytes) };
        }
        self.token_of(Kind::Number)
    }

    fn minus(&mut self) -> Token<'a> {
        if let Some(flag) = self.scanner.flag().filter(|&flag| matches!(flag, "--strict" | "--keep-empty")) {
            self.scanner.take_run(Some(flag));
            return Token { text: flag, ..self.token_of(Kind::Flag) };
        }
        let run = self.scanner.run(|c| matches!(c, 'n' | 'u' | 'µ' | 'm' | 's' | 'h' | 'd' | 'w' | 'y'));
        if let Some(Ok(ns)) = run.map(parse_duration) {
            self.scanner.take_run(run);
            return Token { ns, ..self.token_of(Kind::Duration) };
        }
        self.word()
    }

    fn range(&mut self) -> Token<'a> {
        match self.scanner.bracketed() {
            Some(text) => match parse_prometheus_duration(text) {
                Ok(ns) => Token { ns, ..self.token_of(Kind::Range) },
                Err(error) => self.refuse(error),
            },
            None => self.refuse(UnitError("missing closing ']' in duration".to_owned())),
        }
    }

    fn word(&mut self) -> Token<'a> {
        let text = self.scanner.text();
        let lower = text.to_lowercase();
        if let Some(function) = Kind::function(&lower) {
            let kind = if self.scanner.calls() { function } else { Kind::Identifier };
            return self.token_of(kind);
        }
        if let Some(kind) = self.scanner.peek().and_then(|next| Kind::operator_of_two(text, next)) {
            self.scanner.take_one();
            return self.token_of(kind);
        }
        self.token_of(Kind::word(&lower).unwrap_or(Kind::Identifier))
    }

    /// An error ends the text.
    fn refuse(&mut self, error: UnitError) -> Token<'a> {
        let (line, column) = self.scanner.place();
        if self.error().is_none() {
            self.error = Some(ParseError::new(error.0, line, column));
        }
        self.scanner.end();
        Token { line, column, ..Token::new(Kind::End) }
    }

    fn token_of(&self, kind: Kind) -> Token<'a> {
        let (line, column) = self.scanner.place();
        Token { text: self.scanner.text(), line, column, ..Token::new(kind) }
    }
}

#[cfg(test)]
mod tests;
