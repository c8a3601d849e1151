//! Patterns: literals with `<name>` and `<_>` between them, for `| pattern` and for `|>`.

use memchr::memmem;

use super::StageError;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// This text; no two follow each other.
    Literal(Vec<u8>),
    /// Anything up to the next literal; `None` for `<_>`.
    Capture(Option<String>),
}

/// The pattern of `|>` and `!>`: literals with `<_>` for what may be between them.
#[derive(Clone, Debug)]
pub struct LinePattern {
    parts: Vec<Part>,
    finders: Vec<Option<memmem::Finder<'static>>>,
}

impl LinePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It names a capture, or two captures follow each other.
    pub fn new(pattern: &str) -> Result<Self, StageError> {
        let parts = parse(pattern);
        no_neighbours(&parts)?;
        for part in &parts {
            if let Part::Capture(Some(name)) = part {
                return Err(StageError(format!("named captures are not allowed: found '<{name}>'")));
            }
        }
        let finder = |part: &Part| match part {
            Part::Literal(text) => Some(memmem::Finder::new(text).into_owned()),
            Part::Capture(_) => None,
        };
        let finders = parts.iter().map(finder).collect();
        Ok(Self { parts, finders })
    }

    /// Whether a line matches: the literals are in it in their order, each `<_>` stands for at
    /// least one byte, and the line begins and ends as the pattern does. As in Loki, a pattern that
    /// begins with a literal matches lines where something precedes it.
    pub fn is_match(&self, line: &[u8]) -> bool {
        let Some(last) = self.parts.last() else { return line.is_empty() };
        if line.is_empty() {
            return false;
        }
        let mut rest = line;
        for (index, finder) in self.finders.iter().enumerate() {
            let Some(finder) = finder else { continue };
            let Some(at) = finder.find(rest) else { return false };
            if index != 0 && at == 0 {
                return false;
            }
            rest = rest.get(at + finder.needle().len()..).unwrap_or_default();
        }
        matches!(last, Part::Capture(_)) != rest.is_empty()
    }

    /// The literals in their order: what a line that matches contains.
    pub fn literals(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(text) => Some(text.as_slice()),
            Part::Capture(_) => None,
        })
    }
}

/// The pattern of `| pattern`.
#[derive(Clone, Debug)]
pub(super) struct CapturePattern {
    parts: Vec<Part>,
}

impl CapturePattern {
    pub(super) fn new(pattern: &str) -> Result<Self, StageError> {
        if pattern.is_empty() {
            let message =
                "parse error at line 1, col 1: syntax error: unexpected $end, expecting IDENTIFIER or LITERAL";
            return Err(StageError(message.to_owned()));
        }
        let parts = parse(pattern);
        let this = Self { parts };
        if this.names().next().is_none() {
            return Err(StageError("at least one capture is required".to_owned()));
        }
        no_neighbours(&this.parts)?;
        for (index, name) in this.names().enumerate() {
            if this.names().take(index).any(|other| other == name) {
                return Err(StageError(format!("duplicate capture name ({name}): invalid expression")));
            }
        }
        Ok(this)
    }

    /// The names of its captures, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Capture(name) => name.as_deref(),
            Part::Literal(_) => None,
        })
    }

    /// Gives each named capture with its place among the names, until `found` says to stop (false).
    /// A capture whose end is missing takes the rest of the line, and is the last.
    pub(super) fn captures<'a>(&self, line: &'a [u8], mut found: impl FnMut(usize, &'a [u8]) -> bool) -> bool {
        let mut rest = line;
        let mut parts = self.parts.as_slice();
        if let [Part::Literal(text), others @ ..] = parts {
            let Some(after) = rest.strip_prefix(text.as_slice()) else { return true };
            (rest, parts) = (after, others);
        }
        if line.is_empty() {
            return true;
        }
        let mut place = 0;
        while let [Part::Capture(name), others @ ..] = parts {
            let (value, after) = match others.first() {
                Some(Part::Literal(text)) => match memmem::find(rest, text) {
                    Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + text.len()..)),
                    None => (rest, None),
                },
                _ => (rest, None),
            };
            if name.is_some() {
                if !found(place, value) {
                    return false;
                }
                place += 1;
            }
            let Some(after) = after else { return true };
            rest = after;
            parts = others.get(1..).unwrap_or_default();
        }
        true
    }
}

fn no_neighbours(parts: &[Part]) -> Result<(), StageError> {
    let text = |name: &Option<String>| format!("<{}>", name.as_deref().unwrap_or("_"));
    for pair in parts.windows(2) {
        if let [Part::Capture(first), Part::Capture(second)] = pair {
            let both = text(first) + &text(second);
            return Err(StageError(format!("found consecutive capture '{both}': invalid expression")));
        }
    }
    Ok(())
}

fn parse(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        if let Some((name, after)) = capture(rest) {
            parts.push(Part::Capture((name != "_").then(|| name.to_owned())));
            rest = after;
            continue;
        }
        let (literal, after) = rest.split_at(c.len_utf8());
        match parts.last_mut() {
            Some(Part::Literal(text)) => text.extend_from_slice(literal.as_bytes()),
            _ => parts.push(Part::Literal(literal.as_bytes().to_vec())),
        }
        rest = after;
    }
    parts
}

/// `<name>` at the beginning, and what is behind it.
fn capture(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix('<')?.split_once('>')?;
    let name_byte = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    let valid = name.bytes().all(name_byte) && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    valid.then_some((name, after))
}
