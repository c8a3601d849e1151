//! Controls: `if`, `with`, `range`, `template`.

use super::{Result, Scope, Stop};
use crate::template::node::{Branch, Kind, Node, Pipe};
use crate::template::value::Value;
use crate::template::{TEMPLATE_CALLS_MAX, format};

impl<'a> Scope<'a> {
    pub(super) fn choose(&mut self, dot: &Value<'a>, branch: &'a Branch, is_with: bool) -> Result<()> {
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

    pub(super) fn range(&mut self, dot: &Value<'a>, branch: &'a Branch) -> Result<()> {
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

    pub(super) fn template(&mut self, dot: &Value<'a>, name: &str, pipe: Option<&'a Node>) -> Result<()> {
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
}
