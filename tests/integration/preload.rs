//! Small C libraries that a test puts between the binary and the C library (`LD_PRELOAD`), compiled once each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The library that `tests/integration/<name>.c` becomes; nothing, said once, where that cannot work.
pub fn library(name: &'static str) -> Option<PathBuf> {
    static MADE: Mutex<BTreeMap<&str, Option<(tempfile::TempDir, PathBuf)>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let made = made.entry(name).or_insert_with(|| compiled(name));
    made.as_ref().map(|(_, library)| library.clone())
}

fn compiled(name: &str) -> Option<(tempfile::TempDir, PathBuf)> {
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: calls are watched with LD_PRELOAD, which is Linux's");
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/integration/{name}.c"));
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join(format!("{name}.so"));
    let output = Command::new("cc")
        // A fortified `open` is no function that could be replaced.
        .args(["-shared", "-fPIC", "-O0", "-U_FORTIFY_SOURCE", "-o"])
        .args([&library, &source])
        .args(["-ldl", "-lpthread"])
        .output();
    match output {
        Err(error) => {
            eprintln!("skipped: there is no C compiler `cc`: {error}");
            None
        }
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some((folder, library))
        }
    }
}
