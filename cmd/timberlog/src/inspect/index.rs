//! The tables of a segment's index.

use super::segment::some;
use super::{Found, open};
use crate::{table, units};
use anyhow::Result;
use serde_json::json;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use timberlog_db::Env;
use timberlog_index::{SegmentIndex, damaged_pages};
use timberlog_segment::SegmentReader;
use timberlog_types::{Error, Level};

pub(super) fn inspect(path: &Path) -> Result<Found> {
    let env = Env::real();
    let named = |path: &Path| format!("`{}`", path.display());
    let file = open(&env, path)?;
    // The checksums of the index's pages are in the footer of the segment.
    let log = path.with_extension("log");
    let reader = SegmentReader::open(open(&env, &log)?).map_err(|error| Error::from(error).context(named(&log)))?;
    let pages = reader.redb_pages().ok_or_else(|| Error::invalid(format!("{} has no index", named(&log))))?;
    let mut found = Found { rows: ("services", Vec::new()), ..Found::default() };
    found.bytes("bytes", pages.len);
    found.number("pages", pages.crcs.len() as u64);
    let damaged = damaged_pages(Arc::clone(&file), pages.clone()).map_err(Error::from)?;
    found.damage.extend(damaged.iter().map(|page| format!("page {page}: checksum mismatch")));
    let index = match SegmentIndex::open(file, pages.clone()) {
        Ok(index) => index,
        Err(error) => {
            found.damage.push(error.to_string());
            return Ok(found);
        }
    };
    found.number("records", index.rows());
    found.number("blocks", u64::from(index.block_count()));
    let user: Vec<String> = index.user_indexes().map(str::to_owned).collect();
    found.head("user_indexes", user.clone(), some(&user));
    found.head("fields", index.field_names().to_vec(), some(index.field_names()));
    if let Err(error) = tables(&index, &mut found) {
        found.damage.push(error.to_string());
    }
    if let Err(error) = index.check(reader.directory()) {
        found.damage.push(error.to_string());
    }
    Ok(found)
}

fn tables(index: &SegmentIndex, found: &mut Found) -> Result<()> {
    let mut levels = table::with_header(["level", "#blocks"]);
    let mut counts = serde_json::Map::new();
    for level in Level::ALL {
        let blocks = index.blocks_with_level(level).map_err(Error::from)?.len();
        if blocks > 0 {
            levels.add_row([level.as_str().to_owned(), units::count(blocks)]);
            counts.insert(level.as_str().to_owned(), blocks.into());
        }
    }
    found.head("levels", counts.clone(), counts.keys().cloned().collect::<Vec<_>>().join(", "));
    let mut services = table::with_header(["service", "#blocks"]);
    let rows = &mut found.rows.1;
    let asked = index.services("", &mut |name, _, blocks| {
        services.add_row([name.to_owned(), units::count(blocks.len())]);
        rows.push(json!({ "service": name, "blocks": blocks.len() }));
        ControlFlow::Continue(())
    });
    asked.map_err(Error::from)?;
    found.tables.extend([services, levels]);
    Ok(())
}
