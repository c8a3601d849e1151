use super::*;

fn sample() -> Batch {
    let mut builder = BatchBuilder::new();
    let web = builder.stream("web", &[("service", "web")]).unwrap();
    let info = builder.level(Some("INFO")).unwrap();
    let none = builder.level(None).unwrap();
    builder.field("host", ValueKind::String, b"a").unwrap();
    builder.field("n", ValueKind::Number, b"1.0").unwrap();
    builder.finish_row(5, web, info, b"first").unwrap();
    builder.field("host", ValueKind::String, b"b").unwrap();
    builder.field("host", ValueKind::String, b"c").unwrap();
    builder.finish_row(-7, web, none, b"").unwrap();
    builder.field("host", ValueKind::String, b"lost").unwrap();
    builder.field("lost", ValueKind::String, b"lost").unwrap();
    builder.abort_row();
    let db = builder.stream("db", &[]).unwrap();
    builder.field("n", ValueKind::String, b"x").unwrap();
    builder.field("host", ValueKind::Null, b"").unwrap();
    builder.finish_row(9, db, info, "dritte ä".as_bytes()).unwrap();
    builder.finish().unwrap()
}

#[test]
fn a_batch_gives_back_what_was_put_in() {
    let batch = sample();
    assert_eq!(batch.rows(), 3);
    assert_eq!(batch.timestamps().collect::<Vec<_>>(), [5, -7, 9]);
    assert_eq!(batch.message(0), b"first");
    assert_eq!(batch.message(1), b"");
    assert_eq!(batch.message(2), "dritte ä".as_bytes());
    assert_eq!(batch.messages(), "firstdritte ä".as_bytes());
    assert_eq!(batch.stream(batch.stream_id(2)).service(), "db");
    assert_eq!(batch.stream_hash(0), batch.stream(0).hash());
    assert_eq!(batch.level(batch.level_id(0)), LevelRef { level: Level::Info, spelling: Some("INFO") });
    assert_eq!(batch.level(batch.level_id(1)), LevelRef { level: Level::Unknown, spelling: None });
    assert_eq!(batch.fields().map(FieldColumn::name).collect::<Vec<_>>(), ["host", "n"]);
    let host = batch.field("host").unwrap();
    assert!(host.is_dense());
    assert_eq!(host.kind(), None);
    assert_eq!(host.get(1).unwrap().text, b"c");
    assert_eq!(host.get(2).unwrap().kind, ValueKind::Null);
    let n = batch.field("n").unwrap();
    assert_eq!(n.get(1), None);
    assert_eq!(n.get(0).unwrap(), Value { kind: ValueKind::Number, text: b"1.0" });
    assert_eq!(n.get(2).unwrap(), Value { kind: ValueKind::String, text: b"x" });
    assert!(batch.field("lost").is_none());
}

#[test]
fn a_builder_is_empty_after_finish() {
    let mut builder = BatchBuilder::new();
    for round in 0..3 {
        let stream = builder.stream("s", &[]).unwrap();
        let level = builder.level(Some("info")).unwrap();
        builder.field(if round == 1 { "b" } else { "a" }, ValueKind::String, b"v").unwrap();
        builder.finish_row(round, stream, level, b"m").unwrap();
        let batch = builder.finish().unwrap();
        assert_eq!((batch.rows(), batch.field_count(), batch.stream_count()), (1, 1, 1));
        assert_eq!(builder.rows(), 0);
        assert!(builder.finish().is_none());
    }
}

#[test]
fn a_level_may_be_known_without_a_spelling() {
    let mut builder = BatchBuilder::new();
    let stream = builder.stream("s", &[]).unwrap();
    let found = |level| LevelRef { level, spelling: None };
    let levels = [builder.level(Some("error")).unwrap(), builder.level_of(found(Level::Error)).unwrap()];
    assert_eq!(builder.level_of(found(Level::Unknown)), builder.level(None));
    for level in levels {
        builder.finish_row(0, stream, level, b"").unwrap();
    }
    let batch = builder.finish().unwrap();
    assert_eq!(batch.level(batch.level_id(0)), LevelRef { level: Level::Error, spelling: Some("error") });
    assert_eq!(batch.level(batch.level_id(1)), found(Level::Error));
}

/// What a version that knew fewer spellings has stored is what its indexes and sums say.
#[test]
fn a_stored_level_is_not_what_its_spelling_means_today() {
    let levels = [
        LevelRef { level: Level::Unknown, spelling: Some("30") },
        LevelRef { level: Level::Info, spelling: Some("30") },
        LevelRef { level: Level::Info, spelling: None },
    ];
    let mut builder = BatchBuilder::new();
    let stream = builder.stream("s", &[]).unwrap();
    for level in levels {
        let level = builder.level_of(level).unwrap();
        builder.finish_row(1, stream, level, b"").unwrap();
    }
    let batch = Batch::decode(builder.finish().unwrap().as_bytes().into()).unwrap();
    assert_eq!(batch.level_count(), levels.len());
    for (row, level) in levels.into_iter().enumerate() {
        assert_eq!(batch.level(batch.level_id(row)), level);
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = sample().as_bytes().to_vec();
    for len in 0..bytes.len() {
        assert!(Batch::decode(bytes[..len].into()).is_err(), "{len}");
    }
}

/// Damaged bytes either are refused or can be read through every accessor without a panic.
#[test]
fn damage_never_panics() {
    let bytes = sample().as_bytes().to_vec();
    for at in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            let Ok(batch) = Batch::decode(damaged.into()) else { continue };
            for row in 0..batch.rows() {
                batch.message(row);
                batch.stream(batch.stream_id(row)).labels().count();
                batch.level(batch.level_id(row));
                for field in batch.fields() {
                    field.get(row);
                    field.name();
                }
            }
        }
    }
}

#[test]
fn the_number_of_field_names_is_bounded() {
    let mut builder = BatchBuilder::new();
    for n in 0..BATCH_FIELDS_MAX {
        builder.field(&n.to_string(), ValueKind::Null, b"").unwrap();
    }
    assert_eq!(builder.field("one too many", ValueKind::Null, b""), Err(BuildError::TooManyFields));
    builder.field("0", ValueKind::Bool, b"true").unwrap();
    builder.abort_row();
    assert!(builder.finish().is_none());
    builder.field("one too many", ValueKind::Null, b"").unwrap();
}

#[test]
fn labels_that_are_not_sorted_are_refused_before_a_batch_is_lost() {
    let mut builder = BatchBuilder::new();
    for wrong in [&[("b", "1"), ("a", "2")], &[("a", "1"), ("a", "2")]] {
        assert_eq!(builder.stream("s", wrong), Err(BuildError::LabelsNotSorted));
    }
    let stream = builder.stream("s", &[("a", "2"), ("b", "1")]).unwrap();
    let level = builder.level(None).unwrap();
    builder.finish_row(0, stream, level, b"").unwrap();
    let batch = builder.finish().unwrap();
    // What was refused for want of room can be sent again.
    assert_eq!(batch.clone().as_bytes(), batch.as_bytes());
    let error = crate::Error::from(BuildError::LabelsNotSorted);
    assert_eq!(error.kind, crate::ErrorKind::Invalid);
}

#[test]
fn a_batch_spans_a_bounded_number_of_days() {
    let mut builder = BatchBuilder::new();
    let stream = builder.stream("s", &[]).unwrap();
    let level = builder.level(None).unwrap();
    for day in 0..BATCH_DAYS_MAX as i64 {
        builder.finish_row(day * crate::time::DAY_NS, stream, level, b"").unwrap();
    }
    let beyond = builder.finish_row(-1, stream, level, b"");
    assert_eq!(beyond, Err(BuildError::TooManyDays));
    builder.finish_row(7, stream, level, b"a day that is there").unwrap();
    assert_eq!(builder.finish().unwrap().rows(), BATCH_DAYS_MAX + 1);
    let (stream, level) = (builder.stream("s", &[]).unwrap(), builder.level(None).unwrap());
    builder.finish_row(-1, stream, level, b"").unwrap();
}
