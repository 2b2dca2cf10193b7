//! Segment files, for recovery and readers: their names, and how to scan them.
//!
//! The name of a segment is its first sequence number, so a directory listing gives the order. A
//! file is a *spare* until it gets such a name, *active* while batches are written to it, and
//! *sealed* once a later segment is active.

pub(crate) mod name;
pub(crate) mod reader;
pub(crate) mod window;
