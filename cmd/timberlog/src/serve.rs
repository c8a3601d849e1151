//! `timberlog serve`: the database behind HTTP and gRPC, until SIGTERM or Ctrl-C.

mod archive;
mod demo;
mod queries;
mod rate;
mod retention;
mod tier;

use anyhow::{Context, Result};
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use timberlog_api::{Server, ServerOptions};
use timberlog_db::{CompactionOptions, Database, Durability, Env, Niceness, Options, Progress, lower_thread_priority};
use timberlog_ingest::STREAM_LABELS_MAX;
use timberlog_types::Error;
use tokio::signal::unix::{SignalKind, signal};

/// Flags of `serve`; each may stand in the environment or the configuration file too.
#[derive(Args)]
#[command(args_override_self = true)]
pub struct Arguments {
    /// A YAML file of settings: the flags below without their dashes, as `data-dir: /var/lib/timberlog`
    #[arg(long, value_name = "FILE", env = "TIMBERLOG_CONFIG")]
    config: Option<PathBuf>,
    /// Where the database is; created if missing
    #[arg(long, value_name = "DIR", env = "TIMBERLOG_DATA_DIR", default_value = "timberlog-data")]
    data_dir: PathBuf,
    /// Where HTTP listens
    #[arg(long, value_name = "ADDR", env = "TIMBERLOG_HTTP_ADDR", default_value = "127.0.0.1:3100")]
    http_addr: SocketAddr,
    /// Where gRPC listens
    #[arg(long, value_name = "ADDR", env = "TIMBERLOG_GRPC_ADDR", default_value = "127.0.0.1:4317")]
    grpc_addr: SocketAddr,
    /// Connections to HTTP at one time, and as many to gRPC; for a further one the one ends that has been idle the longest
    #[arg(long, value_name = "N", env = "TIMBERLOG_CONNECTIONS_MAX", default_value_t = 8192)]
    connections_max: usize,
    /// How long a client may take for the head of a request, and for every 16 KiB of its body
    #[arg(long, value_name = "TIME", env = "TIMBERLOG_READ_TIMEOUT", default_value = "30s")]
    read_timeout: humantime::Duration,
    /// How long a connection may be without a request; one of HTTP/1 no longer than `--read-timeout`
    #[arg(long, value_name = "TIME", env = "TIMBERLOG_IDLE_TIMEOUT", default_value = "10m")]
    idle_timeout: humantime::Duration,
    /// Write made-up traffic of several services into the database, to have something to look at
    #[arg(long)]
    demo: bool,
    /// Made-up records a second
    #[arg(long, value_name = "N", default_value_t = 50, requires = "demo")]
    demo_rate: u32,
    /// When a batch is acknowledged: after its fsync, or after its write
    #[arg(long, value_enum, env = "TIMBERLOG_DURABILITY", default_value_t = DurabilityMode::Fsync)]
    durability: DurabilityMode,
    /// With `--durability async`: the longest time between a write and its fsync, which is what a power loss can cost
    #[arg(long, value_name = "TIME", env = "TIMBERLOG_ASYNC_INTERVAL", default_value = "200ms")]
    async_interval: humantime::Duration,
    /// JSON keys that name the stream, comma-separated
    #[arg(
        long,
        value_name = "KEYS",
        env = "TIMBERLOG_STREAM_LABELS",
        value_delimiter = ',',
        default_value = "service"
    )]
    stream_labels: Vec<String>,
    /// Whether labels that Loki derives are: `service_name` from the labels of a stream, `detected_level` from a line
    #[arg(long, value_enum, env = "TIMBERLOG_LOKI_DERIVE_LABELS", default_value_t = Switch::On)]
    loki_derive_labels: Switch,
    /// The most lines that a query of Loki's API may ask for
    #[arg(long, value_name = "N", env = "TIMBERLOG_LOKI_ENTRIES_MAX", default_value_t = 5_000)]
    loki_entries_max: usize,
    /// Fields with an index of their own (exact values), comma-separated: trace_id,user.id
    #[arg(long = "index", value_name = "FIELDS", env = "TIMBERLOG_INDEX", value_delimiter = ',')]
    index: Vec<String>,
    /// Flush the memory buffer to segments when it holds this much
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_FLUSH_BYTES", default_value = "32MiB")]
    flush_bytes: ByteSize,
    /// Flush the memory buffer when its oldest record is this old
    #[arg(
        long,
        visible_alias = "flush-interval",
        value_name = "TIME",
        env = "TIMBERLOG_FLUSH_AGE",
        default_value = "5m"
    )]
    flush_age: humantime::Duration,
    /// Threads that compress what a flush writes [default: as many as there are cores, at most 4]
    #[arg(long, value_name = "N", env = "TIMBERLOG_FLUSH_THREADS", value_parser = clap::value_parser!(u8).range(1..=64))]
    flush_threads: Option<u8>,
    /// Memory for the buffer and flushes under way; beyond it requests wait and are then answered with 429
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_BUFFER_BYTES_MAX", default_value = "256MiB")]
    buffer_bytes_max: ByteSize,
    /// Memory for requests that wait for room in the buffer; one larger request may wait alone
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_WAITING_BYTES_MAX", default_value = "32MiB")]
    waiting_bytes_max: ByteSize,
    /// Partitions (tenant and day) that one flush may write
    #[arg(long, value_name = "N", env = "TIMBERLOG_PARTITIONS_PER_FLUSH_MAX", default_value_t = 64)]
    partitions_per_flush_max: usize,
    /// Active streams of one tenant; records of further ones are refused
    #[arg(long, value_name = "N", env = "TIMBERLOG_STREAMS_MAX", default_value_t = 100_000)]
    streams_max: usize,
    /// Refuse records that are further ahead of the clock than this
    #[arg(long, value_name = "TIME", env = "TIMBERLOG_MAX_FUTURE", default_value = "24h")]
    max_future: humantime::Duration,
    /// How long a stop waits for requests under way; what is not answered then is cut off
    #[arg(long, value_name = "TIME", env = "TIMBERLOG_DRAIN_TIMEOUT", default_value = "20s")]
    drain_timeout: humantime::Duration,
    /// The longest request body, decompressed
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_BODY_BYTES_MAX", default_value = "64MiB")]
    body_bytes_max: ByteSize,
    /// The longest record
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_RECORD_BYTES_MAX", default_value = "16MiB")]
    record_bytes_max: ByteSize,
    /// The most fields in a record
    #[arg(long, value_name = "N", env = "TIMBERLOG_FIELDS_MAX", default_value_t = 1_000)]
    fields_max: usize,
    /// Memory for decoded columns of segments
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_CACHE_BYTES", default_value = "48MiB")]
    cache_bytes: ByteSize,
    #[command(flatten)]
    rate: rate::Rate,
    #[command(flatten)]
    queries: queries::Queries,
    #[command(flatten)]
    tier: tier::Tier,
    #[command(flatten)]
    archive: archive::Archive,
    #[command(flatten)]
    s3: crate::store::S3Flags,
    /// How far back queries in the short form look when they name no start
    #[arg(long, value_name = "TIME", env = "TIMBERLOG_LOOKBACK_PERIOD", default_value = "15m")]
    lookback_period: humantime::Duration,
    /// Preallocated size of a WAL file
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_WAL_FILE_BYTES", default_value = "64MiB")]
    wal_file_bytes: ByteSize,
    /// Old manifest roots that are kept
    #[arg(long, value_name = "N", env = "TIMBERLOG_MANIFEST_HISTORY", default_value_t = 10)]
    manifest_history: usize,
    /// Refuse new records when the disk has less room than this
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_DISK_FREE_MIN", default_value = "64MiB")]
    disk_free_min: ByteSize,
    /// Whether small segments are merged into larger ones in the background
    #[arg(long, value_enum, env = "TIMBERLOG_COMPACTION", default_value_t = Switch::On)]
    compaction: Switch,
    /// Bytes a second that compaction may read and write together; 0: no limit
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_COMPACTION_BYTES_PER_SECOND", default_value = "32MiB")]
    compaction_bytes_per_second: ByteSize,
    /// Raw text that a merged segment has at most; one with half of it is not merged again
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_COMPACTION_SEGMENT_BYTES", default_value = "512MiB")]
    compaction_segment_bytes: ByteSize,
    /// Segments of about one size that become one, 2 to 64
    #[arg(long, value_name = "N", env = "TIMBERLOG_COMPACTION_FAN_IN", default_value_t = 32)]
    compaction_fan_in: usize,
    /// The zstd level of segments that are not merged again, 1 to 22
    #[arg(long, value_name = "N", env = "TIMBERLOG_COMPACTION_LEVEL", default_value_t = 6)]
    compaction_level: i32,
    #[command(flatten)]
    retention: retention::Retention,
    /// What to log: error, warn, info, debug, or a filter as `info,timberlog_storage=debug`
    #[arg(long, value_name = "FILTER", env = "TIMBERLOG_LOG", default_value = "info")]
    log: String,
    /// How to log
    #[arg(long, value_enum, env = "TIMBERLOG_LOG_FORMAT", default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum DurabilityMode {
    /// After its fsync: nothing acknowledged is ever lost
    Fsync,
    /// After its write: a power loss costs at most `--async-interval`
    Async,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Bytes of a WAL file that make sense: an fsync creates each, and each is allocated at once.
const WAL_FILE_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=4 << 30;

impl Arguments {
    /// Refuses settings with which every record would be refused.
    fn check(&self) -> Result<()> {
        let zeros = [
            ("--partitions-per-flush-max", self.partitions_per_flush_max == 0),
            ("--streams-max", self.streams_max == 0),
            ("--fields-max", self.fields_max == 0),
            ("--body-bytes-max", self.body_bytes_max.as_u64() == 0),
            ("--connections-max", self.connections_max == 0),
            ("--read-timeout", self.read_timeout.is_zero()),
            ("--idle-timeout", self.idle_timeout.is_zero()),
            ("--record-bytes-max", self.record_bytes_max.as_u64() == 0),
        ];
        if let Some((flag, _)) = zeros.into_iter().chain(self.queries.zeros()).find(|&(_, is_zero)| is_zero) {
            return Err(Error::invalid(format!("{flag} must be above 0")).into());
        }
        if !WAL_FILE_BYTES.contains(&self.wal_file_bytes.as_u64()) {
            return Err(Error::invalid("--wal-file-bytes must be from 64KiB to 4GiB").into());
        }
        if !(2..=64).contains(&self.compaction_fan_in) || !(1..=22).contains(&self.compaction_level) {
            let message = "--compaction-fan-in must be from 2 to 64, --compaction-level from 1 to 22";
            return Err(Error::invalid(message).into());
        }
        if self.stream_labels.len() > STREAM_LABELS_MAX {
            return Err(Error::invalid(format!("--stream-labels takes at most {STREAM_LABELS_MAX} names")).into());
        }
        Ok(())
    }

    fn database(&self) -> Result<Options> {
        let durability = match self.durability {
            DurabilityMode::Fsync => Durability::Fsync,
            DurabilityMode::Async => Durability::Async { interval: *self.async_interval },
        };
        let bytes = |size: ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        let (flush_bytes, buffer_bytes_max) = (bytes(self.flush_bytes), bytes(self.buffer_bytes_max));
        if flush_bytes == 0 || buffer_bytes_max < flush_bytes {
            return Err(Error::invalid("--flush-bytes must be above 0 and at most --buffer-bytes-max").into());
        }
        self.check()?;
        let defaults = Options::new(&self.data_dir);
        self.retention.apply(Options {
            durability,
            wal_file_bytes: self.wal_file_bytes.as_u64(),
            flush_bytes,
            flush_age: *self.flush_age,
            flush_threads: self.flush_threads.map_or(defaults.flush_threads, usize::from),
            buffer_bytes_max,
            waiting_bytes_max: bytes(self.waiting_bytes_max),
            partitions_per_flush_max: self.partitions_per_flush_max,
            streams_max: self.streams_max,
            user_indexes: self.index.iter().filter(|name| !name.is_empty()).cloned().collect(),
            cache_bytes: self.cache_bytes.as_u64(),
            manifest_history: self.manifest_history,
            disk_free_bytes_min: self.disk_free_min.as_u64(),
            archive: self.archive.options(&self.s3, &Env::real())?,
            compaction: CompactionOptions {
                enabled: self.compaction == Switch::On,
                bytes_per_second: self.compaction_bytes_per_second.as_u64(),
                segment_raw_bytes_max: self.compaction_segment_bytes.as_u64(),
                fan_in: self.compaction_fan_in,
                zstd_level: self.compaction_level,
                ..CompactionOptions::default()
            },
            tier: self.tier.options(&self.s3, &Env::real())?,
            ..defaults
        })
    }

    fn server(&self) -> ServerOptions {
        let defaults = ServerOptions::default();
        let bytes = |size: ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        let body_bytes_max = bytes(self.body_bytes_max);
        ServerOptions {
            http_addr: self.http_addr,
            grpc_addr: self.grpc_addr,
            stream_labels: self.stream_labels.iter().filter(|name| !name.is_empty()).cloned().collect(),
            ingest: timberlog_ingest::Limits {
                max_future_ns: i64::try_from(self.max_future.as_nanos()).unwrap_or(i64::MAX),
                record_bytes_max: bytes(self.record_bytes_max),
                fields_max: self.fields_max,
                ..defaults.ingest
            },
            connections_max: self.connections_max,
            read_timeout: *self.read_timeout,
            idle_timeout: *self.idle_timeout,
            body_bytes_max,
            bodies_bytes_max: defaults.bodies_bytes_max.max(body_bytes_max),
            drain_max: *self.drain_timeout,
            lookback: *self.lookback_period,
            loki_entries_max: self.loki_entries_max,
            loki_derive_labels: self.loki_derive_labels == Switch::On,
            ..self.rate.apply(self.queries.apply(defaults))
        }
    }
}

/// Runs the server until it is told to stop.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    start_logging(&arguments)?;
    let options = arguments.database()?;
    // What queries share out among themselves runs on threads like theirs.
    let _ = rayon::ThreadPoolBuilder::new()
        .thread_name(|number| format!("timberlog-share-{number}"))
        .start_handler(|_| lower_thread_priority(Niceness::Query))
        .build_global();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("timberlog-async")
        .build()
        .map_err(|error| Error::io("start the async runtime", &error))?;
    runtime.block_on(serve(arguments, options))?;
    // A query that was cut off may still run; it ends with the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(ExitCode::SUCCESS)
}

async fn serve(arguments: Arguments, options: Options) -> Result<()> {
    // A write beyond `RLIMIT_FSIZE` fails like any other, and must not end the process.
    let _too_long = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
    let (env, progress) = (Env::real(), Arc::new(Progress::default()));
    let server = Server::bind(arguments.server(), env.clone(), Arc::clone(&progress)).await.map_err(|error| {
        let kind = timberlog_types::ErrorKind::Unavailable;
        Error::new(kind, error.to_string())
    })?;
    let (http, grpc) = (server.http_addr()?, server.grpc_addr()?);
    tracing::info!(data_dir = %options.data_dir.display(), "opening the database");
    let opening = server.opening();
    let (failed, failure) = tokio::sync::oneshot::channel();
    let opened = tokio::task::spawn_blocking(move || {
        let result = Database::open(options, env, &progress);
        opening.opened(result.clone());
        match result {
            Ok(database) => Some(database),
            Err(error) => {
                let _ = failed.send(error);
                None
            }
        }
    });
    let stop = stop_signal()?;
    let demo = arguments.demo.then_some(arguments.demo_rate);
    let announce = tokio::spawn(async move {
        let database = opened.await.ok().flatten()?;
        announce(http, grpc, demo.is_some());
        let demo = demo.map(|rate| demo::start(database.clone(), rate));
        Some((database, demo))
    });
    let (told, stopped) = tokio::sync::oneshot::channel();
    let reason = async move {
        let error = tokio::select! {
            () = stop => None,
            Ok(error) = failure => Some(error),
        };
        let _ = told.send(error);
    };
    server.serve(reason).await.context("serve")?;
    if let Ok(Some(error)) = stopped.await {
        return Err(error.into());
    }
    tracing::info!("stopping: flushing what is in memory");
    if let Some((database, demo)) = announce.await? {
        drop(demo);
        tokio::task::spawn_blocking(move || database.close()).await??;
    }
    tracing::info!("stopped");
    Ok(())
}

/// What a newcomer does next.
fn announce(http: SocketAddr, grpc: SocketAddr, demo: bool) {
    eprintln!("timberlog {} is ready: HTTP on http://{http}, gRPC on {grpc}", env!("CARGO_PKG_VERSION"));
    if demo {
        eprintln!("made-up traffic is coming in; look at it:");
        eprintln!("  http://{http}/ in a browser names the endpoints");
        eprintln!("  curl 'http://{http}/logs?level=error&limit=5'");
        eprintln!("  timberlog query --addr http://{http} 'level=error' --since 5m");
        eprintln!("  timberlog tail --grpc-addr http://{grpc}");
        eprintln!("Ctrl-C stops it.");
    }
}

/// Ends with SIGTERM or SIGINT; the second one ends the process at once.
fn stop_signal() -> Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: answering the requests under way; a second signal ends at once");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("stopped at once; the next start replays the WAL");
            std::process::exit(1);
        });
    })
}

fn start_logging(arguments: &Arguments) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&arguments.log)
        .map_err(|error| Error::invalid(format!("--log `{}`: {error}", arguments.log)))?;
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(color).with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}
