//! How much damage a log notices, measured: every kind of it, at every place of small logs of
//! fourteen shapes.
//!
//! `scripts/damage-table.sh` makes logs (one segment and many, single records and large batches,
//! truncated at either end, with a checkpoint, after a torn tail, closed and not closed), damages
//! each in one place at a time, and opens it under both policies. What may happen is decided by a
//! model that was kept while the log was made: which records were acknowledged, and what of the
//! rest of the log testifies to them.
//!
//! # What came of it
//!
//! - **refused**: opening is an error that names the file, the byte and the records, and changes
//!   nothing; `verify` says the same.
//! - **told**: every record is there, but one slot of `state` is gone and the older one counts. The
//!   report says so ([`Recovery::state_torn`](crate::Recovery::state_torn)). The last checkpoint,
//!   truncation or clean close may be undone.
//! - **harmless**: everything acknowledged is there, as it was.
//! - **torn**: the damaged batch and what came behind it are cut off as a torn tail. Nothing in the
//!   log testifies to them.
//! - **older**: `state` as a whole was replaced by one that had been valid earlier.
//! - **mistaken**: a whole valid batch of another log, with the same number at the same place, is
//!   taken for this log's, because nothing of the segment is left that contradicts it.
//!
//! *Detected* is the share of what did harm that was refused or told.
//!
//! ```text
//! TABLE
//! ```
//!
//! # How to read it
//!
//! - **Whatever has a witness is refused.** There is no place where something is lost that a later
//!   batch, a later segment or `state` testifies to; the test fails at the first one.
//! - **What is torn is the end of a log that was not closed.** The last batch of such a log has
//!   nothing behind it that could testify. That is why closed logs reach (almost) 100 % and why
//!   the share grows with the number of batches: these logs have three to eight, so the last one is
//!   a large part of them. Of a log with a million batches it is one in a million.
//! - **Cutting a file** of a log that was not closed can take many batches at once, and none behind
//!   the cut is left to testify. Rotation limits it to the last segment; a checkpoint, or a
//!   truncation, testifies to everything that was durable when it was made.
//! - **Batches that were in flight together** do not testify to each other: each carries what was
//!   durable when it was sealed. The measured logs have one in flight.
//! - **Another log's block** is recognised by its numbers, and within a segment by the salt. A
//!   segment that has only one batch, replaced as a whole, is not recognised.
//! - **An older `state`** is recognised when a segment is missing that it says is there. A `state`
//!   from before a checkpoint only has the older checkpoint.
