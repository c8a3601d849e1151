//! Any bytes as the chunk of a column: a byte for block and column, the byte of the encoding as it is stored, then the
//! payload. Its header is made right, so that every encoding is reached in every build.

use crate::blocks::batch_of;
use crate::memory::MemoryFile;
use std::sync::{Arc, OnceLock};
use timberlog_segment::{
    BlockEncoder, Column, ColumnKey, RowRef, SegmentError, SegmentReader, SegmentWriter, TextMatcher, WriterOptions,
};
use timberlog_types::{RowSet, Tenant};

/// The rows of the blocks that the chunks are said to be of.
const ROWS: [usize; 4] = [1, 9, 300, 3000];

/// See the module.
pub fn columns(input: &[u8]) {
    if let Some((Ok(column), rows)) = decode(input) {
        read(&column, rows);
    }
}

/// The column that an input stands for, and the rows of its block.
fn decode(input: &[u8]) -> Option<(Result<Column, SegmentError>, usize)> {
    let [place, encoding, payload @ ..] = input else { return None };
    let block = u32::from(place % 4);
    let key = match place / 4 % 5 {
        0 => ColumnKey::Timestamp,
        1 => ColumnKey::Stream,
        2 => ColumnKey::Level,
        3 => ColumnKey::Message,
        _ => ColumnKey::Field(0),
    };
    let number: u32 = match key {
        ColumnKey::Timestamp => 0,
        ColumnKey::Stream => 1,
        ColumnKey::Level => 2,
        ColumnKey::Message => 3,
        ColumnKey::Field(id) => 4 + id,
    };
    let mut chunk = vec![*encoding, 1, 0, 0];
    chunk.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&block.to_le_bytes()), &number.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, &chunk), payload);
    chunk.extend_from_slice(&crc.to_le_bytes());
    chunk.extend_from_slice(payload);
    Some((reader().column_of(block, key, chunk), ROWS[block as usize]))
}

/// Asks a column of a block with so many rows for everything.
pub fn read(column: &Column, rows: usize) {
    let _ = (column.memory_bytes(), column.held_bytes());
    match column {
        Column::Timestamps(times) => assert_eq!(times.len(), rows),
        Column::Streams(runs) => {
            assert_eq!(runs.rows(), rows);
            assert_eq!(runs.runs().map(|(_, rows)| rows.len()).sum::<usize>(), rows);
            for row in [0, rows / 2, rows.saturating_sub(1)].into_iter().filter(|&row| row < rows) {
                let _ = runs.get(row);
            }
        }
        Column::Levels(levels) => {
            assert_eq!(levels.rows(), rows);
            levels.codes().for_each(|code| assert!(code < levels.spellings().len()));
        }
        Column::Message(messages) => {
            // Of bytes that no encoder wrote, lengths and hits need not be those of the texts: see `messages`.
            let all = RowSet::all(rows);
            let mut read = 0;
            if messages.read(&all, &mut |_, _| read += 1).is_ok() {
                assert_eq!(read, rows);
            }
            let mut lengths = Vec::new();
            if messages.lengths(&all, &mut lengths).is_ok() {
                assert_eq!(lengths.len(), rows);
            }
            if let Ok(found) = messages.search(&Contains(vec![b"a1".to_vec()]), &all) {
                assert_eq!(found.rows(), rows);
            }
            let _ = messages.count(&Contains(vec![b"a1".to_vec()]));
        }
        Column::Field(values) => {
            assert_eq!(values.rows(), rows);
            assert!(values.len() <= rows);
            let mut count = 0;
            values.for_each(|row, _| {
                assert!(row < rows);
                count += 1;
            });
            assert_eq!(count, values.len());
            assert_eq!(values.present().count(), count);
            let _ = values.count_by_code(None);
            let _ = values.select(true, |value| value.text.is_empty());
            for row in [0, rows / 2, rows.saturating_sub(1)] {
                let _ = (values.get(row), values.code(row));
            }
            if let Some(dictionary) = values.dictionary() {
                let _ = dictionary.iter().count();
            }
        }
    }
}

struct Contains(Vec<Vec<u8>>);

impl TextMatcher for Contains {
    fn is_match(&self, text: &[u8]) -> bool {
        text.windows(2).any(|two| two == b"a1")
    }

    fn literals(&self) -> &[Vec<u8>] {
        &self.0
    }

    fn is_plain_literal(&self) -> bool {
        true
    }
}

/// A segment with a block for each number of rows, and every column in each.
fn reader() -> &'static SegmentReader {
    static READER: OnceLock<SegmentReader> = OnceLock::new();
    READER.get_or_init(|| {
        let file = MemoryFile::new(&[]);
        let options = WriterOptions { segment_id: "S".to_owned(), tenant: Tenant::default(), zstd_level: 1 };
        let mut writer = SegmentWriter::new(file.clone(), options).expect("memory");
        for rows in ROWS {
            let lines: Vec<String> = (0..rows)
                .map(|row| {
                    format!(
                        "{}{}{}f=value {};request {row} took {}ms",
                        (b'!' + (row % 90) as u8) as char,
                        'a',
                        'b',
                        row % 7,
                        row * 31 % 997
                    )
                })
                .collect();
            let batch = batch_of(lines.join("\n").as_bytes()).expect("records");
            let all: Vec<RowRef> = (0..rows).map(|row| RowRef { batch: 0, row: row as u32 }).collect();
            writer.write_block(&mut BlockEncoder::new(1), &[Arc::new(batch)], &all).expect("records");
        }
        writer.finish(None).expect("memory");
        SegmentReader::open(file).expect("what was written")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_corpus_has_a_column_of_each_encoding() {
        let known = |encoding: &u8| {
            // A payload whose column it cannot be is another matter.
            let decoded = (0..5).filter_map(|column| decode(&[column * 4, *encoding]));
            decoded.into_iter().any(|(column, _)| !matches!(column, Err(SegmentError::UnknownEncoding { .. })))
        };
        let expected: BTreeSet<u8> = (0..=255).filter(known).collect();
        let inputs = crate::corpora::corpus("columns");
        let decoded = inputs.iter().filter(|input| matches!(decode(input), Some((Ok(_), _))));
        assert_eq!(decoded.map(|input| input[1]).collect::<BTreeSet<u8>>(), expected);
    }
}
