//! How records leave the command line: a line each for people, JSON for programs.

use crate::shape::{Shape, text_of};
use anyhow::Result;
use clap::ValueEnum;
use std::io::{IsTerminal, Write};
use timberlog_types::Level;

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
    /// Writes a record.
    pub fn record(&mut self, record: &Shape) -> Result<()> {
        if self.form == Form::Json {
            self.out.write_all(if self.printed == 0 { b"[\n" } else { b",\n" })?;
        }
        match self.form {
            Form::Text => self.line(record)?,
            Form::Raw => writeln!(self.out, "{}", record.message)?,
            Form::Json | Form::Jsonl => serde_json::to_writer(&mut self.out, record).map_err(std::io::Error::from)?,
        }
        if self.form == Form::Jsonl {
            self.out.write_all(b"\n")?;
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
    fn line(&mut self, record: &Shape) -> Result<()> {
        let Shape { level, service, message, timestamp, .. } = record;
        let (on, off) = if self.color { (color(level), "\x1b[0m") } else { ("", "") };
        let millis = timestamp.get(..23).unwrap_or(timestamp);
        write!(self.out, "{millis}Z {on}{level:<7}{off} {service}  {message}")?;
        let is_level = |name: &str, text: &str| {
            matches!(name, "detected_level" | "level") && Level::normalise(text).as_str() == level
        };
        for (name, text) in &record.labels {
            let is_service = matches!(name.as_str(), "service" | "service_name") && text == service;
            if !is_service && !is_level(name, text) {
                self.text(name, text)?;
            }
        }
        for (name, value) in &record.fields {
            match text_of(value) {
                Some(text) if is_level(name, &text) => {}
                Some(text) => self.text(name, &text)?,
                None => write!(self.out, "  {name}={value}")?,
            }
        }
        writeln!(self.out)?;
        Ok(())
    }

    /// A text behind its name, in quotes where it could be taken for something else.
    fn text(&mut self, name: &str, text: &str) -> Result<()> {
        let is_plain = |c: char| !c.is_control() && !matches!(c, ' ' | '"' | '=');
        if text.chars().all(is_plain) {
            write!(self.out, "  {name}={text}")?;
        } else {
            write!(self.out, "  {name}={}", serde_json::Value::from(text))?;
        }
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
