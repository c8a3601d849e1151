//! The database inside a program: no server, no async runtime.
//!
//!     cargo run --package timberlog-db --example embedded

use timberlog_db::filter::Filter;
use timberlog_db::query::{Aggregation, Query};
use timberlog_db::types::{BatchBuilder, Result, Tenant, ValueKind};
use timberlog_db::{Database, Env, Options, Progress};

fn main() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("timberlog-example-{}", std::process::id()));
    let said = run(&folder);
    std::fs::remove_dir_all(&folder).ok();
    println!("{}", said?);
    Ok(())
}

/// Stores three records, finds them, opens the database again, counts them.
pub fn run(folder: &std::path::Path) -> Result<String> {
    let tenant = Tenant::default();
    let database = Database::open(Options::new(folder), Env::real(), &Progress::default())?;

    let mut builder = BatchBuilder::new();
    for (second, level, message) in [(1, "info", "started"), (2, "error", "disk is full"), (3, "info", "stopped")] {
        let stream = builder.stream("worker", &[("service", "worker")])?;
        let level = builder.level(Some(level))?;
        builder.field("attempt", ValueKind::Number, b"1")?;
        builder.finish_row(second * 1_000_000_000, stream, level, message.as_bytes())?;
    }
    // Returns when the batch is on disk; the very next query finds it.
    if let Some(batch) = builder.finish() {
        database.append(&tenant, batch, None)?;
    }

    let errors = Query { filter: Filter::eq("level", "error"), ..Query::new(tenant.clone()) };
    let page = database.page(&errors)?;
    let found = page.records.first().map(|record| record.message.clone()).unwrap_or_default();

    // A flush makes segments with indexes; closing does it too.
    database.flush()?;
    database.close()?;
    drop(database);

    let database = Database::open(Options::new(folder), Env::real(), &Progress::default())?;
    let counts = database.aggregate(&Aggregation { by: vec!["level".into()], ..Aggregation::new(tenant) })?;
    let counts: Vec<String> = counts
        .groups
        .iter()
        .map(|group| format!("{}={}", group.key[0].as_deref().unwrap_or(""), group.count))
        .collect();
    Ok(format!("found `{found}`; after opening again: {}", counts.join(", ")))
}
