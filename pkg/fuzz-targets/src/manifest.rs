//! Any bytes as files of the manifest: no panic, and what was read is written as something that reads
//! the same. Several files, a line each, are a root, its deletes and its months, and are read as a tree.

use timberlog_storage::formats;
use timberlog_storage::manifest::format::{MonthFile, Pointer, RootFile};

/// See the module.
pub fn manifest(input: &[u8]) {
    read(input);
}

/// What an input is of what it could be.
pub(crate) fn read(input: &[u8]) -> [(&'static str, bool); 4] {
    let root = RootFile::decode(input);
    if let Ok(root) = &root
        && let Ok(bytes) = serde_json::to_vec(root)
    {
        assert_eq!(RootFile::decode(&bytes).expect("what was written"), *root);
    }
    let month = MonthFile::decode(input);
    if let Ok(month) = &month {
        let bytes = serde_json::to_vec(month).expect("text and numbers");
        assert_eq!(MonthFile::decode(&bytes).expect("what was written"), *month);
    }
    let pointer = Pointer::decode(input);
    [("pointer", pointer.is_ok()), ("root", root.is_ok()), ("month", month.is_ok()), ("tree", is_tree(input))]
}

fn is_tree(input: &[u8]) -> bool {
    let files: Vec<&[u8]> = input.split(|&byte| byte == b'\n').take(8).collect();
    let [root, deletes, months @ ..] = &files[..] else { return false };
    let Ok(state) = formats::read_tree(root, deletes, months) else { return false };
    let _ = state.segments().map(|(_, _, entry)| entry.local_files().count()).sum::<usize>();
    true
}
