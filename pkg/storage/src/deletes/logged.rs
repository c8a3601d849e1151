//! What a frame of the WAL says of deletes: the payload of kind 2 (`manifest-spec.md`, "WAL").

use super::Tombstone;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use timberlog_filter::Compiled;
use timberlog_types::{Error, Result, Seq, Tenant, TimeRange};

/// The longest payload, in bytes: a selector whose every byte is escaped, and the rest.
pub const LOGGED_BYTES_MAX: usize = 128 << 10;

/// A delete, or its cancellation. Kept with its bytes.
#[derive(Debug)]
pub struct Logged {
    what: What,
    bytes: Box<[u8]>,
    /// The compiled selector, where it was compiled already.
    compiled: Option<Arc<Compiled>>,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum What {
    /// Records are deleted.
    Delete {
        /// A ULID.
        id: String,
        /// Which records, as text.
        selector: String,
        /// The first timestamp, in ns.
        start: i64,
        /// The last timestamp, in ns.
        end: i64,
        /// When it was asked for, in ns since 1970 UTC.
        created_ns: i64,
    },
    /// A delete is taken back.
    Cancel {
        /// Its id.
        id: String,
    },
}

impl Logged {
    /// A frame's content; `compiled` is that of its selector.
    pub(crate) fn new(what: What, compiled: Option<Arc<Compiled>>) -> Result<Self> {
        let bytes = serde_json::to_vec(&what).map_err(|error| Error::internal(error.to_string()))?;
        Ok(Self { what, bytes: bytes.into_boxed_slice(), compiled })
    }

    /// Reads a payload whose checksum was right.
    ///
    /// # Errors
    /// `Corrupt` if it is none.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > LOGGED_BYTES_MAX {
            return Err(Error::corrupt(format!("a delete of {} bytes, limit {LOGGED_BYTES_MAX}", bytes.len())));
        }
        let what = serde_json::from_slice(bytes).map_err(|error| Error::corrupt(format!("a delete: {error}")))?;
        Ok(Self { what, bytes: bytes.into(), compiled: None })
    }

    /// What it says.
    pub fn what(&self) -> &What {
        &self.what
    }

    /// Its payload.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn compiled(&self) -> Option<&Arc<Compiled>> {
        self.compiled.as_ref()
    }
}

impl What {
    /// The delete, if it is one, with what its frame says.
    pub(crate) fn tombstone(&self, tenant: &Tenant, seq: Seq) -> Option<Tombstone> {
        match self {
            Self::Delete { id, selector, start, end, created_ns } => Some(Tombstone {
                id: id.clone(),
                tenant: tenant.clone(),
                selector: selector.clone(),
                range: TimeRange { start: *start, end: *end },
                seq,
                created_ns: *created_ns,
            }),
            Self::Cancel { .. } => None,
        }
    }
}
