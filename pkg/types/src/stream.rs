//! Streams: the service of a record and its stream labels, in one canonical encoding.
//!
//! | bytes | content |
//! |---|---|
//! | u16 | length of the service |
//! | n | service |
//! | u16 | number of labels |
//! | per label: u16, n, u16, n | length and bytes of the name, length and bytes of the value |
//!
//! Labels are sorted by name, each name once. Integers are little-endian. A service is part of
//! the stream's identity even when no stream label carries it.

use xxhash_rust::xxh3::xxh3_64;

/// The stream labels from which Loki's `service_name` is taken if no label has that name; the first
/// one counts.
pub const SERVICE_NAME_KEYS: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];
/// Loki's `service_name` of a stream that has none of [`SERVICE_NAME_KEYS`].
pub const SERVICE_NAME_UNKNOWN: &str = "unknown_service";

/// A stream, borrowed from its canonical encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamRef<'a> {
    bytes: &'a [u8],
}

impl<'a> StreamRef<'a> {
    /// Checks an encoding: lengths, UTF-8, sorted and distinct names. `None` if it is not canonical.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (service, mut rest) = take_text(bytes)?;
        std::str::from_utf8(service).ok()?;
        let (count, tail) = rest.split_first_chunk::<2>()?;
        rest = tail;
        let mut last: Option<&[u8]> = None;
        for _ in 0..u16::from_le_bytes(*count) {
            let (name, tail) = take_text(rest)?;
            let (value, tail) = take_text(tail)?;
            std::str::from_utf8(name).ok()?;
            std::str::from_utf8(value).ok()?;
            if last.is_some_and(|last| last >= name) {
                return None;
            }
            last = Some(name);
            rest = tail;
        }
        rest.is_empty().then_some(Self { bytes })
    }

    /// Takes an encoding that was checked before. On a malformed one the accessors answer with
    /// less than is there; they never panic.
    pub fn parse_unchecked(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The canonical encoding.
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// XXH3-64 of the canonical encoding: the stream's place in the total order of records.
    pub fn hash(self) -> u64 {
        xxh3_64(self.bytes)
    }

    /// The derived service, empty if none was sent.
    pub fn service(self) -> &'a str {
        let (service, _) = take_text(self.bytes).unwrap_or_default();
        std::str::from_utf8(service).unwrap_or_default()
    }

    /// The stream labels, sorted by name.
    pub fn labels(self) -> Labels<'a> {
        let (_, rest) = take_text(self.bytes).unwrap_or_default();
        Labels { rest: rest.get(2..).unwrap_or_default() }
    }

    /// The value of a stream label.
    pub fn label(self, name: &str) -> Option<&'a str> {
        self.labels().find(|&(label, _)| label == name).map(|(_, value)| value)
    }
}

/// Iterates over the labels of a stream as `(name, value)`.
#[derive(Clone, Debug)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Labels<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = take_text(self.rest)?;
        let (value, rest) = take_text(rest)?;
        self.rest = rest;
        Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
    }
}

/// Appends the canonical encoding to `out`. `labels` must be sorted by name without repeats.
/// Returns `false`, with `out` as it was, if a text is longer than 65,535 bytes or there are more
/// than 65,535 labels.
#[must_use]
pub fn encode(service: &str, labels: &[(&str, &str)], out: &mut Vec<u8>) -> bool {
    debug_assert!(labels.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let start = out.len();
    let done = put_text(out, service)
        && u16::try_from(labels.len()).is_ok_and(|count| {
            out.extend_from_slice(&count.to_le_bytes());
            labels.iter().all(|(name, value)| put_text(out, name) && put_text(out, value))
        });
    if !done {
        out.truncate(start);
    }
    done
}

fn put_text(out: &mut Vec<u8>, text: &str) -> bool {
    let Ok(len) = u16::try_from(text.len()) else { return false };
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    true
}

fn take_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_gives_back_service_and_labels() {
        let mut bytes = Vec::new();
        assert!(encode("web", &[("app", "shop"), ("env", "")], &mut bytes));
        let stream = StreamRef::parse(&bytes).unwrap();
        assert_eq!(stream.service(), "web");
        assert_eq!(stream.labels().collect::<Vec<_>>(), [("app", "shop"), ("env", "")]);
        assert_eq!(stream.label("app"), Some("shop"));
        assert_eq!(stream.label("none"), None);
    }

    #[test]
    fn every_truncation_is_refused() {
        let mut bytes = Vec::new();
        assert!(encode("web", &[("app", "shop"), ("env", "x")], &mut bytes));
        for len in 0..bytes.len() {
            assert!(StreamRef::parse(&bytes[..len]).is_none(), "{len}");
        }
        bytes.push(0);
        assert!(StreamRef::parse(&bytes).is_none());
    }

    #[test]
    fn a_text_that_is_too_long_leaves_nothing_behind() {
        let mut bytes = vec![7];
        assert!(!encode("web", &[("app", &"x".repeat(70_000))], &mut bytes));
        assert_eq!(bytes, [7]);
    }
}
