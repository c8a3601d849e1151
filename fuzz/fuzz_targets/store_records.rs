//! The target `store_records`, with the fuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| timberlog_fuzz_targets::store_records(input));
