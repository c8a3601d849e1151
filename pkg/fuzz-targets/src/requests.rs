//! Any bytes as what HTTP requests are made of: a compressed body, a JSON question, a query string or
//! form, headers. The first byte says which.

use timberlog_api::requests;

/// The most bytes that may come out of a body.
const BODY_BYTES_MAX: usize = 1 << 20;

/// See the module.
pub fn requests(input: &[u8]) {
    let Some((&kind, rest)) = input.split_first() else { return };
    match kind % 7 {
        how @ 0..=3 => {
            if let Some(out) = requests::body(how, rest, BODY_BYTES_MAX) {
                assert!(out.len() <= BODY_BYTES_MAX);
            }
        }
        4 => requests::json(rest),
        5 => requests::query_string(rest),
        _ => requests::headers(rest),
    }
}
