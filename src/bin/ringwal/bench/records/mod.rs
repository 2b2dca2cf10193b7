//! The appended records, and the comparison with what the log returns.

pub(crate) mod acked;
pub(crate) mod check;
pub(crate) mod content;
