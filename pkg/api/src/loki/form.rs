//! Query strings and forms, read and refused as Go's `net/url` does; and texts of queries that are
//! no UTF-8, refused as Loki's lexer does.

use super::error::{LokiError, LokiResult};
use timberlog_db::language::parse;

/// Parameters whose values are LogQL.
const QUERIES: [&str; 3] = ["query", "match", "match[]"];

/// The pairs of a query string or form.
pub fn pairs(raw: &[u8]) -> LokiResult<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for pair in raw.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
        if pair.contains(&b';') {
            return Err(LokiError::invalid("invalid semicolon separator in query"));
        }
        let mut parts = pair.splitn(2, |&byte| byte == b'=');
        let name = lossy(decode(parts.next().unwrap_or_default())?);
        let value = decode(parts.next().unwrap_or_default())?;
        if QUERIES.contains(&name.as_str())
            && let Err(error) = std::str::from_utf8(&value)
        {
            return Err(no_utf8(&lossy(value.get(..error.valid_up_to()).unwrap_or_default().to_vec())));
        }
        pairs.push((name, lossy(value)));
    }
    Ok(pairs)
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Undoes `%xx` and `+`.
fn decode(raw: &[u8]) -> LokiResult<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |at: usize| tail.get(at).and_then(|&byte| char::from(byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                    let wrong: Vec<u8> = [b'%'].iter().chain(tail).take(3).copied().collect();
                    return Err(LokiError::invalid(format!("invalid URL escape {:?}", lossy(wrong))));
                };
                // Two digits are a byte.
                out.push((high * 16 + low) as u8);
                rest = tail.get(2..).unwrap_or_default();
            }
            byte => out.push(byte),
        }
    }
    Ok(out)
}

/// Where a text ends to be UTF-8: within a string, the string is named.
fn no_utf8(before: &str) -> LokiError {
    const UNFINISHED: &str = ": literal not terminated";
    let of_string = parse(before).err().map(|error| error.to_string());
    if let Some(place) = of_string.as_deref().and_then(|text| text.strip_suffix(UNFINISHED)) {
        return LokiError::invalid(format!("{place}: invalid UTF-8 encoding"));
    }
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&char| char != '\n').count() + 1;
    LokiError::invalid(format!("parse error at line {line}, col {column}: invalid UTF-8 encoding"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(raw: &str, why: &str) {
        assert_eq!(pairs(raw.as_bytes()).unwrap_err().message(), why, "{raw}");
    }

    #[test]
    fn pairs_are_read_as_go_does() {
        let read = |raw: &str| pairs(raw.as_bytes()).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("a=b+c%20d&&e&%66=%3D=&x=%FF"),
            [pair("a", "b c d"), pair("e", ""), pair("f", "=="), pair("x", "\u{fffd}"),]
        );
        refused("a=%zz1", r#"invalid URL escape "%zz""#);
        refused("a=%2", r#"invalid URL escape "%2""#);
        refused("%", r#"invalid URL escape "%""#);
        refused("a=1;b=2", "invalid semicolon separator in query");
    }

    #[test]
    fn a_query_that_is_no_utf8_is_refused_where_it_is_not() {
        refused("query=%7Bapp%3D%22%ff%22%7D", "parse error at line 1, col 6: invalid UTF-8 encoding");
        refused(
            "query=%7Bapp%3D%22a%22%7D%20%7C%3D%20%22%C3%22",
            "parse error at line 1, col 14: invalid UTF-8 encoding",
        );
        refused("match[]=%0A%7B%ff", "parse error at line 2, col 2: invalid UTF-8 encoding");
        assert_eq!(pairs("query=%C3%A9".as_bytes()).unwrap()[0].1, "é");
    }
}
