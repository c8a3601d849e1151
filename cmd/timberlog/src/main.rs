//! The `timberlog` binary.
fn main() {}
