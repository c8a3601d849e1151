//! Tokens: a shape cut where clustering compares it, by what the line is made of.
//!
//! A line of logfmt is keys and values; of a JSON object with a message the message alone is
//! looked at, as Loki does; other lines are cut at blanks and punctuation.

/// Tokens of a shape; what is behind them is one variable.
const TOKENS_MAX: usize = 80;
/// Which member of a JSON object is the message, the best first: those that Loki looks for.
const MESSAGE_KEYS: [&[u8]; 6] = [b"log", b"message", b"msg", b"msg_", b"_msg", b"content"];
/// A variable.
pub(super) const VARIABLE: u8 = 0;

/// A shape as tokens.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    /// The texts; one that is a variable alone is [`VARIABLE`].
    pub texts: Vec<Box<[u8]>>,
    /// How many blanks are behind each.
    pub blanks: Vec<u8>,
}

impl Tokens {
    fn push(&mut self, text: &[u8]) {
        self.texts.push(text.into());
        self.blanks.push(0);
    }

    /// Notes a blank behind the last token. More than 255 are as many as 255.
    fn blank(&mut self) {
        if self.blanks.is_empty() {
            self.push(b"");
        }
        if let Some(last) = self.blanks.last_mut() {
            *last = last.saturating_add(1);
        }
    }

    /// What is behind the first [`TOKENS_MAX`] becomes one variable.
    fn cut_short(&mut self) {
        if self.texts.len() > TOKENS_MAX {
            self.texts.truncate(TOKENS_MAX - 1);
            self.blanks.truncate(TOKENS_MAX - 1);
            self.push(&[VARIABLE]);
        }
    }
}

/// Cuts shapes.
#[derive(Default)]
pub(super) struct Cutter {
    soft: Vec<u8>,
}

impl Cutter {
    /// The tokens of a shape.
    pub fn cut(&mut self, shape: &[u8]) -> Tokens {
        self.soften(shape);
        let mut tokens = Tokens::default();
        if let Some(message) = message_of_json(&self.soft) {
            tokens.push(&[VARIABLE]);
            plain(message, &mut tokens);
            tokens.cut_short();
            tokens.push(&[VARIABLE]);
            return tokens;
        }
        if logfmt(&self.soft, &mut tokens).is_none() {
            tokens = Tokens::default();
            plain(&self.soft, &mut tokens);
        }
        tokens.cut_short();
        tokens
    }

    /// Makes runs that hold several variables, like times and addresses, one variable each.
    fn soften(&mut self, shape: &[u8]) {
        self.soft.clear();
        for run in shape.chunk_by(|&a, &b| is_inner(a) == is_inner(b)) {
            let variables = run.iter().filter(|&&byte| byte == VARIABLE).take(2).count();
            self.soft.extend_from_slice(if variables == 2 { &[VARIABLE] } else { run });
        }
    }
}

/// Whether a byte may stand inside of a token of plain text: all but blanks and most punctuation.
fn is_inner(byte: u8) -> bool {
    byte == VARIABLE || byte >= 0x80 || byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte)
}

fn plain(text: &[u8], tokens: &mut Tokens) {
    for run in text.chunk_by(|&a, &b| is_inner(a) && is_inner(b)) {
        if run == b" " { tokens.blank() } else { tokens.push(run) }
    }
}

/// Cuts `key=value key="a value"`; `None` if it is something else.
fn logfmt(text: &[u8], tokens: &mut Tokens) -> Option<()> {
    let mut rest = text;
    while !rest.is_empty() {
        let key = rest.iter().position(|byte| !is_inner(*byte)).filter(|&at| at > 0)?;
        let behind = rest.get(key..)?.strip_prefix(b"=")?;
        tokens.push(rest.get(..=key)?);
        let len = match behind.first() {
            Some(b'"') => quoted_len(behind)?,
            _ => behind.iter().position(|byte| *byte == b' ').unwrap_or(behind.len()),
        };
        if len > 0 {
            tokens.push(behind.get(..len)?);
        }
        rest = behind.get(len..)?;
        let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
        if blanks == 0 && !rest.is_empty() {
            return None;
        }
        (0..blanks).for_each(|_| tokens.blank());
        rest = rest.get(blanks..)?;
    }
    (!tokens.texts.is_empty()).then_some(())
}

/// The length of a quoted text with its quotes. In a shape, a variable may be the rest of an escape.
fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The message of a JSON object, as it is written between its quotes.
fn message_of_json(text: &[u8]) -> Option<&[u8]> {
    if text.first() != Some(&b'{') || text.last() != Some(&b'}') {
        return None;
    }
    let mut best: Option<(usize, &[u8])> = None;
    let mut key: Option<&[u8]> = None;
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let len = quoted_len(text.get(at - 1..)?)?;
                let inner = text.get(at..at + len - 2)?;
                at += len - 1;
                if depth == 1 {
                    if text.get(at..)?.trim_ascii_start().first() == Some(&b':') {
                        key = Some(inner);
                    } else if let Some(key) = key.take() {
                        let rank = MESSAGE_KEYS.iter().position(|wanted| *wanted == key);
                        let is_better = rank.filter(|rank| best.is_none_or(|(best, _)| *rank < best));
                        best = is_better.map(|rank| (rank, inner)).or(best);
                    }
                }
            }
            b',' if depth == 1 => key = None,
            _ => {}
        }
    }
    best.map(|(_, message)| message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let mut shape = Vec::new();
        timberlog_segment::shape(line.as_bytes(), usize::MAX, &mut shape);
        let tokens = Cutter::default().cut(&shape);
        assert_eq!(tokens.texts.len(), tokens.blanks.len());
        let text = |text: &[u8]| String::from_utf8(text.to_vec()).unwrap().replace('\0', "*");
        let all = tokens.texts.iter().zip(&tokens.blanks);
        all.map(|(token, blanks)| text(token) + &"_".repeat((*blanks).into())).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn lines_are_cut_by_what_they_are_made_of() {
        for (line, expected) in [
            ("", ""),
            ("  a", "__|a"),
            ("10.0.0.1 - GET /api/v1/users/7?x=9  took 5ms", "*_|-_|GET_|*|?|x|=|*__|took_|*ms"),
            ("2026-01-01T10:00:00Z [main] (a.b.C) ok\tä", "*_|[|main|]_|(|a.b.C|)_|ok|\t|ä"),
            (r#"level=info ts=2026-01-01 msg="took 5 ms" e= n=1"#, r#"level=|info_|ts=|*_|msg=|"took * ms"_|e=_|n=|*"#),
            (r#"{"a":{"msg":"no"},"msg":"user 7 of b","t":1}"#, "*|user_|*_|of_|b|*"),
            (r#"{"content":"x","b":1,"message":"say \"a\""}"#, r#"*|say_|\|"|a|\|"|*"#),
            (r#"{"a":"b"}"#, r#"{|"|a|"|:|"|b|"|}"#),
            (r#"{"msg":"#, r#"{|"|msg|"|:"#),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
        assert_eq!(shown(&"a ".repeat(200)).matches('|').count(), TOKENS_MAX - 1);
    }
}
