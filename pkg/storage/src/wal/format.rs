//! stub
/// The version of the WAL's format.
pub const VERSION: u16 = 1;
