//! Integers by the verbs of Go's `fmt`: `%d %b %o %O %x %X %c %q %U`.

use super::quoted::{self, quote};
use super::{Printer, Result};
use crate::template::value::Value;

impl Printer<'_, '_> {
    pub(super) fn integer(&mut self, value: &Value<'_>, number: i64, verb: char) -> Result {
        match verb {
            'v' if self.flags.sharp_v && matches!(value, Value::Byte(_)) => {
                let sharp = std::mem::replace(&mut self.flags.sharp, true);
                self.digits(number, 16, verb);
                self.flags.sharp = sharp;
            }
            'v' | 'd' => self.digits(number, 10, verb),
            'b' => self.digits(number, 2, verb),
            'o' | 'O' => self.digits(number, 8, verb),
            'x' | 'X' => self.digits(number, 16, verb),
            'c' => {
                let text = char_of(number).to_string();
                self.pad(text.as_bytes());
            }
            'q' => {
                let text = quote(char_of(number).to_string().as_bytes(), '\'', self.flags.plus);
                self.pad(text.as_bytes());
            }
            'U' => self.code_point(number),
            _ => return self.bad_verb(value, verb),
        }
        Ok(())
    }

    fn digits(&mut self, number: i64, base: u32, verb: char) {
        let flags = self.flags;
        let signed = number < 0 || flags.plus || flags.space;
        if flags.precision == Some(0) && number == 0 {
            let zero = std::mem::replace(&mut self.flags.zero, false);
            self.fill(flags.width.unwrap_or(0));
            self.flags.zero = zero;
            return;
        }
        let least = match (flags.precision, flags.width) {
            (Some(precision), _) => precision,
            (None, Some(width)) if flags.zero && !flags.minus => width.saturating_sub(usize::from(signed)),
            _ => 0,
        };
        let magnitude = number.unsigned_abs();
        let digits = match (base, verb) {
            (2, _) => format!("{magnitude:b}"),
            (8, _) => format!("{magnitude:o}"),
            (16, 'X') => format!("{magnitude:X}"),
            (16, _) => format!("{magnitude:x}"),
            _ => magnitude.to_string(),
        };
        let mut text = String::with_capacity(least + 8);
        text.push_str(match (number < 0, flags.plus, flags.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (.., true) => " ",
            _ => "",
        });
        let zeros = least.saturating_sub(digits.len());
        text.push_str(match (base, verb) {
            (8, 'O') => "0o",
            (2, _) if flags.sharp => "0b",
            (8, _) if flags.sharp && zeros == 0 && magnitude != 0 => "0",
            (16, 'X') if flags.sharp => "0X",
            (16, _) if flags.sharp => "0x",
            _ => "",
        });
        text.extend(std::iter::repeat_n('0', zeros));
        text.push_str(&digits);
        let zero = std::mem::replace(&mut self.flags.zero, false);
        self.pad(text.as_bytes());
        self.flags.zero = zero;
    }

    fn code_point(&mut self, number: i64) {
        let code = number as u64;
        let digits = self.flags.precision.unwrap_or(0).max(4);
        let mut text = format!("U+{code:0>digits$X}");
        if self.flags.sharp
            && let Some(c) = u32::try_from(code).ok().and_then(char::from_u32).filter(|&c| quoted::is_printable(c))
        {
            text.push_str(&format!(" '{c}'"));
        }
        let zero = std::mem::replace(&mut self.flags.zero, false);
        self.pad(text.as_bytes());
        self.flags.zero = zero;
    }
}

fn char_of(number: i64) -> char {
    u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}
