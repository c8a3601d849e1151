//! What the micro-benchmarks work on: made-up records as a body, as a batch, as a block in memory.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use timberlog_disk::File;
use timberlog_ingest::demo::Traffic;
use timberlog_ingest::{DecodeOptions, Decoder, Limits, NoStreamLimit};
use timberlog_segment::{BlockEncoder, RowRef, SegmentReader, SegmentWriter, WriterOptions, WrittenBlock};
use timberlog_types::{Batch, Tenant, time};

/// Records of a block: about 1 MiB of text, as flushes cut them.
pub const BLOCK_ROWS: usize = 5_000;

/// JSON lines of so many records.
pub fn body(records: usize) -> Vec<u8> {
    let start = time::parse(b"2026-01-01T00:00:02Z").expect("a time");
    let mut body = Vec::new();
    Traffic::new(1).records(records, start, 1_000_000, &mut body);
    body
}

/// Decodes a body as `POST /ingest` does.
pub fn decode(decoder: &mut Decoder, body: &[u8]) -> Batch {
    let (labels, limits) = (["service".to_owned()], Limits { max_future_ns: i64::MAX, ..Limits::default() });
    let options = DecodeOptions {
        now_ns: 0,
        keep_from_ns: i64::MIN,
        stream_labels: &labels,
        default_service: "",
        strict: false,
        limits: &limits,
        streams: &NoStreamLimit,
    };
    decoder.json(body, &options).expect("JSON lines").batch.expect("records")
}

/// So many records as a batch.
pub fn batch(records: usize) -> Arc<Batch> {
    Arc::new(decode(&mut Decoder::new(), &body(records)))
}

/// The rows of a batch as a flush orders them.
pub fn rows(batch: &Batch) -> Vec<RowRef> {
    let mut rows: Vec<RowRef> = (0..batch.rows()).map(|row| RowRef { batch: 0, row: row as u32 }).collect();
    rows.sort_by_key(|row| (batch.stream_id(row.row as usize), batch.timestamp(row.row as usize)));
    rows
}

/// A writer of a segment.
pub fn writer(file: Arc<dyn File>) -> SegmentWriter {
    let options = WriterOptions { segment_id: "micro".to_owned(), tenant: Tenant::default(), zstd_level: 1 };
    SegmentWriter::new(file, options).expect("a header")
}

/// A segment of so many blocks in memory.
pub fn segment(blocks: usize) -> (SegmentReader, Vec<WrittenBlock>) {
    let file: Arc<dyn File> = Arc::new(Memory::default());
    let mut writer = writer(Arc::clone(&file));
    let mut encoder = BlockEncoder::new(1);
    let batch = batch(BLOCK_ROWS * blocks);
    let all = rows(&batch);
    let written = all
        .chunks(BLOCK_ROWS)
        .map(|rows| writer.write_block(&mut encoder, &[Arc::clone(&batch)], rows).expect("a block"));
    let written = written.collect();
    writer.finish(None).expect("a footer");
    (SegmentReader::open(file).expect("a segment"), written)
}

/// Bytes in memory as a file.
#[derive(Default)]
pub struct Memory(Mutex<Vec<u8>>);

impl Memory {
    /// A file of these bytes.
    pub fn of(bytes: Vec<u8>) -> Arc<dyn File> {
        Arc::new(Self(Mutex::new(bytes)))
    }

    fn bytes(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that keeps nothing of what is written to it.
pub struct Nothing;

impl File for Nothing {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }

    fn write_at(&self, buf: &[u8], _: u64) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

impl File for Memory {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.bytes();
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, buf: &[u8], _: u64) -> io::Result<usize> {
        self.bytes().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
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
