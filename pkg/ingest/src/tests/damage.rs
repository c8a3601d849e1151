//! Whatever bytes come: an answer, never a panic.

use super::{decode, with_options};
use crate::Decoder;
use proptest::prelude::*;
use timberlog_types::Batch;

const SAMPLE: &str = r#"{"timestamp":"2026-01-01T00:00:00.5Z","level":"WARN","service":{"name":"a"},"n":-1.5e3,"ok":true,"no":null,"l":[1,{"x":"y\\"}],"metadata":{"k":"\u00e4\ud83d\ude00","level":"in"},"msg":"ä \"q\" \n"}
{"ts":1767225600,"app":"b","line":"second","deep":{"er":{"x":[]},"e":{}}}
[{"_time":"1767225600123","body":"third"},{"msg":"fourth","env":"prod"}]
"#;

/// Decodes with every decoder; none may panic. The JSON decoder must count every record once.
fn decode_all(body: &[u8]) {
    with_options(&["service", "env", "level"], |options| {
        let mut decoder = Decoder::new();
        if let Ok(decoded) = decoder.json(body, options) {
            assert_eq!(decoded.accepted, decoded.batch.as_ref().map_or(0, Batch::rows));
            assert!(decoded.refused.is_sorted_by_key(|refused| refused.index));
            let last = decoded.refused.last().map_or(0, |refused| refused.index + 1);
            assert!(last <= decoded.accepted + decoded.refused_total);
        }
        let _ = decoder.write(body, options);
        let _ = decoder.text(body, options);
    });
}

#[test]
fn the_sample_is_good() {
    assert_eq!(decode(SAMPLE.as_bytes()).unwrap().accepted, 4);
}

/// A truncated body gives the records that are whole in it, and refuses the rest.
#[test]
fn every_truncation_keeps_what_is_whole() {
    let ends =
        [SAMPLE.find("\n").unwrap(), SAMPLE.find("\n[").unwrap(), SAMPLE.find("},{").unwrap() + 1, SAMPLE.len() - 2];
    for len in 0..=SAMPLE.len() {
        let body = &SAMPLE.as_bytes()[..len];
        decode_all(body);
        let whole = ends.iter().filter(|&&end| end <= len).count();
        match decode(body) {
            Ok(decoded) => {
                assert_eq!(decoded.accepted, whole, "{len}");
                let ends_line = ends[..2].iter().any(|end| (*end..=end + 1).contains(&len));
                let is_whole = ends_line || len + 1 >= SAMPLE.len();
                assert_eq!(decoded.refused_total, usize::from(!is_whole), "{len}");
            }
            Err(_) => assert_eq!(len, 0),
        }
    }
}

#[test]
fn no_flipped_byte_panics() {
    for at in 0..SAMPLE.len() {
        for flip in [1, 2, 8, 0x20, 0x80, 0xff] {
            let mut body = SAMPLE.as_bytes().to_vec();
            body[at] ^= flip;
            decode_all(&body);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_panic(body: Vec<u8>) {
        decode_all(&body);
    }

    #[test]
    fn nothing_like_json_panics(body in r#"([ \n\{\}\[\],:"\\a0-9eu]|"msg":|"metadata":\{|"ts":1|\{"a":|"x"|ä){0,40}"#) {
        decode_all(body.as_bytes());
    }
}
