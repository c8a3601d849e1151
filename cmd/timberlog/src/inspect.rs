//! `timberlog inspect`: what is in the files of a data directory, without opening a database and
//! without its lock. Reads only; the files of a running server may change meanwhile.

mod index;
mod manifest;
mod segment;
mod wal;

use crate::exit;
use crate::output::{Output, say};
use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use timberlog_db::Env;
use timberlog_disk::{File, Open};
use timberlog_types::{Error, time};

/// What to look at.
#[derive(Subcommand)]
pub enum Arguments {
    /// Batches in the WAL: a data directory, its `wal` folder, or one `.wal` file
    Wal(One),
    /// Blocks and columns of a segment: a `.log` file
    Segment(One),
    /// Services, levels and user-defined indexes of a segment: a `.redb` file, its `.log` beside it
    Index(One),
    /// Partitions and segments of the current manifest: a data directory
    Manifest(One),
}

/// Flags of each.
#[derive(Args)]
pub struct One {
    /// Where it is
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// What was found: a head, rows, and damage.
#[derive(Default)]
struct Found {
    /// Names and values, as JSON and for people.
    head: Vec<(&'static str, Value, String)>,
    /// Tables for people, each with its title; `tables[0]` goes with `rows`.
    tables: Vec<comfy_table::Table>,
    /// The name of the rows in JSON, and the rows.
    rows: (&'static str, Vec<Value>),
    damage: Vec<String>,
}

impl Found {
    fn head(&mut self, name: &'static str, value: impl Into<Value>, text: impl Into<String>) {
        self.head.push((name, value.into(), text.into()));
    }

    fn text(&mut self, name: &'static str, text: &str) {
        self.head(name, text, text);
    }

    fn number(&mut self, name: &'static str, number: u64) {
        self.head(name, number, crate::units::count(number));
    }

    fn bytes(&mut self, name: &'static str, bytes: u64) {
        self.head(name, bytes, crate::units::bytes(bytes));
    }
}

/// Looks and prints.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (found, output) = match arguments {
        Arguments::Wal(one) => (wal::inspect(&one.path)?, one.output),
        Arguments::Segment(one) => (segment::inspect(&one.path)?, one.output),
        Arguments::Index(one) => (index::inspect(&one.path)?, one.output),
        Arguments::Manifest(one) => (manifest::inspect(&one.path)?, one.output),
    };
    print(&found, output)?;
    Ok(if found.damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::DAMAGED) })
}

fn print(found: &Found, output: Output) -> Result<()> {
    let (name, rows) = &found.rows;
    match output {
        Output::Jsonl => {
            rows.iter().for_each(|row| say!("{row}"));
            found.damage.iter().for_each(|damage| say!("{}", serde_json::json!({ "damage": damage })));
        }
        Output::Json => {
            let head = found.head.iter().map(|(name, value, _)| ((*name).to_owned(), value.clone()));
            let mut object: serde_json::Map<String, Value> = head.collect();
            object.insert((*name).to_owned(), rows.clone().into());
            object.insert("damage".to_owned(), found.damage.clone().into());
            say!("{}", serde_json::to_string_pretty(&object)?);
        }
        Output::Table => {
            let mut head = crate::table::bare();
            for (name, _, text) in &found.head {
                head.add_row([name, text.as_str()]);
            }
            crate::table::print(&head);
            for table in found.tables.iter().filter(|table| !table.is_empty()) {
                say!("");
                crate::table::print(table);
            }
            found.damage.iter().for_each(|damage| say!("\ndamaged: {damage}"));
        }
    }
    Ok(())
}

fn open(env: &Env, path: &Path) -> Result<Arc<dyn File>> {
    let file = env.disk.open(path, Open::Read);
    Ok(file.map_err(|error| Error::io(format!("open `{}`", path.display()), &error))?)
}

/// A timestamp.
fn at(time: i64) -> String {
    time::format_rfc3339(time)
}
