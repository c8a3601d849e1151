//! Clusters of shapes by a tree of fixed depth: P. He, J. Zhu, Z. Zheng and M. R. Lyu, "Drain: An
//! Online Log Parsing Approach with Fixed Depth Tree", ICWS 2017.
//!
//! The first layer is the number of tokens, here with the blanks between them, so that a pattern
//! is the form of all its lines; the next layers are the first tokens. A leaf holds clusters, and
//! a shape joins the one that is the most like it. Depth, similarity and the number of children
//! are those of Loki, so that what people see in both is alike.

use super::tokens::{Tokens, VARIABLE};
use std::collections::HashMap;

/// Clusters of a query; a shape that is like none of them is then left out.
const CLUSTERS_MAX: usize = 4_096;
/// Layers of tokens.
const DEPTH: usize = 28;
/// Different tokens at one place of the tree; what is beyond goes with the variables.
const CHILDREN_MAX: usize = 15;
/// How many of ten tokens a shape has in common with its cluster at least.
const SIMILAR_TENTHS: usize = 3;

/// The tree and its clusters.
#[derive(Default)]
pub(super) struct Drain {
    roots: HashMap<Box<[u8]>, usize>,
    nodes: Vec<Node>,
    clusters: Vec<Tokens>,
}

#[derive(Default)]
struct Node {
    children: HashMap<Box<[u8]>, usize>,
    clusters: Vec<usize>,
}

impl Drain {
    /// Adds a shape to its cluster; the cluster's number, `None` if there are too many.
    pub fn add(&mut self, tokens: Tokens) -> Option<usize> {
        if let Some(number) = self.find(&tokens) {
            let cluster = self.clusters.get_mut(number)?;
            for (mine, other) in cluster.texts.iter_mut().zip(&tokens.texts) {
                if mine != other {
                    *mine = [VARIABLE].into();
                }
            }
            return Some(number);
        }
        if self.clusters.len() >= CLUSTERS_MAX {
            return None;
        }
        let leaf = self.grow(&tokens)?;
        let number = self.clusters.len();
        self.nodes.get_mut(leaf)?.clusters.push(number);
        self.clusters.push(tokens);
        Some(number)
    }

    /// The cluster that is the most like a shape, if any is enough.
    fn find(&self, tokens: &Tokens) -> Option<usize> {
        let mut node = self.nodes.get(*self.roots.get(tokens.blanks.as_slice())?)?;
        for token in tokens.texts.iter().take(DEPTH) {
            let child = node.children.get(token).or_else(|| node.children.get([VARIABLE].as_slice()))?;
            node = self.nodes.get(*child)?;
        }
        let alike = |number: &usize| {
            let cluster = self.clusters.get(*number)?;
            let pairs = || cluster.texts.iter().zip(&tokens.texts);
            let same = pairs().filter(|(mine, other)| mine == other && ***mine != [VARIABLE]).count();
            let variables = cluster.texts.iter().filter(|mine| ***mine == [VARIABLE]).count();
            // Variables alone are like each other, too.
            let is_enough = same * 10 >= cluster.texts.len() * SIMILAR_TENTHS || cluster.texts == tokens.texts;
            is_enough.then_some(((same, variables), *number))
        };
        // Of equals the first.
        let best = node.clusters.iter().filter_map(alike).rev().max_by_key(|&(likeness, _)| likeness);
        best.map(|(_, number)| number)
    }

    /// The leaf of a new cluster.
    fn grow(&mut self, tokens: &Tokens) -> Option<usize> {
        let fresh = self.nodes.len();
        let mut at = *self.roots.entry(tokens.blanks.as_slice().into()).or_insert(fresh);
        if at == fresh {
            self.nodes.push(Node::default());
        }
        for token in tokens.texts.iter().take(DEPTH) {
            let fresh = self.nodes.len();
            let children = &mut self.nodes.get_mut(at)?.children;
            let is_full = !children.contains_key(token) && children.len() >= CHILDREN_MAX;
            let key: Box<[u8]> = if is_full { [VARIABLE].into() } else { token.clone() };
            at = *children.entry(key).or_insert(fresh);
            if at == fresh {
                self.nodes.push(Node::default());
            }
        }
        Some(at)
    }

    /// The texts of the clusters, by number.
    pub fn patterns(&self) -> Vec<String> {
        self.clusters.iter().map(text).collect()
    }
}

/// A cluster as text that `|>` takes: `<_>` for variables, of which no two follow each other, and
/// for what would be read as a capture.
fn text(cluster: &Tokens) -> String {
    let mut bytes = Vec::new();
    for (token, blanks) in cluster.texts.iter().zip(&cluster.blanks) {
        bytes.extend_from_slice(token);
        bytes.extend(std::iter::repeat_n(b' ', (*blanks).into()));
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = &*text;
    let mut follows_variable = false;
    while let Some(first) = rest.chars().next() {
        let capture = capture_len(rest);
        if first == '\0' || capture > 0 {
            if !follows_variable {
                out.push_str("<_>");
            }
            follows_variable = true;
            rest = rest.get(capture.max(1)..).unwrap_or_default();
        } else {
            out.push(first);
            follows_variable = false;
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

/// The length of the capture at the begin of a text; 0 if there is none.
fn capture_len(text: &str) -> usize {
    let Some(inner) = text.strip_prefix('<') else { return 0 };
    let len = inner.bytes().position(|byte| !byte.is_ascii_alphanumeric() && byte != b'_').unwrap_or_default();
    let is_name = len > 0 && !inner.starts_with(|first: char| first.is_ascii_digit());
    if is_name && inner.get(len..).is_some_and(|behind| behind.starts_with('>')) { len + 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::super::tokens::Cutter;
    use super::*;

    fn patterns(lines: &[&str]) -> Vec<String> {
        let mut drain = Drain::default();
        let mut numbers = Vec::new();
        let mut shape = Vec::new();
        for line in lines {
            timberlog_segment::shape(line.as_bytes(), usize::MAX, &mut shape);
            numbers.push(drain.add(Cutter::default().cut(&shape)).unwrap());
        }
        let texts = drain.patterns();
        numbers.into_iter().map(|number| texts[number].clone()).collect()
    }

    #[test]
    fn lines_of_one_form_are_one_pattern() {
        let found = patterns(&["user 7 logged in", "user 42 logged in", "disk sda is full", "user 7  logged in"]);
        assert_eq!(found[0], "user <_> logged in");
        assert_eq!(found[0], found[1]);
        assert_eq!(found[2], "disk sda is full");
        assert_eq!(found[3], "user <_>  logged in");
    }

    #[test]
    fn words_that_are_too_many_become_variables() {
        let names: Vec<String> = ('a'..='z').map(|c| format!("login of {c}{c} was refused")).collect();
        let lines: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = patterns(&lines);
        assert_eq!(found[0], "login of aa was refused");
        assert_eq!(found[25], "login of <_> was refused");
        assert_eq!(found.iter().filter(|text| **text == found[25]).count(), 26 - CHILDREN_MAX);
    }

    #[test]
    fn a_pattern_is_one_that_a_line_filter_takes() {
        let found = patterns(&["1<2>3 <name> <_> <", "<a>1<b>", ""]);
        assert_eq!(found, ["<_><<_>><_> <_> <_> <", "<_>", ""]);
    }
}
