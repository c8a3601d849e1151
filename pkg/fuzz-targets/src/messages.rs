//! A message column as templates and variables. Bytes that are no column: an error, no panic, and no
//! more memory than it says. Lines that were encoded: the same lines come back, whichever are asked
//! for, and a search finds what a scan finds.

use timberlog_filter::Matcher;
use timberlog_segment::{MessageColumn, MessageEncoder, TextMatcher};
use timberlog_types::RowSet;

/// See the module.
pub fn messages(input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else { return };
    if first < 128 {
        read(rest, usize::from(first));
        return;
    }
    let lines: Vec<&[u8]> = rest.split(|&byte| byte == b'\n').collect();
    let (mut payload, mut tokens) = (Vec::new(), Vec::new());
    MessageEncoder::new(1).encode(lines.iter().copied(), &mut payload, &mut tokens);
    let column = MessageColumn::open(payload, lines.len()).expect("what was encoded");
    let every = usize::from(first - 127);
    let wanted = RowSet::from_fn(lines.len(), |row| row % every == 0);
    let mut found = Vec::new();
    column.read(&wanted, &mut |row, text| found.push((row, text.to_vec()))).expect("what was encoded");
    let expected: Vec<(usize, Vec<u8>)> = wanted.iter().map(|row| (row, lines[row].to_vec())).collect();
    assert_eq!(found, expected);
    let mut lengths = Vec::new();
    column.lengths(&wanted, &mut lengths).expect("what was encoded");
    assert_eq!(lengths.len(), lines.len());
    assert!(expected.iter().all(|(row, line)| lengths[*row] as usize == line.len()));
    let matcher = Matcher::contains("a1");
    let found = column.search(&matcher, &wanted).expect("what was encoded");
    let hits = expected.iter().filter(|(_, line)| matcher.is_match(line)).map(|(row, _)| *row);
    assert!(found.iter().eq(hits));
}

/// Reads a column of so many rows; whether it is one.
pub(crate) fn read(payload: &[u8], rows: usize) -> bool {
    let Ok(column) = MessageColumn::open(payload.to_vec(), rows) else { return false };
    let read = column.read(&RowSet::all(rows), &mut |_, _| {});
    let _ = column.lengths(&RowSet::all(rows), &mut Vec::new());
    read.is_ok()
}
