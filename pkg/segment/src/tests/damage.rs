//! Damaged files: an error or the same answer, never a panic.

use super::*;
use crate::{Column, SegmentError};

fn sample() -> Vec<u8> {
    let made: Vec<Record> = (0..24_i64)
        .map(|n| {
            let record = Record::new(n * n, ["a", "b"][n as usize % 2], &format!("message {n} of 24"))
                .field("host", ValueKind::String, format!("h{}", n % 3))
                .field("n", ValueKind::Number, n * 1000);
            if n % 9 == 0 { record.field("rare", ValueKind::Null, "") } else { record }
        })
        .collect();
    let batches = [batch(&made)];
    write(&batches, &sorted_rows(&batches), 15).0
}

/// All that a reader gives out.
fn read_all(bytes: &[u8]) -> Result<Vec<Record>, SegmentError> {
    let reader = SegmentReader::open(MemoryFile::of(bytes))?;
    let mut all = Vec::new();
    for meta in &reader.directory().blocks {
        for column in &meta.columns {
            reader.column(meta.number, column.key)?;
            reader.filter(meta.number, column.key)?;
        }
        all.extend(records(&reader.read_block_as_batch(meta.number)?));
    }
    Ok(all)
}

#[test]
fn every_flipped_byte_is_noticed() {
    let bytes = sample();
    assert!(read_all(&bytes).is_ok());
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let found = match SegmentReader::open(MemoryFile::of(&damaged)) {
            Err(_) => true,
            Ok(reader) => {
                let mut found = false;
                reader.verify(&mut |_| found = true);
                found
            }
        };
        assert!(found, "byte {at} of {}", bytes.len());
        let _ = read_all(&damaged);
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = sample();
    for len in 0..bytes.len() {
        let error = SegmentReader::open(MemoryFile::of(&bytes[..len])).map(|_| ()).unwrap_err();
        assert!(!matches!(error, SegmentError::Io { .. }), "{error}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(SegmentReader::open(MemoryFile::of(&longer)).is_err());
}

#[test]
fn a_damage_is_told_with_its_place_and_the_rest_is_read() {
    let bytes = sample();
    let reader = open(&bytes);
    let blocks = &reader.directory().blocks;
    let host = reader.directory().field("host").unwrap();
    let column = *blocks[1].column(crate::ColumnKey::Field(host)).unwrap();
    let mut damaged = bytes.clone();
    damaged[blocks[1].offset as usize + column.offset as usize + 15] ^= 0x40;
    let reader = open(&damaged);
    let error = reader.column(1, column.key).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "segment `01TEST`: block 1: column of field `host`: checksum mismatch");
    assert!(reader.column(0, column.key).is_ok());
    assert!(reader.column(1, crate::ColumnKey::Message).is_ok());
    assert!(reader.read_block_as_batch(0).is_ok());
    assert!(reader.read_block_as_batch(1).is_err());
    let mut damages = Vec::new();
    reader.verify(&mut |damage| damages.push((damage.block, damage.error.to_string())));
    assert_eq!(damages, [(Some(1), error.to_string())]);
}

/// Whatever byte of a group of token filters is wrong: the filters of its neighbours are given, and its own is not.
#[test]
fn a_damaged_token_filter_is_left_out_of_its_group() {
    let with_id = |n: i64| Record::new(n, "a", "m").field("id", ValueKind::String, format!("v{n}"));
    let batches = [batch(&(0..200).map(with_id).collect::<Vec<_>>())];
    let bytes = write(&batches, &sorted_rows(&batches), 100).0;
    let reader = open(&bytes);
    let key = crate::ColumnKey::Field(reader.directory().field("id").unwrap());
    let of = |reader: &SegmentReader, block: u32| {
        let group = reader.filter_group(crate::FilterGroup::of_block(block), key).unwrap().unwrap();
        group.get(block).map(<[u8]>::to_vec)
    };
    let sound: Vec<_> = (0..2).map(|block| reader.filter(block, key).unwrap()).collect();
    assert!(sound.iter().all(|filter| filter.as_ref().is_some_and(|filter| !filter.is_empty())));
    let place = reader.filter_place(1, key).unwrap();
    for at in place {
        let mut damaged = bytes.clone();
        damaged[usize::try_from(at).unwrap()] ^= 1 << (at % 8);
        let reader = open(&damaged);
        assert_eq!((of(&reader, 0), of(&reader, 1)), (sound[0].clone(), None), "byte {at}");
        assert!(reader.filter(1, key).is_err(), "byte {at}");
    }
}

#[test]
fn questions_for_what_is_not_there_are_errors() {
    let reader = open(&sample());
    assert!(reader.column(9, crate::ColumnKey::Message).is_err());
    assert!(reader.column(0, crate::ColumnKey::Field(99)).is_err());
    assert!(reader.filter(9, crate::ColumnKey::Message).is_err());
    assert!(reader.filter(0, crate::ColumnKey::Level).unwrap().is_none());
    assert!(reader.read_block_as_batch(9).is_err());
}

/// Payloads with a right checksum and wrong content: damage that CRCs cannot find.
#[test]
fn damage_below_the_checksum_never_panics() {
    let bytes = sample();
    let reader = open(&bytes);
    for meta in &reader.directory().blocks {
        for column in &meta.columns {
            let start = meta.offset as usize + column.offset as usize;
            let chunk = &bytes[start..start + column.len as usize];
            for at in crate::chunk::CHUNK_HEADER..chunk.len() {
                for flip in [1, 0x10, 0x80, 0xff] {
                    let mut damaged = chunk.to_vec();
                    damaged[at] ^= flip;
                    crate::chunk::reseal(meta.number, column.key, &mut damaged);
                    if let Ok(decoded) = reader.decode(meta, column.key, damaged) {
                        read_column(&decoded, meta.rows as usize);
                    }
                }
            }
        }
    }
}

/// Looks at every row of a column.
fn read_column(column: &Column, rows: usize) {
    match column {
        Column::Timestamps(times) => assert_eq!(times.len(), rows),
        Column::Streams(runs) => assert!((0..rows).all(|row| runs.get(row) < 2)),
        Column::Levels(levels) => assert!((0..rows).all(|row| levels.get(row) < 1)),
        Column::Message(messages) => {
            let _ = messages.read(&timberlog_types::RowSet::all(rows), &mut |_, _| {});
        }
        Column::Field(values) => {
            values.for_each(|row, _| assert!(row < rows));
            assert_eq!(values.count_by_code(None).map_or(rows as u64, |counts| counts.iter().sum()), rows as u64);
        }
    }
}

#[test]
fn a_damaged_directory_never_panics() {
    let bytes = sample();
    let mut plain = Vec::new();
    crate::directory::codec::encode(open(&bytes).directory(), &mut plain);
    for at in 0..plain.len() {
        for flip in [1, 0x10, 0x80, 0xff] {
            let mut damaged = plain.clone();
            damaged[at] ^= flip;
            let _ = crate::directory::codec::decode(&damaged);
        }
        assert!(crate::directory::codec::decode(&plain[..at]).is_err());
    }
}
