//! Durations, sizes and numbers as Go and Loki read and print them, and Go's quoted texts.
//!
//! The errors carry the texts of Go's standard library: they end up in `__error_details__`.
//! Nothing here allocates but for what it returns.

mod bytes;
mod duration;
mod number;
mod quote;

pub use bytes::{parse_bytes, print_bytes};
pub use duration::{
    parse_duration, parse_go_duration, parse_prometheus_duration, print_go_duration, print_prometheus_duration,
};
pub(crate) use number::underscores_separate;
pub use number::{parse_float, print_float, print_float_general};
pub use quote::{quote, unquote};

/// Why a text is no duration, size or number: the message of Go's parser.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(pub String);

#[cfg(test)]
mod tests;
