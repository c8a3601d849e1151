//! Whatever can be stored can be flushed: one batch that cannot would stop the database for good.

use super::*;
use timberlog_types::ValueKind;

fn flushed(batches: Vec<Batch>) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { flush_bytes: usize::MAX, buffer_bytes_max: usize::MAX, ..options(&folder) };
    let tenant = Tenant::default();
    let storage = open(&options).unwrap();
    let rows: usize = batches.iter().map(Batch::rows).sum();
    for batch in batches {
        storage.append(&tenant, batch, None).unwrap();
    }
    storage.flush().unwrap();
    let snapshot = storage.snapshot(&tenant);
    assert_eq!(stored(&snapshot), rows as u64);
    drop(storage);
    let damage = crate::verify::verify(&Env::real(), &options.data_dir, &|_, _| {}).unwrap().damage;
    assert!(damage.is_empty(), "{damage:?}");
}

fn batches(count: u32, rows: u32, mut row: impl FnMut(&mut BatchBuilder, u32)) -> Vec<Batch> {
    let mut builder = BatchBuilder::new();
    (0..count)
        .map(|number| {
            (0..rows).for_each(|index| row(&mut builder, number * rows + index));
            builder.finish().unwrap()
        })
        .collect()
}

#[test]
fn hundred_thousand_streams_services_and_levels() {
    flushed(batches(3, 33_000, |builder, row| {
        let name = format!("{row}{}", "s".repeat(100));
        let stream = builder.stream(&name, &[("a", &name), ("service", &name)]).unwrap();
        let level = builder.level(Some(&format!("level {row}"))).unwrap();
        builder.finish_row(i64::from(row), stream, level, b"").unwrap();
    }));
}

#[test]
fn hundred_thousand_fields() {
    flushed(batches(20, 50, |builder, row| {
        let stream = builder.stream("s", &[]).unwrap();
        let level = builder.level(None).unwrap();
        for field in 0..100 {
            builder.field(&format!("field {row} {field}"), ValueKind::Null, b"").unwrap();
        }
        builder.finish_row(i64::from(row), stream, level, b"").unwrap();
    }));
}

#[test]
fn long_names_and_texts() {
    flushed(batches(2, 1, |builder, row| {
        let long = "n".repeat(65_000);
        let stream = builder.stream(&long, &[(&long, &long)]).unwrap();
        let level = builder.level(Some(&long)).unwrap();
        builder.field(&long, ValueKind::String, &vec![b'\0'; 10 << 20]).unwrap();
        builder.finish_row(i64::from(row), stream, level, &vec![b'1'; 10 << 20]).unwrap();
    }));
}
