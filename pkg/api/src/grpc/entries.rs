//! LogsGo's entries, read where they stand in the request.
//!
//! | message | fields |
//! |---|---|
//! | LogBatch | 1: repeated LogEntry |
//! | LogEntry | 1: service, 2: level, 3: message, 4: time in seconds, 5: map of labels |
//!
//! Of a field that stands twice the last counts; others are passed over.

use super::records::{all, label, push, text};
use timberlog_ingest::protobuf::{Message, Read};
use timberlog_ingest::{LogEntry, Records};

/// Entries as they came.
#[derive(Clone, Copy, Debug)]
pub enum Entries<'a> {
    /// A LogEntry.
    One(&'a [u8]),
    /// A LogBatch.
    Batch(&'a [u8]),
}

impl<'a> Entries<'a> {
    /// How many there are.
    ///
    /// # Errors
    /// If the bytes are no such message.
    pub fn count(self) -> Read<usize> {
        let Self::Batch(bytes) = self else { return Ok(1) };
        let (mut message, mut count) = (Message(bytes), 0);
        while let Some((number, value)) = message.next()? {
            if number == 1 {
                value.bytes()?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Reads the entries, one after the other.
    pub fn read(self, records: &mut Records<'_>) {
        let mut labels = Vec::new();
        let mut read = |bytes: &'a [u8]| {
            labels.clear();
            match entry(bytes, &mut labels) {
                Ok(entry) => records.push_entry(Ok(&LogEntry { labels: &labels, ..entry })),
                Err(reason) => records.push_entry(Err(reason)),
            }
        };
        match self {
            Self::One(bytes) => read(bytes),
            Self::Batch(bytes) => all(bytes).for_each(read),
        }
    }
}

/// An entry without its labels, which are put where they are kept.
fn entry<'a>(bytes: &'a [u8], labels: &mut Vec<(&'a str, &'a str)>) -> Read<LogEntry<'a>> {
    let mut entry = LogEntry::default();
    let mut message = Message(bytes);
    while let Some((number, value)) = message.next()? {
        match number {
            1 => entry.service = text("service", value)?,
            2 => entry.level = text("level", value)?,
            3 => entry.message = text("message", value)?,
            4 => entry.timestamp_s = value.number()?.cast_signed(),
            5 => push("labels", labels, label(value.bytes()?)?)?,
            _ => {}
        }
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::super::records::NAMED_MAX;
    use super::*;
    use prost::Message as _;
    use timberlog_ingest::{DecodeOptions, Decoded, Decoder, Limits};
    use timberlog_proto::logapi::{self, LogBatch};

    fn decode(feed: impl FnOnce(&mut Records<'_>)) -> Decoded {
        let limits = Limits::default();
        let options = DecodeOptions {
            now_ns: 1_767_225_600_000_000_000,
            keep_from_ns: i64::MIN,
            stream_labels: &[],
            default_service: "",
            strict: false,
            limits: &limits,
            streams: &|_| true,
        };
        Decoder::new().records(feed, &options).unwrap()
    }

    #[test]
    fn entries_are_what_the_generated_code_reads() {
        let label = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let entry = |message: &str, timestamp, labels: &[(&str, &str)]| logapi::LogEntry {
            service: "web".to_owned(),
            level: "WARN".to_owned(),
            message: message.to_owned(),
            timestamp,
            labels: labels.iter().copied().map(label).collect(),
        };
        let entries = vec![
            logapi::LogEntry::default(),
            entry("one", 1_700_000_000, &[("env", "prod")]),
            entry("two, of before 1970", -5, &[("", ""), ("zone", ""), ("a", "b")]),
            entry("far ahead", i64::MAX, &[]),
        ];
        let expected = decode(|records| {
            for logapi::LogEntry { service, level, message, timestamp, labels } in &entries {
                let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let entry = LogEntry { service, level, message, timestamp_s: *timestamp, labels: &labels };
                records.push_entry(Ok(&entry));
            }
        });
        let one = entries[1].encode_to_vec();
        let bytes = LogBatch { entries }.encode_to_vec();
        assert_eq!(Entries::Batch(&bytes).count(), Ok(4));
        let found = decode(|records| Entries::Batch(&bytes).read(records));
        assert_eq!(found.refused, expected.refused);
        assert_eq!(found.batch.unwrap().as_bytes(), expected.batch.unwrap().as_bytes());
        assert_eq!(decode(|records| Entries::One(&one).read(records)).accepted, 1);
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_refused_by_its_index() {
        let labels = vec![b"*\x00".as_slice(); NAMED_MAX + 1].concat();
        let cases: [(&[u8], &str); 5] = [
            (b"\x1a\x02a\xff", "`message` is not UTF-8 from byte `1` on"),
            (b"\x1a\x05a", "the protobuf message is cut short"),
            (b"\x18\x01", "the protobuf message has a field of another wire type than expected"),
            (b"*\x03\x0a\x01\xff", "`labels` is not UTF-8 from byte `0` on"),
            (&labels, "`labels`: more than 65536"),
        ];
        for (bytes, reason) in cases {
            let mut batch = b"\x0a\x00\x0a".to_vec();
            prost::encoding::encode_varint(bytes.len() as u64, &mut batch);
            batch.extend_from_slice(bytes);
            let decoded = decode(|records| Entries::Batch(&batch).read(records));
            let refused: Vec<_> = decoded.refused.iter().map(|refused| (refused.index, &*refused.reason)).collect();
            assert_eq!((decoded.accepted, refused), (1, vec![(1, reason)]));
            assert!(Entries::Batch(&batch[..batch.len() - 1]).count().is_err());
        }
        assert!(Entries::Batch(b"\x08\x01").count().is_err());
    }
}
