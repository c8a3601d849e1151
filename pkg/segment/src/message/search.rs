//! Searching: templates first, then the variables that a literal could touch, then single rows.
//!
//! Every step gives for each template the rows that may match. For a plain literal these are
//! exactly the rows that match, and no text is rebuilt; for any other matcher they are rebuilt and
//! asked. A stream is decompressed only when a condition needs it.

use super::column::MessageColumn;
use super::condition::VariableTest;
use super::literal::{Condition, Literal};
use super::rebuild::Rebuild;
use super::slots::{Slot, SlotKind, Template, Templates};
use super::streams;
use super::{MessageError, TextMatcher};
use memchr::memmem::Finder;
use std::borrow::Cow;
use timberlog_types::RowSet;

/// For fewer rows than this, rebuilding them is cheaper than asking the templates.
const ROWS_MIN: usize = 64;

/// Which rows of a template may match.
#[derive(Clone)]
enum Rows {
    None,
    Some(RowSet),
    All,
}

impl Rows {
    fn contains(&self, ordinal: usize) -> bool {
        match self {
            Self::None => false,
            Self::Some(rows) => ordinal < rows.rows() && rows.contains(ordinal),
            Self::All => true,
        }
    }

    /// The set to add rows to; `None` if all are in it.
    fn set(&mut self, rows: usize) -> Option<&mut RowSet> {
        if matches!(self, Self::None) {
            *self = Self::Some(RowSet::none(rows));
        }
        match self {
            Self::Some(set) => Some(set),
            _ => None,
        }
    }
}

/// What the literals leave of a block.
struct Candidates {
    /// By id: the rare rows, then each template's.
    rows: Vec<Rows>,
}

impl MessageColumn {
    /// The rows of `within` whose text matches.
    pub fn search(&self, matcher: &dyn TextMatcher, within: &RowSet) -> Result<RowSet, MessageError> {
        if within.rows() != self.rows() {
            return Err(MessageError("set of rows of another block"));
        }
        let mut found = RowSet::none(self.rows());
        let candidates = if within.count() < ROWS_MIN { None } else { self.candidates(matcher)? };
        let Some(candidates) = candidates else {
            self.read(within, &mut |row, text| {
                if matcher.is_match(text) {
                    found.insert(row);
                }
            })?;
            return Ok(found);
        };
        if candidates.rows.iter().all(|rows| matches!(rows, Rows::None)) {
            return Ok(found);
        }
        let templates = self.templates()?;
        self.walk(templates, |row, id, ordinal| {
            if candidates.rows.get(id).is_some_and(|rows| rows.contains(ordinal)) {
                found.insert(row);
            }
        })?;
        found.intersect(within);
        if !matcher.is_plain_literal() {
            let asked = found.clone();
            self.read(&asked, &mut |row, text| {
                if !matcher.is_match(text) {
                    found.remove(row);
                }
            })?;
        }
        Ok(found)
    }

    /// How many rows of the block match.
    pub fn count(&self, matcher: &dyn TextMatcher) -> Result<usize, MessageError> {
        let templates = self.templates()?;
        let candidates = self.candidates(matcher)?;
        let (is_exact, rows) = match candidates {
            Some(candidates) => (matcher.is_plain_literal(), candidates.rows),
            None => (false, vec![Rows::All; templates.list.len() + 1]),
        };
        let mut count = 0;
        let rare_rows = match rows.first() {
            Some(Rows::All) => templates.rare_rows,
            Some(Rows::Some(set)) => set.count(),
            _ => 0,
        };
        if is_exact {
            count += rare_rows;
        } else if rare_rows > 0 {
            let rare = self.rare()?;
            count += (0..templates.rare_rows)
                .filter(|&row| rows.first().is_some_and(|rows| rows.contains(row)) && matcher.is_match(rare.row(row)))
                .count();
        }
        let asked = templates.list.iter().zip(rows.iter().skip(1));
        if is_exact {
            count += asked
                .map(|(template, rows)| match rows {
                    Rows::None => 0,
                    Rows::Some(set) => set.count(),
                    Rows::All => template.rows,
                })
                .sum::<usize>();
            return Ok(count);
        }
        let needed = asked
            .clone()
            .filter(|(_, rows)| !matches!(rows, Rows::None))
            .fold(0, |needed, (template, _)| needed | template.streams);
        let rebuild = self.rebuild(templates, needed)?;
        let mut line = rebuild.line();
        for (template, rows) in asked {
            if matches!(rows, Rows::None) {
                continue;
            }
            for ordinal in (0..template.rows).filter(|&ordinal| rows.contains(ordinal)) {
                let len = rebuild.row(template, ordinal, &mut line)?;
                count += usize::from(matcher.is_match(line.get(..len).unwrap_or_default()));
            }
        }
        Ok(count)
    }

    /// The rows that a literal of the matcher stands in; `None` if literals tell nothing.
    fn candidates(&self, matcher: &dyn TextMatcher) -> Result<Option<Candidates>, MessageError> {
        let mut literals = matcher.literals();
        if matcher.is_plain_literal() {
            literals = literals.get(..1).unwrap_or_default();
        }
        if literals.is_empty() || literals.iter().any(Vec::is_empty) {
            return Ok(None);
        }
        let templates = self.templates()?;
        let ignores_case = matcher.ignores_case();
        let mut search = Search {
            column: self,
            templates,
            ignores_case,
            statics: fold(&templates.statics, ignores_case),
            strings: None,
            rebuild: None,
            opened: 0,
            rows: vec![Rows::None; templates.list.len() + 1],
        };
        for literal in literals {
            search.literal(&fold(literal, ignores_case))?;
        }
        Ok(Some(Candidates { rows: search.rows }))
    }
}

fn fold(text: &[u8], ignores_case: bool) -> Cow<'_, [u8]> {
    if ignores_case { text.to_ascii_lowercase().into() } else { text.into() }
}

struct Search<'a> {
    column: &'a MessageColumn,
    templates: &'a Templates,
    ignores_case: bool,
    statics: Cow<'a, [u8]>,
    strings: Option<Cow<'a, [u8]>>,
    /// The streams that conditions needed so far.
    rebuild: Option<Rebuild<'a>>,
    opened: u32,
    rows: Vec<Rows>,
}

impl<'a> Search<'a> {
    fn literal(&mut self, literal: &[u8]) -> Result<(), MessageError> {
        let finder = Finder::new(literal);
        self.rare_rows(&finder)?;
        if literal.contains(&0) {
            // Only rare rows can have it; in templates 0x00 stands for a variable.
            return Ok(());
        }
        self.static_text(&finder);
        self.variables(&Literal::new(literal), &finder)
    }

    fn rare_rows(&mut self, finder: &Finder<'_>) -> Result<(), MessageError> {
        if self.templates.rare_rows == 0 {
            return Ok(());
        }
        let text = fold(self.column.streams.get(streams::RARE)?, self.ignores_case);
        let Some(mut hit) = finder.find(&text) else { return Ok(()) };
        let rare = self.column.rare()?;
        let Some(set) = self.rows.first_mut().and_then(|rows| rows.set(self.templates.rare_rows)) else {
            return Ok(());
        };
        loop {
            let row = rare.ends.partition_point(|&end| end <= hit);
            let Some(&end) = rare.ends.get(row) else { break };
            if hit + finder.needle().len() <= end {
                set.insert(row);
            }
            match finder.find(text.get(end..).unwrap_or_default()) {
                Some(next) => hit = end + next,
                None => break,
            }
        }
        Ok(())
    }

    /// Templates that have the literal in their own text: all their rows match.
    fn static_text(&mut self, finder: &Finder<'_>) {
        let mut from = 0;
        while let Some(hit) = finder.find(self.statics.get(from..).unwrap_or_default()) {
            let index = self.templates.list.partition_point(|template| template.text.end <= from + hit);
            let Some(template) = self.templates.list.get(index) else { break };
            if let Some(rows) = self.rows.get_mut(index + 1) {
                *rows = Rows::All;
            }
            from = template.text.end;
        }
    }

    fn variables(&mut self, literal: &Literal<'_>, finder: &Finder<'_>) -> Result<(), MessageError> {
        // No string has it: then no alignment inside a string needs a look.
        let mut in_strings = None;
        let mut conditions = Vec::new();
        let statics = self.statics.clone();
        for (index, template) in self.templates.list.iter().enumerate() {
            if matches!(self.rows.get(index + 1), Some(Rows::All)) {
                continue;
            }
            let mut result = Ok(());
            literal.align(self.templates, template, &statics, &mut conditions, &mut |conditions| {
                result = self.alignment(index, template, conditions, finder, &mut in_strings);
                result.is_ok()
            });
            result?;
        }
        Ok(())
    }

    /// Adds the rows of a template that fulfil the conditions.
    fn alignment(
        &mut self,
        index: usize,
        template: &'a Template,
        conditions: &[Condition<'_>],
        finder: &Finder<'_>,
        in_strings: &mut Option<bool>,
    ) -> Result<(), MessageError> {
        let slots = self.templates.slots_of(template);
        if let [Condition { slot, place: super::literal::Place::Inside, .. }] = conditions
            && let Some(slot) = slots.get(*slot).filter(|slot| !slot.kind.is_number())
        {
            return self.inside_strings(index, template, slot, finder, in_strings);
        }
        let mut tests = Vec::with_capacity(conditions.len());
        let mut needed = 0;
        for condition in conditions {
            let Some(slot) = slots.get(condition.slot) else { return Ok(()) };
            let Some(test) = VariableTest::new(slot, condition, self.ignores_case) else { return Ok(()) };
            needed |= slot.streams();
            tests.push(test);
        }
        self.open(needed)?;
        let (Some(rebuild), Some(rows)) = (&self.rebuild, self.rows.get_mut(index + 1)) else { return Ok(()) };
        let Some((first, rest)) = tests.split_first() else { return Ok(()) };
        first.each(rebuild, template.rows, &mut |ordinal| {
            if rest.iter().all(|test| test.holds(rebuild, template.rows, ordinal))
                && let Some(set) = rows.set(template.rows)
            {
                set.insert(ordinal);
            }
        });
        Ok(())
    }

    /// Adds the rows of a template that have the literal inside of one string.
    fn inside_strings(
        &mut self,
        index: usize,
        template: &Template,
        slot: &Slot,
        finder: &Finder<'_>,
        in_strings: &mut Option<bool>,
    ) -> Result<(), MessageError> {
        if self.strings.is_none() {
            self.strings = Some(fold(self.column.streams.get(streams::STRINGS)?, self.ignores_case));
        }
        let Some(strings) = self.strings.take() else { return Ok(()) };
        let any = *in_strings.get_or_insert_with(|| finder.find(&strings).is_some());
        let result = if any { self.inside_slot(index, template, slot, finder, &strings) } else { Ok(()) };
        self.strings = Some(strings);
        result
    }

    fn inside_slot(
        &mut self,
        index: usize,
        template: &Template,
        slot: &Slot,
        finder: &Finder<'_>,
        strings: &[u8],
    ) -> Result<(), MessageError> {
        let is_fixed = slot.kind == SlotKind::FixedString;
        let len = if is_fixed { template.rows * usize::from(slot.width) } else { slot.min as usize };
        let strings = strings.get(slot.at..slot.at + len).unwrap_or_default();
        let Some(mut hit) = finder.find(strings) else { return Ok(()) };
        if !is_fixed {
            self.open(slot.streams())?;
        }
        let ends = self.rebuild.as_ref().map(|rebuild| rebuild.ends).unwrap_or_default();
        let ends = ends.get(slot.lengths_at..slot.lengths_at + template.rows).unwrap_or_default();
        let Some(set) = self.rows.get_mut(index + 1).and_then(|rows| rows.set(template.rows)) else { return Ok(()) };
        loop {
            let (ordinal, end) = if is_fixed {
                let width = usize::from(slot.width).max(1);
                (hit / width, (hit / width + 1) * width)
            } else {
                let ordinal = ends.partition_point(|&end| end as usize <= hit);
                (ordinal, ends.get(ordinal).map_or(0, |&end| end as usize))
            };
            if ordinal >= template.rows {
                return Ok(());
            }
            if hit + finder.needle().len() <= end {
                set.insert(ordinal);
            }
            match finder.find(strings.get(end..).unwrap_or_default()) {
                Some(next) => hit = end + next,
                None => return Ok(()),
            }
        }
    }

    fn open(&mut self, needed: u32) -> Result<(), MessageError> {
        if self.rebuild.is_none() || needed & !self.opened != 0 {
            self.opened |= needed;
            self.rebuild = Some(self.column.rebuild(self.templates, self.opened)?);
        }
        Ok(())
    }
}
