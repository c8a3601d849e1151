//! Text → tokens, as Go's text/template cuts them; positions are bytes, lines count from 1.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No token: what is wrong, as its text.
    Error,
    Bool,
    /// A character that means something only to the parser: the comma.
    Char,
    CharConstant,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    Dot,
    Nil,
    /// `block`, `break`, …: the text says which.
    Keyword,
}

/// A token.
#[derive(Clone, Debug)]
pub(super) struct Token<'a> {
    pub kind: Kind,
    pub text: std::borrow::Cow<'a, str>,
    pub position: usize,
    pub line: usize,
}

/// The tokens of a text, one after the other; after an error or the end it answers the end.
pub(super) struct Lexer<'a> {
    input: &'a str,
    position: usize,
    start: usize,
    line: usize,
    start_line: usize,
    parens: usize,
    in_action: bool,
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];
const KEYWORDS: [&str; 10] = ["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"];

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphabetic() || c.is_numeric()
}

/// `- ` behind a left delimiter.
fn trims_left(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| rest.starts_with(SPACES))
}

/// ` -` before a right delimiter.
fn trims_right(text: &str) -> bool {
    text.strip_prefix(SPACES).is_some_and(|rest| rest.starts_with("-}}"))
}

impl<'a> Lexer<'a> {
    pub fn new(input: &'a str) -> Self {
        Self { input, position: 0, start: 0, line: 1, start_line: 1, parens: 0, in_action: false }
    }

    /// The next token.
    pub fn next(&mut self) -> Token<'a> {
        if self.in_action { self.action() } else { self.text() }
    }

    fn rest(&self) -> &'a str {
        self.input.get(self.position..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.advance(c.len_utf8());
        Some(c)
    }

    fn advance(&mut self, bytes: usize) {
        let end = (self.position + bytes).min(self.input.len());
        self.line +=
            self.input.as_bytes().get(self.position..end).unwrap_or_default().iter().filter(|&&b| b == b'\n').count();
        self.position = end;
    }

    fn ignore(&mut self) {
        self.start = self.position;
        self.start_line = self.line;
    }

    fn emit(&mut self, kind: Kind) -> Token<'a> {
        let text = self.input.get(self.start..self.position).unwrap_or_default().into();
        let token = Token { kind, text, position: self.start, line: self.start_line };
        self.ignore();
        token
    }

    fn error(&mut self, message: impl Into<String>) -> Token<'a> {
        let token =
            Token { kind: Kind::Error, text: message.into().into(), position: self.start, line: self.start_line };
        self.input = "";
        self.position = 0;
        self.start = 0;
        self.in_action = false;
        token
    }

    /// Outside actions: text up to the next one; comments vanish.
    fn text(&mut self) -> Token<'a> {
        loop {
            let rest = self.rest();
            let Some(length) = rest.find("{{") else {
                self.advance(rest.len());
                return self.emit(if self.position > self.start { Kind::Text } else { Kind::Eof });
            };
            if length > 0 {
                let text = rest.get(..length).unwrap_or_default();
                let trimmed = if trims_left(rest.get(length + 2..).unwrap_or_default()) {
                    text.trim_end_matches(SPACES)
                } else {
                    text
                };
                self.advance(trimmed.len());
                let token = self.emit(Kind::Text);
                self.advance(length - trimmed.len());
                self.ignore();
                if !token.text.is_empty() {
                    return token;
                }
            }
            let marker = if trims_left(self.rest().get(2..).unwrap_or_default()) { 2 } else { 0 };
            if self.rest().get(2 + marker..).unwrap_or_default().starts_with("/*") {
                self.advance(2 + marker);
                self.ignore();
                if let Err(message) = self.comment() {
                    return self.error(message);
                }
                continue;
            }
            self.advance(2);
            let token = self.emit(Kind::LeftDelim);
            self.in_action = true;
            self.advance(marker);
            self.ignore();
            self.parens = 0;
            return token;
        }
    }

    fn comment(&mut self) -> Result<(), &'static str> {
        let end = self.rest().get(2..).unwrap_or_default().find("*/").ok_or("unclosed comment")?;
        self.advance(2 + end + 2);
        self.close_action().map(|_| self.ignore()).ok_or("comment ends before closing delimiter")
    }

    /// Goes behind a right delimiter and what its trim marker takes; answers where the delimiter ends.
    fn close_action(&mut self) -> Option<usize> {
        let trims = trims_right(self.rest());
        if trims {
            self.advance(2);
        } else if !self.rest().starts_with("}}") {
            return None;
        }
        let end = self.position + 2;
        self.advance(2);
        if trims {
            let rest = self.rest();
            self.advance(rest.len() - rest.trim_start_matches(SPACES).len());
        }
        Some(end)
    }

    fn right_delim(&mut self) -> Token<'a> {
        let (line, trims) = (self.start_line, trims_right(self.rest()));
        let position = self.position + if trims { 2 } else { 0 };
        self.close_action();
        self.ignore();
        self.in_action = false;
        Token { kind: Kind::RightDelim, text: "}}".into(), position, line }
    }

    fn action(&mut self) -> Token<'a> {
        if self.rest().starts_with("}}") || trims_right(self.rest()) {
            return if self.parens == 0 { self.right_delim() } else { self.error("unclosed left paren") };
        }
        let Some(c) = self.peek() else { return self.error("unclosed action") };
        if SPACES.contains(&c) {
            return self.space();
        }
        if matches!(c, '+' | '-' | '0'..='9') {
            return self.number();
        }
        self.bump();
        match c {
            '=' => self.emit(Kind::Assign),
            ':' if self.bump() == Some('=') => self.emit(Kind::Declare),
            ':' => self.error("expected :="),
            '|' => self.emit(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '`' => match self.rest().find('`') {
                Some(end) => {
                    self.advance(end + 1);
                    self.emit(Kind::RawString)
                }
                None => self.error("unterminated raw quoted string"),
            },
            '$' => self.name(Kind::Variable),
            '.' if self.peek().is_some_and(|next| next.is_ascii_digit()) => {
                self.position -= 1;
                self.number()
            }
            '.' if self.position == self.input.len() => {
                self.position -= 1;
                self.number()
            }
            '.' => self.name(Kind::Field),
            '(' => {
                self.parens += 1;
                self.emit(Kind::LeftParen)
            }
            ')' if self.parens == 0 => self.error("unexpected right paren"),
            ')' => {
                self.parens -= 1;
                self.emit(Kind::RightParen)
            }
            c if is_word(c) => self.identifier(),
            ' '..='~' => self.emit(Kind::Char),
            c => {
                let shown = code_point(Some(c));
                self.error(format!("unrecognized character in action: {shown}"))
            }
        }
    }

    fn space(&mut self) -> Token<'a> {
        let rest = self.rest();
        let spaces = rest.len() - rest.trim_start_matches(SPACES).len();
        self.advance(spaces - 1);
        if trims_right(self.rest()) {
            // The last space belongs to the trim marker.
            return if spaces == 1 { self.right_delim() } else { self.emit(Kind::Space) };
        }
        self.advance(1);
        self.emit(Kind::Space)
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &str) -> Token<'a> {
        loop {
            match self.bump() {
                Some('\\') => {
                    if matches!(self.bump(), None | Some('\n')) {
                        return self.error(unterminated);
                    }
                }
                None | Some('\n') => return self.error(unterminated),
                Some(c) if c == quote => return self.emit(kind),
                Some(_) => {}
            }
        }
    }

    /// Whether a name may end here.
    fn at_terminator(&self) -> bool {
        let rest = self.rest();
        rest.is_empty()
            || rest.starts_with([' ', '\t', '\r', '\n', '.', ',', '|', ':', ')', '('])
            || rest.starts_with("}}")
    }

    fn word(&mut self) -> Result<(), Token<'a>> {
        let rest = self.rest();
        self.advance(rest.len() - rest.trim_start_matches(is_word).len());
        if self.at_terminator() {
            return Ok(());
        }
        let shown = code_point(self.peek());
        Err(self.error(format!("bad character {shown}")))
    }

    /// Behind `.` or `$`.
    fn name(&mut self, kind: Kind) -> Token<'a> {
        if self.at_terminator() {
            return self.emit(if kind == Kind::Field { Kind::Dot } else { kind });
        }
        match self.word() {
            Ok(()) => self.emit(kind),
            Err(error) => error,
        }
    }

    fn identifier(&mut self) -> Token<'a> {
        if let Err(error) = self.word() {
            return error;
        }
        let word = self.input.get(self.start..self.position).unwrap_or_default();
        self.emit(match word {
            "true" | "false" => Kind::Bool,
            "nil" => Kind::Nil,
            _ if KEYWORDS.contains(&word) => Kind::Keyword,
            _ => Kind::Identifier,
        })
    }

    fn accept(&mut self, valid: &str) -> bool {
        let found = self.peek().is_some_and(|c| valid.contains(c));
        if found {
            self.bump();
        }
        found
    }

    fn number(&mut self) -> Token<'a> {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        while self.accept(digits) {}
        if self.accept(".") {
            while self.accept(digits) {}
        }
        if (digits.len() == 11 && self.accept("eE")) || (digits.len() == 23 && self.accept("pP")) {
            self.accept("+-");
            while self.accept("0123456789_") {}
        }
        self.accept("i");
        if self.peek().is_some_and(is_word) {
            self.bump();
        } else if !self.peek().is_some_and(|c| c == '+' || c == '-') {
            return self.emit(Kind::Number);
        }
        let text = crate::units::quote(self.input.get(self.start..self.position).unwrap_or_default());
        self.error(format!("bad number syntax: {text}"))
    }
}

/// Go's `%#U`.
fn code_point(c: Option<char>) -> String {
    match c {
        Some(c) if c.is_control() => format!("U+{:04X}", u32::from(c)),
        Some(c) => format!("U+{:04X} '{c}'", u32::from(c)),
        None => "U+FFFFFFFFFFFFFFFF".to_owned(),
    }
}

impl Token<'_> {
    /// The token as Go's messages show it.
    pub fn show(&self) -> String {
        match self.kind {
            Kind::Eof => "EOF".to_owned(),
            Kind::Error => self.text.clone().into_owned(),
            Kind::Keyword | Kind::Dot | Kind::Nil => format!("<{}>", self.text),
            _ if self.text.len() > 10 => {
                format!("{}...", crate::units::quote(&self.text.chars().take(10).collect::<String>()))
            }
            _ => crate::units::quote(&self.text),
        }
    }
}
