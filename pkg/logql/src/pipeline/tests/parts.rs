//! Patterns, addresses and the order of stages, each for itself.

use crate::pipeline::{IpFilter, LinePattern, Wanted, check, raw_line_filters};

#[test]
fn patterns_hold_lines() {
    let table: &[(&str, &str, bool)] = &[
        ("", "", true),
        ("", "a", false),
        ("<_>", "a", true),
        ("<_>", "", false),
        ("foo", "foo", true),
        ("foo", "foo bar", false),
        ("foo <_>", "foo bar", true),
        ("foo <_>", "foo ", false),
        ("<_> bar", "foo bar", true),
        ("<_> bar", " bar", false),
        ("<_> bar", "foo bar baz", false),
        ("<_> bar <_>", " bar ", false),
        ("<_>bar<_>", " bar ", true),
        ("<_>bar<_>", "bar", false),
        ("foo <_> baz", "foo bar baz", true),
        ("foo <_> baz", "a foo bar baz", true),
        ("foo<_>foo", "foofoo", false),
        ("<_>a<_>a<_>", "xaxax", true),
        ("<_>a<_>a<_>", "xaax", false),
        ("é<_>", "éx", true),
        ("a < b<_>", "a < bc", true),
        ("<1> <_>", "<1> x", true),
    ];
    for &(pattern, line, expected) in table {
        let matched = LinePattern::new(pattern).unwrap().is_match(line.as_bytes());
        assert_eq!(matched, expected, "`{pattern}` over `{line}`");
    }
    let pattern = LinePattern::new("a <_> b<_>").unwrap();
    assert_eq!(pattern.literals().collect::<Vec<_>>(), [b"a ".as_slice(), b" b"]);
}

#[test]
fn addresses_are_found_in_texts() {
    let table: &[(&str, &str, bool)] = &[
        ("192.168.0.1", "vpn 192.168.0.5 connected to vm 192.168.0.1", true),
        ("192.168.0.1", "vpn 192.168.0.5 connected", false),
        ("192.168.0.1", "192.168.0.11", false),
        ("192.168.0.1-192.168.0.8", "at 192.168.0.8", true),
        ("192.168.0.1-192.168.0.8", "at 192.168.0.9", false),
        ("192.168.4.5/16", "192.168.255.255:80", true),
        ("192.168.4.5/16", "192.169.0.0", false),
        ("0.0.0.0/0", "x 8.8.8.8", true),
        ("0.0.0.0/0", "no address", false),
        ("1.2.3.4/32", "1.2.3.4", true),
        ("::1", "localhost ::1", true),
        ("::1", "::2", false),
        ("2001:db8::/32", "from 2001:db8::7334.", false),
        ("2001:db8::/32", "from 2001:db8::7334 ", true),
        ("::1-::ff", "a ::80 b", true),
        ("::/0", "1.2.3.4", false),
        ("1.2.3.4", "::ffff:1.2.3.4", false),
        ("1.2.3.4", "", false),
        ("1.2.3.4", "1.2.3.4.5 1.2.3.4", true),
        ("1.2.3.4", "01.2.3.4", false),
    ];
    for &(pattern, text, expected) in table {
        assert_eq!(IpFilter::new(pattern).unwrap().is_match(text.as_bytes()), expected, "`{pattern}` in `{text}`");
    }
    for pattern in
        ["", "x", "1.2.3", "1.2.3.4/33", "1.2.3.4/01", "1.2.3.4-::1", "1.2.3.4-1.2.3.3", "::/129", "1.2.3.4/+1"]
    {
        assert!(IpFilter::new(pattern).is_err(), "`{pattern}`");
    }
}

#[test]
fn line_filters_that_see_the_stored_line_are_told() {
    let table: &[(&str, &[usize])] = &[
        ("", &[]),
        ("|= `a` != `b`", &[0, 1]),
        ("| json |= `a` | b=`c` |~ `d`", &[1, 3]),
        ("|= `a` | line_format `x` |= `b`", &[0]),
        ("| unpack |= `a`", &[]),
        ("| decolorize |= `a` | b=`c` |= `d`", &[1]),
        ("| label_format a=b |> `<_>x`", &[1]),
    ];
    for (stages, expected) in table {
        let log = crate::parse_log(&format!("{{a=\"b\"}} {stages}")).unwrap();
        assert_eq!(raw_line_filters(&log.stages), *expected, "{stages}");
    }
}

#[test]
fn metadata_that_is_looked_at_is_told() {
    let needed = |stages: &str, wanted: &[&str]| {
        let log = crate::parse_log(&format!("{{a=\"b\"}} {stages}")).unwrap();
        let wanted = Wanted::Names(wanted.iter().map(|&name| name.to_owned()).collect());
        let pipeline = crate::Pipeline::new(&log.stages, None, wanted).unwrap();
        pipeline.metadata_needed().clone()
    };
    let names = |names: &[&str]| Wanted::Names(names.iter().map(|&name| name.to_owned()).collect());
    assert_eq!(needed("|= `x`", &[]), names(&[]));
    assert_eq!(needed("| json", &["a_extracted"]), names(&["a_extracted", "a"]));
    assert_eq!(needed("| json | b > 1 or c=`x`", &["a"]), names(&["b", "c", "a"]));
    assert_eq!(needed("| label_format x=y, z=`{{.w}}` | drop v", &[]), names(&["y", "w", "x", "z", "v"]));
    assert_eq!(needed("| line_format `{{.}}`", &[]), Wanted::All);
}

#[test]
fn invalid_stages_are_told_in_lokis_words() {
    let stage = crate::ast::Stage::Regexp("(a)".to_owned());
    assert_eq!(check(&stage), Err("at least one named capture must be supplied".to_owned()));
    let stage = crate::ast::Stage::Pattern("<a> <a>".to_owned());
    assert_eq!(check(&stage), Err("duplicate capture name (a): invalid expression".to_owned()));
}
