//! The partitions and segments that a manifest names.

use super::{Found, at};
use crate::{table, units};
use anyhow::Result;
use serde_json::json;
use std::path::Path;
use timberlog_db::Env;
use timberlog_storage::manifest::{self, POINTER_FILE};
use timberlog_types::{Error, ErrorKind};

pub(super) fn inspect(path: &Path) -> Result<Found> {
    let data_dir = if path.file_name().is_some_and(|name| name == POINTER_FILE) {
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    } else {
        path
    };
    let loaded = manifest::load(&Env::real(), data_dir)?;
    let none = || Error::new(ErrorKind::NotFound, format!("no database in `{}`", data_dir.display()));
    let loaded = loaded.ok_or_else(none)?;
    let state = &loaded.state;
    let mut found = Found { rows: ("segments", Vec::new()), ..Found::default() };
    found.text("database", &state.database_id);
    found.number("version", state.version);
    found.text("root", &state.root.path);
    found.number("oldest_version", state.chain_start);
    let text = format!("{}: batches up to this one are in segments", units::count(state.flushed_seq));
    found.head("flushed_seq", state.flushed_seq, text);
    let producers = state.producers.as_ref().map(|file| file.path.clone());
    found.head("producers", producers.clone(), producers.as_deref().unwrap_or("none"));
    found.number("tenants", state.tenants.len() as u64);
    found.number("partitions", state.all_partitions().count() as u64);
    found.number("segment_count", state.segments().count() as u64);
    found.number("records", state.segments().map(|(_, _, entry)| entry.rows).sum());
    found.bytes("bytes", state.segments().flat_map(|(_, _, entry)| entry.files()).map(|file| file.len).sum());
    let mut table = table::with_header([
        "tenant", "day", "segment", "#records", "#raw", "#log", "#index", "from", "to", "#batches",
    ]);
    for (tenant, day, entry) in state.segments() {
        let index = entry.redb.as_ref().map(|file| file.len);
        table.add_row([
            tenant.to_string(),
            day.to_string(),
            entry.id.clone(),
            units::count(entry.rows),
            units::bytes(entry.raw_bytes),
            units::bytes(entry.log.len),
            index.map_or_else(|| "-".to_owned(), units::bytes),
            at(entry.range.start),
            at(entry.range.end),
            format!("{}..{}", entry.seq_min, entry.seq_max),
        ]);
        let levels = entry.levels.iter().map(|(level, rows)| (level.as_str().to_owned(), rows.into()));
        found.rows.1.push(json!({
            "tenant": tenant.as_str(), "day": day.to_string(), "id": entry.id, "records": entry.rows,
            "raw_bytes": entry.raw_bytes, "log": entry.log, "redb": entry.redb, "start": at(entry.range.start),
            "end": at(entry.range.end), "seq_min": entry.seq_min, "seq_max": entry.seq_max,
            "levels": levels.collect::<serde_json::Map<String, serde_json::Value>>(), "services": entry.services,
        }));
    }
    found.tables.push(table);
    found.damage.extend(loaded.chain.damage.iter().map(ToString::to_string));
    found.damage.extend(state.lost_roots.iter().map(|lost| format!("`{}` {}", lost.path, lost.reason)));
    let months = state.unreachable.iter().map(|lost| {
        format!("`{}` {}: month {} of tenant `{}` is unreachable", lost.file.path, lost.reason, lost.month, lost.tenant)
    });
    found.damage.extend(months);
    Ok(found)
}
