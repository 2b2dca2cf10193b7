//! The soak: hours of use of a key-value log, and how to read its results.
//!
//! ```text
//! ringwal soak --duration 1h --kill --work-dir DIR --log-dir DIR
//! ```
//!
//! Run it before you trust a machine with data, on the file system you will use. Each option can
//! also be an environment variable: `RINGWAL_SOAK_DURATION`, `RINGWAL_SOAK_KILL` and so on;
//! `ringwal soak --help` lists them.
//!
//! # What it does
//!
//! Of 100 operations, about 85 put, 5 delete an existing key, and 10 read; one read in eight is of
//! a key that may not exist. An `fsync` follows every 1,000 operations, and a compaction every
//! `--compact-every`; it runs beside the following operations. After at most `--restart-every`
//! operations, and at least half as many, the store is closed and reopened. With `--kill`, every
//! other cycle of the store runs in a child process, which is killed with SIGKILL in the middle of
//! its work; about every other kill comes soon after a compaction began.
//!
//! Records come in three size classes: of 100 puts, 70 are small, 25 medium and 5 large.
//!
//! | class | keys | bytes of a generated value |
//! |---|---|---|
//! | small | 20,000 | 0 to 256 |
//! | medium | 4,000 | 1 KiB to 8 KiB |
//! | large | 400 | 64 KiB to 256 KiB |
//!
//! With `--mode real`, they come from three files of your own, one record per line; keys and
//! payloads may be as long as the store accepts:
//!
//! ```text
//! {"key": "YXBwbGU=", "payload": "Z3JlZW4="}
//! ```
//!
//! The seed and the options determine the operations, whatever the machine does, also with
//! `--kill`: operations lost in a kill are repeated. The last lines show a digest of all
//! operations. `--operations N` ends each run at the same place.
//!
//! # What it checks
//!
//! 1. Every call succeeds, every read returns the last value put, every delete finds its key.
//! 2. After each restart, and at the end, all keys and values are compared with the expected ones.
//! 3. After a kill, everything that the process acknowledged is there, flushed or not, because a
//!    `Written` put survives the death of its process. Of the unacknowledged operations, a prefix
//!    is there and nothing else.
//! 4. Resident memory, open descriptors and segments stay bounded. In the second half of the run,
//!    memory may exceed its peak of the first half by a quarter and 16 MiB, descriptors by half and
//!    16, segments by half and 4. With fewer than two compactions in the first half, the bounds are
//!    not judged.
//!
//! The expected content is kept as a digest per key, so its memory does not grow either.
//!
//! Exit code 0: every check passed, and the store is removed. 1: a check failed; the message names
//! it, with the operation or the keys, and the store is kept. 2: the request is wrong, so the run
//! did not begin. SIGINT, SIGTERM and SIGHUP end a run early, with all comparisons.
//!
//! It does not test power loss; [`testing`](super::testing) names the tests that do.
//!
//! # What it leaves
//!
//! `soak.csv` in the log directory has a row every `--progress-secs`, `soak.svg` a curve per
//! column.
//!
//! | column | meaning |
//! |---|---|
//! | `elapsed_s` | seconds since the start |
//! | `resident_kib`, `descriptors` | of all processes of the run, the peak since the previous row |
//! | `segments` | files of the log, the peak since the previous row |
//! | `live_keys` | keys that should be there |
//! | `puts`, `deletes`, `gets` | acknowledged operations |
//! | `rotations`, `compactions` | completed rotations and compactions |
//! | `written_bytes` | written to the disk for batches, including padding and copies |
//! | `put_p50_us`, `put_p99_us` | microseconds of the puts since the previous row |
//! | `fsync_p50_us`, `fsync_p99_us` | the same for calls of `fsync` |
//! | `restarts`, `kills` | how often the store was reopened, and how many times after a kill |
//!
//! A field is empty if it has no value: there was no such call since the previous row, or the
//! system has no `/proc`. For a killed writer, rotations, compactions and bytes count up to its
//! last `fsync`. If rows are further apart than requested, one call or restart took that long: the
//! disk stalled.
//!
//! A curve of `resident_kib`, `descriptors` or `segments` that grows from its left to its right end
//! is a leak. The first two go up and down with the cycles: with a writer process there are two
//! processes.
//!
//! # An hour of it
//!
//! On ext4 with two processors, 2026-11-21, beside compilers and tests most of the time:
//!
//! ```text
//! nice -n 5 ringwal soak --duration 1h --kill --work-dir D --log-dir D
//! ```
//!
//! It ended clean: 24,173,641 operations, 341 GiB written, 1,201 compactions, 11,799 rotations, and
//! 327 restarts, 163 of them after a SIGKILL. At the end all 22,868 keys had the expected values.
//! The least and the greatest value in the rows of each fifth of the run:
//!
//! | of the run | resident, KiB | descriptors | segments of 32 MiB |
//! |---|---|---|---|
//! | first fifth | 33,456 to 35,344 | 32 to 33 | 11 to 15 |
//! | second | 33,300 to 36,884 | 31 to 33 | 11 to 14 |
//! | third | 34,984 to 40,688 | 32 to 33 | 11 to 12 |
//! | fourth | 34,916 to 37,676 | 31 to 34 | 11 to 12 |
//! | last | 19,312 to 39,060 | 20 to 33 | 8 to 12 |
//!
//! At the last row no writer process was left, hence the low values. In half of the rows the median
//! put took 74 us or less and 99 of 100 puts took 1.2 ms or less; for `fsync` that is 258 us and
//! 5.9 ms. No two rows were more than 65 s apart.
//!
//! After readers began to share the memory that they read into, a run of 15 minutes beside the
//! whole test suite ended clean as well: 6,948,508 operations, 346 compactions, 94 restarts, 47 of
//! them after a SIGKILL. Resident memory was 46,948 to 60,484 KiB in the first five minutes, 60,652
//! to 72,176 in the next, and at most 72,404 in the last. Most of that is freed large buffers that
//! the allocator of the C library keeps: with `MALLOC_MMAP_THRESHOLD_=262144` the first 45 s take
//! 24 to 30 MiB, without it 38 to 54.
