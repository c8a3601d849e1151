//! Any bytes as a file of the manifest, or an index object of a tiered segment: no panic, and what
//! was read is written as something that reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use timberlog_storage::manifest::format::{MonthFile, Pointer, RootFile};

fuzz_target!(|input: &[u8]| {
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
});
