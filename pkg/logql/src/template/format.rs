//! Values as Go's `fmt` prints them: `%v` for the output, and `printf` with its verbs and flags.
//!
//! Not here: `%b` and `%x` of floats, `#` of floats, `%p`; they print as verbs that do not fit.

mod integer;
mod quoted;

pub(super) use quoted::{escape_js, quote};

use super::evaluate::Scope;
use super::value::Value;
use super::{RENDER_BYTES_MAX, float};

/// A width, precision or argument number beyond this counts as none.
const NUMBER_MAX: usize = 1_000_000;

type Result<T = ()> = std::result::Result<T, String>;

/// Appends a value as `%v` prints it.
pub(super) fn print_value(scope: &Scope<'_>, value: &Value<'_>, out: &mut Vec<u8>) -> Result {
    let mut printer = Printer { scope, out: std::mem::take(out), flags: Flags::default() };
    let result = printer.argument(value, 'v');
    *out = printer.out;
    result
}

/// A value as `%v` prints it, for error texts.
pub(super) fn show(scope: &Scope<'_>, value: &Value<'_>) -> String {
    let mut out = Vec::new();
    // A value that is too large to print shows as far as it got.
    let _ = print_value(scope, value, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Go's `Sprint`: spaces between operands when neither is a text.
pub(super) fn print(scope: &Scope<'_>, values: &[Value<'_>]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut was_text = true;
    for value in values {
        let is_text = matches!(value, Value::Text(_));
        if !is_text && !was_text {
            out.push(b' ');
        }
        print_value(scope, value, &mut out)?;
        was_text = is_text;
        if out.is_empty() {
            was_text = is_text;
        }
    }
    Ok(out)
}

/// Go's `Sprintln`.
pub(super) fn println(scope: &Scope<'_>, values: &[Value<'_>]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        print_value(scope, value, &mut out)?;
    }
    out.push(b'\n');
    Ok(out)
}

/// Go's `Sprintf`.
pub(super) fn printf(scope: &Scope<'_>, format: &[u8], values: &[Value<'_>]) -> Result<Vec<u8>> {
    let mut printer = Printer { scope, out: Vec::with_capacity(format.len()), flags: Flags::default() };
    let mut format = Format { text: format, at: 0, argument: 0, reordered: false, good: true };
    while format.at < format.text.len() {
        let rest = format.text.get(format.at..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'%').unwrap_or(rest.len());
        printer.out.extend_from_slice(rest.get(..length).unwrap_or_default());
        printer.check()?;
        format.at += length;
        if format.at < format.text.len() {
            format.at += 1;
            format.verb(&mut printer, values)?;
        }
    }
    if !format.reordered && format.argument < values.len() {
        printer.flags = Flags::default();
        printer.out.extend_from_slice(b"%!(EXTRA ");
        for (at, value) in values.iter().skip(format.argument).enumerate() {
            if at > 0 {
                printer.out.extend_from_slice(b", ");
            }
            if value.is_nil() {
                printer.out.extend_from_slice(b"<nil>");
            } else {
                printer.named(value)?;
            }
        }
        printer.out.push(b')');
    }
    Ok(printer.out)
}

/// Where a format is read.
struct Format<'f> {
    text: &'f [u8],
    at: usize,
    /// The argument that the next verb takes.
    argument: usize,
    reordered: bool,
    good: bool,
}

impl Format<'_> {
    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Digits up to `end`; what is too large is none, and skips to the end.
    fn number(&mut self, end: usize) -> Option<usize> {
        let mut number = None;
        while self.at < end {
            let Some(digit) = self.byte().filter(u8::is_ascii_digit) else { break };
            let value = number.unwrap_or(0usize);
            if value > NUMBER_MAX {
                self.at = end;
                return None;
            }
            number = Some(value * 10 + usize::from(digit - b'0'));
            self.at += 1;
        }
        number
    }

    /// `[3]`: whether there was one.
    fn argument_number(&mut self, count: usize) -> bool {
        if self.byte() != Some(b'[') {
            return false;
        }
        self.reordered = true;
        let rest = self.text.get(self.at..).unwrap_or_default();
        let close = rest.iter().position(|&byte| byte == b']').filter(|_| rest.len() >= 3);
        let Some(close) = close.map(|close| self.at + close) else {
            self.good = false;
            self.at += 1;
            return false;
        };
        self.at += 1;
        let number = self.number(close).filter(|_| self.at == close);
        self.at = close + 1;
        match number.and_then(|number| number.checked_sub(1)) {
            Some(index) if index < count => {
                self.argument = index;
                true
            }
            _ => {
                self.good = false;
                number.is_some()
            }
        }
    }

    /// `*`: the next argument as a width or precision.
    fn star(&mut self, values: &[Value<'_>]) -> Option<i64> {
        let value = values.get(self.argument)?;
        self.argument += 1;
        value.int().filter(|number| number.unsigned_abs() <= NUMBER_MAX as u64)
    }

    fn verb(&mut self, printer: &mut Printer<'_, '_>, values: &[Value<'_>]) -> Result {
        let end = self.text.len();
        self.good = true;
        let mut flags = Flags::default();
        while let Some(byte) = self.byte() {
            match byte {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
        let mut indexed = self.argument_number(values.len());
        if self.byte() == Some(b'*') {
            self.at += 1;
            match self.star(values) {
                Some(width) => {
                    flags.width = Some(usize::try_from(width.unsigned_abs()).unwrap_or(0));
                    if width < 0 {
                        flags.minus = true;
                        flags.zero = false;
                    }
                }
                None => printer.out.extend_from_slice(b"%!(BADWIDTH)"),
            }
            indexed = false;
        } else {
            flags.width = self.number(end);
            if indexed && flags.width.is_some() {
                self.good = false;
            }
        }
        if self.byte() == Some(b'.') && self.at + 1 < end {
            self.at += 1;
            if indexed {
                self.good = false;
            }
            indexed = self.argument_number(values.len());
            if self.byte() == Some(b'*') {
                self.at += 1;
                match self.star(values) {
                    Some(precision) if precision >= 0 => flags.precision = usize::try_from(precision).ok(),
                    _ => printer.out.extend_from_slice(b"%!(BADPREC)"),
                }
                indexed = false;
            } else {
                flags.precision = Some(self.number(end).unwrap_or(0));
            }
        }
        if !indexed {
            self.argument_number(values.len());
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            printer.out.extend_from_slice(b"%!(NOVERB)");
            return Ok(());
        }
        let (verb, length) = first_char(rest);
        self.at += length;
        let complaint = if verb == '%' {
            printer.out.push(b'%');
            return Ok(());
        } else if !self.good {
            "(BADINDEX)"
        } else if let Some(value) = values.get(self.argument) {
            self.argument += 1;
            if verb == 'v' {
                flags.sharp_v = flags.sharp;
                (flags.sharp, flags.plus) = (false, false);
            }
            printer.flags = flags;
            return printer.argument(value, verb);
        } else {
            "(MISSING)"
        };
        printer.out.extend_from_slice(format!("%!{verb}{complaint}").as_bytes());
        Ok(())
    }
}

/// The first character of bytes and its length; what is no UTF-8 is U+FFFD of one byte.
pub(super) fn first_char(bytes: &[u8]) -> (char, usize) {
    let head = bytes.get(..bytes.len().min(4)).unwrap_or_default();
    let chunk = head.utf8_chunks().next();
    match chunk.and_then(|chunk| chunk.valid().chars().next()) {
        Some(c) => (c, c.len_utf8()),
        None => (char::REPLACEMENT_CHARACTER, usize::from(!bytes.is_empty())),
    }
}

/// Characters of bytes, as Go counts runes: each byte that is no UTF-8 is one.
pub(super) fn count_chars(mut bytes: &[u8]) -> usize {
    if bytes.is_ascii() {
        return bytes.len();
    }
    let mut count = 0;
    while !bytes.is_empty() {
        bytes = bytes.get(first_char(bytes).1..).unwrap_or_default();
        count += 1;
    }
    count
}

/// Where the character of a number begins; the end if there are fewer.
pub(super) fn char_offset(bytes: &[u8], chars: usize) -> usize {
    let mut at = 0;
    for _ in 0..chars {
        let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { break };
        at += first_char(rest).1;
    }
    at
}

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    width: Option<usize>,
    precision: Option<usize>,
    sharp: bool,
    zero: bool,
    plus: bool,
    minus: bool,
    space: bool,
    sharp_v: bool,
}

struct Printer<'s, 'a> {
    scope: &'s Scope<'a>,
    out: Vec<u8>,
    flags: Flags,
}

impl Printer<'_, '_> {
    fn check(&self) -> Result {
        if self.out.len() > RENDER_BYTES_MAX {
            return Err(format!("a value of more than {RENDER_BYTES_MAX} bytes"));
        }
        Ok(())
    }

    fn fill(&mut self, count: usize) {
        let zero = self.flags.zero && !self.flags.minus;
        self.out.resize(self.out.len() + count, if zero { b'0' } else { b' ' });
    }

    fn pad(&mut self, text: &[u8]) {
        let missing = self.flags.width.map_or(0, |width| width.saturating_sub(count_chars(text)));
        if !self.flags.minus {
            self.fill(missing);
        }
        self.out.extend_from_slice(text);
        if self.flags.minus {
            self.fill(missing);
        }
    }

    /// `type=value`.
    fn named(&mut self, value: &Value<'_>) -> Result {
        if let Value::Boxed(Some(inner)) = value {
            return self.named(inner);
        }
        self.out.extend_from_slice(value.type_name().as_bytes());
        self.out.push(b'=');
        self.value(value, 'v', 0)
    }

    fn bad_verb(&mut self, value: &Value<'_>, verb: char) -> Result {
        self.out.extend_from_slice(format!("%!{verb}(").as_bytes());
        if value.is_nil() {
            self.out.extend_from_slice(b"<nil>");
        } else {
            self.named(value)?;
        }
        self.out.push(b')');
        Ok(())
    }

    /// An argument of `printf`.
    fn argument(&mut self, value: &Value<'_>, verb: char) -> Result {
        self.check()?;
        match (value, verb) {
            (Value::Boxed(Some(inner)), _) => self.argument(inner, verb),
            (Value::Invalid | Value::Boxed(None), 'T' | 'v') => {
                self.pad(b"<nil>");
                Ok(())
            }
            (_, 'T') => {
                self.text(value.type_name().as_bytes());
                Ok(())
            }
            _ => self.value(value, verb, 0),
        }
    }

    fn text(&mut self, text: &[u8]) {
        let end = self.flags.precision.map_or(text.len(), |precision| char_offset(text, precision));
        self.pad(text.get(..end).unwrap_or_default());
    }

    /// A value, or what is in one: `depth` counts the lists and objects around it.
    fn value(&mut self, value: &Value<'_>, verb: char, depth: usize) -> Result {
        self.check()?;
        match value {
            Value::Invalid | Value::Boxed(None) if depth > 0 => {
                let text = if self.flags.sharp_v { "interface {}(nil)" } else { "<nil>" };
                self.out.extend_from_slice(text.as_bytes());
            }
            Value::Invalid | Value::Boxed(None) => return self.bad_verb(value, verb),
            Value::Boxed(Some(inner)) => return self.value(inner, verb, depth),
            Value::Bool(flag) if matches!(verb, 't' | 'v') => self.pad(flag.to_string().as_bytes()),
            Value::Float(number) => return self.float(*number, verb),
            Value::Text(text) => return self.string(value, text, verb),
            // Without this a time would be shown as what cannot be shown, which shows it.
            Value::Time(time) if self.flags.sharp_v => self.pad(time.as_source().as_bytes()),
            Value::Time(_) | Value::Duration(_) | Value::Month(_) | Value::Weekday(_)
                if matches!(verb, 'v' | 's' | 'q' | 'x' | 'X') && !self.flags.sharp_v =>
            {
                let text = match value {
                    Value::Time(time) => time.to_string(),
                    Value::Duration(duration) => duration.to_string(),
                    Value::Month(month) => month.to_string(),
                    Value::Weekday(day) => day.to_string(),
                    _ => String::new(),
                };
                return self.string(value, text.as_bytes(), verb);
            }
            Value::Labels => {
                let labels = self.scope.labels();
                let labels = labels.iter().map(|(name, value)| (name.as_bytes(), Value::text(value.as_bytes())));
                return self.map(value, labels, verb, depth);
            }
            Value::Map(map) => {
                let entries = map.iter().map(|(name, value)| (name.as_slice(), value.clone()));
                return self.map(value, entries, verb, depth);
            }
            Value::List(list) => {
                let sharp = self.flags.sharp_v;
                self.out.extend_from_slice(if sharp { b"[]interface {}{" } else { b"[" });
                for at in 0..list.len() {
                    if at > 0 {
                        self.out.extend_from_slice(if sharp { b", " } else { b" " });
                    }
                    if let Some(element) = list.get(at) {
                        self.value(element, verb, depth + 1)?;
                    }
                }
                self.out.push(if sharp { b'}' } else { b']' });
            }
            value => match value.int() {
                Some(number) => return self.integer(value, number, verb),
                None => return self.bad_verb(value, verb),
            },
        }
        Ok(())
    }

    fn map<'v>(
        &mut self,
        whole: &Value<'_>,
        entries: impl Iterator<Item = (&'v [u8], Value<'v>)>,
        verb: char,
        depth: usize,
    ) -> Result {
        let sharp = self.flags.sharp_v;
        if sharp {
            self.out.extend_from_slice(whole.type_name().as_bytes());
        }
        self.out.extend_from_slice(if sharp { b"{" } else { b"map[" });
        for (at, (name, value)) in entries.enumerate() {
            if at > 0 {
                self.out.extend_from_slice(if sharp { b", " } else { b" " });
            }
            self.value(&Value::text(name), verb, depth + 1)?;
            self.out.push(b':');
            self.value(&value, verb, depth + 1)?;
        }
        self.out.push(if sharp { b'}' } else { b']' });
        Ok(())
    }

    fn string(&mut self, value: &Value<'_>, text: &[u8], verb: char) -> Result {
        match verb {
            'v' if !self.flags.sharp_v => self.text(text),
            's' => self.text(text),
            'x' | 'X' => self.hexadecimal(text, verb == 'X'),
            'q' | 'v' => {
                let end = self.flags.precision.map_or(text.len(), |precision| char_offset(text, precision));
                let text = text.get(..end).unwrap_or_default();
                let plain = std::str::from_utf8(text).is_ok_and(quoted::can_backquote);
                if self.flags.sharp && plain {
                    self.pad(&[b"`", text, b"`"].concat());
                } else {
                    let quoted = quote(text, '"', self.flags.plus);
                    self.pad(quoted.as_bytes());
                }
            }
            _ => return self.bad_verb(value, verb),
        }
        Ok(())
    }

    fn hexadecimal(&mut self, text: &[u8], upper: bool) {
        let flags = self.flags;
        let text = text.get(..flags.precision.unwrap_or(text.len())).unwrap_or(text);
        let mut shown = String::with_capacity(text.len() * 2);
        for (at, byte) in text.iter().enumerate() {
            if flags.space && at > 0 {
                shown.push(' ');
            }
            if flags.sharp && (at == 0 || flags.space) {
                shown.push_str(if upper { "0X" } else { "0x" });
            }
            shown.push_str(&if upper { format!("{byte:02X}") } else { format!("{byte:02x}") });
        }
        self.pad(shown.as_bytes());
    }

    fn float(&mut self, number: f64, verb: char) -> Result {
        let default = match verb {
            'v' | 'g' | 'G' => None,
            'e' | 'E' | 'f' | 'F' => Some(6),
            'b' | 'x' | 'X' => None,
            _ => return self.bad_verb(&Value::Float(number), verb),
        };
        let letter = match verb {
            'v' => 'g',
            'F' => 'f',
            verb => verb,
        };
        let mut text = float::print(number, letter, self.flags.precision.or(default));
        if !text.starts_with(['-', '+']) {
            text.insert(0, '+');
        }
        let plus = self.flags.plus;
        if self.flags.space && text.starts_with('+') && !plus {
            text.replace_range(..1, " ");
        }
        let (sign, digits) = text.split_at(1);
        if !number.is_finite() {
            let bare = number.is_nan() && !self.flags.space && !plus || sign == "+" && !plus && !number.is_infinite();
            let zero = std::mem::replace(&mut self.flags.zero, false);
            self.pad(if bare { digits.as_bytes() } else { text.as_bytes() });
            self.flags.zero = zero;
            return Ok(());
        }
        if !plus && sign == "+" {
            self.pad(digits.as_bytes());
            return Ok(());
        }
        match self.flags.width {
            Some(width) if self.flags.zero && !self.flags.minus && width > text.len() => {
                self.out.extend_from_slice(sign.as_bytes());
                self.fill(width - text.len());
                self.out.extend_from_slice(digits.as_bytes());
            }
            _ => self.pad(text.as_bytes()),
        }
        Ok(())
    }
}
