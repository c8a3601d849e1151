//! Lines: the histories of a database in an archive, and which one a data directory goes on with.
//!
//! A database that was restored has the id of the one that was backed up, and gives the same sequence
//! numbers again, to other batches. So frames are archived in a *line*: one directory's history,
//! without a gap. A restore begins a line of its own, which says from which number of which line it
//! came; so does a directory that finds that somebody else archived in its line.

use super::object::Part;
use super::{LOCAL_FILE, PREFIX};
use crate::backup::{decode_record, encode_record, is_id, new_id};
use crate::objects::ObjectStore;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::io;
use std::path::Path;
use timberlog_disk::{Env, Open, atomic, checksum};
use timberlog_types::{Error, ErrorKind, Result, Seq};

const FORMAT: u32 = 1;
const LOCAL_BYTES_MAX: u64 = 64 << 10;

/// Where a line came from: everything up to `seq` of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The other line.
    pub line: String,
    /// Up to this number both are the same.
    pub seq: Seq,
}

/// How far a line is archived though no frame says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The last number then.
    pub seq: Seq,
    /// Everything that was committed up to this time has a number up to that, in ns since 1970 UTC.
    pub time: i64,
}

/// A line: `archive/<database>/<line>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineRecord {
    /// The version of this record.
    pub format: u32,
    /// The line, as in its key. Ids sort by time.
    pub id: String,
    /// The database.
    pub database_id: String,
    /// When it began, in ns since 1970 UTC: instants from then on are of this line, those before of an older one.
    pub created: i64,
    /// Its frames begin behind this number.
    pub since: Seq,
    /// Where it came from; without one it stands by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// How far it is archived, if no frame says more.
    pub reached: Reached,
}

impl LineRecord {
    pub(crate) fn key(&self) -> String {
        format!("{}.json", folder(&self.database_id, &self.id))
    }

    pub(crate) fn put(&self, store: &dyn ObjectStore) -> Result<()> {
        store.put(&self.key(), &encode_record(self)?)
    }

    /// `false` if there is another one.
    pub(crate) fn put_if_absent(&self, store: &dyn ObjectStore) -> Result<bool> {
        store.put_if_absent(&self.key(), &encode_record(self)?)
    }

    /// Reads one; `None` if there is none.
    pub(crate) fn get(store: &dyn ObjectStore, database_id: &str, id: &str) -> Result<Option<Self>> {
        let key = format!("{}.json", folder(database_id, id));
        let bytes = match store.get(&key) {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let record: Self = decode_record(&bytes).map_err(|error| error.context(format!("object `{key}`")))?;
        if record.id != id || record.database_id != database_id {
            return Err(Error::corrupt(format!("object `{key}` is of another line")));
        }
        Ok(Some(record))
    }
}

/// `archive/<database>/<line>`: the frames of a line are below it.
pub(crate) fn folder(database_id: &str, line: &str) -> String {
    format!("{PREFIX}{database_id}/{line}")
}

/// The key of an object of a line.
pub(crate) fn key(database_id: &str, line: &str, part: &Part) -> String {
    format!("{}/{}", folder(database_id, line), part.name())
}

/// The line of a data directory: its file `archive.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Local {
    /// The version of this file.
    pub format: u32,
    /// The line.
    pub line: String,
    /// When it began, in ns since 1970 UTC.
    pub created: i64,
    /// Its frames begin behind this number.
    pub since: Seq,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The store; empty if it has been archived nowhere yet.
    pub store: String,
    /// Every frame of the line up to this number is in the store.
    pub archived_seq: Seq,
    /// Everything that was committed up to this time has a number up to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<i64>,
    /// The object behind that, if one is being sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending: Option<Sending>,
}

/// An object that may be in the store, or come to be there however late: so the next try sends the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// The number of its last frame.
    pub last_seq: Seq,
    /// Everything that was committed up to this time has a number up to that.
    pub time: i64,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    crc32c: u32,
    #[serde(borrow)]
    archive: &'a RawValue,
}

impl Local {
    /// A new line.
    pub(crate) fn begin(env: &Env, since: Seq, parent: Option<Parent>, store: String) -> Self {
        let created = env.clock.now_ns();
        Self::begun(env, created, since, parent, store)
    }

    /// A new line that began earlier.
    pub(crate) fn begun(env: &Env, created: i64, since: Seq, parent: Option<Parent>, store: String) -> Self {
        let line = new_id(env.clock.now_ns(), &*env.random);
        Self { format: FORMAT, line, created, since, parent, store, archived_seq: since, time: None, sending: None }
    }

    /// What stands in the store of it.
    pub(crate) fn record(&self, database_id: &str, reached: Reached) -> LineRecord {
        LineRecord {
            format: FORMAT,
            id: self.line.clone(),
            database_id: database_id.to_owned(),
            created: self.created,
            since: self.since,
            parent: self.parent.clone(),
            reached,
        }
    }

    /// The file of a directory; `None` if there is none. One that is damaged is none either: a new
    /// line is begun then, and nothing is lost but the way back over its beginning.
    ///
    /// # Errors
    /// `Invalid` if a newer program wrote it; I/O errors.
    pub(crate) fn read(env: &Env, data_dir: &Path) -> Result<Option<Self>> {
        let doing = |error: &io::Error| Error::io(format!("read `{LOCAL_FILE}`"), error);
        let bytes = match env.disk.open(&data_dir.join(LOCAL_FILE), Open::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.and_then(|file| file.read_all(LOCAL_BYTES_MAX)),
        };
        let bytes = match bytes {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Vec::new(),
            other => other.map_err(|error| doing(&error))?,
        };
        let local = Self::decode(&bytes)?;
        if local.is_none() {
            tracing::warn!("`{LOCAL_FILE}` is damaged: the archive begins a new line");
        }
        Ok(local)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Self>> {
        #[derive(Deserialize)]
        struct FormatOnly {
            format: u32,
        }
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(bytes) else { return Ok(None) };
        let text = envelope.archive.get();
        let is_whole = checksum::is_right(envelope.crc32c, crc32c::crc32c(text.as_bytes()));
        let format = serde_json::from_str::<FormatOnly>(text).ok().filter(|_| is_whole);
        match format {
            None => Ok(None),
            Some(found) if found.format > FORMAT => Err(Error::invalid(format!(
                "`{LOCAL_FILE}` has format version {}, this program reads {FORMAT}: use a newer TimberLog",
                found.format
            ))),
            Some(_) => Ok(serde_json::from_str::<Self>(text).ok().filter(|local| is_id(&local.line))),
        }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let text = serde_json::to_string(self).map_err(|error| Error::internal(error.to_string()))?;
        Ok(format!("{{\"crc32c\":{},\"archive\":{text}}}\n", crc32c::crc32c(text.as_bytes())).into_bytes())
    }

    pub(crate) fn write(&self, env: &Env, data_dir: &Path) -> Result<()> {
        atomic::write(&*env.disk, &data_dir.join(LOCAL_FILE), &self.encode()?)
            .map_err(|error| Error::io(format!("write `{LOCAL_FILE}`"), &error))
    }
}
