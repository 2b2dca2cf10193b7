//! Reading: returns records from disk to callers, while the log is appended to and truncated.
//!
//! | file | what it does |
//! |---|---|
//! | `record` | a record, and its position |
//! | `reader` | an iterator over records |
//! | `replay` | records while recovery verifies them; logs opened to read only |
//! | `segments`, `file_cache` | the segments that exist, and their open files |
//! | `places` | where some batches lie: a reader that begins in the middle scans little |
//! | `cuts`, `watch` | what was truncated meanwhile, by this process or by another one |

pub(crate) mod cuts;
pub(crate) mod file_cache;
pub(crate) mod places;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod replay;
pub(crate) mod segments;
pub(crate) mod watch;
