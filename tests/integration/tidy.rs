//! Rules of the house that a person would otherwise have to check.

use std::path::{Path, PathBuf};

const LINES_MAX: usize = 700;

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "target" && name != ".git" {
            files(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

fn of_project(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(Path::new(env!("CARGO_MANIFEST_DIR")), ending, &mut found);
    assert!(!found.is_empty());
    found
}

#[test]
fn every_module_says_what_it_is_and_is_one_idea_long() {
    for path in of_project(".rs") {
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "`{}` has {lines} lines, at most {LINES_MAX}: is it one thing?", path.display());
        let is_test = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        assert!(is_test || text.starts_with("//!"), "`{}` does not begin with `//!`", path.display());
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in of_project(".md") {
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let folder = path.parent().expect("a folder");
            assert!(folder.join(target).exists(), "`{}` links to `{target}`, which is not there", path.display());
        }
    }
}
