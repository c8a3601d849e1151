//! Pipelines and their commands: variables, literals, fields.

use super::{Result, Scope};
use crate::template::functions::methods;
use crate::template::node::{Kind, Node};
use crate::template::value::Value;

impl<'a> Scope<'a> {
    pub(super) fn pipeline(&mut self, dot: &Value<'a>, node: &'a Node) -> Result<Value<'a>> {
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

    pub(super) fn assign(&mut self, name: &str, value: Value<'a>) -> Result<()> {
        match self.variables.iter_mut().rev().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None if name == "$" => self.dollar = value,
            None => return self.error(format_args!("undefined variable: {name}")),
        }
        Ok(())
    }

    pub(super) fn variable(&self, name: &str) -> Result<Value<'a>> {
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
                return self.call(dot, function, node, words, last, None);
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
    pub(super) fn constant(&mut self, dot: &Value<'a>, node: &'a Node) -> Result<Value<'a>> {
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
    pub(super) fn field_node(
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
            return self.call(dot, method, node, words, last, Some(receiver));
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
}
