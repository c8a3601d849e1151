//! Bit-packing: numbers of a fixed width of 0 to 64 bits, one behind the other, lowest bit first;
//! the last byte is filled with zeros.

/// The bytes that so many numbers of a width take.
pub(crate) fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// The bits that a number needs.
pub(crate) fn width_of(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Appends numbers; bits above `width` must be zero.
pub(crate) fn pack(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let (mut word, mut filled) = (0_u64, 0_u32);
    for value in values {
        word |= value << filled;
        filled += width;
        if filled >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            filled -= 64;
            word = if filled == 0 { 0 } else { value >> (width - filled) };
        }
    }
    let rest = (filled as usize).div_ceil(8);
    out.extend_from_slice(&word.to_le_bytes()[..rest]);
}

/// Calls `f` with each of `count` numbers; `bytes` are [`packed_len`] long (missing bytes are zeros).
#[inline]
pub(crate) fn unpack(bytes: &[u8], width: u32, count: usize, mut f: impl FnMut(u64)) {
    if width == 0 {
        (0..count).for_each(|_| f(0));
        return;
    }
    let mask = u64::MAX >> (64 - width);
    let width = width as usize;
    // Numbers whose nine bytes are all there are read without a look at the end.
    let fast = (bytes.len().saturating_sub(8) * 8 / width).min(count);
    if width <= 56 {
        for index in 0..fast {
            let at = index * width;
            let Some(word) = bytes.get(at / 8..).and_then(|rest| rest.first_chunk()) else { break };
            f(u64::from_le_bytes(*word) >> (at % 8) & mask);
        }
    } else {
        (0..fast).for_each(|index| f(slow(bytes, index * width) & mask));
    }
    (fast..count).for_each(|index| f(slow(bytes, index * width) & mask));
}

fn slow(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 16];
    let rest = bytes.get(at / 8..).unwrap_or_default();
    let len = rest.len().min(9);
    word[..len].copy_from_slice(&rest[..len]);
    // The number was cut to at most 64 bits by the caller's mask.
    (u128::from_le_bytes(word) >> (at % 8)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_and_count_comes_back() {
        for width in 0..=64 {
            for count in [0, 1, 2, 7, 8, 9, 63, 64, 65, 128] {
                let mask = if width == 0 { 0 } else { u64::MAX >> (64 - width) };
                let values: Vec<u64> =
                    (0..count).map(|n: u64| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask).collect();
                let mut bytes = Vec::new();
                pack(values.iter().copied(), width, &mut bytes);
                assert_eq!(bytes.len(), packed_len(values.len(), width));
                let mut back = Vec::new();
                unpack(&bytes, width, values.len(), |value| back.push(value));
                assert_eq!(back, values, "{width} {count}");
            }
        }
    }
}
