//! Literals against templates: the ways in which a literal can lie across a template's variables.
//!
//! Static text never has a digit, and a variable ends where its run of digits, or of letters and
//! digits, ends. So where a literal's end inside a variable is known, so is every cut behind it:
//! a template has few alignments, and each is a list of conditions on single variables. Literals
//! that lie inside static text are no concern of this module.

use super::slots::{SlotKind, Template, Templates};

/// How a piece of the literal must lie in a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Anywhere.
    Inside,
    /// At its start.
    Start,
    /// At its end.
    End,
    /// It is the variable.
    Whole,
}

/// A condition on one variable: `piece` lies in `slot` as `place` says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition<'a> {
    /// Among the slots of the template.
    pub(super) slot: usize,
    pub(super) place: Place,
    pub(super) piece: &'a [u8],
}

/// A literal, lowered if case is ignored, and what is known of it once for all templates.
pub(super) struct Literal<'a> {
    pub(super) bytes: &'a [u8],
    is_digits: bool,
    is_word: bool,
    has_digit: bool,
    /// Where a variable can begin behind static bytes.
    starts: Vec<usize>,
}

impl<'a> Literal<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut starts = Vec::new();
        for at in 1..bytes.len() {
            let (before, here) = (bytes[at - 1], bytes[at]);
            if before.is_ascii_digit() {
                break;
            }
            if here.is_ascii_digit() || (here.is_ascii_alphanumeric() && !before.is_ascii_alphanumeric()) {
                starts.push(at);
            }
        }
        Self {
            bytes,
            is_digits: bytes.iter().all(u8::is_ascii_digit),
            is_word: bytes.iter().all(u8::is_ascii_alphanumeric),
            has_digit: bytes.iter().any(u8::is_ascii_digit),
            starts,
        }
    }

    /// Calls `f` with the conditions of every alignment that touches a variable. `statics` is the
    /// templates' text, lowered if case is ignored.
    pub(super) fn align(
        &self,
        templates: &Templates,
        template: &Template,
        statics: &[u8],
        conditions: &mut Vec<Condition<'a>>,
        f: &mut dyn FnMut(&[Condition<'a>]) -> bool,
    ) {
        let slots = templates.slots_of(template);
        for (index, slot) in slots.iter().enumerate() {
            let is_string = !slot.kind.is_number();
            if !is_string && !self.has_digit {
                continue;
            }
            let walk = Walk { templates, template, statics, literal: self.bytes };
            if self.is_digits || (is_string && self.is_word) {
                conditions.clear();
                conditions.push(Condition { slot: index, place: Place::Inside, piece: self.bytes });
                if !f(conditions) {
                    return;
                }
            }
            let run = walk.run(index, 0);
            if run > 0 && run < self.bytes.len() {
                conditions.clear();
                conditions.push(Condition { slot: index, place: Place::End, piece: &self.bytes[..run] });
                if walk.behind(index, run, conditions) && !f(conditions) {
                    return;
                }
            }
            let before = statics.get(slot.before.clone()).unwrap_or_default();
            for &start in &self.starts {
                if before.ends_with(&self.bytes[..start]) {
                    conditions.clear();
                    if walk.variable(index, start, conditions) && !f(conditions) {
                        return;
                    }
                }
            }
        }
    }
}

struct Walk<'a, 'b> {
    templates: &'b Templates,
    template: &'b Template,
    statics: &'b [u8],
    literal: &'a [u8],
}

impl<'a> Walk<'a, '_> {
    /// The static text behind a slot.
    fn after(&self, slot: usize) -> &[u8] {
        let next = self.templates.slots_of(self.template).get(slot + 1);
        let range = next.map_or(&self.template.tail, |next| &next.before);
        self.statics.get(range.clone()).unwrap_or_default()
    }

    /// How many bytes of the literal from `at` on can stand in the slot's variable.
    fn run(&self, slot: usize, at: usize) -> usize {
        let kind = self.templates.slots_of(self.template).get(slot).map_or(SlotKind::String, |slot| slot.kind);
        // Letters behind a variable are static: only the digits of that word are the variable.
        let is_digits = kind.is_number() || self.after(slot).first().is_some_and(u8::is_ascii_alphanumeric);
        let rest = self.literal.get(at..).unwrap_or_default().iter();
        if is_digits {
            rest.take_while(|byte| byte.is_ascii_digit()).count()
        } else {
            rest.take_while(|byte| byte.is_ascii_alphanumeric()).count()
        }
    }

    /// Aligns the literal from `at` on with a variable's start; `false` if it cannot.
    fn variable(&self, slot: usize, at: usize, conditions: &mut Vec<Condition<'a>>) -> bool {
        let end = at + self.run(slot, at);
        if end == at {
            return false;
        }
        let is_last = end == self.literal.len();
        let place = if is_last { Place::Start } else { Place::Whole };
        conditions.push(Condition { slot, place, piece: &self.literal[at..end] });
        is_last || self.behind(slot, end, conditions)
    }

    /// Aligns the literal from `at` on with what stands behind a variable.
    fn behind(&self, slot: usize, at: usize, conditions: &mut Vec<Condition<'a>>) -> bool {
        let (rest, after) = (&self.literal[at..], self.after(slot));
        if rest.len() <= after.len() {
            return after.starts_with(rest);
        }
        let is_last = slot + 1 >= self.template.slots.len();
        !is_last && rest.starts_with(after) && self.variable(slot + 1, at + after.len(), conditions)
    }
}
