//! Walks a tree over one line: controls, pipelines, variables, fields and calls, as Go does it.
//!
//! Where Go remembers the node it is at for its error texts, so does the [`Scope`].

use super::call::{Function, Type};
use super::node::{Branch, Kind, Node, Pipe};
use super::value::Value;
use super::{Context, RENDER_BYTES_MAX, RENDER_STEPS_MAX, TEMPLATE_CALLS_MAX, format, functions::methods};

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
            Kind::Range(branch) => self.range(dot, branch, node),
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

    fn choose(&mut self, dot: &Value<'a>, branch: &'a Branch, is_with: bool) -> Result<()> {
        self.deeper()?;
        let mark = self.variables.len();
        let mut body = None;
        for (pipe, list) in &branch.arms {
            let value = self.pipeline(dot, pipe)?;
            if self.truth(&value) {
                body = Some((if is_with { value } else { dot.clone() }, list));
                break;
            }
        }
        match (body, &branch.otherwise) {
            (Some((dot, list)), _) => self.walk(&dot, list)?,
            (None, Some(list)) => self.walk(dot, list)?,
            (None, None) => {}
        }
        self.variables.truncate(mark);
        self.depth -= 1;
        Ok(())
    }

    fn range(&mut self, dot: &Value<'a>, branch: &'a Branch, node: &'a Node) -> Result<()> {
        self.deeper()?;
        let depth = self.depth;
        let outer = self.variables.len();
        let Some((pipe, body)) = branch.arms.first() else { return Ok(()) };
        let Kind::Pipe(declared) = &pipe.kind else { return Ok(()) };
        let value = self.pipeline(dot, pipe)?.unboxed();
        let mark = self.variables.len();
        let mut ran = false;
        let mut iterate = |scope: &mut Self, index: Value<'a>, element: Value<'a>| -> Result<bool> {
            ran = true;
            scope.step()?;
            scope.bind(declared, mark, index, &element)?;
            let result = scope.walk(&element, body);
            scope.variables.truncate(mark);
            scope.depth = depth;
            match result {
                Err(Stop::Break) => Ok(false),
                Ok(()) | Err(Stop::Continue) => Ok(true),
                Err(error) => Err(error),
            }
        };
        match &value {
            Value::Invalid | Value::Boxed(_) => {}
            Value::List(list) => {
                for at in 0..list.len() {
                    let Some(element) = list.get(at) else { break };
                    let index = Value::Int(i64::try_from(at).unwrap_or(i64::MAX));
                    if !iterate(self, index, Value::boxed(element))? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (name, element) in map.iter() {
                    self.spend(name.len()).or_else(|message| self.error(message))?;
                    if !iterate(self, Value::text(name.clone()), Value::boxed(element))? {
                        break;
                    }
                }
            }
            Value::Labels => {
                for (name, element) in self.labels() {
                    if !iterate(self, Value::text(name.as_bytes()), Value::text(element.as_bytes()))? {
                        break;
                    }
                }
            }
            value if value.int().is_some() => {
                if declared.variables.len() > 1 {
                    let shown = format::show(self, value);
                    return self.error(format_args!("can't use {shown} to iterate over more than one variable"));
                }
                let mut at = 0;
                while value.int().is_some_and(|end| at < end) {
                    let element = match value {
                        Value::Int64(_) => Value::Int64(at),
                        _ => Value::Int(at),
                    };
                    if !iterate(self, Value::Invalid, element)? {
                        break;
                    }
                    at += 1;
                }
            }
            value => {
                let shown = format::show(self, value);
                return self.error(format_args!("range can't iterate over {shown}"));
            }
        }
        if !ran && let Some(list) = &branch.otherwise {
            match self.walk(dot, list) {
                Err(Stop::Break) | Ok(()) => {}
                Err(stop) => return Err(stop),
            }
        }
        let _ = node;
        self.variables.truncate(outer);
        self.depth = depth - 1;
        Ok(())
    }

    /// Sets the variables of a range for one element.
    fn bind(&mut self, pipe: &'a Pipe, mark: usize, index: Value<'a>, element: &Value<'a>) -> Result<()> {
        match (pipe.variables.as_slice(), pipe.assigns) {
            ([], _) => Ok(()),
            ([one], true) => self.assign(one, element.clone()),
            ([first, second, ..], true) => {
                self.assign(first, index)?;
                self.assign(second, element.clone())
            }
            (names, false) => {
                let count = names.len();
                for (at, value) in [(1, element.clone()), (2, index)] {
                    let slot = mark.checked_sub(at).filter(|_| at <= count);
                    if let Some((_, known)) = slot.and_then(|slot| self.variables.get_mut(slot)) {
                        *known = value;
                    }
                }
                Ok(())
            }
        }
    }

    fn template(&mut self, dot: &Value<'a>, name: &str, pipe: Option<&'a Node>) -> Result<()> {
        let Some((name, root)) = self.trees.iter().find(|(known, _)| known == name) else {
            return self.error(format_args!("template {} not defined", crate::units::quote(name)));
        };
        if self.calls == TEMPLATE_CALLS_MAX {
            return self.error(format_args!("exceeded maximum template depth ({TEMPLATE_CALLS_MAX})"));
        }
        self.deeper()?;
        let dot = pipe.map_or(Ok(Value::Invalid), |pipe| self.pipeline(dot, pipe))?;
        self.calls += 1;
        let tree = std::mem::replace(&mut self.tree, name);
        let dollar = std::mem::replace(&mut self.dollar, dot.clone());
        let variables = std::mem::take(&mut self.variables);
        self.walk(&dot, root)?;
        self.variables = variables;
        self.dollar = dollar;
        self.tree = tree;
        self.calls -= 1;
        self.depth -= 1;
        Ok(())
    }

    fn pipeline(&mut self, dot: &Value<'a>, node: &'a Node) -> Result<Value<'a>> {
        let Kind::Pipe(pipe) = &node.kind else { return self.error("not a pipeline") };
        self.at = Some(node);
        self.deeper()?;
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?.unboxed());
        }
        let value = value.unwrap_or_default();
        for name in &pipe.variables {
            if pipe.assigns {
                self.assign(name, value.clone())?;
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        self.depth -= 1;
        Ok(value)
    }

    fn assign(&mut self, name: &str, value: Value<'a>) -> Result<()> {
        match self.variables.iter_mut().rev().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None if name == "$" => self.dollar = value,
            None => return self.error(format_args!("undefined variable: {name}")),
        }
        Ok(())
    }

    fn variable(&self, name: &str) -> Result<Value<'a>> {
        match self.variables.iter().rev().find(|(known, _)| *known == name) {
            Some((_, value)) => Ok(value.clone()),
            None if name == "$" => Ok(self.dollar.clone()),
            None => self.error(format_args!("undefined variable: {name}")),
        }
    }

    fn command(&mut self, dot: &Value<'a>, node: &'a Node, last: Option<Value<'a>>) -> Result<Value<'a>> {
        let Kind::Command(words) = &node.kind else { return self.error("not a command") };
        let Some(first) = words.first() else { return self.error("empty command") };
        match &first.kind {
            Kind::Field(_) | Kind::Chain(..) => return self.field_node(dot, first, words, last),
            Kind::Variable(_, fields) if !fields.is_empty() => return self.field_node(dot, first, words, last),
            Kind::Identifier(function) => {
                self.at = Some(first);
                return self.call(dot, function, node, words, last);
            }
            Kind::Variable(..) => {
                self.at = Some(first);
            }
            Kind::Pipe(_) => {}
            _ => self.at = Some(first),
        }
        if words.len() > 1 || last.is_some() {
            return self.error(format_args!("can't give argument to non-function {first}"));
        }
        match &first.kind {
            Kind::Pipe(_) => self.pipeline(dot, first),
            Kind::Variable(name, _) => self.variable(name),
            Kind::Nil => self.error("nil is not a command"),
            _ => self.constant(dot, first),
        }
    }

    /// A literal or the dot as it is.
    fn constant(&mut self, dot: &Value<'a>, node: &'a Node) -> Result<Value<'a>> {
        Ok(match &node.kind {
            Kind::Dot => dot.clone(),
            Kind::Bool(value) => Value::Bool(*value),
            Kind::String(literal) => Value::text(literal.text.as_slice()),
            Kind::Number(number) => match (number.int, number.float) {
                (_, Some(float)) if number.reads_as_float() => Value::Float(float),
                (Some(int), _) => Value::Int(int),
                _ => return self.error(format_args!("{} overflows int", number.text)),
            },
            _ => Value::Invalid,
        })
    }

    /// `.a.b`, `$x.a.b`, `(…).a.b`: all but the last field take no arguments.
    fn field_node(
        &mut self,
        dot: &Value<'a>,
        node: &'a Node,
        words: &'a [Node],
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>> {
        self.at = Some(node);
        let (mut receiver, fields) = match &node.kind {
            Kind::Field(fields) => (dot.clone(), fields),
            Kind::Variable(name, fields) => (self.variable(name)?, fields),
            Kind::Chain(inner, fields) => {
                if matches!(inner.kind, Kind::Nil) {
                    return self.error(format_args!("indirection through explicit nil in {node}"));
                }
                (self.argument(dot, None, inner)?, fields)
            }
            _ => return self.error("not a field"),
        };
        let Some((end, fields)) = fields.split_last() else { return Ok(receiver) };
        for field in fields {
            receiver = self.field(dot, field, node, &[], None, receiver)?;
        }
        self.field(dot, end, node, words, last, receiver)
    }

    fn field(
        &mut self,
        dot: &Value<'a>,
        name: &'a str,
        node: &'a Node,
        words: &'a [Node],
        last: Option<Value<'a>>,
        receiver: Value<'a>,
    ) -> Result<Value<'a>> {
        let type_name = receiver.type_name();
        if let Value::Boxed(None) = receiver {
            return self.error(format_args!("nil pointer evaluating {type_name}.{name}"));
        }
        let receiver = receiver.unboxed();
        if let Some(method) = methods::lookup(&receiver, name) {
            return self.call_with(dot, method, node, words, last, Some(receiver));
        }
        let has_arguments = words.len() > 1 || last.is_some();
        if has_arguments && matches!(receiver, Value::Labels | Value::Map(_)) {
            return self.error(format_args!("{name} is not a method but has arguments"));
        }
        match &receiver {
            Value::Invalid => Ok(Value::Invalid),
            Value::Labels => Ok(Value::text(self.context.label(name).unwrap_or_default().as_bytes())),
            Value::Map(map) => Ok(map.get(name.as_bytes()).map_or(Value::Boxed(None), Value::boxed)),
            _ => self.error(format_args!("can't evaluate field {name} in type {type_name}")),
        }
    }

    fn call(
        &mut self,
        dot: &Value<'a>,
        function: &'static Function,
        node: &'a Node,
        words: &'a [Node],
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>> {
        self.call_with(dot, function, node, words, last, None)
    }

    /// Calls a function, or a method of a receiver, with the words behind the first and what the
    /// pipeline gave so far as the last argument.
    fn call_with(
        &mut self,
        dot: &Value<'a>,
        function: &'static Function,
        node: &'a Node,
        words: &'a [Node],
        last: Option<Value<'a>>,
        receiver: Option<Value<'a>>,
    ) -> Result<Value<'a>> {
        self.step()?;
        let name = function.name;
        let words = words.get(1..).unwrap_or_default();
        let given = words.len() + usize::from(last.is_some());
        let wanted = function.parameters.len();
        if function.variadic {
            if given < wanted - 1 {
                let got = words.len();
                return self
                    .error(format_args!("wrong number of args for {name}: want at least {} got {got}", wanted - 1));
            }
        } else if given != wanted {
            return self.error(format_args!("wrong number of args for {name}: want {wanted} got {given}"));
        }
        if name == "and" || name == "or" {
            return self.and_or(dot, name == "or", words, last);
        }
        let base = self.arguments.len();
        self.arguments.extend(receiver);
        for (at, word) in words.iter().enumerate() {
            let asked = function.parameters.get(at).or(function.parameters.last()).copied();
            let value = self.argument(dot, asked, word)?;
            self.arguments.push(value);
        }
        if let Some(last) = last {
            let at = if function.variadic { given - 1 } else { wanted - 1 };
            let asked = function.parameters.get(at).or(function.parameters.last()).copied();
            let value = self.check(last, asked)?;
            self.arguments.push(value);
        }
        // The function gets the arguments as a slice of its own, and the stack back for its calls.
        let mut stack = std::mem::take(&mut self.arguments);
        self.words = words;
        let result = (function.call)(self, stack.get_mut(base..).unwrap_or_default());
        stack.truncate(base);
        self.arguments = stack;
        result.or_else(|message| {
            self.at = Some(node);
            self.error(format_args!("error calling {name}: {message}"))
        })
    }

    fn and_or(
        &mut self,
        dot: &Value<'a>,
        is_or: bool,
        words: &'a [Node],
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>> {
        let mut value = Value::Invalid;
        for word in words {
            value = self.argument(dot, Some(Type::Reflect), word)?;
            if self.truth(&value) == is_or {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    /// Whether a value is of the type that is asked for.
    fn check(&mut self, value: Value<'a>, asked: Option<Type>) -> Result<Value<'a>> {
        let Some(asked) = asked else { return Ok(value) };
        if let Value::Invalid = value {
            return match asked.can_be_nil() {
                true => Ok(value),
                false => self.error(format_args!("invalid value; expected {}", asked.name())),
            };
        }
        if asked.takes(&value) {
            return Ok(value);
        }
        let value = match value {
            Value::Boxed(Some(_)) => value.unboxed(),
            value => value,
        };
        if asked.takes(&value) {
            return Ok(value);
        }
        self.error(format_args!("wrong type for value; expected {}; got {}", asked.name(), value.type_name()))
    }

    fn argument(&mut self, dot: &Value<'a>, asked: Option<Type>, node: &'a Node) -> Result<Value<'a>> {
        self.at = Some(node);
        let value = match &node.kind {
            Kind::Dot => dot.clone(),
            Kind::Nil => match asked {
                Some(asked) if !asked.can_be_nil() => {
                    return self.error(format_args!("cannot assign nil to {}", asked.name()));
                }
                _ => return Ok(Value::Invalid),
            },
            Kind::Field(_) | Kind::Chain(..) => self.field_node(dot, node, &[], None)?,
            Kind::Variable(name, fields) if fields.is_empty() => self.variable(name)?,
            Kind::Variable(..) => self.field_node(dot, node, &[], None)?,
            Kind::Pipe(_) => self.pipeline(dot, node)?,
            Kind::Identifier(function) => self.call(dot, function, node, &[], None)?,
            _ => return self.literal(dot, asked, node),
        };
        self.check(value, asked)
    }

    /// A literal as an argument: numbers become what is asked for.
    fn literal(&mut self, dot: &Value<'a>, asked: Option<Type>, node: &'a Node) -> Result<Value<'a>> {
        let expected = match (asked.unwrap_or(Type::Any), &node.kind) {
            (Type::Any | Type::Reflect, _) | (Type::Text, Kind::String(_)) => return self.constant(dot, node),
            (Type::Text, _) => "string",
            (Type::Int | Type::Duration, Kind::Number(number)) if number.int.is_some() => {
                let value = number.int.unwrap_or_default();
                return Ok(match asked {
                    Some(Type::Duration) => Value::Duration(super::time::Duration(value)),
                    _ => Value::Int(value),
                });
            }
            (Type::Int | Type::Duration, _) => "integer",
            (Type::Float, Kind::Number(number)) if number.float.is_some() => {
                return Ok(Value::Float(number.float.unwrap_or_default()));
            }
            (Type::Float, _) => "float",
            (Type::Time, _) => {
                return self.error(format_args!("can't handle {node} for arg of type {}", Type::Time.name()));
            }
        };
        self.error(format_args!("expected {expected}; found {node}"))
    }
}
