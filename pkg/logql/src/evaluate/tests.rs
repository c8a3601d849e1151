//! Metric queries as data: the files in `tests/` say what is stored, what is asked and what the
//! answer is. Every question is asked twice, of samples as points and of totals for each window.
//!
//! A file is a list of lines:
//!
//! ```text
//! clear                         forget the stored series
//! store {a="b"} 10:1 20:2       a series: seconds and value of each sample
//! store {a="b"} 10+5*3:1        the same as 10:1 15:1 20:1; `1+2` after `:` counts up by 2
//! at 60                         the following are instant queries
//! from 0 to 60 step 10          the following are range queries
//! ask sum(rate({a="b"}[1m]))    a question
//! = {a="b"} 2                   an element of the answer; with `40:2 50:3` a series
//! = 2                           the answer is a number
//! ! text                        the answer is an error that contains this
//! ```
//!
//! A query reads the stored series that its selector matches; stages are ignored, values are what
//! `unwrap` finds, line lengths, or not looked at for operations that count lines.

mod fixture;
mod memory;
mod properties;
mod tables;
