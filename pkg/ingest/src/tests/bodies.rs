//! Framing: where records begin and end, and what a broken one costs.

use super::{NOW, answer, check, decode, with_options};
use crate::{DecodeOptions, Decoder, IngestError, REFUSALS_LISTED_MAX};

#[test]
fn every_framing_is_read() {
    let two = ["0 -=unknown \"\" \"a\" {}", "0 -=unknown \"\" \"b\" {}"];
    for body in [
        "{\"msg\":\"a\"}\n{\"msg\":\"b\"}\n",
        "{\"msg\":\"a\"}\n{\"msg\":\"b\"}",
        "{\"msg\":\"a\"}\r\n\r\n{\"msg\":\"b\"}\r\n",
        "{\"msg\":\"a\"}{\"msg\":\"b\"}",
        " {\"msg\":\"a\"} {\"msg\":\"b\"} ",
        "[{\"msg\":\"a\"},{\"msg\":\"b\"}]",
        " [ {\"msg\":\"a\"} , {\"msg\":\"b\"} ] \n",
        "[{\"msg\":\"a\"}][{\"msg\":\"b\"}]",
        "[]{\"msg\":\"a\"}\n[{\"msg\":\"b\"}]",
        "{\n  \"msg\": \"a\"\n}\n{\n  \"msg\": \"b\"\n}",
        "\u{feff}{\"msg\":\"a\"}\n{\"msg\":\"b\"}",
    ] {
        check(body, &two);
    }
}

#[test]
fn a_body_without_a_record_is_an_error() {
    for body in ["", " \r\n\t", "[]", " [ ] ", "[] []", "\u{feff}"] {
        check(body, &["! the body holds no record, expected at least one"]);
    }
}

#[test]
fn what_is_no_object_is_refused_by_index() {
    check(
        "1\n\"x\"\nnull\n{}\n{\"msg\":\"a\"}\n[[1],true,{\"msg\":\"b\"}]",
        &[
            "0 -=unknown \"\" \"a\" {}",
            "0 -=unknown \"\" \"b\" {}",
            "#0 the record is a number, expected an object",
            "#1 the record is a string, expected an object",
            "#2 the record is null, expected an object",
            "#3 the record is an empty object, expected at least one key",
            "#5 the record is an array, expected an object",
            "#6 the record is a boolean, expected an object",
        ],
    );
}

#[test]
fn json_lines_go_on_at_the_next_line() {
    let a = "0 -=unknown \"\" \"a\" {}";
    let b = "0 -=unknown \"\" \"b\" {}";
    check(
        "{\"msg\":\"a\"}\n{\"msg\":nope}\n{\"msg\":\"b\"}",
        &[
            a,
            b,
            "#1 `msg`: found `o` at byte `20` of the body, expected a value; \
             `4` bytes up to the next line were not read",
        ],
    );
    // Cut off in the middle of a string, of an object, of an array, of a nested object.
    check(
        "{\"msg\":\"x\n{\"msg\":\"a\"}",
        &[a, "#0 `msg`: found `\\n` at byte `9` of the body, expected no control character in a string"],
    );
    check("{\"msg\":\"x\"\n{\"msg\":\"a\"}", &[a, "#0 `msg`: found `{` at byte `11` of the body, expected `,` or `}`"]);
    check(
        "{\"msg\":\"x\",\"l\":[\n{\"msg\":\"a\"}\n{\"msg\":\"b\"}\n",
        &[a, b, "#0 `l`: found `{` at byte `29` of the body, expected `,` or `]`"],
    );
    check(
        "{\"msg\":\"x\",\"l\":{\n{\"msg\":\"a\"}\n",
        &[a, "#0 `l`: found `{` at byte `17` of the body, expected a key in double quotes"],
    );
    check(
        "text\n\nmore text\n{\"msg\":\"a\"}\n}\n",
        &[
            a,
            "#0 found `e` at byte `1` of the body, expected a value; `3` bytes up to the next line were not read",
            "#1 found `m` at byte `6` of the body, expected a value; `9` bytes up to the next line were not read",
            "#3 found `}` at byte `28` of the body, expected a value; `1` bytes up to the next line were not read",
        ],
    );
    check(
        "{\"msg\":\"a\"},{\"msg\":\"lost\"}\n{\"msg\":\"b\"}",
        &[
            a,
            b,
            "#1 found `,` at byte `11` of the body, expected a value; `15` bytes up to the next line were not read",
        ],
    );
}

#[test]
fn a_broken_record_of_several_lines_ends_at_a_line_that_begins_one() {
    check(
        "{\n  \"msg\": \"x\",\n  \"n\": {\n    \"m\": oops\n  },\n  \"l\": [\n    {\"msg\":\"inner\"}\n  ]\n}\n{\n  \"msg\": \"a\"\n}",
        &[
            "0 -=unknown \"\" \"a\" {}",
            "#0 `n`: found `o` at byte `34` of the body, expected a value; \
             `44` bytes up to the next line were not read",
        ],
    );
}

#[test]
fn an_array_or_concatenation_ends_at_what_is_broken() {
    let a = "0 -=unknown \"\" \"a\" {}";
    check(
        "[{\"msg\":\"a\"},{\"msg\":x},\n{\"msg\":\"b\"}]",
        &[
            a,
            "#1 `msg`: found `x` at byte `20` of the body, expected a value; the `16` bytes from there to the end of \
             the body were not read: send JSON lines to lose only the record that is wrong",
        ],
    );
    check(
        "{\"msg\":\"a\"}{\"msg\"}{\"msg\":\"b\"}",
        &[
            a,
            "#1 found `}` at byte `17` of the body, expected `:`; the `12` bytes from there to the end of the body \
             were not read: send JSON lines to lose only the record that is wrong",
        ],
    );
    check(
        "[{\"msg\":\"a\"} {\"msg\":\"b\"}]",
        &[
            a,
            "#1 found `{` at byte `13` of the body, expected `,` or `]`; the `12` bytes from there to the end of the \
             body were not read: send JSON lines to lose only the record that is wrong",
        ],
    );
}

#[test]
fn the_complete_records_of_a_truncated_body_are_kept() {
    let a = "0 -=unknown \"\" \"a\" {}";
    check(
        "{\"msg\":\"a\"}\n{\"msg\":\"b",
        &[a, "#1 `msg`: the body is cut short, expected `\"`, the end of the string"],
    );
    check("{\"msg\":\"a\"}{\"msg\":\"b\"", &[a, "#1 `msg`: the body is cut short, expected `,` or `}`"]);
    check("[{\"msg\":\"a\"}", &[a, "#1 the body is cut short, expected `,` or `]`"]);
    check("[{\"msg\":\"a\"},", &[a, "#1 the body is cut short, expected a value"]);
    check("[", &["#0 the body is cut short, expected a value"]);
}

#[test]
fn a_record_that_is_not_utf_8_is_refused_alone() {
    for (open, between, close) in [("[", ",", "]"), ("", "\n", ""), ("", "", "")] {
        let mut body = format!("{open}{{\"msg\":\"ä\"}}{between}{{\"msg\":\"").into_bytes();
        let at = body.len();
        body.extend_from_slice(b"\xff\xc3\"}");
        body.extend_from_slice(format!("{between}{{\"msg\":\"b\"}}{close}").as_bytes());
        check(
            &body,
            &[
                "0 -=unknown \"\" \"ä\" {}",
                "0 -=unknown \"\" \"b\" {}",
                &format!("#1 byte `{at}` of the body is not UTF-8"),
            ],
        );
    }
    check(
        b"\xff\xfe\n{\"msg\":\"a\"}",
        &[
            "0 -=unknown \"\" \"a\" {}",
            "#0 found a byte that is not UTF-8 at byte `0` of the body, expected a value; \
             `2` bytes up to the next line were not read",
        ],
    );
    check(b"{\"a\xff\":1}", &["#0 byte `3` of the body is not UTF-8"]);
}

#[test]
fn deep_nesting_is_refused_and_costs_no_stack() {
    for depth in [64, 1_000, 100_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let mut body = format!("{{\"msg\":\"x\",\"deep\":{}1{}}}", open.repeat(depth), close.repeat(depth));
            body += "\n{\"msg\":\"a\"}";
            let refusal = "#0 `deep`: nested deeper than `64` levels, which is the most allowed";
            check(&body, &["0 -=unknown \"\" \"a\" {}", refusal]);
            // Never closed.
            let decoded = decode(&body.as_bytes()[..depth]).unwrap();
            assert_eq!((decoded.accepted, decoded.refused_total), (0, 1));
        }
    }
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let body = format!("{{\"deep\":{}1{}}}", open.repeat(63), close.repeat(63));
        assert_eq!(decode(body.as_bytes()).unwrap().accepted, 1);
    }
}

/// Lines that each look as if they went on to the end must not make reading quadratic.
#[test]
fn reading_again_is_bounded() {
    let lines = 40_000;
    for line in ["{\"a\":[\n", "{\"a\":[1,\n", "{\"a\":{\"b\":\n", "{\n"] {
        let decoded = decode((line.repeat(lines) + "{\"msg\":\"a\"}").as_bytes()).unwrap();
        assert_eq!(decoded.accepted, 1, "{line}");
        assert_eq!(decoded.refused_total, lines, "{line}");
        assert_eq!(decoded.refused.len(), REFUSALS_LISTED_MAX);
    }
}

/// Nor must an object that is merged, however long its names are and however often they clash.
#[test]
fn merging_is_linear() {
    let long = "k".repeat(1 << 20);
    let members = (0..100_000).map(|n| format!("\"{n}\":1")).collect::<Vec<_>>().join(",");
    let nested = format!("{{\"metadata\":{{\"{long}\":{{{members}}}}}}}");
    let top = (0..900).map(|n| format!("\"{n}\":1")).collect::<Vec<_>>().join(",");
    let again = vec![top.as_str(); 100].join(",");
    for body in [nested, format!("{{{top},\"metadata\":{{{again}}}}}")] {
        assert_eq!(decode(body.as_bytes()).unwrap().refused_total, 1);
    }
}

#[test]
fn strict_is_all_or_nothing() {
    with_options(&["service"], |options| {
        let options = DecodeOptions { strict: true, ..*options };
        let mut decoder = Decoder::new();
        let decoded = decoder.json(b"{\"msg\":\"a\"}\n{}", &options).unwrap();
        assert!(decoded.batch.is_none());
        assert_eq!((decoded.accepted, decoded.refused_total), (0, 1));
        // Nothing of it is left for the next body.
        let decoded = decoder.json(b"{\"msg\":\"b\"}", &options).unwrap();
        assert_eq!(answer(&decoded), ["0 -=unknown \"\" \"b\" {}"]);
    });
}

#[test]
fn lines_of_text_are_messages() {
    with_options(&["service"], |options| {
        let options = DecodeOptions { default_service: "cli", ..*options };
        let mut decoder = Decoder::new();
        let decoded = decoder.text(b"one\r\n\n  two \0\n\xff\n{\"msg\":1}", &options).unwrap();
        assert_eq!(
            answer(&decoded),
            [
                "0 -=unknown \"cli\" \"one\" {}",
                "0 -=unknown \"cli\" \"  two \\0\" {}",
                "0 -=unknown \"cli\" \"{\\\"msg\\\":1}\" {}",
                "#2 byte `14` of the body is not UTF-8",
            ]
        );
        assert_eq!(decoder.text(b"\n\r\n", &options).unwrap_err(), IngestError::Empty);
    });
}

#[test]
fn write_takes_the_original_record() {
    let write = |body: &str| {
        with_options(&["service"], |options| {
            let batch = Decoder::new().write(body.as_bytes(), options);
            batch.map(|batch| super::show(&batch, 0)).map_err(|error| error.to_string())
        })
    };
    let ms = NOW / 1_000_000;
    assert_eq!(
        write(&format!(
            r#"{{"Timestamp":{ms},"Level":"ERROR","Service":"pay","Host":"h1","Message":"no","StackTrace":"at x",
            "Properties":{{"user":7,"Message":"inner","message":"in","host":"h2"}}}}"#
        )),
        Ok("0 ERROR=error \"pay\" \"no\" {service=pay} Message:s:inner Properties.host:s:h2 Properties.message:s:in \
            host:s:h1 stacktrace:s:at x user:n:7"
            .into())
    );
    // Small numbers are milliseconds too, zero is the time of arrival, keys come in any case.
    assert_eq!(write(r#"{"Timestamp":5,"message":"x"}"#), Ok(format!("{} -=unknown \"\" \"x\" {{}}", 5_000_000 - NOW)));
    assert_eq!(write(r#"{"Timestamp":0,"MESSAGE":"x","msg":1}"#), Ok("0 -=unknown \"\" \"x\" {} msg:n:1".into()));
    assert_eq!(write(r#"{"Properties":"text"}"#), Ok("0 -=unknown \"\" \"\" {} Properties:s:text".into()));
    // Go's nil map is no field, and takes back what stood before it.
    assert_eq!(write(r#"{"Message":"x","Properties":null}"#), Ok("0 -=unknown \"\" \"x\" {}".into()));
    assert_eq!(
        write(r#"{"properties":{"a":1},"Message":"x","Properties":null}"#),
        Ok("0 -=unknown \"\" \"x\" {}".into())
    );
    for (body, reason) in [
        ("", "the body holds no record, expected at least one"),
        ("{}", "the record is an empty object, expected at least one key"),
        ("[{}]", "found `[` at byte `0` of the body, expected an object"),
        (
            r#"{"Message":"a"}{"Message":"b"}"#,
            "found `{` at byte `15` of the body, expected the end: this request takes one record",
        ),
        (r#"{"Timestamp":1.5}"#, "`timestamp`: found `1.5`, expected RFC 3339 or a unix time in s, ms, µs or ns"),
        ("{\"Message\":\"a\"", "`Message`: the body is cut short, expected `,` or `}`"),
    ] {
        assert_eq!(write(body), Err(reason.into()), "{body}");
    }
}
