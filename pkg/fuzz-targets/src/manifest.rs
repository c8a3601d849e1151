//! Any bytes as files of the manifest: no panic, and what was read is written as something that reads
//! the same. Several files, a line each, are a root, its deletes and its months, and are read as a tree.

use timberlog_storage::formats;
use timberlog_storage::manifest::format::{MonthFile, Pointer, RootFile};

/// See the module.
pub fn manifest(input: &[u8]) {
    let _ = Pointer::decode(input);
    if let Ok(root) = RootFile::decode(input)
        && let Ok(bytes) = serde_json::to_vec(&root)
    {
        assert_eq!(RootFile::decode(&bytes).expect("what was written"), root);
    }
    if let Ok(month) = MonthFile::decode(input) {
        let bytes = serde_json::to_vec(&month).expect("text and numbers");
        assert_eq!(MonthFile::decode(&bytes).expect("what was written"), month);
    }
    let files: Vec<&[u8]> = input.split(|&byte| byte == b'\n').take(8).collect();
    let [root, deletes, months @ ..] = &files[..] else { return };
    if let Ok(state) = formats::read_tree(root, deletes, months) {
        let _ = state.segments().map(|(_, _, entry)| entry.local_files().count()).sum::<usize>();
    }
}
