//! The stages of a log query, compiled ([`Pipeline`]) and run over one line after the other
//! ([`Runner`]).
//!
//! What a stage does to a line and its labels is what Loki's does, odd cases included: those that
//! look like mistakes are kept on purpose and say so where they are. A pipeline owns compiled
//! stages and is shared by threads; a runner owns what changes from line to line and allocates
//! nothing for a line once its buffers have grown. Nothing here reads a block or knows a plan.

mod builder;
mod decolorize;
mod format;
mod group;
mod ip;
mod json;
mod label_filter;
mod line_filter;
mod line_pattern;
mod logfmt;
mod names;
mod needs;
mod order;
mod parse;
mod pick;
pub(crate) mod regexp;
mod runner;
mod sanitize;
mod simplify;
mod stage;
#[cfg(test)]
mod tests;
mod text;
mod unwrap;

pub use group::Empties;
pub use ip::IpFilter;
pub use line_filter::LineTest;
pub use line_pattern::LinePattern;
pub use order::raw_line_filters;
pub use runner::Runner;

use std::sync::Arc;

use crate::ast::{Stage, Unwrap};
use builder::RESERVED;
use label_filter::LabelTest;
use names::{NameId, Names};
use parse::Hints;
use stage::Step;
use unwrap::Unwrapping;

/// Labels that the caller looks at after a run; a grouping's names, for instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of them (log queries, metric queries without grouping, `without (…)`).
    All,
    /// These (`by (…)`); with no name, none at all (`sum(…)`).
    Names(Vec<String>),
}

/// Why a stage cannot be compiled, in Loki's words; from [`Pipeline::new`] with `stage '…' : ` in
/// front, as it is in Loki's answer behind `parse error : `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StageError(pub String);

/// The compiled stages of a query.
#[derive(Debug)]
pub struct Pipeline {
    steps: Vec<Step>,
    unwrapping: Option<Unwrapping>,
    hints: Hints,
    /// The labels that parsers must find; if there are any, they find no others.
    required: Vec<NameId>,
    /// The names of the query; those of [`RESERVED`] come first.
    names: Names,
    metadata: Wanted,
}

impl Pipeline {
    /// Compiles stages, and the unwrapping after them for a metric query that has one.
    ///
    /// # Errors
    /// A stage is invalid, as [`check`] tells, with the stage in front.
    pub fn new(stages: &[Stage], unwrap: Option<&Unwrap>, wanted: Wanted) -> Result<Self, StageError> {
        let mut names = Names::default();
        for name in RESERVED {
            names.intern(name);
        }
        let mut steps = Vec::with_capacity(stages.len());
        for index in order::running_order(stages) {
            let Some(stage) = stages.get(index) else { continue };
            match Step::new(stage, index, &mut names).map_err(|error| order::in_stage(error, index, stages))? {
                // It holds whatever the labels are, and parsers need not know of it.
                Step::Label(LabelTest::Noop) => {}
                step => steps.push(step),
            }
        }
        let unwrapping = unwrap.map(|unwrap| Unwrapping::new(unwrap, &mut names)).transpose()?;
        let needs = needs::Needs::new(&steps, unwrapping.as_ref(), &wanted, &mut names);
        Ok(Self { steps, unwrapping, hints: needs.hints, required: needs.required, names, metadata: needs.metadata })
    }

    /// What applies it to lines; each thread has its own.
    pub fn runner(self: &Arc<Self>) -> Runner {
        Runner::new(Arc::clone(self))
    }

    /// The same pipeline, for a caller that wants all metadata among the labels, whether stages look at it or not.
    #[must_use]
    pub fn with_all_metadata(self) -> Self {
        Self { metadata: Wanted::All, ..self }
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
    let mut names = Names::default();
    Step::new(stage, 0, &mut names).map(drop).map_err(|error| error.0)
}
