//! The column as it is read: rows rebuilt on demand from lazily decompressed streams.

use super::MessageError;
use super::rebuild::Rebuild;
use super::slots::{SlotKind, Template, Templates};
use super::streams::{self, Bytes, Streams};
use std::sync::OnceLock;
use timberlog_types::RowSet;

/// The message column of a block. Streams are decompressed when they are first needed, and kept;
/// so it can sit in a cache and serve many threads.
pub struct MessageColumn {
    rows: usize,
    pub(super) streams: Streams,
    templates: OnceLock<Templates>,
    ends: OnceLock<Box<[u32]>>,
    rare_ends: OnceLock<Box<[usize]>>,
}

/// One in so many rows is few.
const SPARSE: usize = 16;

const IDS: MessageError = MessageError("template ids do not agree with the templates");

impl MessageColumn {
    /// Opens a payload of so many rows. The caller has checked its checksum.
    pub fn open(payload: Vec<u8>, rows: usize) -> Result<Self, MessageError> {
        let streams = Streams::open(payload)?;
        let (templates, ends, rare_ends) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Ok(Self { rows, streams, templates, ends, rare_ends })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// An upper bound of the memory held once every stream is decompressed.
    pub fn memory_bytes(&self) -> usize {
        let ends = size_of::<u32>() * self.streams.len(streams::LENGTHS);
        let rare_ends = size_of::<usize>() * self.streams.len(streams::RARE_LENGTHS);
        self.streams.memory_bytes() + Templates::memory_bytes(&self.streams) + ends + rare_ends + size_of::<Self>()
    }

    /// Bytes of memory held now. They grow while rows are read, up to
    /// [`MessageColumn::memory_bytes`], and never shrink.
    pub fn held_bytes(&self) -> usize {
        let ends = self.ends.get().map_or(0, |ends| size_of_val::<[u32]>(ends));
        let rare_ends = self.rare_ends.get().map_or(0, |ends| size_of_val::<[usize]>(ends));
        let templates = self.templates.get().map_or(0, Templates::held_bytes);
        self.streams.held_bytes() + templates + ends + rare_ends + size_of::<Self>()
    }

    /// Calls `f` with each wanted row and its text, ascending. Only those rows are rebuilt.
    pub fn read(&self, rows: &RowSet, f: &mut dyn FnMut(usize, &[u8])) -> Result<(), MessageError> {
        if rows.is_empty() {
            return Ok(());
        }
        let templates = self.templates()?;
        if rows.count() <= self.rows / SPARSE {
            return self.read_few(templates, rows, f);
        }
        let mut wanted = rows.iter();
        let mut next = wanted.next();
        let mut needed = 0;
        let mut seen = vec![false; templates.list.len() + 1];
        self.walk(templates, |row, id, _| {
            if next == Some(row) {
                next = wanted.next();
                seen[id] = true;
            }
        })?;
        for (template, _) in templates.list.iter().zip(seen.iter().skip(1)).filter(|(_, seen)| **seen) {
            needed |= template.streams;
        }
        let rebuild = self.rebuild(templates, needed)?;
        let rare = if seen[0] { Some(self.rare()?) } else { None };
        let mut line = rebuild.line();
        let mut wanted = rows.iter();
        let mut next = wanted.next();
        let mut result = Ok(());
        self.walk(templates, |row, id, ordinal| {
            if next != Some(row) || result.is_err() {
                return;
            }
            next = wanted.next();
            match (id.checked_sub(1).and_then(|index| templates.list.get(index)), &rare) {
                (Some(template), _) => match rebuild.row(template, ordinal, &mut line) {
                    Ok(len) => f(row, line.get(..len).unwrap_or_default()),
                    Err(error) => result = Err(error),
                },
                (None, Some(rare)) => f(row, rare.row(ordinal)),
                (None, None) => {}
            }
        })?;
        result
    }

    /// Reads few rows: one walk finds them all, and ends with the last.
    fn read_few(
        &self,
        templates: &Templates,
        rows: &RowSet,
        f: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(), MessageError> {
        let mut found: Vec<(usize, Option<&Template>, usize)> = Vec::with_capacity(rows.count());
        let mut wanted = rows.iter();
        let (mut next, mut needed) = (wanted.next(), 0);
        let end = rows.iter().next_back().map_or(0, |last| last + 1);
        self.walk_to(end, templates, |row, id, ordinal| {
            if next == Some(row) {
                next = wanted.next();
                let template = id.checked_sub(1).and_then(|index| templates.list.get(index));
                needed |= template.map_or(0, |template| template.streams);
                found.push((row, template, ordinal));
            }
        })?;
        let rebuild = self.rebuild(templates, needed)?;
        let is_rare = found.iter().any(|(_, template, _)| template.is_none());
        let rare = if is_rare { Some(self.rare()?) } else { None };
        let mut line = rebuild.line();
        for (row, template, ordinal) in found {
            match (template, &rare) {
                (Some(template), _) => {
                    let len = rebuild.row(template, ordinal, &mut line)?;
                    f(row, line.get(..len).unwrap_or_default());
                }
                (None, Some(rare)) => f(row, rare.row(ordinal)),
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// The templates, read once.
    pub(super) fn templates(&self) -> Result<&Templates, MessageError> {
        if let Some(templates) = self.templates.get() {
            return Ok(templates);
        }
        let templates = Templates::read(&self.streams, self.rows)?;
        Ok(self.templates.get_or_init(|| templates))
    }

    /// Calls `f` with each row, the id of its template (0: rare), and its place among the rows
    /// with that id.
    pub(super) fn walk(&self, templates: &Templates, f: impl FnMut(usize, usize, usize)) -> Result<(), MessageError> {
        self.walk_to(self.rows, templates, f)
    }

    /// The same of the rows before one.
    fn walk_to(
        &self,
        end: usize,
        templates: &Templates,
        mut f: impl FnMut(usize, usize, usize),
    ) -> Result<(), MessageError> {
        let end = end.min(self.rows);
        if templates.list.is_empty() {
            (0..end).for_each(|row| f(row, 0, row));
            return Ok(());
        }
        let ids = self.streams.get(streams::IDS)?;
        let high_ids = self.streams.get(streams::HIGH_IDS)?;
        let mut ordinals = vec![0_usize; templates.list.len() + 1];
        for (row, &id) in ids.iter().enumerate().take(end) {
            let high = high_ids.get(row).copied().unwrap_or_default();
            let id = usize::from(id) | usize::from(high) << 8;
            let ordinal = ordinals.get_mut(id).ok_or(IDS)?;
            f(row, id, *ordinal);
            *ordinal += 1;
        }
        Ok(())
    }

    /// What is needed to rebuild rows of templates that use these streams.
    pub(super) fn rebuild<'a>(&'a self, templates: &'a Templates, needed: u32) -> Result<Rebuild<'a>, MessageError> {
        let mut open: [&[u8]; streams::COUNT] = [&[]; streams::COUNT];
        for (stream, bytes) in open.iter_mut().enumerate().filter(|(stream, _)| needed >> stream & 1 == 1) {
            *bytes = self.streams.get(stream)?;
        }
        let ends = if needed >> streams::LENGTHS & 1 == 1 { self.ends(templates)? } else { &[] };
        Ok(Rebuild { templates, streams: open, ends })
    }

    fn ends(&self, templates: &Templates) -> Result<&[u32], MessageError> {
        if let Some(ends) = self.ends.get() {
            return Ok(ends);
        }
        let lengths = self.streams.get(streams::LENGTHS)?;
        let mut ends = vec![0_u32; lengths.len()];
        for template in &templates.list {
            for slot in templates.slots_of(template).iter().filter(|slot| slot.kind == SlotKind::String) {
                let range = slot.lengths_at..slot.lengths_at + template.rows;
                let (Some(ends), Some(lengths)) = (ends.get_mut(range.clone()), lengths.get(range)) else {
                    return Err(MessageError("lengths of strings"));
                };
                let mut total = 0_u32;
                for (end, &len) in ends.iter_mut().zip(lengths) {
                    total = total.saturating_add(len.into());
                    *end = total;
                }
                if u64::from(total) != slot.min {
                    return Err(MessageError("lengths of strings"));
                }
            }
        }
        Ok(self.ends.get_or_init(|| ends.into()))
    }

    /// The rows without a template.
    pub(super) fn rare(&self) -> Result<Rare<'_>, MessageError> {
        Ok(Rare { text: self.streams.get(streams::RARE)?, ends: self.rare_ends()? })
    }

    /// Where each row without a template ends, in the text of all of them.
    pub(super) fn rare_ends(&self) -> Result<&[usize], MessageError> {
        if let Some(ends) = self.rare_ends.get() {
            return Ok(ends);
        }
        let (count, text_len) = (self.templates()?.rare_rows, self.streams.len(streams::RARE));
        let mut bytes = Bytes(self.streams.get(streams::RARE_LENGTHS)?);
        let mut ends = Vec::with_capacity(count.min(bytes.0.len()));
        let mut end = 0;
        for _ in 0..count {
            end += bytes.length(text_len - end)?;
            ends.push(end);
        }
        if end != text_len || !bytes.0.is_empty() {
            return Err(MessageError("lengths of rare rows"));
        }
        Ok(self.rare_ends.get_or_init(|| ends.into()))
    }
}

/// The rows without a template, one behind the other.
pub(super) struct Rare<'a> {
    pub(super) text: &'a [u8],
    pub(super) ends: &'a [usize],
}

impl Rare<'_> {
    pub(super) fn row(&self, ordinal: usize) -> &[u8] {
        let start = ordinal.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        let end = self.ends.get(ordinal).copied().unwrap_or(start);
        self.text.get(start..end).unwrap_or_default()
    }
}
