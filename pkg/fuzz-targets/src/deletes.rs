//! Any text as the selector of a delete, or of a rule of retention: refused, or a filter; its canonical
//! text is taken for the same filter, and a filter's JSON as well.

use timberlog_filter::Compiled;
use timberlog_query::Cursor;
use timberlog_query::logql::{delete_filter, delete_text};
use timberlog_storage::producers::ProducerBatch;

/// See the module.
pub fn deletes(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(canonical) = delete_text(text) {
        let filter = delete_filter(text).expect("its text was taken");
        assert_eq!(delete_text(&canonical).as_ref().ok(), Some(&canonical));
        assert_eq!(delete_filter(&canonical).ok(), Some(filter.clone()));
        Compiled::new(&filter).expect("it was taken");
    }
    if let Ok(cursor) = Cursor::parse(text) {
        assert_eq!(cursor.to_string(), text.trim());
    }
    if let Ok(batch) = ProducerBatch::parse(text) {
        assert_eq!(ProducerBatch::parse(&format!("{}/{}", batch.producer, batch.number)).ok(), Some(batch));
    }
}
