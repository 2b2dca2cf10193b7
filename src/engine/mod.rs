//! The log engine.

pub(crate) mod recovery;
pub(crate) mod state_file;

pub use recovery::{Recovery, RecoveryPolicy, Verdict};
