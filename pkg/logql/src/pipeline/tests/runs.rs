//! One run after the other: nothing is left over, and nothing grows.

use super::{labels, runner, value_of};
use crate::{Empties, Wanted};

#[test]
fn nothing_is_left_over_from_the_line_before() {
    let mut runner = runner("| json | label_format z=`{{.a}}`", Wanted::All).unwrap();
    runner.set_stream(&[("app", "web")]);
    assert!(runner.run(0, br#"{"a":1,"b":2}"#, &[("m", b"x")]));
    assert_eq!(labels(&mut runner).len(), 5);
    assert!(runner.run(0, b"{", &[]));
    assert_eq!(runner.error(), Some("JSONParserErr"));
    assert!(runner.run(0, br#"{"c":3}"#, &[]));
    assert_eq!((value_of(&mut runner, "a"), value_of(&mut runner, "c")), (String::new(), "3".to_owned()));
    assert_eq!(runner.error(), None);
    assert_eq!(labels(&mut runner).len(), 3);
}

#[test]
fn another_stream_has_its_own_labels() {
    let mut runner = runner("| logfmt", Wanted::All).unwrap();
    for _ in 0..3 {
        runner.set_stream(&[("a", "one")]);
        assert!(runner.run(0, b"a=1", &[]));
        assert_eq!((value_of(&mut runner, "a"), value_of(&mut runner, "a_extracted")), ("one".into(), "1".into()));
        runner.set_stream(&[("b", "two")]);
        assert!(runner.run(0, b"a=1", &[]));
        assert_eq!((value_of(&mut runner, "a"), value_of(&mut runner, "b")), ("1".into(), "two".into()));
    }
}

#[test]
fn ever_new_keys_make_a_runner_start_over() {
    let mut runner = runner("| json | x=`1`", Wanted::All).unwrap();
    runner.set_stream(&[("app", "web"), ("key9", "taken")]);
    for number in 0..12_000 {
        let line = format!(r#"{{"key{number}":"{number}","n":{{"key{number}":1}},"x":1}}"#);
        assert!(runner.run(0, line.as_bytes(), &[("m", b"y")]));
        let name = if number == 9 { "key9_extracted".to_owned() } else { format!("key{number}") };
        if number % 500 == 9 {
            assert_eq!(value_of(&mut runner, &name), number.to_string());
            assert_eq!(labels(&mut runner).len(), 6, "{number}");
        }
    }
    assert_eq!(value_of(&mut runner, "key9"), "taken");
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    let mut runner = runner("| json", Wanted::All).unwrap();
    let line = r#"{"a":"#.repeat(5000) + "1" + &"}".repeat(5000);
    assert!(runner.run(0, line.as_bytes(), &[]));
    assert_eq!(runner.error(), Some("JSONParserErr"));
}

#[test]
fn many_stages_over_a_long_line_can_be_ended() {
    let mut runner = runner(&"| logfmt ".repeat(100), Wanted::All).unwrap();
    let line = b"a=b ".repeat(10_000);
    let mut asked = 0;
    let mut ask_until = |last: usize| {
        asked = 0;
        let passes = runner.run_while(0, &line, &[], &mut || {
            asked += 1;
            asked < last
        });
        (passes, asked)
    };
    assert_eq!(ask_until(2), (false, 2));
    let (passes, asked) = ask_until(usize::MAX);
    assert!(passes && asked > 10, "{asked}");
}

#[test]
fn values_that_are_no_text_become_text() {
    let mut runner = runner("| pattern `<a> <b>`", Wanted::All).unwrap();
    assert!(runner.run(0, b"x\xff y", &[("m", b"\xfe")]));
    assert_eq!(value_of(&mut runner, "a"), "x\u{fffd}");
    assert_eq!(value_of(&mut runner, "m"), "\u{fffd}");
}

#[test]
fn a_key_is_the_same_for_the_same_labels() {
    let mut runner = runner("| logfmt", Wanted::All).unwrap();
    runner.set_stream(&[("app", "web")]);
    let mut key = |line: &[u8], names: Option<(&[&str], bool)>| {
        assert!(runner.run(0, line, &[]));
        let grouping = names.map(|(names, without)| crate::ast::Grouping {
            without,
            names: names.iter().map(|&name| name.to_owned()).collect(),
        });
        let mut key = Vec::new();
        runner.group_key(grouping.as_ref(), Empties::Keep, &mut key);
        key
    };
    assert_eq!(key(b"a=1 b=2", None), key(b"b=2 a=1", None));
    assert_ne!(key(b"a=1 b=2", None), key(b"a=1 b=3", None));
    assert_eq!(key(b"a=1 b=2", Some((&["a"], false))), key(b"a=1 b=3", Some((&["a"], false))));
    assert_eq!(key(b"a=1 b=2", Some((&["b"], true))), key(b"b=3 a=1", Some((&["b"], true))));
    assert_eq!(key(b"a=1", Some((&[], false))), b"");
    let labels = super::Runner::key_labels(&key(b"b=2 a=1", Some((&["a", "app", "zz"], false))));
    assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("app", "web")]);
}

#[test]
fn an_error_hides_a_key_of_its_name() {
    let mut runner = runner("| json", Wanted::All).unwrap();
    assert!(runner.run(0, br#"{"__error__":"mine","a":"#, &[]));
    let left = labels(&mut runner);
    assert_eq!(left.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["__error__", "__error_details__"]);
    assert_eq!(value_of(&mut runner, "__error__"), "JSONParserErr");
}

#[test]
fn what_stages_make_of_a_line_is_bounded() {
    let large = "{{ repeat 1000 (repeat 1000 `0123456789`) }}";
    let many: Vec<String> = (0..9).map(|number| format!("l{number}=\"{large}\"")).collect();
    let mut runner = runner(&format!("| label_format {}", many.join(",")), Wanted::All).unwrap();
    for _ in 0..2 {
        assert!(runner.run(0, b"", &[]));
        assert_eq!(runner.error(), Some("TemplateFormatErr"));
        let made: usize = labels(&mut runner)
            .iter()
            .map(|(name, value, _)| usize::from(name != "__error_details__") * value.len())
            .sum();
        assert_eq!(made / 10_000_000, 6);
    }
    // What parsers find of lines that templates make.
    let stages: String = (0..9).map(|number| format!(" | line_format \"k{number}={large}\" | logfmt")).collect();
    let mut runner = super::runner(&stages, Wanted::All).unwrap();
    assert!(runner.run(0, b"", &[]));
    assert_eq!(runner.error(), Some("LabelsTooLargeErr"));
    assert_eq!(value_of(&mut runner, "k8"), "");
}
