//! Why a query is refused, where, in Loki's words.

use std::fmt;

/// Why a query is refused. Displays as Loki's errors do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    line: usize,
    column: usize,
    message: String,
    plain: bool,
}

impl ParseError {
    /// What is wrong at a line and column, counted from 1; both 0 where no place is to blame.
    pub fn new(message: impl Into<String>, line: usize, column: usize) -> Self {
        Self { line, column, message: message.into(), plain: false }
    }

    /// A message that stands for itself, without `parse error` before it.
    pub fn plain(message: impl Into<String>) -> Self {
        Self { line: 0, column: 0, message: message.into(), plain: true }
    }

    /// The line, from 1; 0 where no place is to blame.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in characters, from 1; 0 where no place is to blame.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, message, plain } = self;
        match (plain, line, column) {
            (true, ..) => f.write_str(message),
            (_, 0, 0) => write!(f, "parse error : {message}"),
            _ => write!(f, "parse error at line {line}, col {column}: {message}"),
        }
    }
}
