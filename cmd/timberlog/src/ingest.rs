//! `timberlog ingest`: files or standard input, line by line, to a server or into a data
//! directory. What is refused is named by file and line.

mod batch;
mod lines;
mod report;
mod sink;

use crate::exit;
use crate::output::Output;
use crate::target::Target;
use anyhow::Result;
use batch::{Batch, Batches, Taken};
use clap::{Args, ValueEnum};
use lines::Piece;
use report::Report;
use sink::Sink;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Input that trickles in (`tail -f app.log | timberlog ingest -`) is sent when nothing more came
/// for so long.
const IDLE: Duration = Duration::from_millis(200);

/// Flags of `ingest`.
#[derive(Args)]
pub struct Arguments {
    /// Files to read; `-` is standard input; gzip and zstd are recognised by their first bytes
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// What a line is: a JSON object, or the text of a message
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    format: Format,
    /// Lines a batch
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch: u32,
    /// The service of plain-text lines
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Exit with 0 although records were refused
    #[arg(long)]
    allow_refused: bool,
    /// Give up after so many tries of a batch that could not be stored now
    #[arg(long, value_name = "N", default_value_t = 10)]
    retries_max: u32,
    /// JSON keys that name the stream, comma-separated; by default those of the server, with
    /// `--data-dir` `service`
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    stream_labels: Option<Vec<String>>,
    /// With `--data-dir`: fields with an index of their own, comma-separated
    #[arg(long = "index", value_name = "FIELDS", value_delimiter = ',', requires = "data_dir")]
    index: Vec<String>,
    /// No progress bar
    #[arg(short, long)]
    quiet: bool,
    /// The form of the summary
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON if the first line of a file begins with `{`, else text
    Auto,
    /// A JSON object a line
    Json,
    /// Each line is the message of a record
    Text,
}

/// Reads, stores, and says what became of it.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let inputs = lines::inputs(&arguments.files)?;
    let mut sink = Sink::open(arguments)?;
    let mut report = Report::start(&inputs, arguments.quiet);
    let result = inputs.iter().try_for_each(|input| file(arguments, input, &mut sink, &mut report));
    let closed = sink.close();
    report.finish(arguments.output, result.is_err())?;
    result?;
    closed?;
    let refused = report.refused() > 0 && !arguments.allow_refused;
    Ok(if refused { ExitCode::from(exit::INVALID) } else { ExitCode::SUCCESS })
}

fn file(arguments: &Arguments, input: &lines::Input, sink: &mut Sink, report: &mut Report) -> Result<()> {
    report.file(&input.name);
    let reader = lines::Reader::start(input, report.bytes_read())?;
    let mut batches = Batches::new(arguments.format, arguments.batch as usize, arguments.service.as_deref());
    loop {
        // With nothing gathered there is nothing to send, however long it takes.
        let wait = (!batches.is_empty()).then_some(IDLE);
        match reader.next(wait)? {
            Some(Piece::Lines { bytes, first }) => {
                for (number, line) in (first..).zip(bytes.split(|&byte| byte == b'\n')) {
                    match batches.push(number, line) {
                        Taken::Gathered => {}
                        Taken::Full => send(batches.take(), sink, report)?,
                        Taken::Refused(reason) => report.refuse(number, &reason),
                        Taken::Alone(batch) => {
                            send(batches.take(), sink, report)?;
                            send(batch, sink, report)?;
                        }
                    }
                }
            }
            Some(Piece::TooLong { line }) => report.refuse(line, &lines::too_long()),
            Some(Piece::End) => return send(batches.take(), sink, report),
            None => send(batches.take(), sink, report)?,
        }
    }
}

fn send(batch: Batch, sink: &mut Sink, report: &mut Report) -> Result<()> {
    if batch.lines.is_empty() {
        return Ok(());
    }
    let stored = sink.store(&batch, report)?;
    report.stored(stored.accepted);
    for (index, reason) in &stored.refused {
        report.refuse(batch.line(*index), reason);
    }
    report.refuse_unlisted(stored.refused_unlisted);
    Ok(())
}
