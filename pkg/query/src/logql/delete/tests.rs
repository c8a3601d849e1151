//! Which deletes are taken, and that their filters hold for exactly the records that a query of the
//! same text shows.

use super::{delete_filter, delete_text, stored_names};
use crate::logql::TailFilter;
use timberlog_filter::{BatchColumns, Compiled, evaluate};
use timberlog_logql::parse_log;
use timberlog_types::{Batch, BatchBuilder, ErrorKind, RowSet, ValueKind};

type Fields = &'static [(&'static str, Option<&'static str>)];

fn record(labels: &[(&str, &str)], level: Option<&str>, fields: Fields, line: &str) -> Batch {
    let mut builder = BatchBuilder::new();
    let stream = builder.stream("web", labels).unwrap();
    let level = builder.level(level).unwrap();
    for &(name, value) in fields {
        let kind = if value.is_some() { ValueKind::String } else { ValueKind::Null };
        builder.field(name, kind, value.unwrap_or_default().as_bytes()).unwrap();
    }
    builder.finish_row(7, stream, level, line.as_bytes()).unwrap();
    builder.finish().unwrap()
}

fn records() -> Vec<Batch> {
    let levels = [None, Some("error"), Some("ERR"), Some("err"), Some("loud"), Some("critical"), Some("fatal")];
    let fields: [Fields; 9] = [
        &[],
        &[("user_id", Some("u1"))],
        &[("user.id", Some("u1"))],
        &[("user-id", Some("u2"))],
        &[("user_id", None)],
        &[("severity", Some("error"))],
        &[("detected_level", Some("error"))],
        &[("detected_level", Some("")), ("user", Some("joe"))],
        &[("app", Some("web")), ("user", Some(""))],
    ];
    let mut all = Vec::new();
    for labels in [&[("app", "web")][..], &[("env", "dev")], &[("app", "web"), ("level", "error")], &[]] {
        for level in levels {
            for fields in fields {
                for line in ["GET /login", "token=s3cret", ""] {
                    all.push(record(labels, level, fields, line));
                }
            }
        }
    }
    all
}

const TAKEN: &[&str] = &[
    r#"{app="web"}"#,
    r#"{app=~"w.*", env!="dev"}"#,
    r#"{service_name="web"}"#,
    r#"{service_name=~".+"} |= "s3cret""#,
    r#"{service_name=~".+"} != "s3cret" |~ "GET|POST""#,
    r#"{service_name=~".+"} !~ "^$" |= "GET" or "token""#,
    r#"{service_name=~".+"} |= "token" | user_id="u1""#,
    r#"{service_name=~".+"} | user_id!="u1""#,
    r#"{service_name=~".+"} | user_id="""#,
    r#"{service_name=~".+"} | user="joe" or user_id="u2" and app="web""#,
    r#"{service_name=~".+"} | app="web""#,
    r#"{service_name=~".+"} | app!="web""#,
    r#"{service_name=~".+"} | app="""#,
    r#"{service_name=~".+"} | service_name="web""#,
    r#"{service_name=~".+"} | level="error""#,
    r#"{service_name=~".+"} | level!="error""#,
    r#"{service_name=~".+"} | level="ERR""#,
    r#"{service_name=~".+"} | detected_level="error""#,
    r#"{service_name=~".+"} | detected_level!="error""#,
    r#"{service_name=~".+"} | detected_level="err""#,
    r#"{service_name=~".+"} | detected_level="""#,
    r#"{service_name=~".+"} | detected_level!="""#,
    r#"{service_name=~".+"} | detected_level="loud""#,
    r#"{service_name=~".+"} | detected_level="unknown""#,
    r#"{service_name=~".+"} | detected_level="critical" or detected_level="fatal""#,
    r#"{service_name=~".+"} | severity="error""#,
];

#[test]
fn a_delete_holds_for_what_a_query_of_the_same_text_shows() {
    let records = records();
    for text in TAKEN {
        let filter = Compiled::new(&delete_filter(text).unwrap()).unwrap();
        let query = TailFilter::new(&parse_log(text).unwrap(), true).unwrap();
        let mut hits = 0;
        for batch in &records {
            let is_hidden = !evaluate(&filter, &BatchColumns::new(batch), RowSet::all(1)).unwrap().is_empty();
            let shown = query.entries(batch, RowSet::all(1), 0).unwrap();
            assert_eq!(is_hidden, !shown.is_empty(), "{text}: {batch:?}");
            hits += usize::from(is_hidden);
        }
        // Loki makes `error` of it.
        assert_eq!(hits == 0, text.contains(r#"detected_level="err""#), "{text}: {hits}");
    }
}

#[test]
fn what_does_not_come_to_a_filter_is_refused() {
    for (text, expected) in [
        ("", "parse error"),
        ("{}", "at least one"),
        (r#"{app=~".*"}"#, "at least one"),
        (r#"count_over_time({app="web"}[1m])"#, "only log selector is supported"),
        (r#"{app="web"} | json"#, "`| json` is none of these"),
        (r#"{app="web"} | logfmt | user="joe""#, "`| logfmt` is none of these"),
        (r#"{app="web"} | line_format "x""#, "is none of these"),
        (r#"{app="web"} |> "<_> x""#, "is none of these"),
        (r#"{app="web"} |= ip("10.0.0.1")"#, "is none of these"),
        (r#"{app="web"} | size > 10"#, "is none of these"),
        (r#"{app="web"} | user=~"a|b""#, "is none of these"),
        (r#"{app="web"} | user="joe" or size > 10"#, "is none of these"),
        (r#"{app="web"} | __error__="""#, "is none of these"),
        (r#"{app="web"} | user_extracted="joe""#, "is none of these"),
        (r#"{app="web"} | level="""#, "asks whether there is one"),
        (r#"{app="web"} |~ "(""#, "error parsing regexp"),
        (r#"{app=~"("}"#, "error parsing regexp"),
    ] {
        let error = delete_filter(text).expect_err(text);
        assert_eq!(error.kind, ErrorKind::Invalid, "{text}");
        assert!(error.message.contains(expected), "{text}: {error}");
    }
}

#[test]
fn selectors_have_one_text() {
    let text = delete_text("{ app = `web` }|=`s3cret`|user_id=\"u1\"").unwrap();
    assert_eq!(text, delete_text(&text).unwrap());
    assert_eq!(text, r#"{app="web"} |= "s3cret" | user_id="u1""#);
}

#[test]
fn names_are_looked_for_under_what_logql_reads_as_them() {
    assert_eq!(stored_names("user"), ["user"]);
    assert_eq!(stored_names("user_id"), ["user_id", "user.id", "user-id"]);
    assert_eq!(stored_names("a__b"), ["a__b"]);
    assert_eq!(stored_names("a_b_c_d").len(), 27);
    assert!(stored_names("k8s_pod_restart_count").contains(&"k8s.pod.restart_count".to_owned()));
    assert_eq!(stored_names("a_b_c_d_e").len(), 17);
    assert_eq!(stored_names("a_b_c_d_e_f_g_h_i"), ["a_b_c_d_e_f_g_h_i", "a.b.c.d.e.f.g.h.i", "a-b-c-d-e-f-g-h-i"]);
    for stored in stored_names("a_b_c") {
        assert!(crate::logql::view::is_named(&stored, "a_b_c"), "{stored}");
    }
}
