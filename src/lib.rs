//! ringwal: a write-ahead log engine.

pub mod error;
pub mod format;
pub mod io;
pub mod replication;

mod buf;
mod engine;
#[cfg(test)]
mod memory;
mod segment;
mod seq;

pub use engine::{Recovery, RecoveryPolicy, Verdict};
pub use error::{Corruption, CorruptionKind, Error, Result, Witness};
pub use seq::Seq;
