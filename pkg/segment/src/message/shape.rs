//! Shapes: the templates of a column as its readers may see them, and the same form of any line.
//!
//! Tells which template each row has without rebuilding rows. Must never promise more than a shape:
//! the bytes of the static text with 0x00 for each variable.

use super::MessageError;
use super::column::MessageColumn;
use std::ops::Range;
use timberlog_types::RowSet;

impl MessageColumn {
    /// Calls `f` with each wanted row, ascending, and the number of its template; `None` for a row
    /// that has none, whose text has to be read. Reads the template ids alone.
    pub fn for_each_template(
        &self,
        rows: &RowSet,
        f: &mut dyn FnMut(usize, Option<usize>),
    ) -> Result<(), MessageError> {
        let mut wanted = rows.iter();
        let mut next = wanted.next();
        self.walk(self.templates()?, |row, id, _| {
            if next == Some(row) {
                next = wanted.next();
                f(row, id.checked_sub(1));
            }
        })
    }

    /// The shape that all rows of a template have; `None` if there is no such template.
    pub fn template(&self, number: usize) -> Result<Option<&[u8]>, MessageError> {
        let templates = self.templates()?;
        Ok(templates.list.get(number).and_then(|template| templates.statics.get(template.text.clone())))
    }
}

/// Writes the shape of a line to `out`, which it clears: that of its template, if it has one. Stops
/// once there are more than `max` bytes, between two words.
pub fn shape(line: &[u8], max: usize, out: &mut Vec<u8>) {
    out.clear();
    let mut rest = line;
    while let Some(&first) = rest.first().filter(|_| out.len() <= max) {
        let len = rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(len);
        match variable_of(word) {
            _ if word.is_empty() => {
                out.push(first);
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            Some(variable) => {
                out.extend_from_slice(word.get(..variable.start).unwrap_or_default());
                out.push(0);
                out.extend_from_slice(word.get(variable.end..).unwrap_or_default());
            }
            None => out.extend_from_slice(word),
        }
        rest = behind;
    }
}

/// Which part of a word is its variable, said as plainly as slowly; none if it has no digit.
fn variable_of(word: &[u8]) -> Option<Range<usize>> {
    let at = word.iter().position(u8::is_ascii_digit)?;
    let digits = word.iter().skip(at).take_while(|byte| byte.is_ascii_digit()).count();
    let is_contiguous = !word.iter().skip(at + digits).any(u8::is_ascii_digit);
    let beyond = word.iter().any(|byte| byte.is_ascii_alphabetic() && !byte.is_ascii_hexdigit());
    Some(if is_contiguous && beyond { at..at + digits } else { 0..word.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageEncoder;

    fn column(lines: &[String]) -> MessageColumn {
        let mut payload = Vec::new();
        MessageEncoder::new(1).encode(lines.iter().map(String::as_bytes), &mut payload, &mut Vec::new());
        MessageColumn::open(payload, lines.len()).unwrap()
    }

    #[test]
    fn the_shape_of_a_line_is_its_template() {
        let lines: Vec<String> = (10..400)
            .map(|n| match n % 5 {
                0 => format!("took {n} ms, é{n}é of node{n}x at deadbeef{n} x{n}y{n}"),
                1 => format!("{}{n} {}g{n}", "f".repeat(70), "q".repeat(80)),
                2 => format!("{n}{n}{n}{n}{n}{n}{n}{n} k={n}a \\u00e{n} zz"),
                3 => "nothing to see".to_owned(),
                _ => format!("rare {}", "ab ".repeat(n)),
            })
            .collect();
        let column = column(&lines);
        let mut templated = 0;
        let mut out = Vec::new();
        column
            .for_each_template(&RowSet::all(lines.len()), &mut |row, template| {
                let Some(number) = template else { return };
                templated += 1;
                shape(lines[row].as_bytes(), usize::MAX, &mut out);
                assert_eq!(Some(&out[..]), column.template(number).unwrap(), "{}", lines[row]);
            })
            .unwrap();
        assert!(templated > 300, "{templated}");
        assert_eq!(column.template(4096).unwrap(), None);
    }

    #[test]
    fn a_shape_ends_between_two_words() {
        let mut out = Vec::new();
        shape(b"one two 345 six", 5, &mut out);
        assert_eq!(out, b"one two");
        shape(b"345", 5, &mut out);
        assert_eq!(out, [0]);
    }
}
