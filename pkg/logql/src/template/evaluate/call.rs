//! Calls of functions and methods, and what their arguments become.

use super::{Result, Scope};
use crate::template::call::{Function, Type};
use crate::template::node::{Kind, Node};
use crate::template::time;
use crate::template::value::Value;

impl<'a> Scope<'a> {
    /// Calls a function, or a method of a receiver, with the words behind the first and what the
    /// pipeline gave so far as the last argument.
    pub(super) fn call(
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

    pub(super) fn argument(&mut self, dot: &Value<'a>, asked: Option<Type>, node: &'a Node) -> Result<Value<'a>> {
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
            Kind::Identifier(function) => self.call(dot, function, node, &[], None, None)?,
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
                    Some(Type::Duration) => Value::Duration(time::Duration(value)),
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
