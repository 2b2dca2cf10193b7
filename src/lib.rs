//! ringwal: a write-ahead log engine.

pub mod error;
pub mod io;
pub mod replication;

mod buf;
mod seq;
mod sys;

pub use error::{Corruption, CorruptionKind, Error, Result, Witness};
pub use io::{Backend, BackendKind, Refusal, Strategy};
pub use seq::Seq;
