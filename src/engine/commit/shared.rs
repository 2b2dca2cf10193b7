//! The committer, and the [`Board`] that it works on.
//!
//! Lock order: the committer before whatever a board has.

use std::ops::Deref;

use crate::engine::commit::board::Board;
use crate::engine::commit::committer::Committer;
use crate::error::Error;
use crate::sync::{Mutex, MutexGuard};

/// What the handles of a log and its ring thread share.
pub(crate) struct Shared {
    board: Board,
    committer: Mutex<Committer>,
}

impl Shared {
    pub(crate) fn new(board: Board, committer: Committer) -> Shared {
        Shared { board, committer: Mutex::new(committer) }
    }

    pub(crate) fn committer(&self) -> MutexGuard<'_, Committer> {
        self.committer.lock()
    }

    /// The committer, unless another thread has it.
    pub(crate) fn try_committer(&self) -> Option<MutexGuard<'_, Committer>> {
        self.committer.try_lock()
    }

    /// Ends the log because a thread that drove it panicked, which is a defect.
    pub(crate) fn panicked(&self, who: &str) {
        let source = std::io::Error::other(format!("{who} panicked; this is a defect"));
        let mut committer = self.committer();
        committer.give_up(Error::io("commit to", &self.dir, source));
        let notifications = committer.take_notifications();
        drop(committer);
        self.notify(notifications, None);
    }
}

impl Deref for Shared {
    type Target = Board;

    fn deref(&self) -> &Board {
        &self.board
    }
}
