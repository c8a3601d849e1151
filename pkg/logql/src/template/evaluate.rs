//! Walks a tree over one line: controls, pipelines, variables, fields and calls, as Go does it.
//!
//! Where Go remembers the node it is at for its error texts, so does the [`Scope`].

mod call;
mod command;
mod control;

use super::node::{Kind, Node};
use super::value::Value;
use super::{Context, RENDER_BYTES_MAX, RENDER_STEPS_MAX, format};

/// How deep controls, parentheses and templates may be nested while rendering, all together.
const DEPTH_MAX: usize = 100;

/// Why a walk ends before its node does.
#[derive(Debug)]
pub(super) enum Stop {
    Break,
    Continue,
    /// What is wrong, with where.
    Error(String),
}

pub(super) type Result<T> = std::result::Result<T, Stop>;

/// One rendering.
pub(super) struct Scope<'a> {
    trees: &'a [(String, Node)],
    text: &'a str,
    pub context: &'a dyn Context,
    out: Vec<u8>,
    out_start: usize,
    /// The name of the tree that is walked.
    tree: &'a str,
    dollar: Value<'a>,
    variables: Vec<(&'a str, Value<'a>)>,
    /// Arguments of the calls that are under way.
    arguments: Vec<Value<'a>>,
    at: Option<&'a Node>,
    /// The words of the command whose function is called: the compiled expressions are theirs.
    pub words: &'a [Node],
    steps: u64,
    depth: usize,
    calls: usize,
}

/// Walks the first tree; what it gives is appended to `out`, which is cut back if it fails.
pub(super) fn render<'a>(
    trees: &'a [(String, Node)],
    text: &'a str,
    context: &'a dyn Context,
    out: &mut Vec<u8>,
) -> std::result::Result<(), String> {
    let Some((name, root)) = trees.first() else { return Ok(()) };
    let out_start = out.len();
    let mut scope = Scope {
        trees,
        text,
        context,
        out: std::mem::take(out),
        out_start,
        tree: name,
        dollar: Value::Labels,
        variables: Vec::new(),
        arguments: Vec::new(),
        at: None,
        words: &[],
        steps: 0,
        depth: 0,
        calls: 0,
    };
    let result = scope.walk(&Value::Labels, root);
    *out = scope.out;
    match result {
        Ok(()) | Err(Stop::Break | Stop::Continue) => Ok(()),
        Err(Stop::Error(message)) => {
            out.truncate(out_start);
            Err(message)
        }
    }
}

impl<'a> Scope<'a> {
    /// An error at the node that the walk is at.
    fn error<T>(&self, message: impl std::fmt::Display) -> Result<T> {
        Err(Stop::Error(match self.at {
            None => format!("template: {}: {message}", self.tree),
            Some(node) => {
                let before = self.text.get(..node.position).unwrap_or_default();
                let line = 1 + before.bytes().filter(|&byte| byte == b'\n').count();
                let column = before.rfind('\n').map_or(before.len(), |at| before.len() - at - 1);
                let name = self.trees.first().map_or("", |(name, _)| name);
                let tree = crate::units::quote(self.tree);
                format!("template: {name}:{line}:{column}: executing {tree} at <{node}>: {message}")
            }
        }))
    }

    /// Counts work: one step, and one for every 64 bytes.
    pub fn spend(&mut self, bytes: usize) -> std::result::Result<(), String> {
        self.steps = self.steps.saturating_add(1 + bytes as u64 / 64);
        if self.steps > RENDER_STEPS_MAX {
            return Err(format!("more than {RENDER_STEPS_MAX} steps"));
        }
        if bytes > RENDER_BYTES_MAX {
            return Err(format!("a value of more than {RENDER_BYTES_MAX} bytes"));
        }
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        self.spend(0).or_else(|message| self.error(message))
    }

    fn deeper(&mut self) -> Result<()> {
        self.step()?;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.error(format_args!("nested more than {DEPTH_MAX} deep"));
        }
        Ok(())
    }

    fn write(&mut self, text: &[u8]) -> Result<()> {
        if self.out.len() - self.out_start + text.len() > RENDER_BYTES_MAX {
            return self.error(format_args!("more than {RENDER_BYTES_MAX} bytes"));
        }
        self.out.extend_from_slice(text);
        Ok(())
    }

    pub fn truth(&self, value: &Value<'_>) -> bool {
        value.truth(|| {
            let mut any = false;
            self.context.for_each_label(&mut |_, _| any = true);
            any
        })
    }

    /// The labels, sorted by name.
    pub fn labels(&self) -> Vec<(&'a str, &'a str)> {
        let mut labels = Vec::new();
        self.context.for_each_label(&mut |name, value| labels.push((name, value)));
        labels.sort_unstable();
        labels
    }

    fn walk(&mut self, dot: &Value<'a>, node: &'a Node) -> Result<()> {
        self.at = Some(node);
        match &node.kind {
            Kind::Text(text) => {
                self.step()?;
                self.write(text.as_bytes())
            }
            Kind::List(nodes) => nodes.iter().try_for_each(|node| self.walk(dot, node)),
            Kind::Action(pipe) => {
                let value = self.pipeline(dot, pipe)?;
                if matches!(&pipe.kind, Kind::Pipe(pipe) if !pipe.variables.is_empty()) {
                    return Ok(());
                }
                self.at = Some(node);
                self.print(&value)
            }
            Kind::If(branch) => self.choose(dot, branch, false),
            Kind::With(branch) => self.choose(dot, branch, true),
            Kind::Range(branch) => self.range(dot, branch),
            Kind::Template(name, pipe) => self.template(dot, name, pipe.as_deref()),
            Kind::Break => Err(Stop::Break),
            Kind::Continue => Err(Stop::Continue),
            _ => self.error("unknown node"),
        }
    }

    fn print(&mut self, value: &Value<'a>) -> Result<()> {
        match value {
            Value::Text(text) => self.write(text),
            Value::Invalid | Value::Boxed(None) => self.write(b"<no value>"),
            value => {
                let mut text = Vec::new();
                format::print_value(self, value, &mut text).or_else(|message| self.error(message))?;
                self.write(&text)
            }
        }
    }
}
