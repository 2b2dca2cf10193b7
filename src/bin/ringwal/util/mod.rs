//! What is below every command: processes, signals, random numbers, calls to the system.

pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod signal;
pub(crate) mod system;
