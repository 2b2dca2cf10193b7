//! Baselines: the raw limits of the file system, with which a log is compared.

pub(crate) mod files;
pub(crate) mod raw;
pub(crate) mod ring;
