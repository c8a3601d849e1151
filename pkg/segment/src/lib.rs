//! segment

pub mod message;
