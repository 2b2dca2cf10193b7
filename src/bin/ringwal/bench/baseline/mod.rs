//! The raw limits of the file system, which a log is compared with.

pub(crate) mod files;
pub(crate) mod raw;
pub(crate) mod ring;
