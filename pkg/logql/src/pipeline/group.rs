//! Label sets as byte keys: the same labels are the same bytes.
//!
//! Each label is the length of its name in four bytes (little-endian), the name, the length of its
//! value in four bytes and the value; labels are sorted by name. Those of a line with an error are all
//! there, of others the empty ones only if they are asked for.

use super::builder::{Builder, Entry};
use super::names::NameId;
use crate::ast::Grouping;
use crate::labels::Labels;

/// What becomes of labels that are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empties {
    /// They are labels like others.
    Keep,
    /// They are no labels.
    Drop,
}

/// The names of a grouping that was asked for last.
#[derive(Debug, Default)]
pub(super) struct GroupNames {
    grouping: Option<Grouping>,
    ids: Vec<NameId>,
}

impl GroupNames {
    /// Its names, and the unwrapped one if the grouping is not `by`.
    fn ids(&mut self, grouping: &Grouping, unwrapped: Option<NameId>, labels: &mut Builder) -> &[NameId] {
        if self.grouping.as_ref() != Some(grouping) {
            self.ids.clear();
            self.ids.extend(grouping.names.iter().map(|name| labels.names.intern(name)));
            if grouping.without {
                self.ids.extend(unwrapped);
            }
            self.grouping = Some(grouping.clone());
        }
        &self.ids
    }

    /// Forgets them, because the names were given anew.
    pub(super) fn clear(&mut self) {
        self.grouping = None;
    }

    /// Writes the key of the labels that a grouping leaves.
    pub(super) fn write_key(
        &mut self,
        grouping: Option<&Grouping>,
        empties: Empties,
        unwrapped: Option<NameId>,
        labels: &mut Builder,
        entries: &mut Vec<Entry>,
        out: &mut Vec<u8>,
    ) {
        out.clear();
        let keeps_empty = empties == Empties::Keep || labels.has_error();
        match grouping {
            _ if labels.has_error() => labels.collect(entries),
            None => match unwrapped {
                Some(name) => labels.collect_without(&[name], entries),
                None => labels.collect(entries),
            },
            Some(grouping) => {
                let ids = self.ids(grouping, unwrapped, labels);
                if grouping.without {
                    labels.collect_without(ids, entries);
                } else {
                    labels.collect_by(ids, entries);
                }
            }
        }
        labels.sort(entries);
        for entry in entries.iter().filter(|entry| keeps_empty || !entry.value.is_empty()) {
            push(labels.names.text(entry.name).as_bytes(), out);
            push(labels.value(entry.value), out);
        }
    }
}

fn push(text: &[u8], out: &mut Vec<u8>) {
    // A value is part of a line, which is far shorter than this can say.
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text);
}

/// The labels of a key.
pub(super) fn key_labels(key: &[u8]) -> Labels {
    let mut rest = key;
    let mut pairs = Vec::new();
    while let Some(name) = pop(&mut rest) {
        let value = pop(&mut rest).unwrap_or_default();
        pairs.push((name, value));
    }
    Labels::with_empty(pairs)
}

fn pop(rest: &mut &[u8]) -> Option<String> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let text = after.get(..length)?;
    *rest = after.get(length..)?;
    Some(String::from_utf8_lossy(text).into_owned())
}
