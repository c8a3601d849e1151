//! The documented example of the library does what it says.

#[path = "../examples/embedded.rs"]
#[allow(dead_code, reason = "`main` is for the example")]
mod embedded;

#[test]
fn the_example_finds_what_it_stored() {
    let folder = tempfile::tempdir().unwrap();
    let said = embedded::run(folder.path()).unwrap();
    assert_eq!(said, "found `disk is full`; after opening again: info=2, error=1");
}
