//! `decolorize`: a line without its ANSI sequences.

use regex_automata::meta::Regex;

use super::{StageError, regexp};

/// What sets colours and moves cursors.
const SEQUENCE: &str = "[\u{1b}\u{9b}][\\[\\]()#;?]*(?:(?:(?:[a-zA-Z\\d]*(?:;[a-zA-Z\\d]*)*)?\u{7})|(?:(?:\\d{1,4}(?:;\\d{0,4})*)?[\\dA-PRZcf-ntqry=><~]))";

/// Takes ANSI sequences out of lines.
#[derive(Debug)]
pub(super) struct Decolorizer {
    sequence: Regex,
}

impl Decolorizer {
    pub(super) fn new() -> Result<Self, StageError> {
        Ok(Self { sequence: regexp::search(SEQUENCE)? })
    }

    /// Writes the line without them; false if it has none.
    pub(super) fn run(&self, line: &[u8], out: &mut Vec<u8>) -> bool {
        // 0xc2 begins the other of the two characters that begin a sequence.
        if memchr::memchr2(0x1b, 0xc2, line).is_none() {
            return false;
        }
        out.clear();
        let mut from = 0;
        for found in self.sequence.find_iter(line) {
            out.extend_from_slice(line.get(from..found.start()).unwrap_or_default());
            from = found.end();
        }
        out.extend_from_slice(line.get(from..).unwrap_or_default());
        from > 0
    }
}
