//! The producer of a request and the number of its batch: `Idempotency-Key` in HTTP headers and gRPC metadata alike.

use axum::http::HeaderMap;
use timberlog_db::ProducerBatch;
use timberlog_types::{Error, Result};

/// The producer and number of `Idempotency-Key: producer/number`, if it is there.
///
/// # Errors
/// `Invalid` for what is not of that form, and for more than one key.
pub fn of_headers(headers: &HeaderMap) -> Result<Option<ProducerBatch>> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::invalid("the header `Idempotency-Key` was sent more than once"));
    }
    let text = value.to_str().map_err(|_| Error::invalid("the header `Idempotency-Key` is not ASCII text"))?;
    ProducerBatch::parse(text.trim()).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn read(values: &[&str]) -> Result<Option<ProducerBatch>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("idempotency-key", HeaderValue::from_str(value).unwrap());
        }
        of_headers(&headers)
    }

    #[test]
    fn a_producer_and_its_number_are_read() {
        assert_eq!(read(&[]).unwrap(), None);
        let found = read(&["agent/a/17"]).unwrap().unwrap();
        assert_eq!((found.producer.as_str(), found.number), ("agent/a", 17));
        for wrong in ["agent", "/1", "agent/", "agent/-1", "agent/x", &format!("{}/1", "x".repeat(129))] {
            assert!(read(&[wrong]).is_err(), "{wrong}");
        }
        let error = read(&["agent/1", "agent/1"]).unwrap_err();
        assert!(error.message.contains("more than once"), "{error}");
    }
}
