//! Lengths: how long rows are, without their text.
//!
//! Static text, digits of one width and strings of one length are known from the templates;
//! other strings and digits have their lengths in a stream of their own. Only integers that are
//! written with as many digits as they need, and not all with the same number of them, have to
//! be looked at by value. So no string and no rare row is ever decompressed here.

use super::MessageError;
use super::column::MessageColumn;
use super::rebuild::{Rebuild, decimal_len};
use super::slots::{Slot, SlotKind, Template, Templates};
use super::streams;
use timberlog_types::RowSet;

/// The lengths of the rows of one template.
#[derive(Clone, Copy)]
struct Known {
    /// What all rows have.
    fixed: u32,
    /// Where the rest stands, by ordinal; `None` if that is nothing.
    rest_at: Option<usize>,
}

impl MessageColumn {
    /// Puts the length in bytes of each wanted row's text into `lengths`, by row; 0 for the others.
    /// What `lengths` held before is gone; its memory is used again.
    pub fn lengths(&self, rows: &RowSet, lengths: &mut Vec<u32>) -> Result<(), MessageError> {
        lengths.clear();
        lengths.resize(self.rows(), 0);
        if rows.is_empty() {
            return Ok(());
        }
        let templates = self.templates()?;
        let mut seen = vec![rows.is_full(); templates.list.len() + 1];
        if !rows.is_full() {
            let mut wanted = rows.iter();
            let mut next = wanted.next();
            self.walk(templates, |row, id, _| {
                if next == Some(row) {
                    next = wanted.next();
                    seen[id] = true;
                }
            })?;
        }
        let rare_ends = if seen[0] { self.rare_ends()? } else { &[] };
        let (known, rest) = self.known(templates, seen.get(1..).unwrap_or_default())?;
        let mut wanted = rows.iter();
        let mut next = wanted.next();
        let mut is_sound = true;
        self.walk(templates, |row, id, ordinal| {
            if next != Some(row) {
                return;
            }
            next = wanted.next();
            let len = match id.checked_sub(1) {
                Some(index) => known.get(index).map_or(0, |known| {
                    is_sound &= templates.list.get(index).is_some_and(|template| ordinal < template.rows);
                    let rest = known.rest_at.and_then(|at| rest.get(at + ordinal)).copied();
                    known.fixed.saturating_add(rest.unwrap_or_default())
                }),
                None => {
                    let start = ordinal.checked_sub(1).and_then(|before| rare_ends.get(before)).copied();
                    let end = rare_ends.get(ordinal).copied().unwrap_or_default();
                    u32::try_from(end.saturating_sub(start.unwrap_or_default())).unwrap_or(u32::MAX)
                }
            };
            if let Some(slot) = lengths.get_mut(row) {
                *slot = len;
            }
        })?;
        if is_sound { Ok(()) } else { Err(MessageError("template ids do not agree with the templates")) }
    }

    /// The lengths of the rows of each template that is wanted.
    fn known(&self, templates: &Templates, wanted: &[bool]) -> Result<(Vec<Known>, Vec<u32>), MessageError> {
        let of_wanted = || templates.list.iter().zip(wanted).filter(|(_, wanted)| **wanted);
        let varying = |template| templates.slots_of(template).iter().filter(|slot| fixed_len(slot).is_none());
        let mut needed = 0;
        let mut varying_rows = 0;
        for (template, _) in of_wanted() {
            let mut slots = varying(template).peekable();
            varying_rows += if slots.peek().is_some() { template.rows } else { 0 };
            needed |= slots.fold(0, |needed, slot| needed | length_streams(slot));
        }
        let mut open: [&[u8]; streams::COUNT] = [&[]; streams::COUNT];
        for (stream, bytes) in open.iter_mut().enumerate().filter(|(stream, _)| needed >> stream & 1 == 1) {
            *bytes = self.streams.get(stream)?;
        }
        let values = Rebuild { templates, streams: open, ends: &[] };
        let mut known = Vec::with_capacity(templates.list.len());
        let mut rest = Vec::with_capacity(varying_rows);
        for (template, &wanted) in templates.list.iter().zip(wanted) {
            let slots = templates.slots_of(template);
            let statics = template.text.len() - slots.len();
            let fixed = slots.iter().filter_map(fixed_len).sum::<usize>() + statics;
            let mut rest_at = None;
            if wanted && varying(template).next().is_some() {
                rest_at = Some(rest.len());
                let end = rest.len() + template.rows;
                rest.resize(end, 0);
                let of_template = rest.get_mut(end - template.rows..).unwrap_or_default();
                varying(template).for_each(|slot| add(&values, template, slot, of_template));
            }
            known.push(Known { fixed: u32::try_from(fixed).unwrap_or(u32::MAX), rest_at });
        }
        Ok((known, rest))
    }
}

/// The length of every variable of a slot, if they have one length.
fn fixed_len(slot: &Slot) -> Option<usize> {
    match slot.kind {
        SlotKind::Digits | SlotKind::FixedString => Some(slot.width.into()),
        SlotKind::Integer => {
            let (least, most) = (decimal_len(slot.min), decimal_len(slot.min.saturating_add(slot.range)));
            (least == most).then_some(least)
        }
        SlotKind::MixedDigits | SlotKind::String => None,
    }
}

/// The streams that tell the lengths of a slot's variables.
fn length_streams(slot: &Slot) -> u32 {
    if slot.kind.has_lengths() { 1 << streams::LENGTHS } else { slot.streams() }
}

/// Adds the lengths of a slot's variables.
fn add(values: &Rebuild<'_>, template: &Template, slot: &Slot, lengths: &mut [u32]) {
    if slot.kind.has_lengths() {
        let stream = values.streams.get(streams::LENGTHS).copied().unwrap_or_default();
        let stored = stream.get(slot.lengths_at..).unwrap_or_default();
        lengths.iter_mut().zip(stored).for_each(|(length, &len)| *length += u32::from(len));
    } else {
        for (ordinal, length) in lengths.iter_mut().enumerate() {
            *length += decimal_len(values.number(slot, template.rows, ordinal)) as u32;
        }
    }
}
