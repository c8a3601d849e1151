//! Decimal arithmetic as sprig's float functions do it: `0.1 + 0.2` is `0.3`.
//!
//! A decimal is exact up to 38 digits; beyond that the functions fall back to floats, where Go's
//! big decimals stay exact up to the last rounding.

/// Digits behind the point that a division gives.
const DIVISION_DIGITS: i32 = 16;

/// `value · 10^exponent`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal {
    value: i128,
    exponent: i32,
}

fn power(exponent: i32) -> Option<i128> {
    10i128.checked_pow(u32::try_from(exponent).ok()?)
}

impl Decimal {
    /// The shortest decimal that reads as the float; `None` for infinities and NaN.
    pub fn new(number: f64) -> Option<Self> {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let value = mantissa.replace('.', "").parse().ok()?;
        Some(Self { value, exponent: exponent.parse::<i32>().ok()? - i32::try_from(fraction).ok()? })
    }

    /// The nearest float.
    pub fn float(self) -> f64 {
        format!("{}e{}", self.value, self.exponent).parse().unwrap_or(f64::NAN)
    }

    fn rescaled(self, exponent: i32) -> Option<i128> {
        self.value.checked_mul(power(self.exponent - exponent)?)
    }

    pub fn add(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let value = self.rescaled(exponent)?.checked_add(other.rescaled(exponent)?)?;
        Some(Self { value, exponent })
    }

    pub fn sub(self, other: Self) -> Option<Self> {
        self.add(Self { value: -other.value, exponent: other.exponent })
    }

    pub fn mul(self, other: Self) -> Option<Self> {
        Some(Self { value: self.value.checked_mul(other.value)?, exponent: self.exponent + other.exponent })
    }

    pub fn is_zero(self) -> bool {
        self.value == 0
    }

    /// To 16 digits behind the point, halves away from zero.
    pub fn div(self, other: Self) -> Option<Self> {
        let shift = self.exponent - other.exponent + DIVISION_DIGITS;
        let (dividend, divisor) = if shift < 0 {
            (self.value, other.value.checked_mul(power(-shift)?)?)
        } else {
            (self.value.checked_mul(power(shift)?)?, other.value)
        };
        let mut value = dividend.checked_div(divisor)?;
        let rest = dividend.checked_rem(divisor)?;
        if rest.unsigned_abs().checked_mul(2)? >= divisor.unsigned_abs() {
            value += if (self.value < 0) == (other.value < 0) { 1 } else { -1 };
        }
        Some(Self { value, exponent: -DIVISION_DIGITS })
    }
}
