//! The soak: a key-value log in use for hours, and how to read what it says.
//!
//! ```text
//! ringwal soak --duration 1h --kill --work-dir DIR --log-dir DIR
//! ```
//!
//! Start it before you trust a machine with data, on the file system that is meant. Each option can
//! be an environment variable as well: `RINGWAL_SOAK_DURATION`, `RINGWAL_SOAK_KILL` and so on;
//! `ringwal soak --help` has all of them.
//!
//! # What it does
//!
//! Of a hundred operations about 85 put, 5 delete a key that is there, and 10 read, one in eight of
//! those a key that may not be there. After every 1,000 comes an `fsync`, after every
//! `--compact-every` a compaction, which runs beside the operations that follow. After
//! `--restart-every` at most, and half of that at least, the store is closed and opened again. With
//! `--kill`, every other life of the store is that of a process of its own, which is ended with
//! SIGKILL in the middle of what it does, about every other time soon after a compaction began.
//!
//! Records come from three streams: of a hundred puts 70 are small, 25 medium and 5 large.
//!
//! | stream | keys | bytes of a value, made up |
//! |---|---|---|
//! | small | 20,000 | 0 to 256 |
//! | medium | 4,000 | 1 KiB to 8 KiB |
//! | large | 400 | 64 KiB to 256 KiB |
//!
//! With `--mode real` they come from three files of your own, each line a record; keys and
//! payloads may be as long as the store takes them:
//!
//! ```text
//! {"key": "YXBwbGU=", "payload": "Z3JlZW4="}
//! ```
//!
//! The operations follow from the seed and the options, whatever the machine does, also with
//! `--kill`: what had not happened at a kill is done afterwards. The last lines have a digest of
//! all of them. `--operations N` ends a run at the same place each time.
//!
//! # What it checks
//!
//! 1. Every call succeeds, every read gives the bytes that were put last, every delete finds its
//!    key.
//! 2. After each restart, and at the end, all keys and values are compared with what is expected.
//! 3. After a kill, everything that the process acknowledged is there, flushed or not, because a
//!    `Written` put survives the death of its process. Of what it had been sent beyond that, a
//!    prefix is there, and nothing else.
//! 4. Resident memory, open descriptors and segments stay bounded: at most a quarter and 16 MiB,
//!    half and 16, half and 4 more in the second half of the run than in the first. Where the first
//!    half has fewer than two compactions it says that it cannot tell.
//!
//! What is expected is kept as a digest for each key, so its memory does not grow either.
//!
//! Exit code 0: all of it held, and the store is removed. 1: something did not; the message says
//! what, with the operation or the keys, and the store stays. 2: what was asked for cannot be done,
//! so the run did not begin. SIGINT, SIGTERM and SIGHUP end a run early, with all comparisons.
//!
//! It does not cut the power. [`testing`](super::testing) says what does.
//!
//! # What it leaves
//!
//! `soak.csv` in the log directory has a row every `--progress-secs`, `soak.svg` a curve of each
//! column.
//!
//! | column | meaning |
//! |---|---|
//! | `elapsed_s` | seconds since the start |
//! | `resident_kib`, `descriptors` | of all processes of the run, the most since the row before |
//! | `segments` | files of the log, the most since the row before |
//! | `live_keys` | keys that should be there |
//! | `puts`, `deletes`, `gets` | operations that were acknowledged |
//! | `rotations`, `compactions` | segments that got their name; compactions that ended |
//! | `written_bytes` | handed to the disk for batches, padding and copies included |
//! | `put_p50_us`, `put_p99_us` | microseconds of the puts since the row before |
//! | `fsync_p50_us`, `fsync_p99_us` | the same of the calls of `fsync` |
//! | `restarts`, `kills` | how often the store was opened again, and after how many kills |
//!
//! A field is empty where there is nothing to say: no such call since the row before, or no `/proc`
//! to ask. Of a writer that was killed, rotations, compactions and bytes count up to its last
//! `fsync`. Rows that are further apart than asked mean that one call, or a restart, took that
//! long: the disk stood still.
//!
//! What grows from the left to the right end of `resident_kib`, `descriptors` or `segments` is a
//! leak. The first two go up and down with the lives of the store: with a writer of its own there
//! are two processes.
//!
//! # What an hour showed
//!
//! On ext4 with two processors, 2026-11-21, beside compilers and tests most of the time:
//!
//! ```text
//! nice -n 5 ringwal soak --duration 1h --kill --work-dir D --log-dir D
//! ```
//!
//! It ended clean: 24,173,641 operations, 341 GiB written, 1,201 compactions, 11,799 rotations, and
//! 327 restarts, 163 of them after a SIGKILL; at the end 22,868 keys and values were what they
//! should be. What goes up and down, as the least and the greatest value of the rows of each fifth
//! of the run:
//!
//! | of the run | resident, KiB | descriptors | segments of 32 MiB |
//! |---|---|---|---|
//! | first fifth | 33,456 to 35,344 | 32 to 33 | 11 to 15 |
//! | second | 33,300 to 36,884 | 31 to 33 | 11 to 14 |
//! | third | 34,984 to 40,688 | 32 to 33 | 11 to 12 |
//! | fourth | 34,916 to 37,676 | 31 to 34 | 11 to 12 |
//! | last | 19,312 to 39,060 | 20 to 33 | 8 to 12 |
//!
//! The row of the very end is without a writer beside it, hence the low values. In half of the rows
//! the median put took 74 us or less and 99 of 100 took 1.2 ms or less; for `fsync` that is 258 us
//! and 5.9 ms. No two rows were more than 65 s apart.
//!
//! Later on that day readers came to share the memory that they read into, and 15 minutes of it,
//! beside the whole test suite, ended clean as well: 6,948,508 operations, 346 compactions, 94
//! restarts, 47 of them after a SIGKILL. Resident were 46,948 to 60,484 KiB in the first five
//! minutes, 60,652 to 72,176 in the next, and at most 72,404 in the last. The most of that is what
//! the allocator of the C library keeps of large buffers that it was given back: with
//! `MALLOC_MMAP_THRESHOLD_=262144` the first 45 s take 24 to 30 MiB, without it 38 to 54.
