//! Binary operators on two numbers, for those that the parser folds and for those of vectors.

use crate::ast::BinaryOp;

/// Whether an operator compares.
pub(super) fn compares(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Gt | BinaryOp::Ge | BinaryOp::Lt | BinaryOp::Le)
}

/// Whether an operator works on sets of elements and not on their values.
pub(super) fn combines_sets(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
}

/// The result of an operator; comparisons give 1 or 0. NaN for a set operator.
pub(crate) fn apply(op: BinaryOp, left: f64, right: f64) -> f64 {
    let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        // Dividing by zero is NaN and never infinity.
        BinaryOp::Div | BinaryOp::Mod if right == 0.0 => f64::NAN,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => pow(left, right),
        BinaryOp::Eq => truth(left == right),
        BinaryOp::Ne => truth(left != right),
        BinaryOp::Gt => truth(left > right),
        BinaryOp::Ge => truth(left >= right),
        BinaryOp::Lt => truth(left < right),
        BinaryOp::Le => truth(left <= right),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => f64::NAN,
    }
}

/// `base` to the power of `exponent`. For whole exponents the products are those that Go makes,
/// by repeated squaring of mantissa and exponent apart, since rounding is not the same otherwise.
/// For others the last digit may differ from Go's, whose exponential depends on the processor.
fn pow(base: f64, exponent: f64) -> f64 {
    if exponent == 0.0 || base == 1.0 {
        return 1.0;
    }
    if exponent == 1.0 {
        return base;
    }
    if exponent == 0.5 {
        return base.sqrt();
    }
    if exponent == -0.5 {
        return 1.0 / base.sqrt();
    }
    let size = exponent.abs();
    if !base.is_finite() || base == 0.0 || !exponent.is_finite() || (base < 0.0 && size.fract() != 0.0) {
        return base.powf(exponent);
    }
    // Beyond this an exponent is even, and the result over- or underflows unless base is ±1.
    if size >= 9_223_372_036_854_775_808.0 {
        return base.powf(exponent);
    }
    let (mut whole, mut rest) = (size.trunc(), size.fract());
    let mut mantissa = 1.0;
    if rest != 0.0 {
        if rest > 0.5 {
            rest -= 1.0;
            whole += 1.0;
        }
        mantissa = (rest * base.ln()).exp();
    }
    let mut power = 0_i64;
    let (mut square, mut square_power) = split(base);
    let mut bits = whole as u64;
    while bits != 0 {
        if !(-4096..=4096).contains(&square_power) {
            power += square_power;
            break;
        }
        if bits & 1 == 1 {
            mantissa *= square;
            power += square_power;
        }
        square *= square;
        square_power *= 2;
        if square < 0.5 {
            square += square;
            square_power -= 1;
        }
        bits >>= 1;
    }
    if exponent < 0.0 {
        mantissa = 1.0 / mantissa;
        power = -power;
    }
    scale(mantissa, power)
}

/// A finite number other than 0 as mantissa in [0.5, 1) and power of two.
fn split(number: f64) -> (f64, i64) {
    const SUBNORMAL_SHIFT: i64 = 54;
    let (number, shift) = if number.abs() < f64::MIN_POSITIVE {
        (number * (1_u64 << SUBNORMAL_SHIFT) as f64, -SUBNORMAL_SHIFT)
    } else {
        (number, 0)
    };
    let bits = number.to_bits();
    let power = ((bits >> 52) & 0x7ff) as i64 - 1022;
    (f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52)), power + shift)
}

/// `mantissa * 2^power`, rounded once.
fn scale(mantissa: f64, power: i64) -> f64 {
    if mantissa == 0.0 || !mantissa.is_finite() {
        return mantissa;
    }
    let (mantissa, own) = split(mantissa);
    let power = power.saturating_add(own);
    if power > 1024 {
        return f64::INFINITY.copysign(mantissa);
    }
    if power < -1080 {
        return 0.0_f64.copysign(mantissa);
    }
    // mantissa is in [0.5, 1): one step to a normal number, and where the result is subnormal one
    // rounding multiplication more.
    if power >= -1021 {
        return mantissa * 2.0 * f64::from_bits(((power - 1 + 1023) as u64) << 52);
    }
    let up = power + 200;
    mantissa * 2.0 * f64::from_bits(((up - 1 + 1023) as u64) << 52) * 2.0_f64.powi(-200)
}
