//! How the driver comes to a standstill: for a moment, or for good.

use std::sync::Arc;

use crate::engine::commit::committer::Committer;
use crate::engine::commit::queue::Ended;
use crate::engine::commit::ring_thread::RingThread;
use crate::error::Error;
use crate::io::IoQueue;

impl<Q: IoQueue> RingThread<Q> {
    pub(super) fn answer_quiesced(&mut self, committer: &mut Committer) {
        if self.quiescing.is_empty() {
            return;
        }
        let failure = committer.failure().map(Arc::clone);
        if failure.is_none() && !committer.quiesce(&self.shared) {
            return;
        }
        for reply in self.quiescing.drain(..) {
            let answer = failure.clone().map_or(Ok(()), |cause| Err(Error::Poisoned(cause)));
            let _ = reply.send(answer);
        }
        if self.abandoned.is_some() && !committer.is_stopping() {
            self.shared.queue().end(Ended::Closed);
            committer.stop(&self.shared);
        }
    }
}
