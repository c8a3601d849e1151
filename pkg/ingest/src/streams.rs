//! The streams of one body: which are admitted, and their ids in the batch.

use crate::options::StreamRegistry;
use hashbrown::HashTable;
use timberlog_types::batch::BuildError;
use timberlog_types::{BatchBuilder, StreamRef, stream};

/// Why a record's stream cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StreamError {
    #[error(
        "stream: the tenant has as many streams as it may have (`--streams-max`), and this would be a new one; \
         make stream labels that take many values fields instead (`--stream-labels`)"
    )]
    TooMany,
    #[error("stream: {0}")]
    Build(#[from] BuildError),
}

/// Streams seen in a body. A refused stream never reaches the batch.
#[derive(Default)]
pub(crate) struct StreamTable {
    known: HashTable<Known>,
    encoded: Vec<u8>,
    last: Vec<u8>,
    last_id: Option<u32>,
}

struct Known {
    hash: u64,
    encoded: Box<[u8]>,
    id: Option<u32>,
}

impl StreamTable {
    pub fn clear(&mut self) {
        self.known.clear();
        self.last.clear();
        self.last_id = None;
    }

    /// The id in `builder` of a stream; `labels` are sorted by name, each name once.
    pub fn id(
        &mut self,
        service: &str,
        labels: &[(&str, &str)],
        builder: &mut BatchBuilder,
        registry: &dyn StreamRegistry,
    ) -> Result<u32, StreamError> {
        self.encoded.clear();
        if !stream::encode(service, labels, &mut self.encoded) {
            return Err(BuildError::StreamTooLong.into());
        }
        if self.encoded != self.last {
            let hash = StreamRef::parse_unchecked(&self.encoded).hash();
            self.last_id = match self.known.find(hash, |known| *known.encoded == *self.encoded) {
                Some(known) => known.id,
                None => {
                    let id = if registry.admit(hash) { Some(builder.stream(service, labels)?) } else { None };
                    let known = Known { hash, encoded: self.encoded.as_slice().into(), id };
                    self.known.insert_unique(hash, known, |known| known.hash);
                    id
                }
            };
            std::mem::swap(&mut self.encoded, &mut self.last);
        }
        self.last_id.ok_or(StreamError::TooMany)
    }
}
