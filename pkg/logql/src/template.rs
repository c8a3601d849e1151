//! Go's text/template as LogQL's `line_format` and `label_format` use it, with Loki's functions.
//!
//! [`Template::parse`] turns a text into a tree once; [`Template::render`] walks it for each line
//! and appends to the caller's buffer. What a function answers depends on the [`Context`] and on
//! nothing else: no clock, no environment, no file is read here, and "local" time is UTC.
//! A render ends whatever the template says: steps, nesting and bytes have limits, and going
//! beyond one is a [`RenderError`] like any other.

mod base64;
mod call;
mod error;
mod evaluate;
mod fields;
mod float;
mod format;
mod functions;
mod json;
mod lexer;
mod literal;
mod node;
mod parser;
mod plain;
mod regex;
#[cfg(test)]
mod tests;
mod time;
mod value;

pub use error::{RenderError, TemplateError};

/// Bytes that the text of a template may have.
pub const TEMPLATE_BYTES_MAX: usize = 64 << 10;
/// How deep parentheses and controls may be nested within each other.
pub const TEMPLATE_NESTING_MAX: usize = 64;
/// How deep templates may call each other.
pub const TEMPLATE_CALLS_MAX: usize = 64;
/// Steps of one render: a node costs one, and a function one for every 64 bytes it works on.
pub const RENDER_STEPS_MAX: u64 = 1_000_000;
/// Bytes that one render may append, and that one value in between may have.
pub const RENDER_BYTES_MAX: usize = 16 << 20;

/// What a template is rendered over: one line with its labels.
pub trait Context {
    /// The value of a label, if the line has it.
    fn label(&self, name: &str) -> Option<&str>;
    /// The line as it is now.
    fn line(&self) -> &[u8];
    /// The line's time in nanoseconds since 1970.
    fn timestamp_ns(&self) -> i64;
    /// The time that `now` answers, in nanoseconds since 1970.
    fn now_ns(&self) -> i64;
    /// Calls back with every label; the order does not matter.
    fn for_each_label<'a>(&'a self, visit: &mut dyn FnMut(&'a str, &'a str));
}

/// Labels that a template looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fields {
    /// These, each once, in the order they are named.
    Names(Vec<String>),
    /// Any of them: the template uses all labels as one value (`{{.}}`, `range $k, $v := .`).
    All,
}

/// A template, parsed and ready to render; it can be shared between threads.
#[derive(Debug)]
pub struct Template {
    text: String,
    trees: parser::Trees,
    /// The template as texts and labels, if it is no more than that.
    pieces: Option<Vec<plain::Piece>>,
}

impl Template {
    /// Parses the template of a `line_format` stage; error texts call it `line`.
    ///
    /// The error's text is Go's (`template: line:1: …`); Loki puts `invalid line template: ` before it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::named("line", text)
    }

    /// Parses the template of one label of a `label_format` stage; error texts call it `label`.
    ///
    /// Loki puts `invalid template for label 'NAME': ` before the error's text.
    pub fn parse_label(text: &str) -> Result<Self, TemplateError> {
        Self::named("label", text)
    }

    fn named(name: &'static str, text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError(format!("template: {name}: more than {TEMPLATE_BYTES_MAX} bytes")));
        }
        let trees = parser::parse(name, text)?;
        let pieces = trees.first().and_then(|(_, root)| plain::pieces(root));
        Ok(Self { text: text.to_owned(), trees, pieces })
    }

    /// Appends what the template makes of a line.
    ///
    /// # Errors
    /// The text that belongs into `__error_details__` (with `__error__="TemplateFormatErr"`);
    /// `out` is then as it was before.
    pub fn render(&self, context: &dyn Context, out: &mut Vec<u8>) -> Result<(), RenderError> {
        match &self.pieces {
            Some(pieces) if plain::fits(pieces, context) => {
                plain::render(pieces, context, out);
                Ok(())
            }
            _ => evaluate::render(&self.trees, &self.text, context, out).map_err(RenderError),
        }
    }

    /// The label whose value is all that the template answers (`{{.message}}`), if it is that
    /// simple: the caller can take the value and need not render.
    pub fn only_field(&self) -> Option<&str> {
        match self.pieces.as_deref() {
            Some([plain::Piece::Label(name, plain::Case::Kept)]) => Some(name),
            _ => None,
        }
    }

    /// Labels that the template looks at.
    pub fn fields(&self) -> Fields {
        fields::of(&self.trees)
    }
}
