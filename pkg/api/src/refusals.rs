//! What an answer said of refused records, kept with a producer's batch: a duplicate is told the
//! same, whatever its own body holds.
//!
//! The storage keeps few bytes of it, so of many refused records the first ones are kept, and how
//! many they were. The form is a JSON array: the total, then `[index, reason]` for each.

use serde_json::Value;
use timberlog_db::{Appended, ProducerBatch, REFUSED_BYTES_MAX};
use timberlog_ingest::{Decoded, Refused};

/// The refused records that an answer names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Those that are named, in order.
    pub named: Vec<Refused>,
    /// All of them.
    pub total: usize,
}

impl Refusals {
    /// Those of a decoded body.
    pub fn of(decoded: &Decoded) -> Self {
        Self { named: decoded.refused.clone(), total: decoded.refused_total }
    }

    /// Those of the first answer to a batch that was stored before.
    pub fn of_duplicate(appended: &Appended) -> Self {
        Self::of_bytes(&appended.refused)
    }

    /// Puts them beside a producer's number, as many as there is room for.
    pub fn keep_with(&self, producer: &mut Option<ProducerBatch>) {
        if let Some(producer) = producer
            && self.total > 0
        {
            producer.refused = self.to_bytes();
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = format!("[{}", self.total);
        for Refused { index, reason } in &self.named {
            let entry = format!(",{}", serde_json::json!([index, reason]));
            if out.len() + entry.len() >= REFUSED_BYTES_MAX {
                break;
            }
            out.push_str(&entry);
        }
        out.push(']');
        out.into_bytes()
    }

    /// What is not of the form names none: the storage keeps it for us, but a file is a file.
    fn of_bytes(bytes: &[u8]) -> Self {
        let Ok(Value::Array(parts)) = serde_json::from_slice::<Value>(bytes) else { return Self::default() };
        let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        let refused = |part: &Value| {
            let parts = part.as_array()?;
            Some(Refused { index: number(parts.first()?)?, reason: parts.get(1)?.as_str()?.to_owned() })
        };
        let named: Vec<Refused> = parts.iter().skip(1).filter_map(refused).collect();
        let total = parts.first().and_then(number).unwrap_or(0).max(named.len());
        Self { named, total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusals(count: usize, reason: &str) -> Refusals {
        let named = (0..count).map(|index| Refused { index: index * 3, reason: reason.to_owned() });
        Refusals { named: named.collect(), total: count }
    }

    #[test]
    fn few_are_kept_whole() {
        for few in [refusals(1, "no `message`"), refusals(5, "level \"loud\\\" is\n not text: ü")] {
            assert_eq!(Refusals::of_bytes(&few.to_bytes()), few);
        }
    }

    #[test]
    fn of_many_the_first_are_kept_and_their_number() {
        for (count, reason) in [(100, "too long"), (1, "x".repeat(600).as_str()), (50, "\u{1}".repeat(40).as_str())] {
            let many = refusals(count, reason);
            let bytes = many.to_bytes();
            assert!(bytes.len() <= REFUSED_BYTES_MAX);
            let kept = Refusals::of_bytes(&bytes);
            assert_eq!(kept.total, count);
            assert!(many.named.starts_with(&kept.named));
        }
    }

    #[test]
    fn anything_else_names_none() {
        for bytes in [&b""[..], b"1: too old", b"{}", b"[[1]]", b"[-1,[\"a\",1],7]"] {
            assert_eq!(Refusals::of_bytes(bytes), Refusals::default());
        }
    }
}
