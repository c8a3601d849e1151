//! The query languages: LogQL and the short form, as texts, as trees and as pipelines over lines.
//!
//! Text → [`parse`] → [`Expr`] → (a) its text again, (b) a [`Pipeline`] of its stages, compiled,
//! that a [`Runner`] applies to one line after the other. What a metric query comes to, and where
//! lines are found, is decided by the query engine above: this crate reads no file and knows no
//! snapshot.

pub mod ast;
mod empty;
pub mod evaluate;
mod labels;
mod lexer;
mod parser;
pub mod pipeline;
mod print;
mod short;
mod template;
pub mod units;

pub use ast::Expr;
pub use empty::keeps_empty;
pub use labels::{Label, Labels, Origin};
pub use parser::{NESTING_MAX, ParseError, QUERY_BYTES_MAX, REGEX_BYTES_MAX, parse, parse_log, parse_selector};
pub use pipeline::{Empties, Pipeline, Runner, StageError, Wanted};
pub use print::pretty;
pub use short::{SHORT_BYTES_MAX, SHORT_NESTING_MAX, ShortError, parse_short, print_short};
pub use template::{
    Context, Fields, RENDER_BYTES_MAX, RENDER_STEPS_MAX, RenderError, TEMPLATE_BYTES_MAX, TEMPLATE_CALLS_MAX,
    TEMPLATE_NESTING_MAX, Template, TemplateError,
};
