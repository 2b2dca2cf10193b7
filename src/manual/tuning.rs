//! How to make a log fast, when a batch goes to the disk, and what the metrics say.
//!
//! The numbers of one machine are in `docs/measurements.md` of the repository, with the command
//! that produced each. This chapter has what holds everywhere.
//!
//! # In short
//!
//! A disk takes about as long for one small durable write as for a batch of a thousand. So the rate
//! of a log is the number of records that share a flush. There are few things to do, in this order:
//!
//! 1. **Keep more records outstanding.** Append from more threads; or keep a window of tickets from
//!    one thread ([`submit`](crate::Log::submit)), which needs far fewer wake-ups; from tasks
//!    ([`append_async`](crate::Log::append_async)); or
//!    put records that belong together into a [`Batch`](crate::Batch).
//! 2. **Ask for no more than you need.** A record that only has to survive the process can be
//!    appended with [`Durability::Written`](crate::Durability::Written), beside others that are
//!    synced.
//! 3. **Look at the disk.** `ringwal bench DIR` shows the log beside the raw limits of the file
//!    system that `DIR` is on. No log is faster than its disk flushes.
//! 4. Only then look at the options. Their defaults are meant to need no change.
//!
//! # When a batch goes, and which thread writes it
//!
//! An appender computes its checksum, holds a lock for the time of a copy, and leaves its record in
//! the *open batch*. The engine allocates memory for a batch, never for a record. When the batch
//! goes to the disk, and on which thread, depends on the records that are outstanding:
//!
//! - **A single appender** writes and syncs its own batch on its own thread. That takes two system
//!   calls, as a raw write and flush do, and no hand-over to another thread.
//! - **Many waiting threads**: one of them *leads*. It writes and syncs the batch, wakes all whose
//!   records were in it, and behind them the leader of the next batch, which is one of those that
//!   wait there already. When that one gets a processor, the others have come back with their next
//!   records, as far as they come back at once. So a batch has as many records as the machine
//!   leaves time for, idle or busy.
//! - If nobody waits in the next batch, the first thread that comes back opens it and *holds* it
//!   until it has as many records as were outstanding, but no longer than a flush usually takes.
//! - **A hold in vain** suspends the holds for the next batches: one, three, seven, up to 63 of
//!   them. A hold was in vain if some threads did not come back; or if all came back, but more than
//!   a quarter as many others arrived while their batch was in flight. Then threads do other work
//!   in between, and each comes in its own time.
//! - **Tickets and tasks** have no thread that could write: the ring thread does. It wakes all whom
//!   a batch acknowledged before it takes the next one, unless that one is full.
//! - **64 KiB or more** in the open batch: it goes at once, on the ring thread.
//!
//! # Where the blocks of a segment come from
//!
//! A segment has its blocks before its first batch: zeros, written in the background. Then the sync
//! of a batch writes data and nothing else. But the zeros are as many bytes as the records that
//! replace them, on the same disk at the same time. While batches are large, above 192 KiB, that
//! price is the greater one. Then the room of the next segment is only reserved, and each sync
//! writes a little metadata as well. A recycled segment has its blocks already.
//!
//! The first segment after opening is short, so the first append waits for few zeros. Each one
//! after it may be 16 times as long as the one before, until it is full. Beside batches, zeros are
//! written in steps of 1 MiB with pauses, until half of the active segment is used. After a burst,
//! a tenth of a second without a batch, as many spares are prepared as it used, up to
//! [`burst_segments`](crate::Builder::burst_segments).
//!
//! The raw floors of `ringwal bench` write to files whose blocks exist. A log that grows with large
//! records has to make new blocks, on the disk that the records go to; a log in its steady state
//! recycles the segments that truncation frees. If your load has bursts, keep written segments for
//! one with [`spare_segments`](crate::Builder::spare_segments). While batches are large, the spares
//! are used up, and none is prepared as long as one is left; after that they are prepared one by
//! one. After a tenth of a second without a batch, or some twenty small batches, the log writes
//! zeros again until all spares are there. A spare that was only reserved counts as one of them and
//! is used first. `ringwal bench` lets a log prepare its segments before its time starts.
//!
//! # Which strategy
//!
//! A [`Strategy`](crate::Strategy) is how a batch becomes durable; [`backends`](super::backends)
//! describes the three. At open the log tries each of them up to eight times, for at most 50 ms
//! together. It takes `write-then-sync` unless another needs less than half of its time. The
//! reason: the others end on threads of the kernel, which compete for a processor, and an idle
//! moment at open does not show that.
//!
//! For the same reason any other choice is compared again while the log runs. Of every 256 batches,
//! eight go by `write-then-sync`. Once the chosen strategy is no longer clearly faster,
//! `write-then-sync` is taken until the log is opened again. A strategy that was asked for never
//! changes.
//!
//! # The options
//!
//! All options of [`Builder`](crate::Builder) are options of the command, too. If `linked` is asked
//! for, no appender writes its batch itself. A segment costs a rename, two syncs and its size in
//! zeros.
//!
//! | option | default | touch it when |
//! |---|---|---|
//! | `durability` | `Synced` | the last moments before a power cut may be lost |
//! | `strategy` | measured | `ringwal bench --strategy` shows another to be better for you |
//! | `queue_depth` (`--depth`) | 2 | the drive flushes concurrently; not for `write-then-sync` |
//! | `gather` | on | tails matter more than flushes, and few threads come back at once |
//! | `inline` | on | appending threads must never do I/O themselves |
//! | `batch_delay` | 0 | clients are few and sparse, and the disk is paid for by the flush |
//! | `batch_bytes`, `batch_records` | 1 MiB, 65,536 | one write must not hold up so many records |
//! | `queue_bytes` | 16 MiB | bursts are larger: at this bound, appends block |
//! | `segment_bytes` | 32 MiB | larger for many MiB/s; smaller to free space in small steps |
//! | `first_segment_bytes` | 256 KiB | the first append after opening must wait for fewer zeros |
//! | `spare_segments` | 1 | the first burst is longer than a segment: hold as many as it fills |
//! | `burst_segments` | 4 | bursts fill more segments, and the disk has room for their zeros |
//! | `recycle_segments` | 2 | truncation frees more at once; recycled segments have their blocks |
//! | `preallocate` | by file system and batch size | the tail matters more than the rate |
//! | `direct_io` | on | you want to compare with the page cache |
//!
//! # The metrics
//!
//! [`Log::backend`](crate::Log::backend) has the choice made at open, its measurements and the
//! reason. [`Log::metrics`](crate::Log::metrics) has the events since then:
//!
//! | metric | meaning |
//! |---|---|
//! | `batch_records.mean()` | records per flush; at best the number of waiting appenders |
//! | `commit_micros` | the disk; compare it with the floor of `ringwal bench` |
//! | `queue_micros` | from a batch's first record to its submission; long if it waits for a slot |
//! | `wake_micros` | waking appenders; if near `commit_micros`, use fewer threads, or tickets |
//! | `inline_batches` of `batches` | batches that appenders wrote themselves |
//! | `padding_bytes` of `written_bytes` | padding to whole blocks; falls as batches grow |
//! | `spares_prepared`, `rotations` | their difference is the number of spares |
//! | `spares_reserved` | prepared spares without zeros, because batches were large |
//! | `spares_refused` | how often the disk had no room for a spare |
//! | `queued_bytes` | if near `queue_bytes`, appends block |
//! | `strategy` | if not `backend().strategy`, the choice made at open was given up |
//!
//! `ringwal bench` shows the same from outside. `x-floor` is the rate as a multiple of one raw
//! write and flush at a time; `x-ideal` as a multiple of one direct write of all outstanding
//! records and a flush. A run measures everything in turns, because the speed of a disk varies.
//! `--hogs N` adds busy processors. `bench` takes the engine's options too, and
//! `scripts/compare-variants.sh` runs the most different variants beside each other.
//!
//! # What to expect
//!
//! - A single appender reaches the floor: it does what a raw write and flush do.
//! - With many blocking threads, most of the processor time is the kernel's, which puts each thread
//!   to sleep once and wakes it once per append. The faster the disk flushes, the more that counts.
//!   Tickets do not have that price: one thread with a window of tickets appends at a multiple of
//!   the rate, for a small part of the processor time.
//! - With large records the time goes into the disk. A growing log makes new blocks; a log with
//!   spares for its bursts, or one that recycles, does not.
//! - On a busy machine, appends wait for a processor. Fewer threads with tickets wait less.
//! - No fixed delay before a flush is good for every load; `batch_delay` is for the rare one. The
//!   rule above comes close to the best fixed delay of nearly every load that was compared.
//!
//! # The cost of an old log
//!
//! A log that is truncated from the front should cost the same after years as after a minute: the
//! time of an append, the memory of its process, the time to open for each live byte. To check that
//! on your disk:
//!
//! ```sh
//! ringwal bench DIR --mode age --size 1024 --strategy write-then-sync
//! ```
//!
//! The *age* of a log is everything that was appended to it, as a multiple of its live bytes. The
//! command appends up to each of `--ages` and truncates all the time, so that `--bytes` are live.
//! Then that log and a young one append and open in turns, each in a process of its own. `x-cpu`,
//! `x-rate` and `x-memory` are multiples of the young log's figures; so are `x-open` and
//! `x-recovery`, for each live record. The oldest log is cut to a half and a quarter and opened
//! again: `x-open-part` and `x-recovery-part` are the time for each live record as a multiple of
//! the quarter's. Growth shows as a multiple above 1 that rises with the age. At age 1 both logs
//! are the same, so that row shows the noise. Each opening compares every live record.
//!
//! With one strategy given, the logs do not differ by what each chose at open.
