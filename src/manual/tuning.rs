//! How to get speed, what the figures of a log say, and what was tried and did not help.
//!
//! # In short
//!
//! A disk takes about as long for one small durable write as for a batch of a thousand, so the
//! rate is the number of records that share a flush. There are few things to do, in this order:
//!
//! 1. **Have more records outstanding.** Append from more threads; or keep a window of tickets from
//!    one thread ([`append_async`](crate::Log::append_async)), which needs far fewer wake-ups; or
//!    put records that belong together into a [`Batch`](crate::Batch).
//! 2. **Ask for no more than is needed.** A record that only has to survive the process may be
//!    appended with [`Durability::Written`](crate::Durability::Written) beside others that are
//!    synced.
//! 3. **Look at the disk**: `ringwal bench DIR` shows the log beside the raw limits of the file
//!    system that `DIR` is on. A log cannot be faster than its disk flushes.
//! 4. Only then look at the options. Their defaults are meant to need no change.
//!
//! # How a batch goes
//!
//! An appender computes its checksum, takes the lock for the time of a copy, and leaves its record
//! in the *open batch*. Memory is allocated for a batch, never for a record. Then somebody has to
//! take that batch to the disk. Who and when follows from what is outstanding:
//!
//! - **One appender alone** writes and syncs its own batch on its own thread. That takes two system
//!   calls, as the raw write and flush do, and no hand-over to another thread.
//! - **Up to 64 threads that wait**: after an acknowledgement the batch is *gathered*. It is held
//!   until as many records are there as were outstanding, but no longer than a flush usually takes;
//!   the last appender to arrive writes it, and wakes the others; where these are 6 to 31, half of
//!   them, one of whom wakes the rest. While a batch is in flight, the next one goes when it
//!   has as many records. Where a wait was in vain, the next batches are not held: one, three,
//!   seven, up to 63. That is so if not all came, and also if all came, but more than a quarter as
//!   many others while their batch was in flight: then threads think in between, and come each in
//!   its own time.
//! - **A crowd** of more than 64: nothing is held and the ring thread writes. It submits the next
//!   batch before it wakes the appenders of the last one, so that the disk works meanwhile. Where
//!   more than 16 threads sleep at one batch it wakes one, and that one wakes the others: all of
//!   them, or, where they are 13 to 64, half of them, the first of which does the same.
//! - **64 KiB or more** in the open batch: it goes at once, on the ring thread.
//!
//! What is appended without waiting goes by the same rules, but always on the ring thread. It makes
//! no crowd: a thread with a thousand tickets comes back as fast as it can append.
//!
//! A segment has its blocks before its first batch, as zeros that were written in the background:
//! then the sync of a batch has data to write and nothing else. But zeros are as many bytes as the
//! records that replace them, on the same disk and at the same time. Where batches are large, of
//! more than 192 KiB of late, that is the greater price: then the room of the next segment is only
//! reserved, and each sync writes a little metadata as well. A segment that is recycled has its
//! blocks already.
//!
//! The raw floors of `ringwal bench` write to files whose blocks exist. A log that grows with large
//! records has to make new ones, on the disk that the records go to; a log in its steady state
//! recycles what truncation frees. Who has bursts can hold written segments for one, with
//! [`spare_segments`](crate::Builder::spare_segments): while batches are large the spares are used
//! up, and none is prepared as long as one is left; then they are prepared one by one. After a
//! tenth of a second without a batch, or some twenty small ones, the log writes zeros again, until
//! all spares are there; the one that was still reserved counts as one of them, and is used first.
//! `ringwal bench` lets a log prepare its segments before its time starts.
//!
//! How a batch becomes durable is a [`Strategy`](crate::Strategy); [`backends`](super::backends)
//! has the three. The log tries all of them at open, up to eight times each and for at most 50 ms
//! together. It takes `write-then-sync` unless another needs less than half of its time: the
//! others end on threads of the kernel, which have to wait for a processor like everybody else, and
//! an idle moment at open does not show that. For the same reason a choice other than
//! `write-then-sync` is compared again while the log runs: of every 256 batches, eight go by
//! `write-then-sync`, and if the others are not clearly faster any more, it is taken for good,
//! until the log is opened again. A strategy that was asked for never changes.
//!
//! # The options
//!
//! Those of [`Builder`](crate::Builder); the command has all of them, too. With `linked`, if it is
//! asked for, no appender writes by itself. A segment costs a rename, two syncs and its size in
//! zeros.
//!
//! | option | default | touch it when |
//! |---|---|---|
//! | `durability` | `Synced` | the last moments before a power cut may be lost |
//! | `strategy` | measured | `ringwal bench --strategy` shows another to be better for you |
//! | `queue_depth` (`--depth`) | 2 | the drive flushes concurrently; not for `write-then-sync` |
//! | `gather` | on | tails matter more than flushes, and hardly anybody comes back at once |
//! | `inline` | on | threads that append must never do I/O themselves |
//! | `batch_delay` | 0 | few, sparse clients, on a disk that pays by the flush |
//! | `batch_bytes`, `batch_records` | 1 MiB, 65,536 | to bound what one write holds up |
//! | `queue_bytes` | 16 MiB | higher for bursts: at the bound, appends block |
//! | `segment_bytes` | 32 MiB | larger for many MiB/s; smaller to free space in small steps |
//! | `spare_segments` | 1 | bursts are longer than a segment: hold as many as one fills |
//! | `recycle_segments` | 2 | truncation frees more at once: they have their blocks already |
//! | `preallocate` | by file system and batch size | leave it: see below |
//! | `direct_io` | on | to see what the page cache would make of it |
//!
//! # What the figures say
//!
//! [`Log::backend`](crate::Log::backend) has what was chosen at open, its measurements and the
//! reason; [`Log::metrics`](crate::Log::metrics) what happened since:
//!
//! | figure | what it tells |
//! |---|---|
//! | `batch_records.mean()` | records per flush; at best the number of appenders that wait |
//! | `commit_micros` | the disk: compare it with the floor of `ringwal bench` |
//! | `queue_micros` | from a batch's first record to its submission; long if it waits for a slot |
//! | `wake_micros` | waking appenders; near `commit_micros`, use fewer threads, or tickets |
//! | `inline_batches` of `batches` | what appenders wrote themselves; none in a crowd |
//! | `padding_bytes` of `written_bytes` | waste of padding to whole blocks; falls as batches grow |
//! | `spares_prepared`, `rotations` | the former less the latter are the spares that are there |
//! | `spares_reserved` | of the former, the ones without zeros, as batches were large |
//! | `spares_refused` | how often the disk had no room for one |
//! | `queued_bytes` | near `queue_bytes`, appends block |
//! | `strategy` | other than `backend().strategy`: the choice made at open was given up |
//!
//! `ringwal bench` shows the same from outside: `x-floor` is the rate as a multiple of one write
//! and flush at a time, `x-ideal` as a multiple of one direct write of all outstanding records and
//! a flush. Everything is measured by turns in the same run, since disks have moods; `--hogs N`
//! shows what is left of it on a busy machine. The options of the engine are options of `bench`,
//! too, and `scripts/compare-variants.sh` runs the most different ones beside each other.
//!
//! # What it reaches
//!
//! `ROUNDS=5 SECS=0.5 scripts/bench-gate.sh DIR`, 2026-11-21, 20:30 UTC, on a virtual machine with
//! two processors and ext4 on a virtio disk, where one small write and its flush took about 140 us,
//! with nothing else running. A figure is the median of the rounds, beside it the least and the
//! greatest; in bold what misses its goal. "Prepared" is a log that has 16 spares of 64 MiB when
//! its time starts. Beside it, the same from an hour before, when recovery read smaller pieces.
//!
//! | case, idle | reaches | rounds | an hour before | goal |
//! |---|---|---|---|---|
//! | 1 thread, 100 B, of the floor | **0.96** | 0.86 to 1.18 | 1.01 | 1.0 |
//! | 16 threads, 100 B, of the ideal batch | **0.547** | 0.47 to 0.55 | 0.57 | 0.55 |
//! | 64 threads, 100 B | **0.34** | 0.33 to 0.53 | 0.38 | 0.35 |
//! | 256 threads, 100 B | **0.147** | 0.13 to 0.18 | **0.14** | 0.15 |
//! | 16 threads, 16 KiB | **0.46** | 0.40 to 0.49 | **0.41** | 0.7 |
//! | the same, prepared | **0.59** | 0.46 to 0.66 | **0.58** | 0.7 |
//! | 64 threads, 16 KiB | **0.57** | 0.48 to 0.67 | **0.64** | 0.85 |
//! | the same, prepared | **0.77** | 0.76 to 0.84 | **0.75** | 0.85 |
//! | one thread, 256 tickets | **0.69** | 0.63 to 0.80 | **0.62** | 0.85 |
//! | one thread, 4,096 tickets | **0.42** | 0.41 to 0.48 | **0.49** | 0.65 |
//! | the same, prepared | **0.54** | 0.44 to 0.88 | **0.55** | 0.65 |
//! | processor time per append, 64 threads | 5.9 us | | 5.9 us | 8 us |
//! | recovery of 512 MiB, of a raw read | 1.00 | | **0.79** | 0.85 |
//!
//! | case, beside busy loops | one | two | an hour before | goal |
//! |---|---|---|---|---|
//! | 1 thread, 100 B, of the floor | 1.05 | 1.08 | 1.05, 1.00 | 0.5 |
//! | 16 threads, 100 B, of the ideal batch | 0.57 | **0.47** | **0.48**, **0.499** | 0.5 |
//! | 64 threads, 100 B | **0.39** | **0.27** | **0.42**, **0.28** | 0.5 |
//! | 256 threads, 100 B | **0.13** | **0.16** | **0.16**, **0.16** | 0.5 |
//! | 16 threads, 16 KiB | 0.51 | **0.25** | **0.34**, **0.31** | 0.5 |
//! | the same, prepared | 0.60 | **0.30** | 0.54, **0.36** | 0.5 |
//! | 64 threads, 16 KiB | 0.55 | **0.33** | 0.59, **0.37** | 0.5 |
//! | the same, prepared | 0.61 | 0.50 | 0.77, 0.59 | 0.5 |
//! | one thread, 256 tickets | 0.76 | **0.45** | 0.70, **0.43** | 0.5 |
//! | one thread, 4,096 tickets | **0.32** | **0.21** | **0.34**, **0.18** | 0.5 |
//! | the same, prepared | **0.49** | **0.22** | **0.45**, **0.20** | 0.5 |
//!
//! The machine shares its processors with others and has slow hours and fast ones. Four hours
//! before, an append at 64 threads took 8.4 us of them, and the same script found 0.51 at 16
//! threads, 0.34 at 64 and 0.12 at 256; and another hour before that, 5 us and 0.54, 0.40 and 0.16.
//! In that hour prepared segments gave 0.60 (0.56 to 0.68) with 16 KiB from 16 threads and 0.89
//! (0.74 to 0.96) from 64, and 256 tickets 0.70.
//!
//! The faster a disk flushes, and the slower a processor is, the more of the time is the
//! processors', and the ideal batch is one write that nobody has to be told of: on a day on which a
//! flush took about 85 us, 64 threads reached 0.31 of it, and 256 threads 0.13, by the code of that
//! day.
//!
//! # The rule beside fixed settings
//!
//! When a batch goes has nothing to set. `scripts/compare-gathering.sh DIR` compares the rule with
//! batches that go at once and with some that are held for a fixed time, by turns, for threads that
//! append again at once, and for some that think before, at random with a mean of 0.3 or 3 ms. The
//! first figure is the rate of a setting as a multiple of the rule's, the second the same of the
//! time within which half of the appends were acknowledged; records of 100 B, an hour before
//! the tables above.
//!
//! | threads, and how long each thinks | at once | held 50 us | 200 us | 1,000 us |
//! |---|---|---|---|---|
//! | 1 thread, no pause | 0.97, 1.03 | 0.47, 2.14 | 0.30, 3.29 | 0.11, 9.15 |
//! | 4 threads, no pause | 0.66, 1.69 | 0.65, 1.75 | 0.39, 2.83 | 0.14, 7.69 |
//! | 16 threads, no pause | 0.89, 1.18 | 0.91, 1.14 | 0.54, 1.93 | 0.21, 5.24 |
//! | 64 threads, no pause | 1.04, 0.95 | 0.98, 0.99 | 0.74, 1.39 | 0.29, 3.66 |
//! | 256 threads, no pause | 0.91, 0.98 | 0.98, 0.91 | 1.02, 0.95 | 0.65, 1.65 |
//! | 1 thread, 0.3 ms | 0.97, 1.05 | 0.80, 1.91 | 0.67, 2.83 | 0.35, 7.95 |
//! | 4 threads, 0.3 ms | 1.06, 0.93 | 0.96, 1.21 | 0.83, 1.73 | 0.43, 5.08 |
//! | 16 threads, 0.3 ms | 0.97, 1.03 | 1.04, 0.95 | 1.01, 1.07 | 0.53, 3.16 |
//! | 64 threads, 0.3 ms | 1.00, 0.99 | 1.02, 0.95 | 0.95, 1.17 | 0.65, 2.14 |
//! | 256 threads, 0.3 ms | 0.99, 0.86 | 0.96, 1.01 | 1.10, 1.40 | 1.27, 1.13 |
//! | 1 thread, 3 ms | 1.00, 1.03 | 0.93, 1.68 | 0.90, 2.35 | 0.73, 5.96 |
//! | 4 threads, 3 ms | 1.01, 0.91 | 0.98, 1.51 | 0.93, 2.23 | 0.79, 6.30 |
//! | 16 threads, 3 ms | 0.99, 1.09 | 0.97, 1.37 | 0.94, 1.98 | 0.82, 4.44 |
//! | 64 threads, 3 ms | 0.99, 1.12 | 1.00, 1.02 | 1.00, 1.16 | 0.87, 2.53 |
//! | 256 threads, 3 ms | 1.05, 0.92 | 1.04, 0.95 | 1.01, 1.20 | 0.87, 2.50 |
//! | 1 thread, 16 in a row, 3 ms | 0.97, 1.16 | 0.73, 2.12 | 0.52, 3.22 | 0.23, 8.95 |
//! | 4 threads, 16 in a row, 3 ms | 0.91, 1.26 | 0.86, 1.33 | 0.62, 2.31 | 0.27, 6.53 |
//! | 16 threads, 16 in a row, 3 ms | 0.98, 1.03 | 1.00, 1.04 | 0.80, 1.57 | 0.33, 4.82 |
//! | 64 threads, 16 in a row, 3 ms | 1.02, 0.90 | 1.08, 0.90 | 0.94, 1.17 | 0.39, 3.70 |
//! | 256 threads, 16 in a row, 3 ms | 1.05, 1.02 | 1.07, 1.03 | 1.23, 0.93 | 1.02, 1.51 |
//!
//! Nothing fixed is good everywhere. Among four threads that come back at once, waiting for all of
//! them brings half as many records again. Where threads think, every wait is lost, and the rule
//! comes to that by itself: as long as it took a batch that was full by chance for a success, half
//! of the appends took up to 1.5 times as long. A crowd that keeps both processors busy is the
//! exception: 256 threads that think 0.3 ms had a tenth more records by that mistake, and longer
//! waits would bring up to a quarter more. They do harm wherever the processors are not the limit.
//!
//! # What an old log costs
//!
//! A log that is truncated from the front should cost the same after years as after a minute: what
//! an append takes, the memory of its process, and the time to open for each live byte. Whether it
//! does on your disk is asked with
//!
//! ```sh
//! ringwal bench DIR --mode age --size 1024 --strategy write-then-sync
//! ```
//!
//! The age of a log is all that was appended to it, as a multiple of its live bytes. The command
//! appends up to each of `--ages` and truncates all the time, so that `--bytes` are live. Then it
//! lets that log and a young one, each in a process of its own, append and open by turns. `x-cpu`,
//! `x-rate` and `x-memory` are multiples of the young log's; so are `x-open` and `x-recovery`, for
//! each live record. The oldest log is cut to a half and a quarter and opened again: `x-open-part`
//! and `x-recovery-part` are the time for each live record as a multiple of that of the quarter.
//! Growth shows as a multiple that is greater than 1 and goes up with the age. At age 1 both logs
//! are the same, so that row is the noise. Every live record is compared at each opening.
//!
//! With one strategy for all, logs do not differ by what each has chosen at open, and opening does
//! not measure it. `scripts/bench-gate.sh` takes 1.25 for the goal of each, at the age of 16. With
//! 32 MiB live and records of 100 B and 1 KiB, in the run above, it found:
//!
//! | at the age of 16 | 100 B | 1 KiB |
//! |---|---|---|
//! | processor time per append, of a young log's | 1.00 | 1.02 |
//! | memory, of a young log's | 1.01 | 1.00 |
//! | time to open per live MiB, of a young log's | 1.02 | 0.99 |
//! | the same, of that of a quarter of the live bytes | 0.94 | 0.99 |
//! | recovery per live MiB, of a young log's | 1.02 | 0.99 |
//! | the same, of that of a quarter of the live bytes | 1.00 | 1.10 |
//!
//! # Where the time goes
//!
//! With many threads, `perf` finds about two thirds of the processor time in the kernel, switching
//! to threads and waking them (`futex_wait`, `futex_wake`): every blocking append sleeps once and
//! is woken once. At 64 threads an append costs 5 to 6 us of processor time, while its share of a
//! flush, which it has in common with about fifty others, is less than 3 us. The async form has no
//! such price: 0.4 us with a window of 256, 0.15 us with 4,096. There the time of a record goes, in
//! this order, into the place in the batch, the bookkeeping of whoever keeps the tickets, and the
//! checksum; a look at the clock would take as long as any of these, so an append takes none. What
//! is left for a window of 256 is, of 225 us in all, some 30 us to fill it, 180 us to write it, for
//! which the ideal batch needs 150 to 170, and 15 us to wake who waits.
//!
//! With records of 16 KiB, and with 4,096 tickets, it goes into the disk. A log that grows makes
//! new blocks, by zeros or by metadata; the raw limits have theirs, and so has a log with spares
//! for the time of a burst, which the rows with prepared segments show.
//!
//! Beside busy loops it goes into waiting for a processor. Half of the ideal batch is then more
//! than two processors can do where each record wakes a thread: in the run above it would have
//! been 300,000 records per second at 64 threads and 1,100,000 at 256, beside two loops. At 3.7 us
//! each, that takes 1.1 and 4 processors, of which the loops leave about one.
//!
//! The parts alone, by `cargo bench --features sim --bench parts` on the same machine. The log in
//! it has a queue that writes nothing and answers at once, so what is measured is the engine:
//!
//! | part | time | as a multiple |
//! |---|---|---|
//! | checksum of 100 B, 1 KiB, 16 KiB | 16, 43, 575 ns | 13, 10, 5 of a copy in the cache |
//! | sealing 1, 64, 1,024 records, 100 B | 0.12, 0.8, 7.2 us | 6.4, 0.7, 0.4 of checksum and copy |
//! | of that, its digest | 0.10, 0.7, 5.5 us | |
//! | decoding and verifying them | 0.17, 2.0, 29 us | 8.8, 1.7, 1.6 of checksum and copy |
//! | an append that its thread completes | 0.67 us | |
//! | the same through the ring thread | 38 us | 57 of the former |
//! | the same, 16 and 64 threads at once | 2.4, 2.6 us | 2.5, 2.3 of completing it inline |
//! | an append with a window of 256 | 0.2 to 0.3 us | 0.01 of one through the ring thread |
//! | dedup of a new and of a known event | 66, 34 ns | 4.4, 2.3 of its checksum and copy |
//! | decoding a segment of 8 MiB in memory | 0.49 ms | 3.5 of a copy |
//! | recovery of it | 0.65 ms | 1.3 of decoding |
//!
//! A hand-over to a thread that sleeps, and back, is fifty times the work of the engine. That is
//! why an appender alone writes its batch itself: with `--inline false` it reaches 0.87 of the
//! floor.
//!
//! # What was tried and did not help
//!
//! Rates are acknowledged records per second, of blocking appends of 100 bytes if nothing else is
//! said, each the median of variants that were interleaved in one run. On the day of the first
//! figures of an entry a flush took about 85 us, on that of those marked with * about 130 us; only
//! figures of one entry and one day can be compared.
//!
//! - **No gathering, or no inline batches, for 16 threads.** 100,600 with both; 63,400 with
//!   neither, 75,700 with neither at depth 1, 79,200 when half of the appenders are waited for. Of
//!   the ideal batch, in other runs: 0.54 to 0.58 with both, 0.38 without gathering, 0.41 to 0.45
//!   without inline batches, 0.35 to 0.38 with neither, 0.43 to 0.45 with neither at depth 1. Hence
//!   both are on.
//! - **Gathering a crowd.** With it and without, with appenders that write: 171,000 and 133,000 at
//!   48 threads, 199,000 and 177,000 at 64, 237,000 and 227,000 at 128, 270,000 and 276,000 at
//!   256 \*. Gathered, but written by the ring thread: 159,000 at 64 \*. Hence the bound of 64.
//!   Later, when others than the ring thread woke sleepers, a bound of 32 brought 1.06 times as
//!   many records at 64 threads and 0.93 times at 48, for 1.1 to 1.3 times the processor time.
//! - **Waking in turn everywhere.** One sleeper that wakes the others, in place of the ring thread:
//!   215,000 beside 193,000 at 64 threads, 282,000 beside 254,000 at 128, 351,000 beside 307,000 at
//!   256. But among 16 appenders that write by themselves it costs a fifth, 84,000 beside 106,000:
//!   who has just written has nothing better to do. Hence only the ring thread does it.
//! - **Waking by halves everywhere.** Each sleeper wakes half of the rest: 248,000 beside 210,000
//!   at 96 threads, 285,000 beside 240,000 at 128, but 260,000 beside 275,000 at 256 and 214,000
//!   beside 245,000 at 512, because those who are back first make small batches \*. Where no more
//!   than 64 sleep: 231,000 beside 203,000, 249,000 beside 227,000, and no difference at 256 \*.
//!   Only by an appender that has written, where no more than 31 sleep: 63,400 beside 60,100 at 16
//!   threads and 86,400 beside 78,800 at 24, no difference at 8 and 32, but 152,000 beside 171,000
//!   at 64 \*. Hence both bounds.
//! - **A thread that commits the batch of its ticket** when it waits for it and the ring thread
//!   has not taken it yet: 1,010,000 beside 980,000 with 256 tickets, 550,000 beside 660,000 next
//!   to two busy loops \*. **A ring thread that writes with a blocking call**, where it syncs with
//!   one afterwards: 1,100,000 beside 1,090,000 with 256 tickets, 5,280,000 beside 5,860,000 with
//!   4,096, 197,000 beside 201,000 at 256 threads \*. Neither earns a second way to do it.
//! - **A second batch in flight**, beside one that the ring thread syncs itself: 172,000 beside
//!   178,000 without at 64 threads, 277,000 beside 281,000 at 256, with twice as many flushes;
//!   5,360,000 beside 5,910,000 with 4,096 tickets of one thread; records of 16 KiB 67,900 beside
//!   72,900 from 64 threads, and only from 16 threads 32,600 beside 30,000 \*. Hence there is none.
//! - **Reserved segments for small batches.** Zeros beside reservation, atomic batches of one
//!   thread, in records of 1 KiB: 177,000 and 141,000 with batches of 32 KiB, 289,000 and 241,000
//!   with 64 KiB, 428,000 and 397,000 with 128 KiB, 555,000 and 630,000 with 256 KiB \*. Hence the
//!   bound of 192 KiB. The tail is another matter: 99 of 100 of these batches took at most 1.2 to
//!   2.0 ms with zeros, and 0.3 to 0.9 ms without. Where that counts for more, ask for it with
//!   [`preallocate`](crate::Builder::preallocate).
//! - **Zeros written slowly**, with as long a pause after each MiB as it took: 168,000 beside
//!   176,000 at 64 threads, and 99 of 100 appends within 950 us instead of 650 us \*. A short burst
//!   in between is better.
//! - **Recovery through the page cache**, by one thread: 0.52 to 1.09 of a raw read in 11 runs; by
//!   threads that read ahead 0.69 to 1.01 in 7 runs; by those with direct I/O 0.89 to 1.00 in 7 \*.
//!   Fresh memory for each page is dear on a virtual machine. Hence the last, in pieces of 512 KiB:
//!   0.92 to 1.04 in 8 runs, beside 0.77 to 1.07 with pieces of 256 KiB. What is read again
//!   after it then comes from the disk, so who wants all records takes them from
//!   [`open_replaying`](crate::Builder::open_replaying).
//! - **Other strategies at 64 threads.** `linked` 161,000 to 183,000, no better than
//!   `write-then-sync`; `dsync` 214,000, but it collapses when the processors are busy.
//! - **A higher priority of the ring thread** (nice -15): 197,000 beside 198,000 at 64 threads,
//!   336,000 beside 325,000 at 256. **A shorter slice of the scheduler** for it (0.1 ms), beside
//!   two busy loops: 110,000 beside 154,000 at 64 threads; for all appenders as well: 161,000 \*.
//! - **Another size at which a batch is not held**: with 16 KiB records from 16 threads, 50,000 at
//!   64 KiB, 53,000 at 128 KiB, 52,000 at 288 KiB; with 4,096 tickets of one thread 4,700,000 at
//!   64 KiB, 4,570,000 at 128 KiB, 4,530,000 at 256 KiB \*.
//! - **Spinning instead of sleeping** was left out after a prototype, in which 16 threads reached
//!   80,000 on the idle machine and 4,000 beside one busy loop.
