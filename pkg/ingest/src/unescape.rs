//! Undoes the escapes of a JSON string that the scanner has accepted.

/// Appends the string that `raw` stands for. Half a surrogate pair stands for no character: it
/// becomes U+FFFD, since loggers that cut messages short send such halves.
pub(crate) fn unescape(raw: &str, out: &mut String) {
    let mut rest = raw;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut chars = escaped.chars();
        match chars.next() {
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                rest = code_point(chars.as_str(), out);
                continue;
            }
            Some(other) => out.push(other),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// Appends the character whose hex digits `text` begins with; what stands behind it.
fn code_point<'a>(text: &'a str, out: &mut String) -> &'a str {
    let Some((unit, rest)) = unit(text) else { return text };
    if let 0xd800..0xdc00 = unit
        && let Some((low @ 0xdc00..0xe000, rest)) = rest.strip_prefix("\\u").and_then(self::unit)
    {
        let point = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        out.push(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
        return rest;
    }
    out.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
    rest
}

fn unit(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::unescape;
    use proptest::prelude::*;

    fn check(raw: &str, expected: &str) {
        let mut out = String::new();
        unescape(raw, &mut out);
        assert_eq!(out, expected, "{raw}");
    }

    #[test]
    fn escapes_are_undone() {
        check(r#"a\"b\\c\/d\b\f\n\r\te"#, "a\"b\\c/d\u{8}\u{c}\n\r\te");
        check(r"\u0041\u00e4\ud83d\ude00\u0000", "Aä😀\0");
        check(r"\ud83d", "\u{fffd}");
        check(r"\ud83dx\ude00", "\u{fffd}x\u{fffd}");
        check(r"\ud83d\u0041", "\u{fffd}A");
        check(r"\ud83d\ud83d\ude00", "\u{fffd}😀");
        check("plain ä", "plain ä");
    }

    proptest! {
        #[test]
        fn it_agrees_with_serde_json(text: String) {
            let json = serde_json::to_string(&text).unwrap();
            check(&json[1..json.len() - 1], &text);
            let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
            check(&units, &text);
        }
    }
}
