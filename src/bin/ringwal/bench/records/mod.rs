//! The records that are appended, and the comparison with what the log gives back.

pub(crate) mod acked;
pub(crate) mod check;
pub(crate) mod content;
