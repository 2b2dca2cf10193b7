//! What the handles of a log ask of its driver.

use crate::error::Result;
use crate::io::LockGuard;
use crate::sync::channel::Sender;

/// A message to the driver.
#[derive(Debug)]
pub(crate) enum Control {
    /// Someone waits for stable storage up to this sequence number.
    WantDurable(u64),
    /// The queue was frozen by the sender. Make everything durable, seal the active segment and
    /// answer.
    Quiesce(Sender<Result<()>>),
    /// The log was cut after this sequence number while it was quiesced, for the so many-th time;
    /// goes on from there.
    Reset(u64, u64, Sender<()>),
    /// Everything was quiesced and the queue has ended: remove the spares and end the thread.
    Stop,
    /// The last handle was dropped on this very thread, which cannot wait for itself: quiesce,
    /// stop, and release the lock at the end. The queue was frozen by the sender.
    Abandon(Box<dyn LockGuard>),
}
