//! `| logfmt`: `key=value key="quoted value" key` read from the front, with or without a list of
//! which keys are wanted.

pub(super) mod scan;

use super::names::NameId;
use super::parse::Parsing;
use super::sanitize::{has_bad_bytes, without_bad_bytes};
use scan::Scanner;

const LOGFMT_ERROR: &str = "LogfmtParserErr";

/// Sets a label for each key. False: the line is dropped.
pub(super) fn parse_all(line: &[u8], strict: bool, keep_empty: bool, parsing: &mut Parsing<'_>) -> bool {
    if parsing.is_idle() {
        return true;
    }
    let mut unquoted = std::mem::take(parsing.bytes);
    let mut scanner = Scanner::new(line, &mut unquoted);
    let mut place = 0;
    let mut passes = true;
    while !scanner.is_at_end() {
        let Some(key) = scanner.next() else {
            if strict {
                break;
            }
            continue;
        };
        let name = parsing.keys.name(place, key, &mut parsing.labels.names);
        place += 1;
        let Some(name) = name.and_then(|name| parsing.wanted(name)) else { continue };
        let value = scanner.value();
        if value.is_empty() && !keep_empty {
            continue;
        }
        if has_bad_bytes(value) {
            parsing.labels.set_text(name, &without_bad_bytes(value));
        } else {
            parsing.labels.set_text(name, value);
        }
        if !parsing.may_pass(name) {
            passes = false;
            break;
        }
        if parsing.labels.all_extracted() {
            break;
        }
    }
    let error = scanner.error();
    *parsing.bytes = unquoted;
    if passes
        && strict
        && let Some(error) = error
    {
        parsing.fail(LOGFMT_ERROR, Some(&error));
        return parsing.may_pass(super::builder::ERROR);
    }
    passes
}

/// A list of `label="key"`.
#[derive(Debug)]
pub(super) struct KeyList {
    pub(super) strict: bool,
    /// The labels, and the key of each.
    pub(super) labels: Vec<(NameId, NameId)>,
}

impl KeyList {
    /// Sets a label for each key of the list; those that are not found to the empty text, unless
    /// the stream or the metadata has them.
    pub(super) fn parse(&self, line: &[u8], parsing: &mut Parsing<'_>) {
        if parsing.is_idle() {
            return;
        }
        for &(label, _) in &self.labels {
            if !parsing.labels.is_taken(label) {
                parsing.labels.set_text(label, b"");
            }
        }
        let mut unquoted = std::mem::take(parsing.bytes);
        let mut scanner = Scanner::new(line, &mut unquoted);
        let mut place = 0;
        while !scanner.is_at_end() {
            let Some(key) = scanner.next() else {
                if self.strict {
                    break;
                }
                continue;
            };
            let name = parsing.keys.name(place, key, &mut parsing.labels.names);
            place += 1;
            let Some(label) = name.and_then(|name| self.label_of(name, parsing)) else { continue };
            let label = if parsing.labels.is_taken(label) {
                let Some(label) = parsing.wanted(label) else { break };
                label
            } else {
                label
            };
            let value = scanner.value();
            parsing.labels.set_text(label, if has_bad_bytes(value) { b"" } else { value });
            if parsing.labels.all_extracted() {
                break;
            }
        }
        let error = scanner.error();
        *parsing.bytes = unquoted;
        if self.strict
            && let Some(error) = error
        {
            parsing.fail(LOGFMT_ERROR, Some(&error));
        }
    }

    /// The label that a key becomes: the first that asks for it, or that has its name. As in Loki, a
    /// key that is no label of the list itself is passed over if the query does not require a label
    /// of its name, or has it already.
    fn label_of(&self, key: NameId, parsing: &Parsing<'_>) -> Option<NameId> {
        let is_label = self.labels.iter().any(|&(label, _)| label == key);
        if !is_label && (!parsing.labels.should_extract(key) || parsing.labels.is_extracted(key)) {
            return None;
        }
        let asked = self.labels.iter().find(|&&(_, wanted)| wanted == key);
        asked.map(|&(label, _)| label).or(is_label.then_some(key))
    }
}
