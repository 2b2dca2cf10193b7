//! What the committer has to tell others.

use std::sync::Arc;
use std::time::Instant;

use crate::engine::commit::latch::Latch;
use crate::engine::commit::pipeline::Acknowledgement;
use crate::error::Error;

/// What others are to be told once the committer's lock is released
/// ([`Board::notify`](crate::engine::commit::board::Board::notify)): whoever is woken may be
/// foreign code.
#[derive(Debug, Default)]
#[must_use = "someone waits to hear of it"]
pub(crate) struct Notifications {
    pub(crate) acknowledged: Vec<Acknowledgement>,
    /// The watermarks moved because of what completed then.
    pub(crate) completed_at: Option<Instant>,
    pub(crate) room: bool,
    pub(crate) failure: Option<(Arc<Error>, Vec<Arc<Latch>>)>,
}
