use super::*;
use crate::PushForm;
use crate::tests::{NOW, show, with_options};
use proptest::prelude::*;
use serde_json::{Value, json};

const FORMS: [PushForm; 3] = [PushForm::Json, PushForm::Msgpack, PushForm::Protobuf];

/// A stream as tests say it: labels, then times from [`NOW`] and lines; whether values come first.
#[derive(Clone, Debug)]
struct Stream {
    labels: Vec<(String, String)>,
    values: Vec<(String, String)>,
    late: bool,
}

fn stream(labels: &[(&str, &str)], values: &[(i64, &str)]) -> Stream {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let values = values.iter().map(|(time, line)| ((NOW + time).to_string(), (*line).to_owned()));
    Stream { labels: labels.iter().map(own).collect(), values: values.collect(), late: false }
}

fn encode(form: PushForm, streams: &[Stream]) -> Vec<u8> {
    match form {
        PushForm::Json => {
            let each = streams.iter().map(|stream| {
                let labels: String =
                    pairs(&stream.labels).map(|(n, v)| format!("{n}:{v}")).collect::<Vec<_>>().join(",");
                let values: String =
                    pairs(&stream.values).map(|(t, l)| format!("[{t},{l}]")).collect::<Vec<_>>().join(",");
                let (labels, values) = (format!("\"stream\":{{{labels}}}"), format!("\"values\":[{values}]"));
                let (first, second) = if stream.late { (values, labels) } else { (labels, values) };
                format!("{{{first}, \"more\":[1,{{}}], {second}}}")
            });
            format!("{{\"streams\":[{}]}}", each.collect::<Vec<_>>().join(",")).into_bytes()
        }
        PushForm::Msgpack => {
            let mut out = vec![0x82];
            text("more", &mut out);
            // Arrays in an array, of all kinds.
            out.extend([0x93, 0xc0, 0x91, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0, 0xd6, 1, 2, 3, 4, 5]);
            text("streams", &mut out);
            array(streams.len(), &mut out);
            for stream in streams {
                out.push(0x82);
                let labels = |out: &mut Vec<u8>| {
                    text("stream", out);
                    out.push(0xde);
                    out.extend((stream.labels.len() as u16).to_be_bytes());
                    stream.labels.iter().flat_map(|(name, value)| [name, value]).for_each(|each| text(each, out));
                };
                let values = |out: &mut Vec<u8>| {
                    text("values", out);
                    array(stream.values.len(), out);
                    for (time, line) in &stream.values {
                        out.push(0x92);
                        text(time, out);
                        text(line, out);
                    }
                };
                if stream.late {
                    values(&mut out);
                    labels(&mut out);
                } else {
                    labels(&mut out);
                    values(&mut out);
                }
            }
            out
        }
        PushForm::Protobuf => {
            let mut out = Vec::new();
            for stream in streams {
                let mut bytes = Vec::new();
                let each = |number: u8, pairs: &[(String, String)], out: &mut Vec<u8>| {
                    for (first, second) in pairs {
                        let mut pair = Vec::new();
                        field(1, first.as_bytes(), &mut pair);
                        field(2, second.as_bytes(), &mut pair);
                        field(number, &pair, out);
                    }
                };
                if stream.late {
                    each(2, &stream.values, &mut bytes);
                }
                each(1, &stream.labels, &mut bytes);
                field(9, b"unknown", &mut bytes);
                if !stream.late {
                    each(2, &stream.values, &mut bytes);
                }
                field(1, &bytes, &mut out);
            }
            out
        }
    }
}

fn pairs(of: &[(String, String)]) -> impl Iterator<Item = (Value, Value)> {
    of.iter().map(|(first, second)| (json!(first), json!(second)))
}

fn text(text: &str, out: &mut Vec<u8>) {
    out.push(0xda);
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

fn array(len: usize, out: &mut Vec<u8>) {
    out.push(0xdc);
    out.extend((len as u16).to_be_bytes());
}

fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(bytes);
}

fn decode(form: PushForm, body: &[u8]) -> Vec<String> {
    match with_options(&["service"], |options| Decoder::new().push(body, form, options)) {
        Ok(batch) => (0..batch.rows()).map(|row| show(&batch, row)).collect(),
        Err(error) => vec![format!("! {error}")],
    }
}

#[track_caller]
fn check(streams: &[Stream], expected: &[&str]) {
    for form in FORMS {
        assert_eq!(decode(form, &encode(form, streams)), expected, "{form:?}");
    }
}

#[test]
fn labels_are_stream_labels_and_lines_are_messages() {
    let web = stream(&[("service", "web"), ("env", "p\"1"), ("none", ""), ("env", "p2")], &[(0, "a\n\"b\""), (-5, "")]);
    let job = stream(&[("job", "x"), ("level", "WARN")], &[(7, "é")]);
    let expected = [
        "0 -=unknown \"web\" \"a\\n\\\"b\\\"\" {env=p2,service=web}",
        "-5 -=unknown \"web\" \"\" {env=p2,service=web}",
        "7 WARN=warn \"x\" \"é\" {job=x,level=WARN}",
    ];
    let late = Stream { late: true, ..web.clone() };
    check(&[web, job.clone()], &expected);
    check(&[late, job], &expected);
}

#[test]
fn the_first_thing_that_is_wrong_is_named_with_its_place() {
    let good = stream(&[("a", "b")], &[(0, "x")]);
    let far = timberlog_types::time::format_rfc3339(NOW + 2 * timberlog_types::time::DAY_NS);
    let day = 2 * timberlog_types::time::DAY_NS;
    let timed = |time: &str| {
        let mut stream = stream(&[("a", "b")], &[(0, "x"), (1, "y")]);
        stream.values[1].0 = time.to_owned();
        stream
    };
    for (streams, expected) in [
        (vec![], "! no streams, expected at least one".to_owned()),
        (
            vec![good.clone(), stream(&[], &[(0, "x")])],
            "! stream 1: no labels, expected at least one with a value".into(),
        ),
        (vec![stream(&[("a", "")], &[(0, "x")])], "! stream 0: no labels, expected at least one with a value".into()),
        (vec![stream(&[("", "a")], &[(0, "x")])], "! stream 0: a label without a name".into()),
        (vec![good.clone(), stream(&[("a", "b")], &[])], "! stream 1: no values, expected at least one".into()),
        (vec![good, timed("1.5")], "! stream 1, value 1: timestamp `1.5`, expected ns since 1970".into()),
        (vec![timed("")], "! stream 0, value 1: timestamp ``, expected ns since 1970".into()),
        (
            vec![timed("99999999999999999999")],
            "! stream 0, value 1: timestamp `99999999999999999999`, expected ns since 1970".into(),
        ),
        (
            vec![timed(&(NOW + day).to_string())],
            format!(
                "! stream 0, value 1: timestamp `{}` is {far}, more than 24 h ahead (limit `max_future_ns`)",
                NOW + day
            ),
        ),
    ] {
        check(&streams, &[&expected]);
    }
    let long = "x".repeat(3000);
    let (value, name) = (stream(&[("a", &long)], &[(0, "x")]), stream(&[(&long[..2000], "b")], &[(0, "x")]));
    check(&[value], &["! stream 0: label `a` has a longer value than 2048 bytes (limit `label_value_bytes_max`)"]);
    let named =
        format!("! stream 0: label `{}` has a longer name than 1024 bytes (limit `label_name_bytes_max`)", &long[..64]);
    check(&[name], &[&named]);
    let labels: Vec<(String, String)> = (0..33).map(|n| (format!("n{n}"), "x".to_owned())).collect();
    let many = Stream { labels, ..stream(&[], &[(0, "x")]) };
    check(&[many], &["! stream 0: 33 labels (limit `labels_max`: 32)"]);
}

#[test]
fn what_is_no_payload_is_refused() {
    for (body, expected) in [
        ("", "expected an object"),
        ("[]", "expected an object"),
        ("{}", "no streams"),
        ("{\"streams\":null}", "no streams"),
        ("{\"streams\":{}}", "expected an array of streams"),
        ("{\"streams\":[null]}", "stream 0: no labels"),
        ("{\"streams\":[{\"values\":[[\"1\",\"x\"]]}]}", "stream 0: no labels"),
        ("{\"streams\":[{\"stream\":{\"a\":1}}]}", "expected a string as the value of a label"),
        ("{\"streams\":[{\"stream\":{\"a\":\"b\"}}]}", "stream 0: no values"),
        (
            "{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[1,\"x\"]]}]}",
            "stream 0, value 0: a timestamp that is not",
        ),
        ("{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\",2]]}]}", "stream 0, value 0: a line that is not"),
        ("{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\"]]}]}", "stream 0, value 0: less than"),
        ("{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[null]}]}", "stream 0, value 0: no array"),
        ("{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\",\"x\",{}]]}]}", "stream 0, value 0: more than"),
        ("{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\",\"x\"]]}]} x", "expected the end of the body"),
        ("{\"streams\":[{\"values\":[[\"1\",\"x\"]],\"values\":[]}]}", "stream 0: `values` stands twice"),
        ("{\"streams\":[{\"stream\":{\"a\":\"b\"},\"stream\":{}}]}", "stream 0: `stream` stands twice"),
    ] {
        let found = decode(PushForm::Json, body.as_bytes());
        assert!(found.len() == 1 && found[0].starts_with("! ") && found[0].contains(expected), "{body}: {found:?}");
    }
    for (body, expected) in [
        (&b""[..], "the body is cut short"),
        (b"\x90", "a payload is not a map"),
        (b"\x80", "no streams"),
        (b"\x81\xa7streams\xc0", "no streams"),
        (b"\x81\xa7streams\x01", "`streams` is not an array"),
        (b"\x81\xa7streams\xdd\xff\xff\xff\xff", "the body is cut short"),
        (b"\x81\xa1x\xdf\xff\xff\xff\xff", "the body is cut short"),
        (b"\x81\xa1x\xc1", "byte 0xc1"),
        (b"\x80\x80", "1 bytes behind the payload"),
        (
            b"\x81\xa7streams\x91\x82\xa6stream\x81\xa1a\xa1b\xa6values\x91\x92\x01\xa1x",
            "stream 0, value 0: a timestamp is not",
        ),
        (
            b"\x81\xa7streams\x91\x82\xa6stream\x81\xa1a\xa1b\xa6values\x91\x93\xa11\xa1x\x80",
            "stream 0, value 0: 3 parts",
        ),
        (b"\x81\xa7streams\x91\x82\xa6values\x90\xa6values\x90", "stream 0: `values` stands twice"),
        (b"\x81\xa7streams\x91\x82\xa6stream\x81\xa1a\xa1b\xa6stream\x80", "stream 0: `stream` stands twice"),
    ] {
        let found = decode(PushForm::Msgpack, body);
        assert!(found.len() == 1 && found[0].starts_with("! ") && found[0].contains(expected), "{body:?}: {found:?}");
    }
}

#[test]
fn a_payload_that_is_cut_short_stores_nothing_of_its_last_stream() {
    let streams = [stream(&[("a", "b")], &[(0, "x"), (1, "y")]), stream(&[("a", "c")], &[(2, "z")])];
    for form in FORMS {
        let body = encode(form, &streams);
        for len in 0..body.len() {
            let found = decode(form, &body[..len]);
            // Protobuf does not know where it ends: between two streams it is whole.
            assert!(
                found[0].starts_with("! ") || (form == PushForm::Protobuf && found.len() == 2),
                "{form:?} {found:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The three forms of one payload are one payload.
    #[test]
    fn all_forms_say_the_same(
        streams in proptest::collection::vec(
            (proptest::collection::vec(("[a-c]{0,2}", "[a-c\"\\\\é]{0,3}"), 0..4),
             proptest::collection::vec(("[0-9-]{1,19}", ".{0,5}"), 0..4), any::<bool>()),
            0..4,
        ),
    ) {
        let streams: Vec<Stream> =
            streams.into_iter().map(|(labels, values, late)| Stream { labels, values, late }).collect();
        let all = FORMS.map(|form| decode(form, &encode(form, &streams)));
        prop_assert_eq!(&all[0], &all[1]);
        prop_assert_eq!(&all[0], &all[2]);
    }

    #[test]
    fn any_bytes_end_in_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for form in FORMS {
            decode(form, &bytes);
        }
    }
}
