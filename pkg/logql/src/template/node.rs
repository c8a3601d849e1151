//! The tree of a template, and how its nodes print in Go's error texts.

use std::fmt;

/// A node and the byte of the text that it begins at.
#[derive(Debug)]
pub(super) struct Node {
    pub position: usize,
    pub kind: Kind,
}

/// A node of a tree.
#[derive(Debug)]
pub(super) enum Kind {
    Text(String),
    /// `{{pipeline}}`.
    Action(Box<Node>),
    List(Vec<Node>),
    Pipe(Pipe),
    /// The words of a command; never empty.
    Command(Vec<Node>),
    /// A function: its place in the table of functions.
    Identifier(&'static super::call::Function),
    /// `$x.a.b`: the name with its `$`, and the fields.
    Variable(String, Vec<String>),
    Dot,
    Nil,
    /// `.a.b`; never empty.
    Field(Vec<String>),
    /// `(pipeline).a.b`, `function.a`.
    Chain(Box<Node>, Vec<String>),
    Bool(bool),
    Number(Number),
    String(Literal),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template(String, Option<Box<Node>>),
    Break,
    Continue,
}

/// `$x, $y := a | b`.
#[derive(Debug)]
pub(super) struct Pipe {
    /// Names with their `$`.
    pub variables: Vec<String>,
    /// `=` rather than `:=`.
    pub assigns: bool,
    /// [`Kind::Command`]s; never empty.
    pub commands: Vec<Node>,
}

/// A number as it is written, and what it can be read as.
#[derive(Debug)]
pub(super) struct Number {
    pub text: String,
    pub int: Option<i64>,
    pub float: Option<f64>,
}

/// A text in quotes: as it is written, and what that means.
#[derive(Debug)]
pub(super) struct Literal {
    pub quoted: String,
    pub text: Vec<u8>,
    /// The expression that the text is, compiled when it is first needed as one.
    pub regex: std::sync::OnceLock<Result<super::regex::Regex, String>>,
}

/// `if`, `with` or `range`: pipelines with what follows if they hold (`else if` gives further
/// ones), and what follows if none does.
#[derive(Debug)]
pub(super) struct Branch {
    pub arms: Vec<(Node, Node)>,
    pub otherwise: Option<Box<Node>>,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Pipe(pipe) => {
                if !pipe.variables.is_empty() {
                    let sign = if pipe.assigns { "=" } else { ":=" };
                    write!(f, "{} {sign} ", pipe.variables.join(", "))?;
                }
                for (at, command) in pipe.commands.iter().enumerate() {
                    write!(f, "{}{command}", if at > 0 { " | " } else { "" })?;
                }
                Ok(())
            }
            Kind::Command(words) => {
                for (at, word) in words.iter().enumerate() {
                    let space = if at > 0 { " " } else { "" };
                    match word.kind {
                        Kind::Pipe(_) => write!(f, "{space}({word})")?,
                        _ => write!(f, "{space}{word}")?,
                    }
                }
                Ok(())
            }
            Kind::Identifier(function) => f.write_str(function.name),
            Kind::Variable(name, fields) => {
                f.write_str(name)?;
                fields.iter().try_for_each(|field| write!(f, ".{field}"))
            }
            Kind::Field(fields) => fields.iter().try_for_each(|field| write!(f, ".{field}")),
            Kind::Chain(node, fields) => {
                match node.kind {
                    Kind::Pipe(_) => write!(f, "({node})")?,
                    _ => write!(f, "{node}")?,
                }
                fields.iter().try_for_each(|field| write!(f, ".{field}"))
            }
            Kind::Dot => f.write_str("."),
            Kind::Nil => f.write_str("nil"),
            Kind::Bool(value) => write!(f, "{value}"),
            Kind::Number(number) => f.write_str(&number.text),
            Kind::String(literal) => f.write_str(&literal.quoted),
            Kind::Action(pipe) => write!(f, "{{{{{pipe}}}}}"),
            Kind::Template(name, pipe) => {
                write!(f, "{{{{template {}", crate::units::quote(name))?;
                if let Some(pipe) = pipe {
                    write!(f, " {pipe}")?;
                }
                f.write_str("}}")
            }
            Kind::Break => f.write_str("{{break}}"),
            Kind::Continue => f.write_str("{{continue}}"),
            // No error text shows these.
            Kind::Text(_) | Kind::List(_) | Kind::If(_) | Kind::With(_) | Kind::Range(_) => Ok(()),
        }
    }
}

/// Whether a tree has nothing to render: what makes a definition replaceable.
pub(super) fn is_empty(node: &Node) -> bool {
    match &node.kind {
        Kind::List(nodes) => nodes.iter().all(is_empty),
        Kind::Text(text) => text.trim_matches(|c: char| c.is_whitespace()).is_empty(),
        _ => false,
    }
}

impl Number {
    /// Whether it is a float where no type is asked for: it is written as one.
    pub fn reads_as_float(&self) -> bool {
        let hexadecimal = self.text.starts_with("0x") || self.text.starts_with("0X");
        let is_hexadecimal_int = hexadecimal && !self.text.contains(['p', 'P']);
        !is_hexadecimal_int && !self.text.starts_with('\'') && self.text.contains(['.', 'e', 'E', 'p', 'P'])
    }
}
