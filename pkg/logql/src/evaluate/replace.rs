//! `label_replace`: a label set from what an expression finds in another label.

use regex_automata::meta::Regex;
use regex_automata::util::captures::Captures;
use timberlog_filter::Pattern;

use super::EvaluateError;
use super::node::Node;
use super::run::{Failure, Run, Sample, SetMap, without_empty};
use crate::Labels;
use crate::ast::LabelReplace;

/// A replacement of a label.
pub(super) struct ReplaceNode {
    inner: Node,
    destination: String,
    source: String,
    replacement: String,
    regex: Regex,
    replaced: SetMap,
}

impl ReplaceNode {
    /// A replacement over `inner`.
    pub(super) fn new(inner: Node, replace: &LabelReplace) -> Result<Self, Failure> {
        let regex = Pattern::whole(&replace.regex)
            .to_regex()
            .map_err(|error| EvaluateError::Regex { message: error.to_string() })?;
        Ok(Self {
            inner,
            destination: replace.destination.clone(),
            source: replace.source.clone(),
            replacement: replace.replacement.clone(),
            regex,
            replaced: SetMap::default(),
        })
    }

    pub(super) fn step(&mut self, index: usize, run: &mut Run<'_>, out: &mut Vec<Sample>) -> Result<(), Failure> {
        self.inner.step(index, run, out)?;
        for sample in out {
            let (regex, source, destination) = (&self.regex, &self.source, &self.destination);
            let replacement = &self.replacement;
            sample.set = self.replaced.get(sample.set, run, |run, labels| {
                let text = labels.get(source);
                let mut groups = regex.create_captures();
                regex.captures(text, &mut groups);
                let mut labels: Labels = labels.clone();
                if groups.is_match() {
                    labels = without_empty(&labels);
                    labels.set(destination, &expand(replacement, text, &groups));
                }
                run.number(labels)
            })?;
        }
        Ok(())
    }
}

/// `template` with `$1`, `${1}`, `$name` and `${name}` replaced by what the groups found and `$$`
/// by `$`. A name is as long as possible (`$1x` is the group `1x`); a group that is not there or
/// found nothing is empty; a `$` before anything else is itself.
fn expand(template: &str, text: &str, groups: &Captures) -> String {
    let mut expanded = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = name_of_group(after) {
            let group = match name.parse::<usize>() {
                Ok(number) if name.bytes().all(|byte| byte.is_ascii_digit()) => groups.get_group(number),
                _ => groups.get_group_by_name(name),
            };
            expanded.push_str(group.and_then(|span| text.get(span.start..span.end)).unwrap_or_default());
            rest = after;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    expanded
}

/// The name after a `$`, and what follows it.
fn name_of_group(after: &str) -> Option<(&str, &str)> {
    let braced = after.strip_prefix('{');
    let text = braced.unwrap_or(after);
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end).filter(|(name, _)| !name.is_empty())?;
    match braced {
        Some(_) => Some((name, rest.strip_prefix('}')?)),
        None => Some((name, rest)),
    }
}
