//! One compiled stage.

use regex_automata::meta::Regex;
use regex_automata::util::captures::Captures;

use super::StageError;
use super::builder::Entry;
use super::decolorize::Decolorizer;
use super::format::{LabelTemplates, Line, LineTemplate};
use super::json::path::PathList;
use super::json::{self, Unpacked};
use super::label_filter::LabelTest;
use super::line_filter::LineTest;
use super::line_pattern::CapturePattern;
use super::logfmt::{self, KeyList};
use super::names::{NameId, Names};
use super::parse::Parsing;
use super::pick::Picks;
use super::regexp;
use super::sanitize::sanitize_key;
use crate::ast::{Extraction, Stage};

/// A stage, ready to run.
#[derive(Debug)]
pub(super) enum Step {
    Line(LineTest),
    Json,
    JsonPaths(PathList),
    Logfmt { strict: bool, keep_empty: bool },
    LogfmtKeys(KeyList),
    Regexp(GroupParser),
    Pattern(PatternParser),
    Unpack,
    Label(LabelTest),
    LineFormat(LineTemplate),
    LabelFormat(LabelTemplates),
    Decolorize(Decolorizer),
    Drop(Picks),
    Keep(Picks),
}

/// What a stage did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Drop,
    Pass,
    /// The line passes, and is what was written.
    Rewrite,
}

impl Outcome {
    fn passes(passes: bool) -> Self {
        if passes { Self::Pass } else { Self::Drop }
    }

    fn rewrites(rewrites: bool) -> Self {
        if rewrites { Self::Rewrite } else { Self::Pass }
    }
}

/// What stages share while they run.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) entries: Vec<Entry>,
    pub(super) bytes: Vec<u8>,
    /// Of each `regexp` stage, by its slot.
    captures: Vec<(usize, Captures)>,
}

impl Step {
    /// Compiles the stage with the given number.
    pub(super) fn new(stage: &Stage, slot: usize, names: &mut Names) -> Result<Self, StageError> {
        Ok(match stage {
            Stage::Line(filter) => Self::Line(LineTest::new(filter)?),
            Stage::Json(paths) if paths.is_empty() => Self::Json,
            Stage::Json(paths) => Self::JsonPaths(PathList::new(paths, names)?),
            Stage::Logfmt { strict, keep_empty, extractions } => match extractions.as_slice() {
                [] => Self::Logfmt { strict: *strict, keep_empty: *keep_empty },
                extractions => Self::LogfmtKeys(key_list(*strict, extractions, names)?),
            },
            Stage::Regexp(expression) => Self::Regexp(GroupParser::new(expression, slot, names)?),
            Stage::Pattern(pattern) => Self::Pattern(PatternParser::new(pattern, names)?),
            Stage::Unpack => Self::Unpack,
            Stage::LabelFilter(filter) => Self::Label(LabelTest::new(filter, names)?),
            Stage::LineFormat(template) => Self::LineFormat(LineTemplate::new(template, names)?),
            Stage::LabelFormat(formats) => Self::LabelFormat(LabelTemplates::new(formats, names)?),
            Stage::Decolorize => Self::Decolorize(Decolorizer::new()?),
            Stage::Drop(picks) => Self::Drop(Picks::new(picks, names)?),
            Stage::Keep(picks) => Self::Keep(Picks::new(picks, names)?),
        })
    }

    pub(super) fn run(
        &self,
        line: &Line<'_>,
        parsing: &mut Parsing<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Outcome {
        match self {
            Self::Line(test) => Outcome::passes(test.passes(line.text)),
            Self::Json => Outcome::passes(json::parse_all(line.text, parsing)),
            Self::JsonPaths(paths) => {
                paths.parse(line.text, parsing);
                Outcome::Pass
            }
            Self::Logfmt { strict, keep_empty } => {
                Outcome::passes(logfmt::parse_all(line.text, *strict, *keep_empty, parsing))
            }
            Self::LogfmtKeys(keys) => {
                keys.parse(line.text, parsing);
                Outcome::Pass
            }
            Self::Regexp(parser) => Outcome::passes(parser.parse(line.text, parsing, &mut scratch.captures)),
            Self::Pattern(parser) => Outcome::passes(parser.parse(line.text, parsing)),
            Self::Unpack => match json::unpack(line.text, parsing, out) {
                Unpacked::Drop => Outcome::Drop,
                Unpacked::Unchanged => Outcome::Pass,
                Unpacked::Changed => Outcome::Rewrite,
            },
            Self::Label(test) => Outcome::passes(test.passes(parsing.labels)),
            Self::LineFormat(template) => {
                Outcome::rewrites(template.run(line, parsing.labels, &mut scratch.entries, out))
            }
            Self::LabelFormat(templates) => {
                templates.run(line, parsing.labels, &mut scratch.entries, &mut scratch.bytes);
                Outcome::Pass
            }
            Self::Decolorize(decolorizer) => Outcome::rewrites(decolorizer.run(line.text, out)),
            Self::Drop(picks) => {
                picks.drop_from(parsing.labels);
                Outcome::Pass
            }
            Self::Keep(picks) => {
                picks.keep_in(parsing.labels, &mut scratch.entries);
                Outcome::Pass
            }
        }
    }
}

/// `| regexp`: named groups.
#[derive(Debug)]
pub(super) struct GroupParser {
    slot: usize,
    regex: Regex,
    /// The groups that become labels, with the labels.
    groups: Vec<(usize, NameId)>,
}

impl GroupParser {
    fn new(expression: &str, slot: usize, names: &mut Names) -> Result<Self, StageError> {
        let regex = regexp::search(expression)?;
        if let Some(name) = regexp::duplicate_name(expression) {
            return Err(StageError(format!("duplicate extracted label name '{name}'")));
        }
        let mut groups = Vec::new();
        for (index, name) in regex.group_info().pattern_names(regex_automata::PatternID::ZERO).enumerate() {
            if let Some(name) = name {
                let mut label = String::new();
                sanitize_key(name.as_bytes(), &mut label);
                groups.push((index, names.intern(&label)));
            }
        }
        if groups.is_empty() {
            return Err(StageError("at least one named capture must be supplied".to_owned()));
        }
        Ok(Self { slot, regex, groups })
    }

    fn parse(&self, line: &[u8], parsing: &mut Parsing<'_>, captures: &mut Vec<(usize, Captures)>) -> bool {
        let captures = match captures.iter().position(|(slot, _)| *slot == self.slot) {
            Some(at) => captures.get_mut(at),
            None => {
                captures.push((self.slot, self.regex.create_captures()));
                captures.last_mut()
            }
        };
        let Some((_, captures)) = captures else { return true };
        self.regex.captures(line, captures);
        if !captures.is_match() {
            return true;
        }
        for &(group, name) in &self.groups {
            let Some(name) = parsing.wanted(name) else { continue };
            let value = captures.get_group(group).and_then(|span| line.get(span.start..span.end));
            parsing.labels.set_text(name, value.unwrap_or_default());
            if !parsing.may_pass(name) {
                return false;
            }
        }
        true
    }
}

/// `| pattern`.
#[derive(Debug)]
pub(super) struct PatternParser {
    pattern: CapturePattern,
    names: Vec<NameId>,
}

impl PatternParser {
    fn new(pattern: &str, names: &mut Names) -> Result<Self, StageError> {
        let pattern = CapturePattern::new(pattern)?;
        let names = pattern.names().map(|name| names.intern(name)).collect();
        Ok(Self { pattern, names })
    }

    fn parse(&self, line: &[u8], parsing: &mut Parsing<'_>) -> bool {
        if parsing.is_idle() {
            return true;
        }
        self.pattern.captures(line, |place, value| {
            let name = self.names.get(place).and_then(|&name| parsing.wanted(name));
            let Some(name) = name else { return true };
            parsing.labels.set_text(name, value);
            parsing.may_pass(name)
        })
    }
}

fn key_list(strict: bool, extractions: &[Extraction], names: &mut Names) -> Result<KeyList, StageError> {
    let mut labels = Vec::with_capacity(extractions.len());
    for Extraction { name, expression } in extractions {
        let key = logfmt_key(expression)
            .map_err(|reason| StageError(format!("cannot parse expression [{expression}]: {reason}")))?;
        if name.is_empty() {
            return Err(StageError("invalid extracted label name ''".to_owned()));
        }
        labels.push((names.intern(name), names.intern(&key)));
    }
    Ok(KeyList { strict, labels })
}

/// The key of an expression: bare or in quotes.
fn logfmt_key(expression: &str) -> Result<String, String> {
    let text = expression.trim_start_matches([' ', '\t', '\n']);
    let name_char = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let (key, rest) = match text.chars().next() {
        Some('"') => {
            let text = text.get(1..).unwrap_or_default();
            text.split_once(['"', ']']).unwrap_or((text, ""))
        }
        Some(c) if name_char(c) && !c.is_ascii_digit() => {
            text.split_at(text.find(|c| !name_char(c)).unwrap_or(text.len()))
        }
        _ => return Err("syntax error: unexpected $end, expecting STRING or KEY".to_owned()),
    };
    let rest = rest.trim_start_matches([' ', '\t', '\n']);
    match rest.chars().next() {
        None | Some('"') => Ok(key.to_owned()),
        Some(c) if name_char(c) && !c.is_ascii_digit() => Err("syntax error: unexpected KEY".to_owned()),
        Some(c) => Err(format!("unexpected char {c}")),
    }
}
