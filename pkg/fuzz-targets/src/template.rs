//! Any text as a line template over any line: it is refused, fails or renders, within its limits. The
//! template up to a 0x00, then the line.

use crate::split_at_nul;
use timberlog_logql::{Context, RENDER_BYTES_MAX, Template};

struct Line<'a>(&'a [u8]);

impl Context for Line<'_> {
    fn label(&self, name: &str) -> Option<&str> {
        match name {
            "json" => Some(r#"{"a":1,"b":[1,"x",null,{"c":true}],"n":null}"#),
            "word" => Some("a word, 世界"),
            _ => None,
        }
    }

    fn line(&self) -> &[u8] {
        self.0
    }

    fn timestamp_ns(&self) -> i64 {
        1_656_353_124_120_000_000
    }

    fn now_ns(&self) -> i64 {
        1_700_000_000_123_456_789
    }

    fn for_each_label<'a>(&'a self, visit: &mut dyn FnMut(&'a str, &'a str)) {
        visit("word", "a word, 世界");
    }
}

/// See the module.
pub fn template(input: &[u8]) {
    let (text, line) = split_at_nul(input);
    let Ok(text) = std::str::from_utf8(text) else { return };
    let _ = Template::parse_label(text);
    let Ok(template) = Template::parse(text) else { return };
    let mut out = b"kept".to_vec();
    match template.render(&Line(line), &mut out) {
        Ok(()) => assert!(out.starts_with(b"kept") && out.len() <= RENDER_BYTES_MAX + 4),
        Err(_) => assert_eq!(out, b"kept"),
    }
}
