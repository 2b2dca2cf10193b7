//! How the driver comes to a standstill: for a moment, or for good.

use std::sync::Arc;

use crate::engine::driver::{Driver, Task};
use crate::engine::group_commit::inbox::Ended;
use crate::error::Error;
use crate::io::IoQueue;
use crate::mutation::mutated;

impl<Q: IoQueue> Driver<Q> {
    pub(super) fn answer_quiesced(&mut self) {
        if self.quiescing.is_empty() {
            return;
        }
        if let Some(cause) = &self.failure {
            for reply in self.quiescing.drain(..) {
                let _ = reply.send(Err(Error::Poisoned(Arc::clone(cause))));
            }
            return self.stop_if_abandoned();
        }
        let moving = |task: &Task| !matches!(task, Task::Prepare { .. } | Task::Discard);
        if !self.shared.inbox().is_empty() || self.tasks.iter().any(|(_, task)| moving(task)) {
            return;
        }
        self.pipeline.retire();
        while let Some(action) = self.pipeline.next_action() {
            self.act(action);
        }
        if self.pipeline.is_idle() && !self.tasks.iter().any(|(_, task)| moving(task)) {
            self.shared.inbox().leave_segment();
            for reply in self.quiescing.drain(..) {
                let _ = reply.send(Ok(()));
            }
            self.stop_if_abandoned();
        }
    }

    pub(super) fn stop_if_abandoned(&mut self) {
        if self.abandoned.is_some() && !self.stopping {
            self.shared.inbox().end(Ended::Closed);
            self.stop();
        }
    }

    pub(super) fn stop(&mut self) {
        self.stopping = true;
        let spares = self.shared.inbox().take_spares();
        for file in spares {
            if mutated("leave_spares") {
                continue;
            }
            self.discard(file);
        }
    }
}
