//! `timberlog tail`: new records of a server as they are stored, until Ctrl-C. Those of a filter
//! come by gRPC, the lines of a LogQL query by Loki's WebSocket.

mod record;
mod websocket;

use crate::language::{Asked, Language};
use crate::output::{Form, Printer, unheard};
use crate::shape::Shape;
use anyhow::Result;
use clap::Args;
use std::io::{BufWriter, StdoutLock};
use std::process::ExitCode;
use std::time::Duration;
use timberlog_proto::v1::timber_log_client::TimberLogClient;
use timberlog_proto::v1::{Filter, TailRequest, TailResponse, filter};
use timberlog_types::{Error, ErrorKind, Tenant};
use tonic::codec::Streaming;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// The first and the longest wait before the server is asked again.
const WAIT_MIN: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(10);
/// A server that does not take a connection or answer a ping for so long is gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// One answer holds the matching records of one batch.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// Flags of `tail`.
#[derive(Args)]
pub struct Arguments {
    /// A LogQL log query, or conditions, as for `query`
    #[arg(value_name = "QUERY")]
    asked: Vec<String>,
    /// The language of the query; without it, what has a {selector} is LogQL, and everything else is conditions
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    lang: Option<Language>,
    /// The server, for LogQL
    #[arg(long, value_name = "URL", env = "TIMBERLOG_ADDR", default_value = "http://127.0.0.1:3100")]
    addr: String,
    /// Where the server's gRPC listens, for everything else
    #[arg(long, value_name = "URL", env = "TIMBERLOG_GRPC_ADDR", default_value = "http://127.0.0.1:4317")]
    grpc_addr: String,
    /// The tenant
    #[arg(long, value_name = "NAME", env = "TIMBERLOG_TENANT", default_value = "default")]
    tenant: String,
    /// End after so many records; 0 is never
    #[arg(short = 'n', long, value_name = "N", default_value_t = 0)]
    limit: u64,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

/// Why a connection ended.
enum End {
    /// As many records as were asked for, or nobody reads the output any more.
    Done,
    /// The server is gone or stopping: it may come back.
    Lost(Status),
}

/// Follows and prints.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io("start the async runtime", &error))?;
    let mut shown = Shown {
        printer: Printer::stdout(arguments.output),
        left: if arguments.limit == 0 { u64::MAX } else { arguments.limit },
        unheard: false,
    };
    let asked = Asked::of(&arguments.asked, arguments.lang)?;
    let result = runtime.block_on(async {
        let follow = async {
            match asked {
                Asked::Filter(filter) => Follow::new(arguments, &filter)?.run(&mut shown).await,
                Asked::Logql(text, expr) => websocket::run(arguments, &text, &expr, &mut shown).await,
            }
        };
        tokio::select! {
            result = follow => result,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    });
    if !shown.unheard {
        shown.printer.finish()?;
    }
    result?;
    Ok(ExitCode::SUCCESS)
}

/// What was printed, and how much more may be.
struct Shown {
    printer: Printer<BufWriter<StdoutLock<'static>>>,
    /// Records still to print.
    left: u64,
    /// Whether the reader of the output went away.
    unheard: bool,
}

impl Shown {
    /// Prints records that came together; whether there is nothing more to do.
    fn print(&mut self, records: impl Iterator<Item = Shape>) -> Result<bool> {
        if let Err(error) = self.records(records) {
            // `timberlog tail | head`: whoever reads has enough.
            self.unheard = unheard(&error);
            return if self.unheard { Ok(true) } else { Err(error) };
        }
        Ok(self.left == 0)
    }

    fn records(&mut self, records: impl Iterator<Item = Shape>) -> Result<()> {
        for record in records {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            self.printer.record(&record)?;
        }
        self.printer.flush()
    }
}

/// The server with its scheme.
fn with_scheme(addr: &str) -> Result<String> {
    let trimmed = addr.trim_end_matches('/');
    let full = if trimmed.contains("://") { trimmed.to_owned() } else { format!("http://{trimmed}") };
    if !full.starts_with("http://") {
        return Err(Error::invalid(format!("address `{addr}`: expected http://host:port")).into());
    }
    Ok(full)
}

struct Follow {
    endpoint: Endpoint,
    addr: String,
    tenant: MetadataValue<Ascii>,
    filter: String,
}

impl Follow {
    fn new(arguments: &Arguments, filter: &timberlog_db::filter::Filter) -> Result<Self> {
        let addr = with_scheme(&arguments.grpc_addr)?;
        let endpoint = Endpoint::from_shared(addr.clone())
            .map_err(|error| Error::invalid(format!("address `{}`: {error}", arguments.grpc_addr)))?;
        let tenant = Tenant::new(&arguments.tenant)?;
        Ok(Self {
            endpoint: endpoint
                .connect_timeout(CONNECT_TIMEOUT)
                .http2_keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(CONNECT_TIMEOUT),
            addr,
            tenant: tenant.as_str().parse().map_err(|_| Error::invalid("the tenant is no header value"))?,
            filter: filter.to_json().to_string(),
        })
    }

    /// Connects again and again, once it has been connected.
    async fn run(&self, shown: &mut Shown) -> Result<()> {
        let (mut wait, mut was_connected) = (WAIT_MIN, false);
        loop {
            let status = match self.connect().await {
                Ok(mut answers) => {
                    let again = if was_connected { " again; what was stored in between is not shown" } else { "" };
                    eprintln!("following {}{again}", self.addr);
                    (wait, was_connected) = (WAIT_MIN, true);
                    match self.print(&mut answers, shown).await? {
                        End::Done => return Ok(()),
                        End::Lost(status) => status,
                    }
                }
                Err(status) => status,
            };
            let may_come_back =
                matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Unknown | Code::ResourceExhausted);
            if !was_connected || !may_come_back {
                return Err(self.error(&status).into());
            }
            eprintln!("{}; trying again in {wait:?}", self.error(&status).message);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    async fn connect(&self) -> Result<Streaming<TailResponse>, Status> {
        let channel: Channel = self.endpoint.connect().await.map_err(|error| Status::unavailable(causes(&error)))?;
        let mut client = TimberLogClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        let filter = Filter { kind: Some(filter::Kind::Json(self.filter.clone())) };
        let mut request = Request::new(TailRequest { filter: Some(filter) });
        request.metadata_mut().insert("x-scope-orgid", self.tenant.clone());
        Ok(client.tail(request).await?.into_inner())
    }

    async fn print(&self, answers: &mut Streaming<TailResponse>, shown: &mut Shown) -> Result<End> {
        loop {
            let answer = match answers.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return Ok(End::Lost(Status::unavailable("the server ended the call"))),
                Err(status) => return Ok(End::Lost(status)),
            };
            if answer.missed > 0 {
                eprintln!("{} records passed by unread: the output is too slow", answer.missed);
            }
            if shown.print(answer.records.into_iter().map(record::shape))? {
                return Ok(End::Done);
            }
        }
    }

    fn error(&self, status: &Status) -> Error {
        let kind = match status.code() {
            Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => ErrorKind::Invalid,
            Code::NotFound => ErrorKind::NotFound,
            Code::DataLoss => ErrorKind::Corrupt,
            Code::Unavailable | Code::ResourceExhausted | Code::Cancelled => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        };
        Error::new(kind, format!("`{}`: {}", self.addr, status.message()))
    }
}

/// An error with what caused it: tonic says no more than "transport error" itself.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
