//! Recovery: what opening a log verifies, and how it decides what to do.
//!
//! Opening reads `state` and every live segment once, and verifies all of it. A decision table then
//! judges the place where the valid batches end. [`Recovery`](crate::Recovery) has the verdict, the
//! label of the row that decided, and the counts; `ringwal verify` prints the same without changing
//! anything.
//!
//! If you keep an index of the log, or a state that its records build up, build it in the same
//! pass. [`Builder::open_replaying`](crate::Builder::open_replaying) passes each record to a
//! callback with its place; [`open_replaying_records`](crate::Builder::open_replaying_records) adds
//! its time and whether the last checkpoint covers it. The event log and the key-value log open
//! that way. The records that were passed count only if the open succeeds.
//!
//! # Torn or damaged
//!
//! Bytes that are not a valid batch are either a batch that a crash interrupted, and that was never
//! acknowledged, or acknowledged records that went bad. Recovery distinguishes them by *witnesses*,
//! which can exist only if the records had been durable:
//!
//! - a later batch of the same segment, whose header carries the durable watermark of its time;
//! - the name of a later segment, because a segment gets its name only when everything before it
//!   is durable;
//! - the checkpoint, or the last durable number in `state`, which a clean close or a pause leaves;
//! - a valid batch where no crash can have left it: a batch of an earlier life of the file with
//!   numbers that only a later life could have, or a batch in the segment before with the numbers
//!   of a segment that has no valid batch;
//! - an empty last segment: each segment durably has some bytes before it gets its name, so an
//!   empty one is a failed copy.
//!
//! | verdict | meaning | opening |
//! |---|---|---|
//! | `Clean` | the log ends with its last batch, or in blocks that were never written | continues |
//! | `Stale` | the rest is the leftover of a recycled file | cuts it off |
//! | `TornTail` | the rest was never acknowledged | cuts it off and reports where |
//! | `Corrupt` | a witness proves that acknowledged records are damaged or missing | fails |
//!
//! Damage to the very last records of a log that was killed has no witness, and counts as a torn
//! tail. No log on one disk can distinguish the two without writing in a second place. `state` is
//! such a place, but writing it for each batch would double the syncs. So it is written after a
//! pause ([`Builder::note_after`](crate::Builder::note_after)), and only records younger than that
//! have no witness. [`damage`](super::damage) measures how often that happens, and which other
//! damage is detected.
//!
//! If one slot of `state` is torn or damaged, the other slot counts, which is one step older. The
//! report says so ([`Recovery::state_torn`](crate::Recovery::state_torn)).
//!
//! # Policies
//!
//! [`RecoveryPolicy::Strict`](crate::RecoveryPolicy) refuses to open a corrupt log and changes
//! nothing. `TolerateTail` opens it if the damage is at the very end: only `state` testifies to the
//! missing records, and nothing valid follows. It cuts the log there and reports the loss. Damage
//! in front of valid batches or segments is an error under both policies.
//!
//! # Crashes during recovery
//!
//! Every step is durable before the next one begins, and all of them lead to the same log. So a
//! recovery that is interrupted is simply repeated. The records of a reopened log were synced
//! before `open` returned, so they survive the next loss of power.
