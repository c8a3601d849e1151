//! `Retry-After`: seconds, or a date. A date is held against the date of the answer, so that a client whose clock is
//! wrong waits as long as the server meant.

use std::time::{Duration, SystemTime};
use ureq::http::{HeaderMap, header};

/// How long the server asks to wait.
pub fn of(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let asked = text(header::RETRY_AFTER)?.trim();
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(asked).ok()?;
    let now = text(header::DATE).and_then(|text| httpdate::parse_http_date(text).ok()).unwrap_or_else(SystemTime::now);
    // One that has passed: at once.
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(asked: &str, date: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, asked.parse().unwrap());
        if let Some(date) = date {
            headers.insert(header::DATE, date.parse().unwrap());
        }
        of(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_dates_are_understood() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        for (asked, expected) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:50:07 GMT", Some(30)),
            ("Sun Nov  6 08:50:07 1994", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(wait(asked, date), expected, "{asked}");
        }
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:07 GMT", None), Some(0), "by the clock here it is long past");
        let far = wait("Fri, 31 Dec 9999 23:59:59 GMT", None);
        assert!(far.is_some_and(|wait| wait > 1 << 30), "{far:?}");
        assert_eq!(of(&HeaderMap::new()), None);
    }
}
