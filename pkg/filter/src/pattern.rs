//! Regular expressions with RE2's meaning: `\d \D \w \W \s \S \b \B` are ASCII, all else Unicode.
//!
//! The expression is parsed, each of those is replaced by its ASCII form, and the result is
//! compiled within limits: no expression can cost more than they allow, and matching is linear.

use crate::error::{FilterError, Result};
use crate::re2;
use crate::tree::Pattern;
use regex_automata::meta::Regex;
use regex_syntax::ast::{self, AssertionKind, Ast, ClassPerl, ClassPerlKind, ClassSetItem, Visitor};
use regex_syntax::hir::{Hir, Look, translate};

/// Bytes that the automaton of an expression may have.
const NFA_BYTES_MAX: usize = 4 << 20;
/// Bytes that its lazily built DFA may have, for each thread that searches.
const DFA_BYTES_MAX: usize = 2 << 20;
/// How deep an expression may be nested.
const NEST_MAX: u32 = 100;

/// Compiles a pattern; the HIR is what literals are taken from.
pub(crate) fn compile(pattern: &Pattern, path: &str) -> Result<(Regex, Hir)> {
    let refuse = |reason: String| FilterError::Regex { path: path.to_owned(), pattern: pattern.text.clone(), reason };
    let mut hir = parse(&re2::rewrite(&pattern.text)).map_err(&refuse)?;
    if pattern.anchored {
        hir = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
    }
    let config =
        Regex::config().utf8_empty(false).nfa_size_limit(Some(NFA_BYTES_MAX)).hybrid_cache_capacity(DFA_BYTES_MAX);
    let regex = Regex::builder().configure(config).build_from_hir(&hir).map_err(|error| match error.size_limit() {
        Some(limit) => refuse(format!("compiles to more than the {limit} bytes that are allowed")),
        None => refuse(error.to_string()),
    })?;
    Ok((regex, hir))
}

impl Pattern {
    /// The expression compiled, for who matches texts outside a filter.
    ///
    /// # Errors
    /// It is no valid expression, or compiles to more than is allowed.
    pub fn to_regex(&self) -> Result<Regex> {
        compile(self, "pattern").map(|(regex, _)| regex)
    }
}

fn parse(pattern: &str) -> Result<Hir, String> {
    let parse = |pattern: &str| {
        ast::parse::ParserBuilder::new()
            .nest_limit(NEST_MAX)
            .build()
            .parse(pattern)
            .map_err(|error| format!("{} at byte {}", error.kind(), error.span().start.offset))
    };
    let tree = parse(pattern)?;
    let Ok(mut replacements) = ast::visit(&tree, AsciiForms::default());
    if replacements.is_empty() {
        return translated(pattern, &tree);
    }
    replacements.sort_unstable_by_key(|&(start, ..)| start);
    let mut ascii = String::with_capacity(pattern.len() * 2);
    let mut at = 0;
    for (start, end, text) in replacements {
        ascii.push_str(pattern.get(at..start).unwrap_or_default());
        ascii.push_str(&text.unwrap_or_else(|| format!("(?-u:{})", pattern.get(start..end).unwrap_or_default())));
        at = end;
    }
    ascii.push_str(pattern.get(at..).unwrap_or_default());
    translated(&ascii, &parse(&ascii)?)
}

fn translated(pattern: &str, tree: &Ast) -> Result<Hir, String> {
    translate::TranslatorBuilder::new()
        .utf8(false)
        .build()
        .translate(pattern, tree)
        .map_err(|error| format!("{} at byte {}", error.kind(), error.span().start.offset))
}

/// Collects what has to be replaced: start, end, and the text instead (without one, the original
/// with Unicode switched off).
#[derive(Default)]
struct AsciiForms(Vec<(usize, usize, Option<String>)>);

impl AsciiForms {
    fn class(&mut self, class: &ClassPerl, in_brackets: bool) {
        let members = match class.kind {
            ClassPerlKind::Digit => "0-9",
            ClassPerlKind::Space => r"\t\n\f\r\x20",
            ClassPerlKind::Word => "0-9A-Za-z_",
        };
        let class_text = format!("[{}{members}]", if class.negated { "^" } else { "" });
        // Without `(?-i:…)`, `(?i)\w` would take in `ſ` and the Kelvin sign.
        let text = if in_brackets { class_text } else { format!("(?-i:{class_text})") };
        self.0.push((class.span.start.offset, class.span.end.offset, Some(text)));
    }
}

impl Visitor for AsciiForms {
    type Output = Vec<(usize, usize, Option<String>)>;
    type Err = std::convert::Infallible;

    fn finish(self) -> Result<Self::Output, Self::Err> {
        Ok(self.0)
    }

    fn visit_pre(&mut self, tree: &Ast) -> Result<(), Self::Err> {
        match tree {
            Ast::ClassPerl(class) => self.class(class, false),
            Ast::Assertion(assertion) => match assertion.kind {
                AssertionKind::StartLine
                | AssertionKind::EndLine
                | AssertionKind::StartText
                | AssertionKind::EndText => {}
                _ => self.0.push((assertion.span.start.offset, assertion.span.end.offset, None)),
            },
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Self::Err> {
        if let ClassSetItem::Perl(class) = item {
            self.class(class, true);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(pattern: &str, text: &str) -> bool {
        compile(&Pattern::search(pattern), "filter").unwrap().0.is_match(text)
    }

    #[test]
    fn perl_classes_are_ascii_and_the_rest_is_unicode() {
        assert!(search(r"^\d+$", "123") && !search(r"\d", "٣"));
        assert!(search(r"^\w$", "a") && !search(r"\w", "ä") && !search(r"(?i)\w", "ſ"));
        assert!(search(r"\s", "\t") && !search(r"\s", "\u{a0}") && !search(r"\s", "\u{b}"));
        assert!(search(r"^\D\W\S$", "äöü"));
        assert!(search(r"^[\d_]+$", "1_2") && !search(r"[\d_]", "٣") && search(r"^[^\d]$", "٣"));
        assert!(search(r"x\b", "xä") && !search(r"x\B", "xä") && !search(r"x\b", "xy"));
        assert!(search("(?i)ÄRGER", "ärger") && search("^.$", "ä") && !search("^.$", "\n"));
        assert!(search(r"\pL", "ж") && search("[[:alpha:]]", "a") && !search("[[:alpha:]]", "ä"));
    }

    #[test]
    fn an_anchored_pattern_matches_the_whole_value() {
        let whole = |pattern: &str, text: &str| compile(&Pattern::whole(pattern), "filter").unwrap().0.is_match(text);
        assert!(whole("a|b", "b") && !whole("a|b", "ab") && !whole("a", "a\n") && whole("", ""));
        assert!(whole("(?m)^a$", "a") && !whole("(?m)^a$", "a\nb"));
    }

    #[test]
    fn all_the_pods_of_a_dashboard_fit_into_one_pattern() {
        let pods: Vec<String> = (0..2_700).map(|at| format!("checkout-{:x}-{}", at * 7_919, at * 31)).collect();
        let pattern = pods.join("|");
        assert!((50_000..=crate::PATTERN_BYTES_MAX).contains(&pattern.len()), "{}", pattern.len());
        for pattern in [Pattern::whole(&pattern), Pattern::whole(format!("({pattern})")), Pattern::search(&pattern)] {
            let (regex, _) = compile(&pattern, "filter").unwrap();
            assert!(regex.is_match(&pods[1_999]) && !regex.is_match("checkout-x"));
        }
    }

    #[test]
    fn bad_and_costly_patterns_are_refused_with_a_reason() {
        for (pattern, expected) in [
            ("a(", "unclosed group"),
            (r"(?:\pL{1000}){1000}", "more than"),
            ("(a)\\1", "backreferences"),
            (&"(".repeat(200), "unclosed"),
            (&format!("{}a{}", "(".repeat(200), ")".repeat(200)), "nest"),
        ] {
            let error = compile(&Pattern::search(pattern), "filter.and[0]").unwrap_err().to_string();
            assert!(error.contains(expected) && error.starts_with("`filter.and[0]`"), "{error}");
        }
    }
}
