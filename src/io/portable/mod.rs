//! The portable backend: `std::fs` and blocking calls, on every platform.

mod dir;
mod file;
mod fs;
pub(crate) mod queue;
#[cfg(target_os = "linux")]
mod read_ahead;
mod storage;

pub use queue::StdQueue;
pub use storage::StdStorage;
