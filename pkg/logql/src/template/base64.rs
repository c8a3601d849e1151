//! Standard Base64 with padding, with the errors of Go's decoder.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = usize::try_from(bits >> (18 - 6 * at) & 63).ok().and_then(|index| ALPHABET.get(index));
            out.push(if at as usize > chunk.len() { b'=' } else { letter.copied().unwrap_or(b'=') });
        }
    }
    out
}

fn value(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

/// The error is Go's text.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, String> {
    let corrupt = |at: usize| Err(format!("illegal base64 data at input byte {at}"));
    // Line ends do not count, but for the positions in errors.
    let mut input = text.iter().enumerate().filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'));
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    loop {
        let (mut bits, mut letters, mut padded) = (0u32, 0usize, false);
        while letters < 4 {
            let Some((at, &byte)) = input.next() else {
                return if letters == 0 { Ok(out) } else { corrupt(text.len() - letters) };
            };
            if let Some(value) = value(byte) {
                bits = bits << 6 | value;
                letters += 1;
                continue;
            }
            if byte != b'=' || letters < 2 {
                return corrupt(at);
            }
            if letters == 2 {
                match input.next() {
                    Some((_, b'=')) => {}
                    Some((at, _)) => return corrupt(at - 1),
                    None => return corrupt(text.len()),
                }
            }
            if let Some((at, _)) = input.next() {
                return corrupt(at);
            }
            padded = true;
            break;
        }
        bits <<= 6 * (4 - letters);
        let bytes = bits.to_be_bytes();
        out.extend_from_slice(bytes.get(1..letters).unwrap_or_default());
        if padded {
            return Ok(out);
        }
    }
}
