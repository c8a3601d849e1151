//! The parts of a query of the short form, and where they are.

use super::{Operator, ShortError};
use timberlog_filter::Comparison;

/// What is next where no name or value is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbol {
    End,
    And,
    Or,
    Not,
    Open,
    Close,
    Other,
}

/// Goes through a query once.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// What is next.
    pub fn symbol(&mut self) -> Symbol {
        self.skip_spaces();
        let rest = self.rest();
        match rest.chars().next() {
            None => Symbol::End,
            Some('&') => Symbol::And,
            Some('|') => Symbol::Or,
            Some('(') => Symbol::Open,
            Some(')') => Symbol::Close,
            Some('!') => Symbol::Not,
            Some(_) => match self.word() {
                (word, _) if word.eq_ignore_ascii_case("and") => Symbol::And,
                (word, _) if word.eq_ignore_ascii_case("or") => Symbol::Or,
                // `not=5` is about a label of that name.
                (word, false) if word.eq_ignore_ascii_case("not") => Symbol::Not,
                _ => Symbol::Other,
            },
        }
    }

    /// Takes what [`Self::symbol`] said is next; `&&` and `||` are as good as `&` and `|`.
    pub fn take(&mut self, symbol: Symbol) {
        let rest = self.rest();
        self.at += match symbol {
            Symbol::And if rest.starts_with('&') => rest.bytes().take(2).take_while(|&byte| byte == b'&').count(),
            Symbol::Or if rest.starts_with('|') => rest.bytes().take(2).take_while(|&byte| byte == b'|').count(),
            Symbol::Not if rest.starts_with('!') => 1,
            Symbol::Open | Symbol::Close => 1,
            Symbol::And | Symbol::Or | Symbol::Not => self.word().0.len(),
            Symbol::End | Symbol::Other => 0,
        };
    }

    /// A name.
    pub fn name(&mut self) -> Result<Option<String>, ShortError> {
        self.text_until(ends_name)
    }

    /// A value.
    pub fn value(&mut self) -> Result<Option<String>, ShortError> {
        self.text_until(ends_value)
    }

    /// An operator between a name and a value.
    pub fn operator(&mut self) -> Option<Operator> {
        const OPERATORS: [(&str, Operator); 10] = [
            ("==", Operator::Equal),
            ("=~", Operator::Matches),
            ("!=", Operator::NotEqual),
            ("!~", Operator::NotMatches),
            ("<=", Operator::Compare(Comparison::Le)),
            (">=", Operator::Compare(Comparison::Ge)),
            ("=", Operator::Equal),
            ("<", Operator::Compare(Comparison::Lt)),
            (">", Operator::Compare(Comparison::Gt)),
            ("contains", Operator::Contains),
        ];
        self.skip_spaces();
        let rest = self.rest();
        let word = self.word().0;
        let &(text, operator) = OPERATORS.iter().find(|&&(text, operator)| match operator {
            Operator::Contains => word.eq_ignore_ascii_case(text),
            _ => rest.starts_with(text),
        })?;
        self.at += text.len();
        Some(operator)
    }

    /// The column of what is next.
    pub fn next_column(&mut self) -> usize {
        self.skip_spaces();
        self.text.get(..self.at).unwrap_or_default().chars().count() + 1
    }

    /// An error at what is next.
    pub fn refuse(&mut self, message: String) -> ShortError {
        ShortError { column: self.next_column(), message }
    }

    /// The error that what is next is not what was expected.
    pub fn expected(&mut self, expected: &str) -> ShortError {
        self.skip_spaces();
        let rest = self.rest();
        let found = match (self.word().0, rest.chars().next()) {
            (_, None) => "the end".to_owned(),
            ("", Some(c)) => format!("`{c}`"),
            (word, _) => format!("`{}`", word.chars().take(40).collect::<String>()),
        };
        self.refuse(format!("{expected} is expected, not {found}"))
    }

    fn text_until(&mut self, ends: fn(char) -> bool) -> Result<Option<String>, ShortError> {
        self.skip_spaces();
        if let Some(quote) = self.rest().chars().next().filter(|&c| c == '"' || c == '\'') {
            return self.quoted(quote).map(Some);
        }
        let rest = self.rest();
        let len = rest.find(ends).unwrap_or(rest.len());
        self.at += len;
        Ok(if len == 0 { None } else { rest.get(..len).map(str::to_owned) })
    }

    fn quoted(&mut self, quote: char) -> Result<String, ShortError> {
        let column = self.next_column();
        let rest = self.rest();
        let mut chars = rest.char_indices().skip(1);
        let mut out = String::new();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.at += at + 1;
                return Ok(out);
            }
            if c != '\\' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some((_, c @ ('"' | '\'' | '\\'))) => out.push(c),
                Some((_, 'n')) => out.push('\n'),
                Some((_, 'r')) => out.push('\r'),
                Some((_, 't')) => out.push('\t'),
                // A regular expression keeps its backslashes.
                Some((_, c)) => out.extend(['\\', c]),
                None => break,
            }
        }
        Err(ShortError { column, message: format!("the quote `{quote}` is not closed") })
    }

    /// The bare name that is next, and whether a symbol operator is behind it.
    fn word(&self) -> (&'a str, bool) {
        let rest = self.rest();
        let (word, behind) = rest.split_at(rest.find(ends_name).unwrap_or(rest.len()));
        (word, behind.trim_start().starts_with(['=', '!', '<', '>', '~']))
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }
}

/// Whether a character cannot be in a bare name.
pub(super) fn ends_name(c: char) -> bool {
    ends_value(c) || matches!(c, '=' | '!' | '<' | '>' | '~')
}

/// Whether a character cannot be in a bare value.
pub(super) fn ends_value(c: char) -> bool {
    c.is_whitespace() || matches!(c, '&' | '|' | '(' | ')' | '"' | '\'')
}
