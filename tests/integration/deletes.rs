//! `timberlog delete` and `timberlog retention`, against servers and data directories, across `kill -9`.

use crate::cli::{code, err, json_of, out, run};
use crate::server::{Data, Server};
use serde_json::{Value, json};

/// Ten records of each of two services, one a line.
fn lines() -> String {
    let line = |n: usize| {
        let service = if n.is_multiple_of(2) { "web" } else { "db" };
        json!({"service": service, "message": format!("line {n} of token=s3cret"), "user_id": n / 2}).to_string()
    };
    (0..20).map(line).collect::<Vec<_>>().join("\n")
}

fn counted(flags: &[&str]) -> u64 {
    let output = run(&[&["query", "--count", "-o", "json"], flags].concat(), b"");
    json_of(&output)[0]["count"].as_u64().unwrap_or_else(|| panic!("{}{}", out(&output), err(&output)))
}

fn delete(flags: &[&str], words: &[&str]) -> Value {
    let output = run(&[&["delete"], words, flags, &["-o", "json"]].concat(), b"");
    assert_eq!(code(&output), 0, "{}", err(&output));
    json_of(&output)
}

#[test]
fn deletes_hold_through_kill_9_and_are_cancelled_from_the_command_line() {
    let data = Data::new();
    let flags = ["--delete-cancel-period", "1h"];
    let server = Server::start(&data, &flags);
    let addr = server.http.clone();
    let at = ["--addr", addr.as_str()];
    assert_eq!(code(&run(&["ingest", "-", "--addr", &addr], lines().as_bytes())), 0);
    let selector = r#"{service="web"} |= "s3cret""#;
    let dry = run(&["delete", selector, "--dry-run", "--addr", &addr], b"");
    assert_eq!(out(&dry), "10 records would be deleted\n", "{}", err(&dry));
    assert_eq!(delete(&at, &[selector, "--dry-run"]), json!({"records": 10}));
    assert_eq!(counted(&at), 20);
    let first = delete(&at, &[selector, "--end", "2000-01-01T00:00:00Z"]);
    assert_eq!(first["end"], "2000-01-01T00:00:00.000000000Z");
    assert_eq!(counted(&at), 20);
    let second = delete(&at, &[r#"{service=~".+"} | user_id="3""#]);
    assert_eq!(counted(&at), 18);
    server.kill();

    let server = Server::start(&data, &flags);
    let addr = server.http.clone();
    let at = ["--addr", addr.as_str()];
    assert_eq!(counted(&at), 18);
    let listed = json_of(&run(&["delete", "list", "-o", "json", "--addr", &addr], b""));
    assert_eq!((&listed[0]["id"], &listed[1]["id"]), (&first["id"], &second["id"]));
    let shown = out(&run(&["delete", "list", "--addr", &addr], b""));
    assert!(shown.contains(second["id"].as_str().unwrap()) && shown.contains(r#"user_id="3""#), "{shown}");
    let cancelled = run(&["delete", "cancel", second["id"].as_str().unwrap(), "--addr", &addr], b"");
    assert_eq!(code(&cancelled), 0, "{}", err(&cancelled));
    assert_eq!(counted(&at), 20);
    assert_eq!(code(&run(&["delete", "cancel", "nope", "--addr", &addr], b"")), 3);
    for (words, expected) in [
        (&["delete"][..], "SELECTOR"),
        (&["delete", "{}"], "at least one"),
        (&["delete", r#"{a="b"} | json"#], "`| json` is none of these"),
        (&["delete", r#"{a="b"}"#, "--start", "soon"], "time `soon`"),
        (&["delete", r#"{a="b"}"#, "--start", "20", "--end", "10"], "the first time is after the last"),
    ] {
        let output = run(&[words, &at].concat(), b"");
        assert_eq!(code(&output), 2, "{words:?}: {}", err(&output));
        assert!(err(&output).contains(expected), "{words:?}: {}", err(&output));
    }
    assert_eq!(counted(&at), 20);
    assert!(server.stop().success());

    // At rest.
    let dir = data.path();
    let at = ["--data-dir", dir.to_str().unwrap()];
    assert_eq!(delete(&at, &[r#"{service="db"}"#, "--dry-run"]), json!({"records": 10}));
    let third = delete(&at, &[r#"{service="db"}"#]);
    assert_eq!(counted(&at), 10);
    let listed = json_of(&run(&[&["delete", "list", "-o", "json"], &at[..]].concat(), b""));
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let cancelled = run(&[&["delete", "cancel", third["id"].as_str().unwrap()], &at[..]].concat(), b"");
    assert_eq!(code(&cancelled), 0, "{}", err(&cancelled));
    assert_eq!(counted(&at), 20);
}

#[test]
fn what_is_deleted_is_no_longer_in_the_files() {
    let data = Data::new();
    let server = Server::start(&data, &[]);
    let addr = server.http.clone();
    let secret = "correcthorsebatterystaple";
    let line = json!({"service": "web", "message": format!("password {secret}")}).to_string();
    assert_eq!(code(&run(&["ingest", "-", "--addr", &addr], format!("{}\n{line}", lines()).as_bytes())), 0);
    assert!(server.stop().success());
    let has_secret = || {
        let holds = |path: &std::path::PathBuf| {
            std::fs::read(path).is_ok_and(|bytes| bytes.windows(secret.len()).any(|part| part == secret.as_bytes()))
        };
        data.files(".log").iter().any(holds)
    };
    assert!(has_secret(), "the test looks for nothing");
    let server = Server::start(&data, &[]);
    let addr = server.http.clone();
    delete(&["--addr", &addr], &[&format!(r#"{{service="web"}} |= "{secret}""#)]);
    let deadline = std::time::Instant::now() + crate::server::PATIENCE;
    loop {
        let listed = json_of(&run(&["delete", "list", "-o", "json", "--addr", &addr], b""));
        if listed[0]["state"] == "processed" {
            assert_eq!(listed[0]["records_removed"], 1, "{listed}");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the delete was not processed: {listed}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(!has_secret(), "a segment still holds the record");
    assert_eq!(counted(&["--addr", &addr]), 20);
}

#[test]
fn rules_of_retention_are_flags_and_shown() {
    let data = Data::new();
    let rules = [
        "--retention",
        "30d",
        "--retention-rule",
        "tenant=acme;age=90d",
        "--retention-rule",
        r#"selector={service="debug-tool"};age=1d"#,
        "--retention-bytes",
        "1GiB",
    ];
    let server = Server::start(&data, &rules);
    let addr = server.http.clone();
    let status = json_of(&run(&["retention", "status", "-o", "json", "--addr", &addr], b""));
    assert_eq!(
        status["rules"],
        json!([
            {"tenant": null, "selector": null, "age_seconds": 30 * 86_400},
            {"tenant": "acme", "selector": null, "age_seconds": 90 * 86_400},
            {"tenant": null, "selector": r#"{service="debug-tool"}"#, "age_seconds": 86_400},
        ])
    );
    assert_eq!(status["bytes_max"], 1 << 30);
    let shown = out(&run(&["retention", "status", "--addr", &addr], b""));
    for part in ["every tenant", "30d 0h", "tenant acme", "90d 0h", r#"{service="debug-tool"}"#, "of 1.0 GiB"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(code(&run(&["retention", "confirm", "--addr", &addr], b"")), 0);
    let old = json!({"timestamp": "2020-01-01T00:00:00Z", "message": "old"}).to_string();
    let output = run(&["ingest", "-", "--addr", &addr], old.as_bytes());
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("has expired: records are kept from"), "{}", err(&output));
    assert!(server.stop().success());
    for (flags, expected) in [
        (&["--retention-rule", "age=1d"][..], "expected `tenant=…` or `selector=…` too"),
        (&["--retention-rule", r#"selector={a="b"} | json;age=1d"#], "`| json` is none of these"),
        (&["--retention-rule", "tenant=a;age=1d", "--retention-rule", "tenant=a;age=2d"], "two ages for tenant `a`"),
        (&["--retention", "0s"], "must be 1s at least"),
        (&["--retention-bytes", "0"], "must be above 0"),
    ] {
        let said = Server::try_start(&data, flags).err().expect("it does not start");
        assert!(said.contains(expected), "{flags:?}: {said}");
    }
}
