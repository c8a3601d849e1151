//! How records leave the command line: a line each for people, JSON for programs.

use anyhow::Result;
use clap::ValueEnum;
use serde_json::{Map, Value};
use std::io::{IsTerminal, Write};
use timberlog_db::query::Record;
use timberlog_types::{Level, ValueKind, time};

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// One JSON array or object
    Json,
    /// One JSON object a line
    Jsonl,
}

/// The form of records and lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A line each for people; counts and numbers as a table
    #[value(alias = "table")]
    Text,
    /// One JSON array or object
    Json,
    /// One JSON object a line
    Jsonl,
    /// Nothing but messages
    Raw,
}

/// Prints a line. Unlike `println!` it does not panic when nobody reads any more.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}
pub(crate) use say;

/// Prints a line; what `timberlog … | head` does not read any more is dropped.
pub fn line(text: std::fmt::Arguments<'_>) {
    if let Err(error) = writeln!(std::io::stdout(), "{text}")
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        eprintln!("error: write to standard output: {error}");
        std::process::exit(1);
    }
}

/// Whether an error says no more than that whoever read the output has enough.
pub fn unheard(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Writes records one by one.
pub struct Printer<W: Write> {
    form: Form,
    out: W,
    color: bool,
    printed: u64,
}

impl Printer<std::io::BufWriter<std::io::StdoutLock<'static>>> {
    /// A printer to standard output.
    pub fn stdout(form: Form) -> Self {
        let stdout = std::io::stdout();
        let color = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { form, out: std::io::BufWriter::new(stdout.lock()), color, printed: 0 }
    }
}

impl<W: Write> Printer<W> {
    /// Writes a record in the shape of `POST /api/v1/export`.
    pub fn record(&mut self, record: &Value) -> Result<()> {
        match self.form {
            Form::Text => self.line(record)?,
            Form::Raw => writeln!(self.out, "{}", record["message"].as_str().unwrap_or_default())?,
            Form::Jsonl => writeln!(self.out, "{record}")?,
            Form::Json => write!(self.out, "{}{record}", if self.printed == 0 { "[\n" } else { ",\n" })?,
        }
        self.printed += 1;
        Ok(())
    }

    /// Shows what was written so far.
    pub fn flush(&mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }

    /// Ends the output; returns how many records there were.
    pub fn finish(mut self) -> Result<u64> {
        if self.form == Form::Json {
            writeln!(self.out, "{}", if self.printed == 0 { "[]" } else { "\n]" })?;
        }
        self.out.flush()?;
        Ok(self.printed)
    }

    /// `2026-11-21T10:15:00.123Z ERROR web  disk is full  host=a attempt=1`
    fn line(&mut self, record: &Value) -> Result<()> {
        let text = |key: &str| record[key].as_str().unwrap_or_default();
        let level = text("level");
        let (on, off) = if self.color { (color(level), "\x1b[0m") } else { ("", "") };
        let timestamp = text("timestamp");
        let millis = timestamp.get(..23).unwrap_or(timestamp);
        write!(self.out, "{millis}Z {on}{:<7}{off} {}  {}", level, text("service"), text("message"))?;
        for part in ["labels", "fields"] {
            for (name, value) in record[part].as_object().into_iter().flatten() {
                let is_told = match name.as_str() {
                    "service" | "service_name" => part == "labels" && value == &record["service"],
                    "detected_level" | "level" => {
                        value.as_str().is_some_and(|text| Level::normalise(text).as_str() == level)
                    }
                    _ => false,
                };
                if is_told {
                    continue;
                }
                match value {
                    Value::String(text) if !text.contains([' ', '"', '=']) => write!(self.out, "  {name}={text}")?,
                    value => write!(self.out, "  {name}={value}")?,
                }
            }
        }
        writeln!(self.out)?;
        Ok(())
    }
}

fn color(level: &str) -> &'static str {
    match level {
        "error" | "fatal" => "\x1b[31m",
        "warn" => "\x1b[33m",
        "debug" | "trace" => "\x1b[2m",
        _ => "",
    }
}

/// A record in the shape of `POST /api/v1/export`.
pub fn shape(record: &Record) -> Value {
    let mut object = Map::new();
    let labels: Map<String, Value> =
        record.labels.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let fields: Map<String, Value> =
        record.fields.iter().map(|(name, kind, text)| (name.clone(), value(*kind, text))).collect();
    object.insert("timestamp".into(), time::format_rfc3339(record.timestamp).into());
    object.insert("level".into(), record.level.as_str().into());
    if let Some(spelling) = record.level_spelling.as_deref().filter(|&text| text != record.level.as_str()) {
        object.insert("level_text".into(), spelling.into());
    }
    object.insert("service".into(), record.service.as_str().into());
    object.insert("message".into(), record.message.as_str().into());
    object.insert("labels".into(), labels.into());
    object.insert("fields".into(), fields.into());
    object.into()
}

fn value(kind: ValueKind, text: &str) -> Value {
    match kind {
        ValueKind::String => text.into(),
        ValueKind::Null => Value::Null,
        ValueKind::Number | ValueKind::Bool | ValueKind::Json => {
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        }
    }
}
