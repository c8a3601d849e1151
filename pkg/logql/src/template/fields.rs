//! The labels that a template names: what parsers before it need to find.

use super::Fields;
use super::node::{Kind, Node};
use super::parser::Trees;

/// All trees count, also those that are never called.
pub(super) fn of(trees: &Trees) -> Fields {
    let mut found = Found::default();
    for (_, root) in trees {
        // In a definition the dot may be anything, so also all labels.
        found.visit(root, true);
    }
    if found.all { Fields::All } else { Fields::Names(found.names) }
}

#[derive(Default)]
struct Found {
    names: Vec<String>,
    all: bool,
}

impl Found {
    fn add(&mut self, name: Option<&String>) {
        match name {
            Some(name) if !self.names.contains(name) => self.names.push(name.clone()),
            Some(_) => {}
            None => self.all = true,
        }
    }

    /// `is_root`: whether a bare dot can be all labels.
    fn visit(&mut self, node: &Node, is_root: bool) {
        match &node.kind {
            Kind::List(nodes) | Kind::Command(nodes) => {
                nodes.iter().for_each(|node| self.visit(node, is_root));
            }
            Kind::Action(pipe) => self.visit(pipe, is_root),
            Kind::Pipe(pipe) => pipe.commands.iter().for_each(|node| self.visit(node, is_root)),
            Kind::Field(fields) => self.add(fields.first()),
            // A variable may hold all labels: `$` does, and `{{$x := .}}` names the dot itself.
            Kind::Variable(name, fields) if name == "$" => self.add(fields.first()),
            Kind::Variable(_, fields) => fields.first().into_iter().for_each(|name| self.add(Some(name))),
            Kind::Chain(inner, _) => self.visit(inner, is_root),
            Kind::Dot if is_root => self.all = true,
            Kind::If(branch) => {
                for (pipe, body) in &branch.arms {
                    self.visit(pipe, is_root);
                    self.visit(body, is_root);
                }
                branch.otherwise.iter().for_each(|body| self.visit(body, is_root));
            }
            Kind::With(branch) | Kind::Range(branch) => {
                for (pipe, body) in &branch.arms {
                    self.visit(pipe, is_root);
                    self.visit(body, false);
                }
                branch.otherwise.iter().for_each(|body| self.visit(body, is_root));
            }
            Kind::Template(_, Some(pipe)) => self.visit(pipe, is_root),
            _ => {}
        }
    }
}
