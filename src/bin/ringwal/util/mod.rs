//! Helpers below every command: processes, signals, random numbers, system calls.

pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod signal;
pub(crate) mod system;
