//! A filter, checked and made ready: negations pushed down to the tests, nested lists flattened,
//! constants folded, everything compiled once, the cheapest test first.

mod test;

pub use test::CompiledTest;

use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::tree::{Filter, Op, Test};
use crate::verdict::Verdict;
use std::collections::HashMap;
use std::sync::Arc;

/// A filter that is ready to run. Cheap to clone, shared by threads.
#[derive(Clone, Debug)]
pub struct Compiled {
    node: Arc<Node>,
    tests: Arc<[Arc<CompiledTest>]>,
}

/// A normalised tree: only tests are negated.
#[derive(Clone, Debug)]
pub enum Node {
    /// Every row.
    All,
    /// No row.
    None,
    /// Rows that all let through; at least two, the cheapest first.
    And(Vec<Node>),
    /// Rows that any lets through; at least two, the cheapest first.
    Or(Vec<Node>),
    /// Rows that a test lets through.
    Test(Arc<CompiledTest>),
}

impl Compiled {
    /// Checks and compiles a filter.
    pub fn new(filter: &Filter) -> Result<Self> {
        Self::interruptible(filter, &Interrupt::default())
    }

    /// The same, for who may want to end a search that takes long.
    pub fn interruptible(filter: &Filter, interrupt: &Interrupt) -> Result<Self> {
        filter.check()?;
        let mut compiler = Compiler { tests: Vec::new(), known: HashMap::new(), interrupt };
        let node = compiler.node(filter, false, &mut "filter".to_owned())?;
        Ok(Self { node: Arc::new(node), tests: compiler.tests.into() })
    }

    /// The tree.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The tests, by their id.
    pub fn tests(&self) -> &[Arc<CompiledTest>] {
        &self.tests
    }

    /// The tree as a filter again: as it is run.
    pub fn to_filter(&self) -> Filter {
        self.node.to_filter()
    }

    /// What is known of the filter, given what is known of each test (negation apart).
    pub fn judge(&self, facts: &mut dyn FnMut(&CompiledTest) -> Verdict) -> Verdict {
        self.node.judge(facts)
    }

    /// Which of up to 32 blocks may hold a match, a bit each, given for each test (negation apart) which of them may hold one.
    pub fn may_match_of(&self, may_pass: &mut dyn FnMut(&CompiledTest) -> u32) -> u32 {
        self.node.may_match_of(may_pass)
    }
}

impl Node {
    /// What is known of the tree, given what is known of each test (negation apart).
    pub fn judge(&self, facts: &mut dyn FnMut(&CompiledTest) -> Verdict) -> Verdict {
        match self {
            Self::All => Verdict::Always,
            Self::None => Verdict::Never,
            Self::And(parts) => {
                let mut verdict = Verdict::Always;
                for part in parts {
                    verdict = verdict.min(part.judge(facts));
                    if verdict == Verdict::Never {
                        break;
                    }
                }
                verdict
            }
            Self::Or(parts) => {
                let mut verdict = Verdict::Never;
                for part in parts {
                    verdict = verdict.max(part.judge(facts));
                    if verdict == Verdict::Always {
                        break;
                    }
                }
                verdict
            }
            Self::Test(test) => {
                let verdict = facts(test);
                if test.is_negated() { verdict.negate() } else { verdict }
            }
        }
    }

    fn may_match_of(&self, may_pass: &mut dyn FnMut(&CompiledTest) -> u32) -> u32 {
        match self {
            Self::All => u32::MAX,
            Self::None => 0,
            Self::And(parts) => {
                let mut left = u32::MAX;
                for part in parts {
                    if left == 0 {
                        break;
                    }
                    left &= part.may_match_of(may_pass);
                }
                left
            }
            Self::Or(parts) => {
                let mut found = 0;
                for part in parts {
                    if found == u32::MAX {
                        break;
                    }
                    found |= part.may_match_of(may_pass);
                }
                found
            }
            // That a row may pass says nothing of those that do not.
            Self::Test(test) if test.is_negated() => u32::MAX,
            Self::Test(test) => may_pass(test),
        }
    }

    fn cost(&self) -> u32 {
        match self {
            Self::All | Self::None => 0,
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::cost).fold(0, u32::saturating_add),
            Self::Test(test) => test.cost(),
        }
    }

    fn to_filter(&self) -> Filter {
        match self {
            Self::All => Filter::All,
            Self::None => Filter::None,
            Self::And(parts) => Filter::And(parts.iter().map(Self::to_filter).collect()),
            Self::Or(parts) => Filter::Or(parts.iter().map(Self::to_filter).collect()),
            Self::Test(test) if test.is_negated() => Filter::Not(Box::new(Filter::Test(test.to_test()))),
            Self::Test(test) => Filter::Test(test.to_test()),
        }
    }
}

struct Compiler<'a> {
    tests: Vec<Arc<CompiledTest>>,
    /// Tests by their text: the same test is compiled and numbered once.
    known: HashMap<String, usize>,
    interrupt: &'a Interrupt,
}

impl Compiler<'_> {
    fn node(&mut self, filter: &Filter, negated: bool, path: &mut String) -> Result<Node> {
        let (parts, step, is_and) = match filter {
            Filter::All => return Ok(constant(!negated)),
            Filter::None => return Ok(constant(negated)),
            Filter::Not(part) => return self.inside(part, !negated, path, format_args!(".not")),
            Filter::Test(test) => return self.test(test, negated, path),
            Filter::And(parts) => (parts, "and", !negated),
            Filter::Or(parts) => (parts, "or", negated),
        };
        let mut nodes = Vec::with_capacity(parts.len());
        for (index, part) in parts.iter().enumerate() {
            match (self.inside(part, negated, path, format_args!(".{step}[{index}]"))?, is_and) {
                (Node::All, true) | (Node::None, false) => {}
                (Node::And(inner), true) | (Node::Or(inner), false) => nodes.extend(inner),
                (node, _) => nodes.push(node),
            }
        }
        if nodes.iter().any(|node| matches!((node, is_and), (Node::None, true) | (Node::All, false))) {
            return Ok(constant(!is_and));
        }
        nodes.sort_by_key(Node::cost);
        Ok(match (nodes.len(), is_and) {
            (0, _) => constant(is_and),
            (1, _) => nodes.swap_remove(0),
            (_, true) => Node::And(nodes),
            (_, false) => Node::Or(nodes),
        })
    }

    fn inside(
        &mut self,
        part: &Filter,
        negated: bool,
        path: &mut String,
        step: std::fmt::Arguments<'_>,
    ) -> Result<Node> {
        let len = path.len();
        path.push_str(&step.to_string());
        let node = self.node(part, negated, path)?;
        path.truncate(len);
        Ok(node)
    }

    fn test(&mut self, test: &Test, negated: bool, path: &str) -> Result<Node> {
        match &test.op {
            // Every text, the empty one of a missing value too, begins with and contains this.
            Op::Prefix(text) | Op::Contains(text) | Op::ContainsNoCase(text) if text.is_empty() => {
                return Ok(constant(!negated));
            }
            Op::In(texts) if texts.is_empty() => return Ok(constant(negated)),
            _ => {}
        }
        let key = format!("{negated} {test:?}");
        if let Some(known) = self.known.get(&key).and_then(|&id| self.tests.get(id)) {
            return Ok(Node::Test(Arc::clone(known)));
        }
        let id = self.tests.len();
        let compiled = Arc::new(CompiledTest::new(id, test, negated, path, self.interrupt)?);
        self.tests.push(Arc::clone(&compiled));
        self.known.insert(key, id);
        Ok(Node::Test(compiled))
    }
}

fn constant(all: bool) -> Node {
    if all { Node::All } else { Node::None }
}
