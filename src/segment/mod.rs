//! Segment files: what they are called and how they are read.
//!
//! A segment is named by its first sequence number, so a listing alone gives the order. It is a
//! *spare* until it gets that name, *active* while it is written, and *sealed* once a later one
//! has taken over.

pub(crate) mod name;
pub(crate) mod reader;
pub(crate) mod window;
