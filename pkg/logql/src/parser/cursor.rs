//! The tokens of a text, one ahead, and the errors that they lead to.

use super::{NESTING_MAX, ParseError, REGEX_BYTES_MAX};
use crate::lexer::{Kind, Lexer, Token};

/// The tokens of a text, one ahead.
pub(super) struct Cursor<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
    /// The token behind it, if it was looked at.
    second: Option<Token<'a>>,
    nesting: usize,
    regex_bytes: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        let mut lexer = Lexer::new(text);
        let token = lexer.token();
        Self { lexer, token, second: None, nesting: 0, regex_bytes: 0 }
    }

    /// What the next token is.
    pub fn kind(&self) -> Kind {
        self.token.kind
    }

    /// The next token, taken.
    pub fn take(&mut self) -> Token<'a> {
        let next = self.second.take().unwrap_or_else(|| self.lexer.token());
        std::mem::replace(&mut self.token, next)
    }

    /// Takes the next token if it is of this kind.
    pub fn accept(&mut self, kind: Kind) -> bool {
        let accepted = self.kind() == kind;
        if accepted {
            self.take();
        }
        accepted
    }

    /// Takes a number if a comma is behind it, and the comma.
    pub fn number_argument(&mut self) -> Option<&'a str> {
        if self.kind() != Kind::Number {
            return None;
        }
        let number = self.take();
        if self.accept(Kind::Comma) {
            return Some(number.text);
        }
        self.second = Some(std::mem::replace(&mut self.token, number));
        None
    }

    /// Takes the next token, which must be of this kind.
    pub fn expect(&mut self, kind: Kind) -> Result<Token<'a>, ParseError> {
        self.expect_among(kind, &[kind])
    }

    /// Takes the next token, which must be of this kind; `expected` is what the error lists.
    pub fn expect_among(&mut self, kind: Kind, expected: &[Kind]) -> Result<Token<'a>, ParseError> {
        if self.kind() == kind { Ok(self.take()) } else { Err(self.unexpected(expected)) }
    }

    /// The error that the next token is none of these. With no or more than four of them, none
    /// is named, as in Loki's errors.
    pub fn unexpected(&self, expected: &[Kind]) -> ParseError {
        if let Some(error) = self.lexer.error() {
            return error.clone();
        }
        let mut message = format!("syntax error: unexpected {}", self.kind().name());
        for (index, kind) in expected.iter().enumerate() {
            message.push_str(if index == 0 { ", expecting " } else { " or " });
            message.push_str(kind.name());
        }
        ParseError::new(message, self.token.line, self.token.column)
    }

    /// The first error of the lexer.
    pub fn lexed(&self) -> Result<(), ParseError> {
        self.lexer.error().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Reads something that is nested in what is being read.
    pub fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, ParseError>) -> Result<T, ParseError> {
        // A tree that is as deep as is allowed prints with an operator and a parenthesis a level.
        if self.nesting >= 2 * NESTING_MAX {
            return Err(self.too_deep());
        }
        self.nesting += 1;
        let result = read(self);
        self.nesting -= 1;
        result
    }

    /// Counts a compiled regular expression.
    pub fn spend(&mut self, regex_bytes: usize) -> Result<(), ParseError> {
        self.regex_bytes = self.regex_bytes.saturating_add(regex_bytes);
        if self.regex_bytes <= REGEX_BYTES_MAX {
            return Ok(());
        }
        let message = format!("the regular expressions of the query compile to more than {REGEX_BYTES_MAX} bytes");
        Err(ParseError::new(message, self.token.line, self.token.column))
    }

    /// The error that what is next is nested too deeply.
    pub fn too_deep(&self) -> ParseError {
        let message = format!("query is nested deeper than {NESTING_MAX} levels");
        ParseError::new(message, self.token.line, self.token.column)
    }
}
