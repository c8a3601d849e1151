//! Numbers as Go writes them, with its complaints about those that it would not.

use super::scanner::Scanner;
use crate::units::underscores_separate;

impl Scanner<'_> {
    /// Passes over a number; its first digit is next, or a point was before it.
    pub(super) fn number(&mut self, mut seen_point: bool) {
        let mut prefix = Prefix::None;
        let mut digits = Digits::default();
        let mut is_float = seen_point;
        if !seen_point {
            if self.peek() == Some('0') {
                self.bump();
                prefix = self.prefix(&mut digits);
            }
            self.digits(prefix, &mut digits);
            if self.peek() == Some('.') {
                self.bump();
                seen_point = true;
            }
        }
        if seen_point {
            is_float = true;
            if matches!(prefix, Prefix::Octal | Prefix::Binary) {
                self.refuse(format!("invalid radix point in {}", prefix.name()));
            }
            self.digits(prefix, &mut digits);
        }
        if !digits.any {
            self.refuse(format!("{} has no digits", prefix.name()));
        }
        let exponent = self.peek().map(|c| (c, c.to_ascii_lowercase()));
        if let Some((c, lower)) = exponent.filter(|&(_, c)| c == 'e' || (c == 'p' && prefix == Prefix::Hexadecimal)) {
            if lower == 'e' && !matches!(prefix, Prefix::None | Prefix::Zero) {
                self.refuse(format!("'{c}' exponent requires decimal mantissa"));
            }
            self.bump();
            is_float = true;
            if matches!(self.peek(), Some('+' | '-')) {
                self.bump();
            }
            let mut of_exponent = Digits::default();
            self.digits(Prefix::None, &mut of_exponent);
            digits.underscore |= of_exponent.underscore;
            if !of_exponent.any {
                self.refuse("exponent has no digits");
            }
        } else if prefix == Prefix::Hexadecimal && is_float {
            self.refuse("hexadecimal mantissa requires a 'p' exponent");
        }
        if let Some(digit) = digits.invalid.filter(|_| !is_float) {
            self.refuse(format!("invalid digit '{digit}' in {}", prefix.name()));
        }
        if digits.underscore && !underscores_separate(self.so_far()) {
            self.refuse("'_' must separate successive digits");
        }
    }

    /// What is behind a leading 0.
    fn prefix(&mut self, digits: &mut Digits) -> Prefix {
        match self.peek() {
            Some('x' | 'X') => {
                self.bump();
                Prefix::Hexadecimal
            }
            Some('o' | 'O') => {
                self.bump();
                Prefix::Octal
            }
            Some('b' | 'B') => {
                // Loki's scanner looks at the character that this scan began with, not at the next.
                if matches!(self.begin, Some('0' | '1')) {
                    self.bump();
                    return Prefix::Binary;
                }
                Prefix::None
            }
            _ => {
                digits.any = true;
                Prefix::Zero
            }
        }
    }

    fn digits(&mut self, prefix: Prefix, digits: &mut Digits) {
        while let Some(c) = self.peek() {
            match c {
                '_' => digits.underscore = true,
                '0'..='9' => {
                    digits.any = true;
                    if !c.is_digit(prefix.radix()) && digits.invalid.is_none() {
                        digits.invalid = Some(c);
                    }
                }
                'a'..='f' | 'A'..='F' if prefix == Prefix::Hexadecimal => digits.any = true,
                _ => return,
            }
            self.bump();
        }
    }
}

#[derive(Default)]
struct Digits {
    any: bool,
    underscore: bool,
    invalid: Option<char>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefix {
    None,
    Zero,
    Hexadecimal,
    Octal,
    Binary,
}

impl Prefix {
    fn name(self) -> &'static str {
        match self {
            Self::None => "decimal literal",
            Self::Zero | Self::Octal => "octal literal",
            Self::Hexadecimal => "hexadecimal literal",
            Self::Binary => "binary literal",
        }
    }

    fn radix(self) -> u32 {
        match self {
            Self::None => 10,
            Self::Zero | Self::Octal => 8,
            Self::Hexadecimal => 16,
            Self::Binary => 2,
        }
    }
}
