//! Records back from disk.
//!
//! | file | what it does |
//! |---|---|
//! | `record` | a record, and the place where it lies |
//! | `reader` | records in order |
//! | `replay` | records while recovery verifies them; logs that are opened to read only |
//! | `segments`, `file_cache` | which segments there are, and their open files |
//! | `cuts`, `watch` | what was truncated meanwhile, by this process or by another one |

pub(crate) mod cuts;
pub(crate) mod file_cache;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod replay;
pub(crate) mod segments;
pub(crate) mod watch;
