//! `drop` and `keep`.

use super::StageError;
use super::builder::{Builder, ERROR, ERROR_DETAILS, Entry, PRESERVE_ERROR};
use super::names::{NameId, Names};
use super::text::TextMatcher;
use crate::ast::LabelPick;

/// Names, and matchers of labels.
#[derive(Debug)]
pub(super) struct Picks {
    picks: Vec<(NameId, Option<TextMatcher>)>,
}

impl Picks {
    pub(super) fn new(picks: &[LabelPick], names: &mut Names) -> Result<Self, StageError> {
        let mut out = Vec::with_capacity(picks.len());
        for pick in picks {
            out.push(match pick {
                LabelPick::Name(name) => (names.intern(name), None),
                LabelPick::Matcher(matcher) => {
                    (names.intern(&matcher.name), Some(TextMatcher::of_selector(matcher.op, &matcher.value)?))
                }
            });
        }
        Ok(Self { picks: out })
    }

    /// The names that are picked.
    pub(super) fn names(&self) -> impl Iterator<Item = NameId> {
        self.picks.iter().map(|&(name, _)| name)
    }

    /// Takes the labels away.
    pub(super) fn drop_from(&self, labels: &mut Builder) {
        for (name, matcher) in &self.picks {
            let value = match *name {
                ERROR => labels.error(),
                ERROR_DETAILS => labels.error_details(),
                name => labels.get(name).map_or(&[][..], |value| labels.value(value)),
            };
            let picked = match matcher {
                Some(matcher) => matcher.is_match(value),
                None => true,
            };
            match *name {
                _ if !picked => {}
                ERROR => labels.reset_error(),
                ERROR_DETAILS => labels.reset_error_details(),
                name if matcher.is_some() || labels.get(name).is_some() => labels.delete(name),
                _ => {}
            }
        }
    }

    /// Takes all other labels away, but not the errors.
    pub(super) fn keep_in(&self, labels: &mut Builder, entries: &mut Vec<Entry>) {
        if self.picks.is_empty() {
            return;
        }
        labels.collect(entries);
        for entry in &*entries {
            if [ERROR, ERROR_DETAILS, PRESERVE_ERROR].contains(&entry.name) {
                continue;
            }
            let kept = self.picks.iter().any(|(name, matcher)| {
                *name == entry.name
                    && matcher.as_ref().is_none_or(|matcher| matcher.is_match(labels.value(entry.value)))
            });
            if !kept {
                labels.delete(entry.name);
            }
        }
    }
}
