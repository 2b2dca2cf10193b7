//! Group commit as two pure state machines around one hand-over.
//!
//! Appenders put records into the [`inbox`]; whoever drives the log (the ring thread, or one of
//! the appenders) takes whole batches out of it, hands them to the disk and reports to the
//! [`pipeline`], which says what may be acknowledged. [`gather`] says when a batch goes. None of
//! them knows a clock, a file or a thread, so all are tested by the million and serve any driver.

pub(crate) mod gather;
pub(crate) mod inbox;
pub(crate) mod pipeline;

#[cfg(test)]
mod tests;
