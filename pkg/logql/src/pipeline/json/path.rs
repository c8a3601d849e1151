//! `| json a="b.c[0]"`: paths, and the labels that they become.

mod find;

use super::super::StageError;
use super::super::names::{NameId, Names};
use super::super::parse::Parsing;
use super::scan::Kind;
use super::{JSON_ERROR, set_string};
use crate::ast::Extraction;
use find::{Found, each_path};

/// A list of `label="path"`.
#[derive(Debug)]
pub(in crate::pipeline) struct PathList {
    labels: Vec<NameId>,
    paths: Vec<Vec<Vec<u8>>>,
}

impl PathList {
    pub(in crate::pipeline) fn new(extractions: &[Extraction], names: &mut Names) -> Result<Self, StageError> {
        let mut this = Self { labels: Vec::new(), paths: Vec::new() };
        for extraction in extractions {
            let expression = &extraction.expression;
            let path = parse_path(expression)
                .map_err(|reason| StageError(format!("cannot parse expression [{expression}]: {reason}")))?;
            if extraction.name.is_empty() {
                return Err(StageError("invalid extracted label name ''".to_owned()));
            }
            this.labels.push(names.intern(&extraction.name));
            this.paths.push(path);
        }
        Ok(this)
    }

    /// The labels that it sets.
    pub(in crate::pipeline) fn names(&self) -> impl Iterator<Item = NameId> {
        self.labels.iter().copied()
    }

    /// Sets a label for each path that the line has; the others to the empty text, unless there is
    /// a label of that name already.
    pub(in crate::pipeline) fn parse(&self, line: &[u8], parsing: &mut Parsing<'_>) {
        if line.is_empty() || parsing.is_idle() {
            return;
        }
        if !matches!(line.first(), Some(b'"' | b'{' | b'[')) {
            parsing.fail(JSON_ERROR, None);
            return;
        }
        let mut matches = 0;
        each_path(line, &self.paths, &mut |found| match found {
            Found::Value(index, value) => {
                let Some(&label) = self.labels.get(index) else { return };
                let label = parsing.labels.free_name(label);
                match value.kind {
                    Kind::Null => parsing.labels.set_text(label, b""),
                    Kind::Object => parsing.labels.set_text(label, value.text),
                    _ => set_string(value.text, label, parsing),
                }
                matches += 1;
            }
            Found::Malformed(error) => parsing.fail(JSON_ERROR, Some(&error)),
        });
        if matches < self.labels.len() {
            for &label in &self.labels {
                if parsing.labels.get(label).is_none() {
                    parsing.labels.set_text(label, b"");
                }
            }
        }
    }
}

/// What a path is made of.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Dot,
    Open,
    Close,
    Text(String),
    Field(String),
    Index(u64),
    End,
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Self::Dot => "DOT",
            Self::Open => "LSB",
            Self::Close => "RSB",
            Self::Text(_) => "STRING",
            Self::Field(_) => "FIELD",
            Self::Index(_) => "INDEX",
            Self::End => "$end",
        }
    }
}

/// Reads `a.b["c d"][0]`: keys, and indices as `[0]`.
fn parse_path(expression: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut lexer = Lexer { rest: expression, error: None };
    let path = path_of(&mut lexer);
    match lexer.error {
        // A grammar error hides what the lexer complained about.
        Some(error) if path.is_ok() => Err(error),
        _ => path,
    }
}

fn path_of(lexer: &mut Lexer<'_>) -> Result<Vec<Vec<u8>>, String> {
    let unexpected =
        |token: &Token, expected: &str| format!("syntax error: unexpected {}, expecting {expected}", token.name());
    let mut path = Vec::new();
    loop {
        match lexer.next() {
            Token::Field(key) if path.is_empty() => path.push(key.into_bytes()),
            Token::Dot if !path.is_empty() => match lexer.next() {
                Token::Field(key) => path.push(key.into_bytes()),
                token => return Err(unexpected(&token, "FIELD")),
            },
            Token::Open => {
                match lexer.next() {
                    Token::Text(key) => path.push(key.into_bytes()),
                    Token::Index(index) => path.push(format!("[{index}]").into_bytes()),
                    token => return Err(unexpected(&token, "STRING or INDEX")),
                }
                match lexer.next() {
                    Token::Close => {}
                    token => return Err(unexpected(&token, "RSB")),
                }
            }
            Token::End if !path.is_empty() => return Ok(path),
            token if path.is_empty() => return Err(unexpected(&token, "LSB or FIELD")),
            token => return Err(format!("syntax error: unexpected {}", token.name())),
        }
    }
}

struct Lexer<'a> {
    rest: &'a str,
    error: Option<String>,
}

impl Lexer<'_> {
    fn next(&mut self) -> Token {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n']);
        let Some(first) = self.rest.chars().next().filter(|&c| c != '\0') else { return Token::End };
        match first {
            '[' => self.single(Token::Open),
            ']' => self.single(Token::Close),
            '.' => self.single(Token::Dot),
            '0'..='9' => self.index(),
            'a'..='z' | 'A'..='Z' | '_' => {
                Token::Field(self.take(|c| !(c == '_' || c.is_ascii_alphanumeric())).to_owned())
            }
            '"' => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                let text = self.take(|c| matches!(c, '"' | ']' | '\0')).to_owned();
                self.rest = self.rest.get(1..).unwrap_or_default();
                Token::Text(text)
            }
            other => {
                self.error = Some(format!("unexpected char {other}"));
                Token::End
            }
        }
    }

    fn single(&mut self, token: Token) -> Token {
        self.rest = self.rest.get(1..).unwrap_or_default();
        token
    }

    fn take(&mut self, ends: impl Fn(char) -> bool) -> &str {
        let (taken, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn index(&mut self) -> Token {
        let digits = self.take(|c| !c.is_ascii_digit()).to_owned();
        let error = match self.rest.chars().next() {
            Some(' ' | '\t' | '\n' | ']') => match digits.parse() {
                Ok(index) => return Token::Index(index),
                Err(_) => format!("strconv.Atoi: parsing \"{digits}\": value out of range"),
            },
            Some('.') => "cannot use float as array index".to_owned(),
            other => format!("non-integer value: {}", other.unwrap_or('\0')),
        };
        self.error = Some(error);
        Token::End
    }
}
