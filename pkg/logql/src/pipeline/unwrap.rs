//! `| unwrap duration(name) | filters`: the label whose value is the sample.

use super::StageError;
use super::builder::Builder;
use super::label_filter::LabelTest;
use super::names::{NameId, Names};
use crate::ast::{Conversion, Unwrap};
use crate::units::{UnitError, parse_bytes, parse_float, parse_go_duration};

const EXTRACTION_ERROR: &str = "SampleExtractionErr";

/// An unwrapping, compiled.
#[derive(Debug)]
pub(super) struct Unwrapping {
    pub(super) name: NameId,
    conversion: Conversion,
    pub(super) filters: Vec<LabelTest>,
}

impl Unwrapping {
    pub(super) fn new(unwrap: &Unwrap, names: &mut Names) -> Result<Self, StageError> {
        let filters = unwrap.filters.iter().map(|filter| LabelTest::new(filter, names)).collect::<Result<_, _>>()?;
        Ok(Self { name: names.intern(&unwrap.name), conversion: unwrap.conversion, filters })
    }

    /// The value; `None` if the line has no such label or fails a filter. A label that cannot be
    /// read sets the error, and the value is 0.
    pub(super) fn run(&self, labels: &mut Builder) -> Option<f64> {
        let text = labels.get(self.name).filter(|value| !value.is_empty())?;
        let value = match read(self.conversion, labels.text(text)) {
            Ok(value) => value,
            Err(error) => {
                labels.set_error(EXTRACTION_ERROR);
                labels.set_error_details(&error.0);
                0.0
            }
        };
        let mut passes = true;
        for filter in &self.filters {
            // Each is looked at, because each may set the error.
            passes &= filter.passes(labels);
        }
        passes.then_some(value)
    }
}

fn read(conversion: Conversion, text: &str) -> Result<f64, UnitError> {
    match conversion {
        Conversion::Number => parse_float(text),
        Conversion::Bytes => parse_bytes(text).map(|bytes| bytes as f64),
        Conversion::Duration | Conversion::DurationSeconds => parse_go_duration(text).map(seconds),
    }
}

/// As Go: whole seconds and the rest are converted each for itself.
fn seconds(ns: i64) -> f64 {
    const NS: i64 = 1_000_000_000;
    (ns / NS) as f64 + (ns % NS) as f64 / 1e9
}
