//! loge's matchers, and its selector as text: `{name op "value", …} |= "text"`.

use crate::error::{ApiError, ApiResult};
use serde::Deserialize;
use timberlog_db::filter::{Filter, Op, Pattern};
use timberlog_db::language::ast::{self, MatchOp};

/// A condition on a label or field.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct LabelMatcher {
    /// The name.
    pub name: String,
    /// The value or expression.
    pub value: String,
    /// `=`, `!=`, `=~` or `!~`.
    #[serde(rename = "type", default = "equal")]
    pub op: String,
}

fn equal() -> String {
    "=".to_owned()
}

impl LabelMatcher {
    /// Whether it is about a label that is not stored: LogQL knows what it means.
    pub fn is_derived(&self) -> bool {
        self.name == "service_name"
    }

    /// The same in LogQL.
    pub fn to_logql(&self) -> ApiResult<ast::LabelMatcher> {
        let op = match self.op.as_str() {
            "=" => MatchOp::Eq,
            "!=" => MatchOp::Ne,
            "=~" => MatchOp::Regex,
            "!~" => MatchOp::NotRegex,
            _ => return Err(self.wrong()),
        };
        Ok(ast::LabelMatcher { name: self.name.clone(), op, value: self.value.clone() })
    }

    fn wrong(&self) -> ApiError {
        let (name, op) = (self.name.escape_default(), self.op.escape_default());
        ApiError::invalid(format!("matcher of `{name}`: type `{op}`, expected =, !=, =~ or !~"))
    }

    /// The same as a filter.
    pub fn filter(&self) -> ApiResult<Filter> {
        let regex = || Op::Regex(Pattern::whole(self.value.as_str()));
        Ok(match self.op.as_str() {
            "=" => Filter::eq(&self.name, self.value.as_str()),
            "!=" => Filter::eq(&self.name, self.value.as_str()).not(),
            "=~" => Filter::test(&self.name, regex()),
            "!~" => Filter::test(&self.name, regex()).not(),
            _ => return Err(self.wrong()),
        })
    }
}

/// Reads `{name op "value", …} |= "text"`; the block or the lines may be missing.
pub fn parse_selector(text: &str) -> ApiResult<(Vec<LabelMatcher>, Vec<Filter>)> {
    let mut reader = Reader { text, at: 0 };
    let mut matchers = Vec::new();
    if reader.take("{") {
        while !reader.take("}") {
            if !matchers.is_empty() && !reader.take(",") {
                return Err(reader.error("expected `,` or `}`"));
            }
            if matchers.last().is_some() && reader.take("}") {
                break;
            }
            let name = reader.name()?;
            let op = ["=~", "!~", "!=", "="].into_iter().find(|op| reader.take(op));
            let op = op.ok_or_else(|| reader.error("expected =, !=, =~ or !~"))?;
            matchers.push(LabelMatcher { name, op: op.to_owned(), value: reader.quoted()? });
        }
    }
    let mut lines = Vec::new();
    while let Some(op) = ["|=", "!=", "|~", "!~"].into_iter().find(|op| reader.take(op)) {
        let text = reader.quoted()?;
        let filter = match op {
            "|=" | "!=" => Filter::contains(text),
            _ => Filter::test("message", Op::Regex(Pattern::search(text))),
        };
        lines.push(if op.starts_with('!') { filter.not() } else { filter });
    }
    if !reader.rest().is_empty() {
        return Err(reader.error("expected `|= \"text\"` or the end"));
    }
    Ok((matchers, lines))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn name(&mut self) -> ApiResult<String> {
        let rest = self.rest();
        let is_part = |c: char| c.is_alphanumeric() || "_.-/:@".contains(c);
        let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let name = rest.get(..len).unwrap_or_default();
        if name.is_empty() {
            return Err(self.error("expected a name"));
        }
        self.at += len;
        Ok(name.to_owned())
    }

    fn quoted(&mut self) -> ApiResult<String> {
        let rest = self.rest();
        if let Some(raw) = rest.strip_prefix('`') {
            let len = raw.find('`').ok_or_else(|| self.error("the text has no end"))?;
            self.at += len + 2;
            return Ok(raw.get(..len).unwrap_or_default().to_owned());
        }
        if !rest.starts_with('"') {
            return Err(self.error("expected a text in quotes"));
        }
        let mut out = String::new();
        let mut chars = rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Ok(out);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some(c @ ('"' | '\\' | '\'')) => out.push(c),
                    // An expression's own escapes stay as they are.
                    Some(c) => out.extend(['\\', c]),
                    None => break,
                },
                c => out.push(c),
            }
        }
        Err(self.error("the text has no end"))
    }

    fn error(&self, what: &str) -> ApiError {
        ApiError::invalid(format!("query at byte {}: {what}", self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(name: &str, op: &str, value: &str) -> LabelMatcher {
        LabelMatcher { name: name.to_owned(), op: op.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn selectors_are_read() {
        let (matchers, lines) = parse_selector(r#" {app="web", env!~"dev|\d+",} |= "err\"or" != `x` "#).unwrap();
        assert_eq!(matchers, [matcher("app", "=", "web"), matcher("env", "!~", r"dev|\d+")]);
        assert_eq!(lines, [Filter::contains("err\"or"), Filter::contains("x").not()]);
        assert_eq!(parse_selector("{}").unwrap().0, []);
        assert_eq!(parse_selector("|= \"x\"").unwrap().1.len(), 1);
        assert!(parse_selector("").unwrap().1.is_empty());
        for wrong in
            ["{app}", "{app=web}", "{app=\"web\"", "{app=\"a\" env=\"b\"}", "{,}", "error", "|= \"x", "{a=\"\\"]
        {
            assert!(parse_selector(wrong).is_err(), "{wrong}");
        }
    }
}
