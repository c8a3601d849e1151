//! Regular expressions that Loki answers without one.
//!
//! Loki turns expressions such as `foo|bar`, `.*foo.*` and `foo(a|b)` into searches for literals.
//! In most cases that changes nothing but the speed; where it changes results, results here follow:
//! on a label, `foo.*` and `err|error` are then searched for anywhere in the value although other
//! expressions must match the whole of it, and `.*` in an alternation (`.*|foo`) is dropped.
//! What is recognised depends on how Go's parser groups an expression, so that is repeated here as
//! far as it matters: common beginnings of alternatives are taken out, single characters become
//! classes.

use regex_syntax::ast::{self, Ast, Flag, Flags, FlagsItemKind, GroupKind, RepetitionKind, RepetitionRange};

use super::text::TextMatcher;

/// What Go's parser would make of an expression.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Empty,
    /// Characters; whether case does not matter.
    Literal(Vec<char>, bool),
    /// `.*`
    AnyStar,
    /// `.+`
    AnyPlus,
    Group(Box<Node>),
    Concat(Vec<Node>),
    Alternate(Vec<Node>),
    /// One character of several.
    Class,
    /// Anything else.
    Other,
}

/// The literals that answer an expression, if Loki would answer it so.
pub(super) fn simplify(tree: &Ast, of_label: bool) -> Option<TextMatcher> {
    let mut flags = State::default();
    let node = node(tree, &mut flags)?;
    matcher(&node, of_label)
}

/// Flags that are on.
#[derive(Clone, Copy, Default)]
struct State {
    fold: bool,
    dot_all: bool,
}

impl State {
    fn set(&mut self, flags: &Flags) {
        let mut on = true;
        for item in &flags.items {
            match item.kind {
                FlagsItemKind::Negation => on = false,
                FlagsItemKind::Flag(Flag::CaseInsensitive) => self.fold = on,
                FlagsItemKind::Flag(Flag::DotMatchesNewLine) => self.dot_all = on,
                FlagsItemKind::Flag(_) => {}
            }
        }
    }
}

fn node(tree: &Ast, state: &mut State) -> Option<Node> {
    Some(match tree {
        Ast::Empty(_) => Node::Empty,
        Ast::Flags(set) => {
            state.set(&set.flags);
            Node::Empty
        }
        Ast::Literal(literal) => Node::Literal(vec![lower_if(literal.c, state.fold)], state.fold),
        Ast::Dot(_) => Node::Class,
        Ast::Assertion(_) => Node::Other,
        Ast::ClassPerl(_) | Ast::ClassUnicode(_) => Node::Class,
        Ast::ClassBracketed(class) => class_of_one(class, *state).unwrap_or(Node::Class),
        Ast::Repetition(repetition) => repeated(repetition, state)?,
        Ast::Group(group) => {
            let mut inner = *state;
            if let GroupKind::NonCapturing(flags) = &group.kind {
                inner.set(flags);
            }
            let sub = node(&group.ast, &mut inner)?;
            if group.is_capturing() { Node::Group(Box::new(sub)) } else { sub }
        }
        Ast::Concat(concat) => {
            let mut parts = Vec::with_capacity(concat.asts.len());
            for ast in &concat.asts {
                // Flags are no part of their own in Go's tree.
                let is_flags = matches!(ast, Ast::Flags(_));
                let part = node(ast, state)?;
                if !is_flags {
                    push_part(part, &mut parts);
                }
            }
            joined(parts)
        }
        Ast::Alternation(alternation) => {
            let mut subs = Vec::with_capacity(alternation.asts.len());
            for ast in &alternation.asts {
                match node(ast, state)? {
                    Node::Alternate(inner) => subs.extend(inner),
                    sub => subs.push(sub),
                }
            }
            alternated(subs)
        }
    })
}

/// Letters whose case does not matter are kept in lower case, so that they compare.
fn lower_if(c: char, fold: bool) -> char {
    let mut lower = c.to_lowercase();
    match (fold, lower.next(), lower.next()) {
        (true, Some(lower), None) => lower,
        _ => c,
    }
}

fn class_of_one(class: &ast::ClassBracketed, state: State) -> Option<Node> {
    if class.negated {
        return None;
    }
    match &class.kind {
        ast::ClassSet::Item(ast::ClassSetItem::Literal(literal)) => {
            let fold = state.fold && literal.c.is_alphabetic();
            Some(Node::Literal(vec![lower_if(literal.c, fold)], fold))
        }
        _ => None,
    }
}

fn repeated(repetition: &ast::Repetition, state: &mut State) -> Option<Node> {
    let dot = matches!(*repetition.ast, Ast::Dot(_)) && !state.dot_all;
    // What is repeated is looked at for the flags that it may set.
    let sub = node(&repetition.ast, state)?;
    Some(match &repetition.op.kind {
        RepetitionKind::ZeroOrMore if dot => Node::AnyStar,
        RepetitionKind::OneOrMore if dot => Node::AnyPlus,
        RepetitionKind::Range(RepetitionRange::AtLeast(0)) if dot => Node::AnyStar,
        RepetitionKind::Range(RepetitionRange::AtLeast(1)) if dot => Node::AnyPlus,
        RepetitionKind::Range(RepetitionRange::Exactly(0)) => Node::Empty,
        RepetitionKind::Range(RepetitionRange::Exactly(1)) => sub,
        _ => Node::Other,
    })
}

/// Adds a part to a concatenation: literals of the same kind become one.
fn push_part(part: Node, parts: &mut Vec<Node>) {
    match part {
        Node::Concat(inner) => inner.into_iter().for_each(|part| push_part(part, parts)),
        Node::Literal(chars, fold) => match parts.last_mut() {
            Some(Node::Literal(before, other)) if *other == fold => before.extend(chars),
            _ => parts.push(Node::Literal(chars, fold)),
        },
        part => parts.push(part),
    }
}

fn joined(mut parts: Vec<Node>) -> Node {
    match parts.len() {
        0 => Node::Empty,
        1 => parts.remove(0),
        _ => Node::Concat(parts),
    }
}

/// An alternation with the common beginnings of neighbours taken out, and neighbours of one
/// character each made a class.
fn alternated(subs: Vec<Node>) -> Node {
    let subs = with_classes(with_common_beginnings(subs));
    let mut out: Vec<Node> = Vec::with_capacity(subs.len());
    for sub in subs {
        if sub == Node::Empty && out.last() == Some(&Node::Empty) {
            continue;
        }
        out.push(sub);
    }
    if out.len() == 1 { out.remove(0) } else { Node::Alternate(out) }
}

fn with_common_beginnings(subs: Vec<Node>) -> Vec<Node> {
    let mut out = Vec::with_capacity(subs.len());
    let mut run: Vec<Node> = Vec::new();
    let mut common: (Vec<char>, bool) = (Vec::new(), false);
    let mut flush = |run: &mut Vec<Node>, common: &(Vec<char>, bool)| match run.len() {
        0 => {}
        1 => out.append(run),
        _ => {
            let rests = run.drain(..).map(|sub| without_beginning(sub, common.0.len())).collect();
            let mut parts = vec![Node::Literal(common.0.clone(), common.1)];
            push_part(alternated(rests), &mut parts);
            out.push(joined(parts));
        }
    };
    for sub in subs {
        let (chars, fold) = beginning(&sub);
        let same = if fold == common.1 { common.0.iter().zip(chars).take_while(|(a, b)| *a == *b).count() } else { 0 };
        if !run.is_empty() && same > 0 {
            common.0.truncate(same);
        } else {
            flush(&mut run, &common);
            common = (chars.to_vec(), fold);
        }
        run.push(sub);
    }
    flush(&mut run, &common);
    out
}

fn beginning(node: &Node) -> (&[char], bool) {
    match node {
        Node::Literal(chars, fold) => (chars, *fold),
        Node::Concat(parts) => match parts.first() {
            Some(Node::Literal(chars, fold)) => (chars, *fold),
            _ => (&[], false),
        },
        _ => (&[], false),
    }
}

fn without_beginning(node: Node, count: usize) -> Node {
    let rest = |mut chars: Vec<char>, fold| {
        chars.drain(..count.min(chars.len()));
        if chars.is_empty() { Node::Empty } else { Node::Literal(chars, fold) }
    };
    match node {
        Node::Literal(chars, fold) => rest(chars, fold),
        Node::Concat(mut parts) => {
            if let Some(Node::Literal(chars, fold)) = parts.first_mut() {
                match rest(std::mem::take(chars), *fold) {
                    Node::Empty => drop(parts.remove(0)),
                    literal => parts[0] = literal,
                }
            }
            joined(parts)
        }
        node => node,
    }
}

fn with_classes(subs: Vec<Node>) -> Vec<Node> {
    let single = |node: &Node| match node {
        Node::Literal(chars, _) => chars.len() == 1,
        Node::Class => true,
        _ => false,
    };
    let mut out: Vec<Node> = Vec::with_capacity(subs.len());
    for sub in subs {
        match out.last_mut() {
            Some(last) if single(last) && single(&sub) => *last = Node::Class,
            _ => out.push(sub),
        }
    }
    out
}

fn matcher(node: &Node, of_label: bool) -> Option<TextMatcher> {
    match node {
        Node::Alternate(subs) => {
            let mut all = subs.iter().map(|sub| matcher(sub, of_label));
            let first = all.next()??;
            all.try_fold(first, |left, right| Some(left.or(right?)))
        }
        Node::Concat(parts) => concat(parts, None),
        Node::Group(sub) => matcher(sub, of_label),
        Node::Literal(chars, fold) => {
            let text: String = chars.iter().collect();
            Some(if of_label { TextMatcher::equal(&text, *fold) } else { TextMatcher::contains(&text, *fold) })
        }
        Node::AnyStar | Node::Empty => Some(TextMatcher::Always),
        Node::AnyPlus => Some(TextMatcher::NotEmpty),
        Node::Class | Node::Other => None,
    }
}

/// A literal with `.*` around it, or followed by alternatives that it is put before.
fn concat(parts: &[Node], base: Option<(String, bool)>) -> Option<TextMatcher> {
    let parts: Vec<&Node> = parts.iter().map(bare).filter(|&part| *part != Node::Empty).collect();
    if parts.len() > 3 {
        return None;
    }
    let (mut base, mut alternatives, mut literals) = (base, None, 0);
    for part in parts {
        match part {
            Node::Literal(chars, fold) => {
                literals += 1;
                if literals > 1 {
                    return None;
                }
                let before = base.map_or_else(String::new, |(text, _)| text);
                base = Some((before + &chars.iter().collect::<String>(), *fold));
            }
            Node::Alternate(subs) => {
                let (text, fold) = base.as_ref()?;
                alternatives = Some(behind_literal(subs, text, *fold, alternatives)?);
            }
            Node::AnyStar => {}
            _ => return None,
        }
    }
    alternatives.or_else(|| base.map(|(text, fold)| TextMatcher::contains(&text, fold)))
}

fn behind_literal(subs: &[Node], literal: &str, fold: bool, mut found: Option<TextMatcher>) -> Option<TextMatcher> {
    for sub in subs {
        let one = match sub {
            Node::Literal(_, sub_fold) if *sub_fold && !fold => return None,
            Node::Literal(chars, _) => {
                TextMatcher::contains(&(literal.to_owned() + &chars.iter().collect::<String>()), fold)
            }
            Node::Empty | Node::AnyStar => TextMatcher::contains(literal, fold),
            Node::Concat(parts) => concat(parts, Some((literal.to_owned(), fold)))?,
            _ => return None,
        };
        found = Some(match found {
            Some(found) => found.or(one),
            None => one,
        });
    }
    found
}

fn bare(node: &Node) -> &Node {
    match node {
        Node::Group(sub) => sub,
        node => node,
    }
}
