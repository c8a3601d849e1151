//! What was asked on the command line, in which language.

use crate::condition;
use anyhow::Result;
use clap::ValueEnum;
use timberlog_db::filter::Filter;
use timberlog_db::language::ast::Expr;
use timberlog_db::language::{parse, parse_short};
use timberlog_types::Error;

/// A query language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// LogQL: {app="web"} |= "error" | json, sum by (level) (rate({app="web"}[5m]))
    Logql,
    /// The short form: service=web & level=error | message CONTAINS "timed out"
    Short,
    /// A filter tree: {"field":"status","ge":500}
    Json,
}

/// What was asked.
pub enum Asked {
    /// Records of a filter.
    Filter(Filter),
    /// A LogQL query, as text and as a tree.
    Logql(String, Box<Expr>),
}

impl Asked {
    /// Reads the arguments. Without a language, what has a selector in it is LogQL, and everything
    /// else is conditions.
    pub fn of(arguments: &[String], language: Option<Language>) -> Result<Self> {
        let text = arguments.join(" ");
        let language = match language {
            None if arguments.len() == 1 && has_selector(&text) => Language::Logql,
            None => return Ok(Self::Filter(condition::parse(arguments)?)),
            Some(language) => language,
        };
        match language {
            Language::Logql => match parse(&text) {
                Ok(expr) => Ok(Self::Logql(text, Box::new(expr))),
                Err(error) => Err(Error::invalid(error.to_string()).into()),
            },
            Language::Short => Ok(Self::Filter(parse_short(&text).map_err(Error::from)?)),
            Language::Json if text.trim().is_empty() => Ok(Self::Filter(Filter::All)),
            Language::Json => match serde_json::from_str(&text) {
                Ok(filter) => Ok(Self::Filter(filter)),
                Err(error) => Err(Error::invalid(format!("filter: {error}")).into()),
            },
        }
    }
}

/// Whether a text has a selector in it, and is no condition whose value happens to have a brace.
fn has_selector(text: &str) -> bool {
    text.contains('{') && !condition::has_operator(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_makes_it_logql() {
        let is_logql = |text: &str| matches!(Asked::of(&[text.to_owned()], None), Ok(Asked::Logql(..)));
        for text in [r#"{app="web"}"#, r#"sum(rate({app="web"} |= "a=b" [5m])) > 1"#, r#" { app =~ "w.*" } | json"#] {
            assert!(is_logql(text), "{text}");
        }
        for text in ["level=error", "message={x}", "timed out", "status>=500"] {
            assert!(!is_logql(text), "{text}");
        }
        let of = |text: &str, language| Asked::of(&[text.to_owned()], Some(language));
        assert!(
            matches!(of("service=web&level=warn", Language::Short), Ok(Asked::Filter(Filter::And(parts))) if parts.len() == 2)
        );
        assert!(matches!(of(r#"{"field":"level","eq":"warn"}"#, Language::Json), Ok(Asked::Filter(_))));
        for (text, language) in [("{", Language::Logql), ("level=", Language::Short), ("[]", Language::Json)] {
            assert!(of(text, language).is_err(), "{text}");
        }
        assert!(Asked::of(&[r#"{app="web""#.to_owned()], None).is_err(), "a typo is none of a text");
    }
}
