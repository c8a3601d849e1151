//! RE2's syntax in the terms of `regex-syntax`: what the two read differently is rewritten.
//!
//! RE2 (<https://github.com/google/re2/wiki/Syntax>) knows no classes within classes and no set
//! operators, takes `\Q…\E` as text, and a brace that opens no repetition as a brace.

use std::borrow::Cow;

/// The pattern with each such place escaped; the same pattern if there is none.
pub(crate) fn rewrite(pattern: &str) -> Cow<'_, str> {
    if !pattern.contains(['[', '{']) && !pattern.contains(r"\Q") {
        return Cow::Borrowed(pattern);
    }
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = match c {
            '\\' if rest.starts_with(r"\Q") => {
                let quoted = rest.get(2..).unwrap_or_default();
                let (text, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
                out.push_str(&regex_syntax::escape(text));
                after
            }
            '\\' => escape(rest, &mut out),
            '[' => class(rest, &mut out),
            '{' if !is_repetition(rest) => take(rest, r"\{", &mut out),
            c => take(rest, c.encode_utf8(&mut [0; 4]), &mut out),
        };
    }
    Cow::Owned(out)
}

/// Writes `instead` for the first character.
fn take<'a>(rest: &'a str, instead: &str, out: &mut String) -> &'a str {
    out.push_str(instead);
    let mut chars = rest.chars();
    chars.next();
    chars.as_str()
}

/// Copies a backslash, what it escapes and, so that its brace is not taken for a repetition's, the
/// braces of `\p{…}` and `\x{…}`.
fn escape<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let mut chars = rest.chars();
    out.extend(chars.next());
    let escaped = chars.next();
    out.extend(escaped);
    let after = chars.as_str();
    if let (Some('p' | 'P' | 'x'), true, Some(end)) = (escaped, after.starts_with('{'), after.find('}')) {
        let (braces, after) = after.split_at(end + 1);
        out.push_str(braces);
        return after;
    }
    after
}

/// Whether a brace opens `{n}`, `{n,}` or `{n,m}`.
fn is_repetition(rest: &str) -> bool {
    let Some((inside, _)) = rest.get(1..).and_then(|rest| rest.split_once('}')) else { return false };
    let (least, most) = inside.split_once(',').unwrap_or((inside, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number(least) && (most.is_empty() || is_number(most))
}

/// Copies a bracketed class, each member escaped that would mean more than itself.
fn class<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let mut rest = take(rest, "[", out);
    if rest.starts_with('^') {
        rest = take(rest, "^", out);
    }
    let mut is_first = true;
    while !rest.is_empty() {
        if rest.starts_with(']') && !is_first {
            return take(rest, "]", out);
        }
        is_first = false;
        if let Some(end) = rest.strip_prefix("[:").and_then(|inside| inside.find(":]")) {
            let (named, after) = rest.split_at(end + 4);
            out.push_str(named);
            rest = after;
            continue;
        }
        rest = member(rest, out);
        // A range; a `-` before the closing bracket is a member.
        if rest.starts_with('-') && rest.len() > 1 && !rest.starts_with("-]") {
            rest = take(rest, "-", out);
            rest = member(rest, out);
        }
    }
    rest
}

fn member<'a>(rest: &'a str, out: &mut String) -> &'a str {
    match rest.chars().next() {
        Some('\\') => escape(rest, out),
        Some(c @ ('[' | ']' | '&' | '~' | '-' | '^')) => take(rest, &format!("\\{c}"), out),
        Some(c) => take(rest, c.encode_utf8(&mut [0; 4]), out),
        None => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_re2_reads_differently_is_escaped() {
        for (pattern, expected) in [
            ("a+b", "a+b"),
            ("[a[b]", r"[a\[b]"),
            ("[[:alpha:]x]", "[[:alpha:]x]"),
            ("[]a]", r"[\]a]"),
            ("[^]a]", r"[^\]a]"),
            ("[a&&b~~c]", r"[a\&\&b\~\~c]"),
            ("[+--]", r"[+-\-]"),
            ("[a-]", r"[a\-]"),
            ("[-a]", r"[\-a]"),
            ("[a-z0-9]", "[a-z0-9]"),
            (r"[\]\d-]", r"[\]\d\-]"),
            (r"\Qa.b{\E+", r"a\.b\{+"),
            (r"\Qa.b", r"a\.b"),
            ("a{2,3}b{,4}c{x}{", r"a{2,3}b\{,4}c\{x}\{"),
            (r"\p{Greek}\x{41}\{", r"\p{Greek}\x{41}\{"),
            ("[a", "[a"),
        ] {
            assert_eq!(rewrite(pattern), expected, "{pattern}");
        }
    }
}
