//! Tests of units: texts and what Go's libraries make of them.

use super::*;
use proptest::prelude::*;

#[test]
fn go_durations() {
    for (text, expected) in [
        ("0", Ok(0)),
        ("5s", Ok(5_000_000_000)),
        ("-5s", Ok(-5_000_000_000)),
        ("+5s", Ok(5_000_000_000)),
        ("-0", Ok(0)),
        ("1h2m3.5s", Ok(3_723_500_000_000)),
        (".5s", Ok(500_000_000)),
        ("1.s", Ok(1_000_000_000)),
        ("3000000ns", Ok(3_000_000)),
        ("10us", Ok(10_000)),
        ("10µs", Ok(10_000)),
        ("10μs", Ok(10_000)),
        ("0.3333333333333333333h", Ok(1_200_000_000_000)),
        ("0.100000000000000000000h", Ok(360_000_000_000)),
        ("9223372036854775807ns", Ok(i64::MAX)),
        ("-9223372036854775808ns", Ok(i64::MIN)),
        ("", Err(r#"time: invalid duration """#)),
        ("3", Err(r#"time: missing unit in duration "3""#)),
        ("-", Err(r#"time: invalid duration "-""#)),
        ("s", Err(r#"time: invalid duration "s""#)),
        (".", Err(r#"time: invalid duration ".""#)),
        (".s", Err(r#"time: invalid duration ".s""#)),
        ("1d", Err(r#"time: unknown unit "d" in duration "1d""#)),
        ("9223372036854775808ns", Err(r#"time: invalid duration "9223372036854775808ns""#)),
        ("3000000h", Err(r#"time: invalid duration "3000000h""#)),
        ("foo", Err(r#"time: invalid duration "foo""#)),
    ] {
        let expected = expected.map_err(|message: &str| UnitError(message.to_owned()));
        assert_eq!(parse_go_duration(text), expected, "{text}");
    }
}

#[test]
fn prometheus_durations() {
    const HOUR: i64 = 3_600_000_000_000;
    for (text, expected) in [
        ("0", Ok(0)),
        ("0s", Ok(0)),
        ("5m", Ok(HOUR / 12)),
        ("1d", Ok(24 * HOUR)),
        ("1w", Ok(7 * 24 * HOUR)),
        ("1y", Ok(365 * 24 * HOUR)),
        ("1d2h3m4s5ms", Ok(26 * HOUR + 184_005_000_000)),
        ("", Err("empty duration string")),
        ("5", Err(r#"not a valid duration string: "5""#)),
        ("m", Err(r#"not a valid duration string: "m""#)),
        ("-5m", Err(r#"not a valid duration string: "-5m""#)),
        ("1m1h", Err(r#"not a valid duration string: "1m1h""#)),
        ("1m1m", Err(r#"not a valid duration string: "1m1m""#)),
        ("99999999999999999999s", Err(r#"not a valid duration string: "99999999999999999999s""#)),
        ("1.5h", Err(r#"unknown unit "." in duration "1.5h""#)),
        ("5x", Err(r#"unknown unit "x" in duration "5x""#)),
        ("300y", Err("duration out of range")),
    ] {
        let expected = expected.map_err(|message: &str| UnitError(message.to_owned()));
        assert_eq!(parse_prometheus_duration(text), expected, "{text}");
    }
}

#[test]
fn durations_as_text() {
    for (ns, go, prometheus) in [
        (0, "0s", "0s"),
        (1, "1ns", "0s"),
        (1_100, "1.1µs", "0s"),
        (2_200_000, "2.2ms", "2ms"),
        (3_300_000_000, "3.3s", "3s300ms"),
        (300_000_000_000, "5m0s", "5m"),
        (305_000_000_001, "5m5.000000001s", "5m5s"),
        (5_400_000_000_000, "1h30m0s", "1h30m"),
        (86_400_000_000_000, "24h0m0s", "1d"),
        (7 * 86_400_000_000_000, "168h0m0s", "1w"),
        (8 * 86_400_000_000_000, "192h0m0s", "8d"),
        (365 * 86_400_000_000_000, "8760h0m0s", "1y"),
        (-90_000_000_000, "-1m30s", "-1m30s"),
        (i64::MAX, "2562047h47m16.854775807s", "106751d23h47m16s854ms"),
        (i64::MIN, "-2562047h47m16.854775808s", "-106751d23h47m16s854ms"),
    ] {
        assert_eq!(print_go_duration(ns), go);
        assert_eq!(print_prometheus_duration(ns), prometheus);
    }
}

#[test]
fn sizes() {
    for (text, expected) in [
        ("42", Some(42)),
        ("42B", Some(42)),
        ("42 MB", Some(42_000_000)),
        ("42mib", Some(44_040_192)),
        ("1.5KiB", Some(1_536)),
        ("2.5k", Some(2_500)),
        ("1,005.03 MB", Some(1_005_030_000)),
        ("1_0kB", None),
        ("12.5 EB", Some(12_500_000_000_000_000_000)),
        ("", None),
        ("MB", None),
        ("-1MB", None),
        ("5XB", None),
        ("20EB", None),
    ] {
        assert_eq!(parse_bytes(text).ok(), expected, "{text}");
    }
    assert_eq!(parse_bytes("5xB").unwrap_err().0, "unhandled size name: xb");
    assert_eq!(parse_bytes("").unwrap_err().0, r#"strconv.ParseFloat: parsing "": invalid syntax"#);
    for (bytes, expected) in [
        (0, "0 B"),
        (9, "9 B"),
        (10, "10 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (1_234, "1.2 kB"),
        (9_960, "10 kB"),
        (82_854_982, "83 MB"),
        (1_000_000_000, "1.0 GB"),
        (u64::MAX, "18 EB"),
    ] {
        assert_eq!(print_bytes(bytes), expected);
    }
}

#[test]
fn floats() {
    for (text, expected) in [
        ("1", Some(1.0)),
        ("-1.5e3", Some(-1500.0)),
        ("+.5", Some(0.5)),
        ("5.", Some(5.0)),
        ("inf", Some(f64::INFINITY)),
        ("-Infinity", Some(f64::NEG_INFINITY)),
        ("0x1p-2", Some(0.25)),
        ("0X1.8p1", Some(3.0)),
        ("0x1p-1074", Some(5e-324)),
        ("0x1p-1075", Some(0.0)),
        ("0x1.8p-1075", Some(5e-324)),
        ("0x1.fffffffffffff8p0", Some(2.0)),
        ("0x1.00000000000008p0", Some(1.0)),
        ("0x1.000000000000080001p0", Some(1.000_000_000_000_000_2)),
        ("1_000.5_0", Some(1000.5)),
        ("0x_1p0", Some(1.0)),
        ("", None),
        (".", None),
        ("e5", None),
        ("1e", None),
        ("0x1", None),
        ("1__0", None),
        ("_1", None),
        (" 1", None),
        ("1e400", None),
        ("0x1p2000", None),
        ("+nan", None),
        ("infi", None),
        ("5ms", None),
    ] {
        assert_eq!(parse_float(text).ok(), expected, "{text}");
    }
    assert!(parse_float("NaN").unwrap().is_nan());
    assert_eq!(parse_float("5ms").unwrap_err().0, r#"strconv.ParseFloat: parsing "5ms": invalid syntax"#);
    assert_eq!(parse_float("1e400").unwrap_err().0, r#"strconv.ParseFloat: parsing "1e400": value out of range"#);
    for (value, plain, general) in [
        (0.0, "0", "0"),
        (-0.0, "-0", "-0"),
        (1.5, "1.5", "1.5"),
        (999_999.5, "999999.5", "999999.5"),
        (1e6, "1000000", "1e+06"),
        (1_234_567.0, "1234567", "1.234567e+06"),
        (1e21, "1000000000000000000000", "1e+21"),
        (1e-4, "0.0001", "0.0001"),
        (1e-5, "0.00001", "1e-05"),
        (
            -2.5e-100,
            "-0.00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000025",
            "-2.5e-100",
        ),
        (f64::INFINITY, "+Inf", "+Inf"),
        (f64::NEG_INFINITY, "-Inf", "-Inf"),
        (f64::NAN, "NaN", "NaN"),
    ] {
        assert_eq!((print_float(value).as_str(), print_float_general(value).as_str()), (plain, general));
    }
}

#[test]
fn quotes() {
    for (text, quoted) in [
        ("a", r#""a""#),
        ("a\"b\\", r#""a\"b\\""#),
        ("\u{7}\u{8}\u{c}\n\r\t\u{b}", r#""\a\b\f\n\r\t\v""#),
        ("\0\u{1b}\u{7f}", r#""\x00\x1b\x7f""#),
        ("ä😀\u{301}", "\"ä😀\u{301}\""),
        ("\u{80}\u{a0}\u{200b}\u{feff}\u{e0001}", r#""\u0080\u00a0\u200b\ufeff\U000e0001""#),
    ] {
        assert_eq!(quote(text), quoted);
        assert_eq!(unquote(quoted).as_deref(), Ok(text));
    }
    for (quoted, expected) in [
        ("`a\\n\r`", Some("a\\n\r")),
        (r#""\x41\101\u00e4\U0001F600""#, Some("AAä😀")),
        (r#""\xc3\xa4""#, Some("ä")),
        (r#""\ud800""#, Some("\u{fffd}")),
        (r#""\xff""#, None),
        (r#""\'""#, None),
        (r#""\400""#, None),
        (r#""\q""#, None),
        (r#""\U00110000""#, None),
        (r#""\x4""#, None),
        ("\"a", None),
        ("\"", None),
        ("`", None),
        ("``", Some("")),
        ("\"a\nb\"", None),
    ] {
        assert_eq!(unquote(quoted).ok().as_deref(), expected, "{quoted}");
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same(ns: i64, bits: u64, text: String) {
        prop_assert_eq!(parse_go_duration(&print_go_duration(ns)), Ok(ns));
        let whole = ns.unsigned_abs() / 1_000_000 * 1_000_000;
        let whole = i64::try_from(whole).unwrap_or(0);
        prop_assert_eq!(parse_prometheus_duration(&print_prometheus_duration(whole)), Ok(whole));
        let value = f64::from_bits(bits);
        for printed in [print_float(value), print_float_general(value)] {
            let read = parse_float(&printed).unwrap();
            prop_assert!(read == value || (read.is_nan() && value.is_nan()), "{}", printed);
        }
        prop_assert_eq!(unquote(&quote(&text)), Ok(text));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,12}|[-+0-9.,_xpeEkKMiBdhmsuny ]{0,12}") {
        let _ = (parse_duration(&text), parse_bytes(&text), parse_float(&text), unquote(&text));
    }
}
