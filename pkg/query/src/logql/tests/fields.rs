//! Fields and labels as LogQL sees them, however they are stored: what the columns count is what the
//! pipeline would.

use super::{query, world};
use crate::logql::{Options, VolumeBy, VolumeQuery, compute, entries, volume};
use crate::request::Order;
use crate::tests::{START, World};
use std::collections::BTreeMap;
use timberlog_logql::Labels;
use timberlog_logql::ast::Expr;
use timberlog_logql::evaluate::{Steps, Value};
use timberlog_logql::parse;
use timberlog_types::{BatchBuilder, Tenant, TimeRange, ValueKind};

/// Records of one batch, each with its fields; `None` is null.
fn stored(records: &[&[(&str, Option<&str>)]], is_flushed: bool) -> World {
    let world = world(&[], &[]);
    let mut builder = BatchBuilder::new();
    for fields in records {
        let stream = builder.stream("web", &[("host", "h1")]).unwrap();
        let level = builder.level(Some("info")).unwrap();
        for &(name, value) in *fields {
            let kind = if value.is_some() { ValueKind::String } else { ValueKind::Null };
            builder.field(name, kind, value.unwrap_or("null").as_bytes()).unwrap();
        }
        builder.finish_row(START, stream, level, b"line").unwrap();
    }
    world.storage.append(&Tenant::default(), builder.finish().unwrap(), None).unwrap();
    if is_flushed {
        world.storage.flush().unwrap();
    }
    world
}

fn counts(world: &World, by: &str, pipeline: &str) -> BTreeMap<String, f64> {
    let text = format!("sum by ({by}) (count_over_time({{host=\"h1\"}} {pipeline} [1h]))");
    let Ok(Expr::Metric(expr)) = parse(&text) else { panic!("{text}") };
    let steps = Steps { start_ns: START, end_ns: START, step_ns: 0 };
    match compute(&world.snapshot(), &expr, steps, &Options::default()).unwrap().value {
        Value::Vector(found) => found.iter().map(|one| (one.labels.get(by).to_owned(), one.value)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn columns_count_the_detected_level_that_lines_show() {
    let both = |expected: &[(&str, f64)], records: &[&[(&str, Option<&str>)]]| {
        let expected: BTreeMap<String, f64> = expected.iter().map(|&(name, count)| (name.to_owned(), count)).collect();
        for is_flushed in [false, true] {
            let world = stored(records, is_flushed);
            // The second stage lets everything through, but only the pipeline knows.
            for pipeline in ["", r#"| __error__="""#] {
                assert_eq!(counts(&world, "detected_level", pipeline), expected, "{records:?} {is_flushed} {pipeline}");
            }
            let all = query(r#"{host="h1"}"#, TimeRange::ALL, Order::OldestFirst);
            let mut shown: BTreeMap<String, f64> = BTreeMap::new();
            for entry in entries(&world.snapshot(), &all).unwrap().entries {
                let labels: Labels = entry.labels();
                *shown.entry(labels.get("detected_level").to_owned()).or_default() += 1.0;
            }
            assert_eq!(shown, expected, "{records:?} {is_flushed}");
        }
    };
    both(&[("info", 1.0)], &[&[]]);
    // A null says nothing, so the level does.
    both(&[("info", 2.0)], &[&[("detected_level", None)], &[("detected_level", None)]]);
    both(&[("info", 2.0), ("warn", 1.0)], &[&[("detected_level", None)], &[("detected_level", Some("warn"))], &[]]);
    // Another stored name that LogQL writes the same way.
    both(&[("info", 1.0), ("warn", 1.0)], &[&[("detected.level", Some("warn"))], &[]]);
    // Two of them, of which a record may have one.
    both(
        &[("debug", 1.0), ("error", 1.0), ("info", 1.0), ("warn", 1.0)],
        &[
            &[("detected.level", Some("warn"))],
            &[("detected_level", Some("error"))],
            &[("detected.level", Some("warn")), ("detected_level", Some("debug"))],
            &[],
        ],
    );
}

#[test]
fn volumes_tell_any_number_of_labels() {
    let names: Vec<String> = (0..20).map(|number| format!("l{number:02}")).collect();
    for is_flushed in [false, true] {
        let world = world(&[], &[]);
        let mut builder = BatchBuilder::new();
        for last in ["a", "b"] {
            let values = names.iter().map(|name| (name.as_str(), if name == "l19" { last } else { "x" }));
            let stream = builder.stream("web", &values.collect::<Vec<_>>()).unwrap();
            let level = builder.level(None).unwrap();
            builder.finish_row(START, stream, level, b"line").unwrap();
        }
        world.storage.append(&Tenant::default(), builder.finish().unwrap(), None).unwrap();
        if is_flushed {
            world.storage.flush().unwrap();
        }
        let query = VolumeQuery {
            selector: Vec::new(),
            targets: names.clone(),
            by: VolumeBy::Series,
            range: TimeRange::ALL,
            step_ns: None,
            limit: 100,
        };
        let volumes = volume(&world.snapshot(), &query, &Options::default()).unwrap();
        assert_eq!(volumes.iter().map(|volume| volume.labels.get("l19")).collect::<Vec<_>>(), ["a", "b"]);
        assert!(volumes.iter().all(|volume| volume.labels.iter().count() == 20 && volume.bytes.len() == 1));
        let by_label = VolumeQuery { targets: Vec::new(), by: VolumeBy::Labels, ..query };
        let exact = Options { derived: false, ..Options::default() };
        let volumes = volume(&world.snapshot(), &by_label, &exact).unwrap();
        assert_eq!(volumes.iter().map(|volume| volume.name.as_str()).collect::<Vec<_>>(), names);
    }
}
