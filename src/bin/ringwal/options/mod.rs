//! What several commands take: the options of the engine, and how values are given.

pub(crate) mod engine;
pub(crate) mod format;
pub(crate) mod log_dir;
pub(crate) mod parse;
