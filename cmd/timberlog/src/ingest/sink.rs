//! Where batches go: a server, or the database of a data directory. Waits and tries again while
//! there is no room; never stores a batch twice on a server, whatever became of an answer.

use super::Arguments;
use super::batch::Batch;
use super::report::Report;
use anyhow::Result;
use std::time::Duration;
use timberlog_client::Client;
use timberlog_db::{Database, Env, Options, Progress};
use timberlog_ingest::{DecodeOptions, Decoder, Limits};
use timberlog_types::{Error, ErrorKind, Tenant};

/// The first and the longest wait between two tries, of those that are our own idea.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(10);
/// The longest wait that a server may ask for.
const WAIT_ASKED_MAX: Duration = Duration::from_secs(60);

/// What became of a batch.
#[derive(Default)]
pub struct Stored {
    pub accepted: u64,
    /// Places in the batch, and reasons.
    pub refused: Vec<(u64, String)>,
    /// Refused records that are not in the list.
    pub refused_unlisted: u64,
}

/// Where batches go.
pub struct Sink {
    place: Place,
    retries_max: u32,
}

enum Place {
    /// The producer's name and number make a batch that is sent twice be stored once.
    Server {
        client: Client,
        producer: String,
        number: u64,
    },
    Directory {
        database: Database,
        tenant: Tenant,
        stream_labels: Vec<String>,
        decoder: Box<Decoder>,
    },
}

impl Sink {
    pub fn open(arguments: &Arguments) -> Result<Self> {
        let tenant = arguments.target.tenant()?;
        let names = |names: &[String]| names.iter().filter(|name| !name.is_empty()).cloned().collect::<Vec<_>>();
        let place = match &arguments.target.data_dir {
            Some(data_dir) => {
                let options = Options { user_indexes: names(&arguments.index), ..Options::new(data_dir) };
                let database = Database::open(options, Env::real(), &Progress::default())?;
                let stream_labels = arguments.stream_labels.as_deref().map_or(vec!["service".to_owned()], names);
                Place::Directory { database, tenant, stream_labels, decoder: Box::default() }
            }
            None => {
                let producer = format!("ingest-{:016x}", Env::real().random.next_u64());
                let client = arguments.target.client()?;
                let client = match &arguments.stream_labels {
                    Some(labels) => client.with_stream_labels(&names(labels))?,
                    None => client,
                };
                Place::Server { client, producer, number: 0 }
            }
        };
        Ok(Self { place, retries_max: arguments.retries_max })
    }

    /// Stores a batch.
    pub fn store(&mut self, batch: &Batch, report: &Report) -> Result<Stored> {
        if let Place::Server { number, .. } = &mut self.place {
            *number += 1;
        }
        let mut wait = WAIT_MIN;
        let mut tries = 0;
        loop {
            let error = match self.place.store(batch) {
                Ok(stored) => return Ok(stored),
                Err(error) => error,
            };
            if !matches!(error.kind, ErrorKind::Overloaded { .. } | ErrorKind::Unavailable) {
                return Err(error.into());
            }
            if tries == self.retries_max {
                return Err(error.context(format!("gave up after {} tries", tries + 1)).into());
            }
            let asked = error.retry_after().unwrap_or_default().min(WAIT_ASKED_MAX);
            let pause = wait.max(asked);
            report.waits(&error, pause);
            std::thread::sleep(pause);
            (tries, wait) = (tries + 1, (wait * 2).min(WAIT_MAX));
        }
    }

    /// Makes sure that everything is in its place.
    pub fn close(self) -> Result<()> {
        match self.place {
            Place::Server { .. } => Ok(()),
            Place::Directory { database, .. } => Ok(database.close()?),
        }
    }
}

impl Place {
    fn store(&mut self, batch: &Batch) -> Result<Stored, Error> {
        match self {
            Self::Server { client, producer, number } => {
                let answer = client.ingest(&batch.body, Some((producer, *number)))?;
                let refused = answer.refused.into_iter().map(|one| (one.index, one.reason)).collect();
                Ok(Stored { accepted: answer.accepted, refused, ..Stored::default() }.complete(batch))
            }
            Self::Directory { database, tenant, stream_labels, decoder } => {
                let limits = Limits::default();
                let streams = |hash| database.admit_stream(tenant, hash);
                let options = DecodeOptions {
                    now_ns: Env::real().clock.now_ns(),
                    keep_from_ns: i64::MIN,
                    stream_labels,
                    default_service: "",
                    strict: false,
                    limits: &limits,
                    streams: &streams,
                };
                let decoded = decoder.json(&batch.body, &options)?;
                if let Some(records) = decoded.batch {
                    database.append(tenant, records, None)?;
                }
                let refused = decoded.refused.into_iter().map(|one| (one.index as u64, one.reason)).collect();
                Ok(Stored { accepted: decoded.accepted as u64, refused, refused_unlisted: 0 }.complete(batch))
            }
        }
    }
}

impl Stored {
    /// A long list of refusals is cut short: what is neither stored nor listed was refused, too.
    fn complete(mut self, batch: &Batch) -> Self {
        let known = self.accepted + self.refused.len() as u64;
        self.refused_unlisted = (batch.lines.len() as u64).saturating_sub(known);
        self
    }
}
