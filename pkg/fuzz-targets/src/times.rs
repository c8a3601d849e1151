//! Any text as a time, a day, a duration, a size or a number, in every spelling that is read: refused
//! or read, and what is printed reads as the same.

use timberlog_logql::units::{
    parse_bytes, parse_duration, parse_float, parse_go_duration, parse_prometheus_duration, print_bytes, print_float,
    print_go_duration, print_prometheus_duration, quote, unquote,
};
use timberlog_types::time::{format_rfc3339, parse, parse_rfc3339, parse_unix};
use timberlog_types::{Day, Level, Tenant};

/// See the module.
pub fn times(input: &[u8]) {
    for ns in [parse(input), parse_rfc3339(input), parse_unix(input)].into_iter().flatten() {
        assert_eq!(parse_rfc3339(format_rfc3339(ns).as_bytes()), Ok(ns));
        let day = Day::of(ns);
        assert!(day.range().contains(ns));
        assert_eq!(Day::parse(&day.to_string()), Some(day));
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(day) = Day::parse(text) {
        assert_eq!(Day::parse(&day.to_string()), Some(day));
        let _ = day.range();
    }
    let _ = (parse_duration(text), Level::parse(text), Level::normalise(text), Tenant::new(text));
    if let Ok(ns) = parse_go_duration(text) {
        assert_eq!(parse_go_duration(&print_go_duration(ns)), Ok(ns));
    }
    if let Ok(ns) = parse_prometheus_duration(text) {
        let _ = print_prometheus_duration(ns);
    }
    if let Ok(bytes) = parse_bytes(text) {
        let _ = parse_bytes(&print_bytes(bytes));
    }
    if let Ok(number) = parse_float(text)
        && !number.is_nan()
    {
        assert_eq!(parse_float(&print_float(number)), Ok(number));
    }
    assert_eq!(unquote(&quote(text)).as_deref(), Ok(text));
    let _ = unquote(text);
}
