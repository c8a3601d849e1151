//! The target `archive`, with the fuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| timberlog_fuzz_targets::archive(input));
