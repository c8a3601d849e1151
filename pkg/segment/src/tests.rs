//! Whole segments, written and read back.

mod damage;
mod golden;
mod round_trip;

use crate::{BlockEncoder, Finished, RedbPages, RowRef, SegmentReader, SegmentWriter, WriterOptions};
use std::io;
use std::sync::{Arc, Mutex};
use timberlog_disk::File;
use timberlog_types::{Batch, BatchBuilder, Tenant, ValueKind};

/// A file in memory.
#[derive(Default)]
pub(crate) struct MemoryFile(Mutex<Vec<u8>>);

impl MemoryFile {
    pub(crate) fn of(bytes: &[u8]) -> Arc<dyn File> {
        Arc::new(Self(Mutex::new(bytes.to_vec())))
    }
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.0.lock().unwrap();
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut bytes = self.0.lock().unwrap();
        assert_eq!(bytes.len() as u64, offset, "segments are written front to back");
        bytes.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A record as a test sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) timestamp: i64,
    pub(crate) service: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) level: Option<String>,
    pub(crate) message: String,
    /// Sorted by name.
    pub(crate) fields: Vec<(String, ValueKind, String)>,
}

impl Record {
    pub(crate) fn new(timestamp: i64, service: &str, message: &str) -> Self {
        Self {
            timestamp,
            service: service.into(),
            labels: vec![("service".into(), service.into())],
            level: Some("info".into()),
            message: message.into(),
            fields: Vec::new(),
        }
    }

    pub(crate) fn field(mut self, name: &str, kind: ValueKind, text: impl ToString) -> Self {
        self.fields.push((name.into(), kind, text.to_string()));
        self.fields.sort_by(|a, b| a.0.cmp(&b.0));
        self
    }
}

pub(crate) fn batch(records: &[Record]) -> Arc<Batch> {
    let mut builder = BatchBuilder::new();
    for record in records {
        let labels: Vec<(&str, &str)> = record.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let stream = builder.stream(&record.service, &labels).unwrap();
        let level = builder.level(record.level.as_deref()).unwrap();
        for (name, kind, text) in &record.fields {
            builder.field(name, *kind, text.as_bytes()).unwrap();
        }
        builder.finish_row(record.timestamp, stream, level, record.message.as_bytes()).unwrap();
    }
    Arc::new(builder.finish().unwrap())
}

pub(crate) fn records(batch: &Batch) -> Vec<Record> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (0..batch.rows())
        .map(|row| {
            let stream = batch.stream(batch.stream_id(row));
            Record {
                timestamp: batch.timestamp(row),
                service: stream.service().into(),
                labels: stream.labels().map(|(name, value)| (name.into(), value.into())).collect(),
                level: batch.level(batch.level_id(row)).spelling.map(str::to_owned),
                message: text(batch.message(row)),
                fields: batch
                    .fields()
                    .filter_map(|field| {
                        field.get(row).map(|value| (field.name().to_owned(), value.kind, text(value.text)))
                    })
                    .collect(),
            }
        })
        .collect()
}

/// The rows of all batches, in order of (service, labels, timestamp), then of arrival.
pub(crate) fn sorted_rows(batches: &[Arc<Batch>]) -> Vec<RowRef> {
    let mut rows: Vec<RowRef> = batches
        .iter()
        .enumerate()
        .flat_map(|(batch, rows)| (0..rows.rows()).map(move |row| RowRef { batch: batch as u32, row: row as u32 }))
        .collect();
    rows.sort_by_key(|row| {
        let batch = &batches[row.batch as usize];
        let stream = batch.stream(batch.stream_id(row.row as usize));
        (stream.service().to_owned(), stream.as_bytes().to_vec(), batch.timestamp(row.row as usize))
    });
    rows
}

/// Writes blocks of `block_rows` rows, a filter for every column that has tokens, and page checksums.
pub(crate) fn write(batches: &[Arc<Batch>], rows: &[RowRef], block_rows: usize) -> (Vec<u8>, Finished) {
    let file = Arc::new(MemoryFile::default());
    let options = WriterOptions { segment_id: "01TEST".into(), tenant: Tenant::new("team-1").unwrap(), zstd_level: 1 };
    let mut writer = SegmentWriter::new(file.clone(), options).unwrap();
    let mut encoder = BlockEncoder::new(1);
    for rows in rows.chunks(block_rows) {
        let block = writer.write_block(&mut encoder, batches, rows).unwrap();
        for (column, mut tokens) in block.tokens {
            tokens.sort_unstable();
            tokens.dedup();
            let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
            writer.add_filter(block.meta.number, column, bytes);
        }
    }
    let pages = RedbPages { page_size: 4096, len: 10_000, crcs: vec![1, 2, 3] };
    let finished = writer.finish(Some(pages)).unwrap();
    let bytes = file.0.lock().unwrap().clone();
    assert_eq!(finished.len, bytes.len() as u64);
    assert_eq!(finished.crc32c, crc32c::crc32c(&bytes));
    (bytes, finished)
}

pub(crate) fn open(bytes: &[u8]) -> SegmentReader {
    SegmentReader::open(MemoryFile::of(bytes)).unwrap()
}
