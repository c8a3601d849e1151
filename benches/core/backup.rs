//! Backups in a folder on the same disk: made, checked and restored, beside `cp -r` and `sync -f` of the same files.

use crate::process::{Ended, Process, run, timberlog};
use crate::report::Better;
use crate::{Bench, files};
use serde_json::Value;
use std::process::Command;

const PART: &str = "Backup to a folder, and restore";

pub fn measure(bench: &mut Bench<'_>) {
    let data = bench.stored();
    let megabytes = files::sealed_bytes(&data) as f64 / 1e6;
    for _ in bench.rounds() {
        let (store, restored, copied) = (bench.empty("backups"), bench.empty("restored"), bench.empty("copied"));
        let url = format!("file://{}", store.display());
        let copying = run(Command::new("cp").arg("-r").arg(&data).arg(&copied)).seconds;
        let copying = copying + run(Command::new("sync").arg("-f").arg(&copied)).seconds;
        bench.scale.add(PART, "`cp -r` and `sync -f`", "MB/s", Better::None, megabytes / copying);
        let mut note = |name: &str, Ended { usage, seconds, stdout }| {
            let scale = &mut bench.scale;
            scale.add(PART, name, "MB/s", Better::Higher, megabytes / seconds);
            scale.add(PART, &format!("{name}: speed beside the copy"), "×", Better::Higher, copying / seconds);
            scale.cost(PART, &format!("{name}: CPU"), "s CPU", usage.cpu_seconds);
            scale.cost(PART, &format!("{name}: peak memory"), "MB", usage.memory_bytes as f64 / 1e6);
            let done: Value = serde_json::from_str(&stdout).expect("JSON");
            // An earlier build does not say them.
            scale.disk(PART, &format!("{name}: "), &usage, done["fsyncs"].as_u64());
        };
        let backup = |what| timberlog(&["backup", what, "-o", "json", "--store", &url]);
        note("create", run(backup("create").arg("--data-dir").arg(&data)));
        note("verify", run(&mut backup("verify")));
        note("restore", run(backup("restore").arg("--data-dir").arg(&restored)));
        let server = Process::start(&restored, &["--compaction", "off"]);
        let found = server.engine()["segment_records"].as_u64().unwrap_or(0);
        bench.scale.check("records of the restored database", found, bench.corpus.records);
    }
    for name in ["backups", "restored", "copied"] {
        let _ = std::fs::remove_dir_all(bench.folder.join(name));
    }
}
