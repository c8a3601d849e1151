//! Any bytes as a batch, the payload of a WAL frame: refused, or every accessor answers.

use timberlog_types::{Batch, BatchBuilder};

/// See the module.
pub fn batch(input: &[u8]) {
    let Ok(batch) = Batch::decode(input.into()) else { return };
    read(&batch);
    let mut builder = BatchBuilder::new();
    if copy(&batch, &mut builder).is_some()
        && let Some(again) = builder.finish()
    {
        same(&batch, &again);
    }
}

/// Asks a batch for everything.
pub fn read(batch: &Batch) {
    let _ = (batch.memory_bytes(), batch.messages().len());
    for id in 0..batch.stream_count() {
        let stream = batch.stream(id);
        let _ = (batch.stream_hash(id), stream.service().len(), stream.labels().count(), stream.label("a"));
    }
    for id in 0..batch.level_count() {
        let _ = batch.level(id);
    }
    for row in 0..batch.rows() {
        let _ = (batch.timestamp(row), batch.message(row).len());
        assert!(batch.stream_id(row) < batch.stream_count() && batch.level_id(row) < batch.level_count());
    }
    for field in batch.fields() {
        assert!(batch.field(field.name()).is_some());
        let _ = (field.kind(), field.text_bytes());
        for index in 0..field.len() {
            let row = field.row(index);
            assert!(row < batch.rows());
            assert_eq!(field.get(row), Some(field.value(index)));
        }
    }
}

/// Puts the records of a batch into a builder; `None` if that has limits which they exceed.
fn copy(batch: &Batch, builder: &mut BatchBuilder) -> Option<()> {
    for row in 0..batch.rows() {
        for field in batch.fields() {
            if let Some(value) = field.get(row) {
                builder.field(field.name(), value.kind, value.text).ok()?;
            }
        }
        let stream = batch.stream(batch.stream_id(row));
        let labels: Vec<(&str, &str)> = stream.labels().collect();
        let stream = builder.stream(stream.service(), &labels).ok()?;
        let level = builder.level_of(batch.level(batch.level_id(row))).ok()?;
        builder.finish_row(batch.timestamp(row), stream, level, batch.message(row)).ok()?;
    }
    Some(())
}

/// Two batches have the same records.
pub fn same(left: &Batch, right: &Batch) {
    assert_eq!(left.rows(), right.rows());
    for row in 0..left.rows() {
        assert_eq!(left.timestamp(row), right.timestamp(row));
        assert_eq!(left.message(row), right.message(row));
        assert_eq!(left.level(left.level_id(row)), right.level(right.level_id(row)));
        assert_eq!(left.stream(left.stream_id(row)).service(), right.stream(right.stream_id(row)).service());
        for (a, b) in [(left, right), (right, left)] {
            for field in a.fields() {
                assert_eq!(field.get(row), b.field(field.name()).and_then(|field| field.get(row)), "{}", field.name());
            }
        }
    }
}
