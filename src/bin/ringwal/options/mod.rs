//! Options that several commands share: the engine options, parsers of their values, and how a path
//! names a log.

pub(crate) mod engine;
pub(crate) mod format;
pub(crate) mod log_dir;
pub(crate) mod parse;
