//! Baselines: the raw limits of the file system, with which a log is compared, and the log that one
//! would write by hand.

pub(crate) mod by_hand;
pub(crate) mod files;
pub(crate) mod raw;
pub(crate) mod ring;
