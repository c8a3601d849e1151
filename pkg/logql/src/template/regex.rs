//! Functions over regular expressions: RE2's syntax, matches found as Go finds them.
//!
//! An expression that the template spells out is compiled once, any other for each call.

use super::evaluate::Scope;
use super::format::first_char;
use super::functions::text;
use super::node::Kind;
use super::value::Value;
use crate::pipeline::regexp;
use regex_automata::Input;
use regex_automata::util::captures::Captures;
use std::borrow::Cow;

pub(super) use regex_automata::meta::Regex;

type Result<'a> = std::result::Result<Value<'a>, String>;

/// Bytes of work that compiling an expression counts as: about a hundred of them fill a rendering.
const COMPILE_COST: usize = 640 << 10;

fn compile(expression: &[u8]) -> std::result::Result<Regex, String> {
    let Ok(expression) = std::str::from_utf8(expression) else {
        return Err(format!("error parsing regexp: invalid UTF-8: `{}`", String::from_utf8_lossy(expression)));
    };
    regexp::search(expression).map_err(|error| error.to_string())
}

/// Hands over the matches of a text, as Go finds them: no empty one right behind another.
fn each_match(
    scope: &mut Scope<'_>,
    expression: &[u8],
    text: &[u8],
    mut found: impl FnMut(&mut Scope<'_>, &Captures) -> std::result::Result<(), String>,
) -> std::result::Result<(), String> {
    // If the expression is a literal of the template, that keeps what was compiled.
    let kept = match scope.words.first().map(|word| &word.kind) {
        Some(Kind::String(literal)) if literal.text == expression => Some(&literal.regex),
        _ => None,
    };
    let fresh;
    let regex = match kept {
        Some(kept) => kept.get_or_init(|| compile(expression)).as_ref().map_err(Clone::clone)?,
        None => {
            scope.spend(COMPILE_COST)?;
            fresh = compile(expression)?;
            &fresh
        }
    };
    scope.spend(text.len())?;
    let mut captures = regex.create_captures();
    let (mut from, mut last_end) = (0, None);
    while from <= text.len() {
        regex.search_captures(&Input::new(text).range(from..), &mut captures);
        let Some(whole) = captures.get_match() else { break };
        if whole.end() > last_end.unwrap_or(0) || last_end.is_none() {
            scope.spend(0)?;
            found(scope, &captures)?;
        }
        last_end = Some(whole.end());
        // On past this match, by at least one character.
        let step = first_char(text.get(from..).unwrap_or_default()).1.max(1);
        from = if from + step > whole.end() { from + step } else { whole.end() };
    }
    Ok(())
}

pub(super) fn count<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    let (expression, text) = (text(arguments, 0), text(arguments, 1));
    let mut count = 0;
    each_match(scope, &expression, &text, |_, _| {
        count += 1;
        Ok(())
    })?;
    Ok(Value::Int(count))
}

/// Replaces the matches by what `replace` appends for each.
fn replaced<'a>(
    scope: &mut Scope<'a>,
    arguments: &mut [Value<'a>],
    replace: fn(&Captures, &[u8], &[u8], &mut Vec<u8>),
) -> Result<'a> {
    let (expression, shown, instead) = (text(arguments, 0), text(arguments, 1), text(arguments, 2));
    let mut out = Vec::new();
    let mut copied = 0;
    each_match(scope, &expression, &shown, |scope, captures| {
        let Some(whole) = captures.get_match() else { return Ok(()) };
        let before = out.len();
        out.extend_from_slice(shown.get(copied..whole.start()).unwrap_or_default());
        replace(captures, &shown, &instead, &mut out);
        copied = whole.end();
        scope.spend(out.len() - before)?;
        if out.len() > super::RENDER_BYTES_MAX { scope.spend(out.len()) } else { Ok(()) }
    })?;
    if out.is_empty() && copied == 0 {
        return Ok(Value::Text(shown));
    }
    out.extend_from_slice(shown.get(copied..).unwrap_or_default());
    Ok(Value::Text(Cow::Owned(out)))
}

/// In the replacement `$1` and `${name}` stand for groups.
pub(super) fn replace_all<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    replaced(scope, arguments, expand)
}

pub(super) fn replace_all_literal<'a>(scope: &mut Scope<'a>, arguments: &mut [Value<'a>]) -> Result<'a> {
    replaced(scope, arguments, |_, _, instead, out| out.extend_from_slice(instead))
}

/// Go's `Expand`: `$$` is a dollar, a group that is not there is empty, what names none stays.
fn expand(captures: &Captures, text: &[u8], mut template: &[u8], out: &mut Vec<u8>) {
    while let Some(dollar) = memchr::memchr(b'$', template) {
        let (before, behind) = template.split_at(dollar);
        out.extend_from_slice(before);
        template = behind.get(1..).unwrap_or_default();
        if let Some(rest) = template.strip_prefix(b"$") {
            out.push(b'$');
            template = rest;
            continue;
        }
        let Some((name, rest)) = group_name(template) else {
            out.push(b'$');
            continue;
        };
        template = rest;
        let number = if name.starts_with('0') && name.len() > 1 { None } else { name.parse::<usize>().ok() };
        let span = match number {
            Some(number) => captures.get_group(number),
            None => captures.get_group_by_name(name),
        };
        if let Some(span) = span {
            out.extend_from_slice(text.get(span.start..span.end).unwrap_or_default());
        }
    }
    out.extend_from_slice(template);
}

/// `name…` or `{name}…` → the name and what follows.
fn group_name(template: &[u8]) -> Option<(&str, &[u8])> {
    let braced = template.first() == Some(&b'{');
    let from = usize::from(braced);
    let name = template.get(from..)?;
    let mut length = 0;
    while let Some(rest) = name.get(length..) {
        let (c, bytes) = first_char(rest);
        if bytes == 0 || !(c.is_alphanumeric() || c == '_') {
            break;
        }
        length += bytes;
    }
    let (name, rest) = name.split_at(length);
    let rest = if braced { rest.strip_prefix(b"}")? } else { rest };
    Some((std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?, rest))
}
