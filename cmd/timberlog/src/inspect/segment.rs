//! The blocks and columns of a segment.

use super::{Found, at, open};
use crate::{table, units};
use anyhow::Result;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use timberlog_db::Env;
use timberlog_segment::{BlockMeta, ColumnKey, Directory, SegmentReader};
use timberlog_types::Error;

pub(super) fn inspect(path: &Path) -> Result<Found> {
    let file = open(&Env::real(), path)?;
    let len = file.len().map_err(|error| Error::io(format!("read `{}`", path.display()), &error))?;
    let reader =
        SegmentReader::open(file).map_err(|error| Error::from(error).context(format!("`{}`", path.display())))?;
    let directory = reader.directory();
    let mut found = Found { rows: ("blocks", Vec::new()), ..Found::default() };
    head(&mut found, directory, len);
    let mut blocks = table::with_header([
        "#block",
        "#offset",
        "#bytes",
        "#raw bytes",
        "#records",
        "from",
        "to",
        "#columns",
        "#services",
    ]);
    for block in &directory.blocks {
        blocks.add_row([
            block.number.to_string(),
            block.offset.to_string(),
            units::bytes(u64::from(block.len)),
            units::bytes(block.raw_bytes),
            units::count(u64::from(block.rows)),
            at(block.range.start),
            at(block.range.end),
            block.columns.len().to_string(),
            block.services.len().to_string(),
        ]);
        found.rows.1.push(row(directory, block));
    }
    found.tables.push(columns(&mut found.head, directory));
    found.tables.push(blocks);
    reader.verify(&mut |damage| found.damage.push(damage.error.to_string()));
    Ok(found)
}

fn head(found: &mut Found, directory: &Directory, len: u64) {
    let raw: u64 = directory.blocks.iter().map(|block| block.raw_bytes).sum();
    let records = directory.rows();
    found.text("id", &directory.segment_id);
    found.text("tenant", &directory.tenant);
    found.number("records", records);
    found.bytes("bytes", len);
    found.bytes("raw_bytes", raw);
    let each = len as f64 / (records as f64).max(1.0);
    found.head("bytes_per_record", each, format!("{each:.1}"));
    found.number("block_count", directory.blocks.len() as u64);
    found.number("streams", directory.streams.len() as u64);
    found.head("services", directory.services.clone(), some(&directory.services));
    let levels: Vec<String> = directory
        .levels
        .iter()
        .map(|level| level.spelling.clone().unwrap_or_else(|| format!("({})", level.level.as_str())))
        .collect();
    found.head("levels", levels.clone(), some(&levels));
    found.head("fields", directory.field_names.clone(), some(&directory.field_names));
}

/// The first of many names.
pub(super) fn some(names: &[String]) -> String {
    const SHOWN_MAX: usize = 12;
    let named = names.iter().take(SHOWN_MAX).map(|name| if name.is_empty() { "(none)" } else { name });
    let shown = named.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN_MAX) {
        0 if names.is_empty() => "none".to_owned(),
        0 => shown,
        more => format!("{}: {shown}, and {} more", units::count(names.len() as u64), units::count(more as u64)),
    }
}

fn name(directory: &Directory, key: ColumnKey) -> String {
    match key {
        ColumnKey::Timestamp => "(timestamp)".to_owned(),
        ColumnKey::Stream => "(stream)".to_owned(),
        ColumnKey::Level => "(level)".to_owned(),
        ColumnKey::Message => "(message)".to_owned(),
        ColumnKey::Field(id) => directory.field_names.get(id as usize).cloned().unwrap_or_default(),
    }
}

/// Where the bytes go: columns of all blocks, the largest first.
fn columns(head: &mut Vec<(&'static str, serde_json::Value, String)>, directory: &Directory) -> comfy_table::Table {
    let mut totals: BTreeMap<ColumnKey, (u64, u64, u64)> = BTreeMap::new();
    for column in directory.blocks.iter().flat_map(|block| &block.columns) {
        let (blocks, bytes, filters) = totals.entry(column.key).or_default();
        *blocks += 1;
        *bytes += u64::from(column.len);
        *filters += column.filter.map_or(0, |place| u64::from(place.len));
    }
    let mut totals: Vec<_> = totals.into_iter().collect();
    totals.sort_by_key(|(_, (_, bytes, filters))| std::cmp::Reverse(bytes + filters));
    let records = (directory.rows() as f64).max(1.0);
    let mut table = table::with_header(["column", "#blocks", "#bytes", "#filters", "#bytes/record"]);
    let mut json = Vec::new();
    for (key, (blocks, bytes, filters)) in totals {
        let name = name(directory, key);
        json.push(json!({ "column": name, "blocks": blocks, "bytes": bytes, "filter_bytes": filters }));
        let each = format!("{:.2}", (bytes + filters) as f64 / records);
        table.add_row([name, units::count(blocks), units::bytes(bytes), units::bytes(filters), each]);
    }
    head.push(("columns", json.into(), format!("{}, the largest first:", table.row_count())));
    table
}

fn row(directory: &Directory, block: &BlockMeta) -> serde_json::Value {
    let columns: Vec<_> = block
        .columns
        .iter()
        .map(|column| {
            let filter_bytes = column.filter.map_or(0, |place| place.len);
            json!({ "column": name(directory, column.key), "bytes": column.len, "filter_bytes": filter_bytes })
        })
        .collect();
    let services = block
        .services
        .iter()
        .map(|&(id, rows)| (directory.services.get(id as usize).cloned().unwrap_or_default(), rows.into()));
    json!({
        "number": block.number, "offset": block.offset, "bytes": block.len, "raw_bytes": block.raw_bytes,
        "records": block.rows, "start": at(block.range.start), "end": at(block.range.end), "columns": columns,
        "services": services.collect::<serde_json::Map<String, serde_json::Value>>(),
    })
}
