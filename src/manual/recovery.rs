//! What opening a log finds, and what it does about it.
//!
//! Opening reads `state` and every live segment once and verifies all of it. The place where the
//! valid batches end is then judged by a table over facts. [`Recovery`](crate::Recovery) has the
//! verdict, the label of the row that decided, and the figures; `ringwal verify` prints the same
//! without changing anything.
//!
//! Whoever keeps an index of the log, or a state that its records lead to, builds it in the same
//! pass: [`Builder::open_replaying`](crate::Builder::open_replaying) shows each record where it was
//! read, and [`open_replaying_records`](crate::Builder::open_replaying_records) with its time and
//! whether the last checkpoint covers it. Both logs of this crate are opened that way. What was
//! shown counts only if opening succeeds.
//!
//! # Torn or damaged
//!
//! Bytes that are no valid batch can be a batch that a crash interrupted, which nobody was told
//! of, or acknowledged records that went bad. They are told apart by *witnesses*, which can only
//! exist if the records had been durable:
//!
//! - a later batch of the same segment, whose header carries the durable watermark of its time;
//! - the name of a later segment, because a segment gets its name only when everything before it
//!   is durable;
//! - the checkpoint, or the last durable number in `state`, which a clean close or a pause leaves;
//! - a valid batch where no crash can have left it: of another life of the file with numbers that
//!   only a later one could have, or in the segment before with the numbers of a segment that has
//!   no valid batch;
//! - a last segment that is there and has no bytes at all: each has some, durably, before it gets
//!   its name, so this is what a copy left that copied nothing.
//!
//! | verdict | meaning | what opening does |
//! |---|---|---|
//! | `Clean` | the log ends with its last batch, or in blocks that were never written | goes on |
//! | `Stale` | what follows are leftovers of a recycled file | cuts them off |
//! | `TornTail` | what follows was never acknowledged | cuts it off and says where |
//! | `Corrupt` | a witness proves that something acknowledged is damaged or gone | refuses |
//!
//! Damage to the very last records of a log that was killed has no witness and is taken for a torn
//! tail: no log on one disk can tell the two apart without a second place to write to. It has one,
//! `state`, but to write there for each batch would double the syncs. So it is written after a
//! pause ([`Builder::note_after`](crate::Builder::note_after)): what has no witness is younger.
//! [`damage`](super::damage) has how often that is, and what else is noticed and what not.
//!
//! A slot of `state` that is torn or went bad leaves the other one, which is one step older. That
//! is in the report, too ([`Recovery::state_torn`](crate::Recovery::state_torn)).
//!
//! # The decision table
//!
//! [`Recovery::rule`](crate::Recovery::rule) names the row that led to the verdict. Rows R are about
//! the tail, the place where the valid batches end; rows S are about the directory.
//!
//! | row | what was found | verdict or action |
//! |---|---|---|
//! | R-A1 | the log ends with its last batch | clean |
//! | R-A2 | the last batch is followed by zeros only | clean |
//! | R-A3 | what follows was cut off by `truncate_after` | clean |
//! | R-B1 | a batch of an earlier life of a recycled file follows | stale: cut off |
//! | R-B2 | bytes follow that are no batch | torn tail: cut off |
//! | R-B3 | valid batches follow, which were in flight together with the torn one | torn tail: cut off |
//! | R-C1 | a later segment proves the loss | corrupt: refused |
//! | R-C2 | a later batch of the segment proves the loss | corrupt: refused |
//! | R-C3 | the checkpoint proves the loss | corrupt: refused |
//! | R-C4 | the last durable number in `state` proves the loss | corrupt: refused |
//! | R-C5 | the segment belongs to another log | corrupt: refused |
//! | R-C6 | the last segment has no bytes at all | corrupt: refused |
//! | R-D1 to R-D3 | as R-C3, R-C4 and R-C6, with nothing valid behind the damage | corrupt: tolerated |
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
//! nothing. `TolerateTail` goes on where the damage is at the very end: only `state` testifies to
//! what is missing, and nothing valid lies behind it. It cuts there and reports what was lost.
//! Damage in front of valid batches or segments is an error under both.
//!
//! # Crashes during recovery
//!
//! Every step is durable before the next, and each leads to the same log: a recovery that is cut
//! short is simply done again. What a reopened log shows was synced before `open` returned, so it
//! survives the next loss of power.
