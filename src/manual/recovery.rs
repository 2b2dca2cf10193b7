//! Recovery: how opening tells a torn tail from damage, and what it does about each.
//!
//! Opening reads `state` and every live segment once, and verifies all of it. A table classifies
//! the place where the valid batches end. [`Recovery`](crate::Recovery) has the verdict, the row of
//! the table, and the counts; `ringwal verify` prints the same without changing anything.
//!
//! To rebuild an index or other state from the records, use the same pass:
//! [`Builder::open_replaying`](crate::Builder::open_replaying) passes each verified record to a
//! callback, and [`open_replaying_records`](crate::Builder::open_replaying_records) adds its time
//! and whether the last checkpoint covers it. The event log and the key-value log open this way.
//! The shown records count only if opening succeeds.
//!
//! # Torn or damaged
//!
//! Bytes that are no valid batch come from a write that a crash interrupted, which was never
//! acknowledged; or they are acknowledged records that went bad. *Witnesses* make the difference:
//! they can exist only if the records had been durable.
//!
//! - a later batch of the same segment: its header carries the durable watermark of its time;
//! - the name of a later segment: a segment gets its name only once all records before it are
//!   durable;
//! - the checkpoint, or the last durable number in `state`, which a clean close or a pause leaves;
//! - a valid batch where no crash can have left it: one of another use of the file with numbers
//!   that only a later one could have; or one in the segment before, with the numbers of a segment
//!   that has no valid batch;
//! - a last segment without any bytes: every segment has some, durably, before it gets its name, so
//!   a copy has failed.
//!
//! | verdict | meaning | opening |
//! |---|---|---|
//! | `Clean` | the log ends with its last batch, or in blocks that were never written | goes on |
//! | `Stale` | leftovers of a recycled file follow | cuts them off |
//! | `TornTail` | bytes follow that were never acknowledged | cuts them off and reports where |
//! | `Corrupt` | a witness proves that acknowledged records are damaged or gone | refuses |
//!
//! Damage to the very last records of a killed log has no witness, and is taken for a torn tail: no
//! log on one disk can tell the two apart without a second place to write to. The log has one,
//! `state`, but a write there for each batch would double the syncs. So `state` is written after a
//! pause ([`Builder::note_after`](crate::Builder::note_after)), and only younger records have no
//! witness. The chapter [damage](super::damage) says how often that happens, and which other damage
//! is noticed.
//!
//! If one slot of `state` is torn or damaged, the other one counts, which is one step older. The
//! report says so ([`Recovery::state_torn`](crate::Recovery::state_torn)).
//!
//! # The decision table
//!
//! [`Recovery::rule`](crate::Recovery::rule) names the row that led to the verdict. Rows R are for
//! the tail, the place where the valid batches end; rows S are for the directory.
//!
//! | row | what was found | verdict or action |
//! |---|---|---|
//! | R-A1 | the log ends with its last batch | clean |
//! | R-A2 | the last batch is followed by zeros only | clean |
//! | R-A3 | what follows was cut off by `truncate_after` | clean |
//! | R-B1 | a batch of an earlier life of a recycled file follows | stale: cut off |
//! | R-B2 | bytes follow that are no batch | torn tail: cut off |
//! | R-B3 | valid batches follow that were in flight beside the torn one | torn tail: cut off |
//! | R-C1 | a later segment proves the loss | corrupt: refused |
//! | R-C2 | a later batch of the segment proves the loss | corrupt: refused |
//! | R-C3 | the checkpoint proves the loss | corrupt: refused |
//! | R-C4 | the last durable number in `state` proves the loss | corrupt: refused |
//! | R-C5 | the segment belongs to another log | corrupt: refused |
//! | R-C6 | the last segment has no bytes at all | corrupt: refused |
//! | R-D1 to R-D3 | as R-C3, R-C4, R-C6, with no valid batch behind | corrupt: tolerated |
//! | S-1 | `state` is valid | the log is used; a row R follows |
//! | S-2 | `state` is unreadable | refused |
//! | S-3 | the directory is empty | a new log begins |
//! | S-4 | there are other files and no segment | not a log |
//! | S-5 | segments of stand-alone batches, without `state` | adopted |
//! | S-6 | segments of an engine, without `state` | refused |
//! | S-7 | as S-6, under `TolerateTail` | `state` is created anew |
//! | S-8 | a segment that does not begin like a batch, without `state` | refused |
//!
//! R-D and S-7 need [`RecoveryPolicy::TolerateTail`](crate::RecoveryPolicy).
//!
//! # Policies
//!
//! [`RecoveryPolicy::Strict`](crate::RecoveryPolicy) refuses to open a corrupt log and changes
//! nothing. `TolerateTail` goes on if the damage is at the very end: only `state` proves the loss,
//! and no valid batch lies behind it. It cuts there, keeps the bytes it cuts off, and reports the
//! loss. Damage in front of valid batches or segments is an error under both.
//!
//! # Crashes during recovery
//!
//! Every step is durable before the next, and each leads to the same log: the next opening repeats
//! an interrupted recovery. Records that a reopened log shows were synced before `open` returned.
//! So they survive the next power loss.
