//! How ringwal is tested: its promises, the faults that must not break them, and how to repeat the
//! tests.
//!
//! A record is *acknowledged* once its append or its ticket returned without an error. Every test
//! below keeps a model of the acknowledged records, and compares what comes back with the model,
//! not with what the code reports.
//!
#![doc = include_str!("promises.md")]
//!
//! # Not promised
//!
//! - A drive that reports a flush without doing it. No software on one disk can tell.
//! - The loss of the disk, or of the directory.
//! - The repair of damage: damage is found and named, not repaired. [`damage`](super::damage)
//!   measures how much is found.
//! - Anything about a log that two processes write at once without its lock, or that is changed by
//!   hand while it is open.
//! - Other kernels than those that the tests run on: no test boots another one. For macOS all code
//!   and all tests are type-checked on Linux, and not run.
//!
//! # How to repeat it
//!
//! `ci/test.sh` runs all tests, which must pass before a merge. Most random tests print the command
//! that repeats a failure. For longer runs, by hand:
//!
//! - `RINGWAL_SIM_SECONDS=3600 cargo test --release --features sim --test simulation`: random lives
//!   of logs on a simulated disk, for an hour.
//! - `scripts/damage-table.sh`: every kind of damage at every place of logs of fifteen shapes.
//! - `scripts/fuzz.sh 600`: each fuzz target for ten minutes.
//! - `ci/handover.sh`: the hand-over between threads, under model checkers of schedules.
//! - `scripts/sanitize.sh`: AddressSanitizer and ThreadSanitizer.
//! - `scripts/mutations.sh`: deliberate bugs, each of which some test must catch.
//! - `scripts/kill-cycles.sh 3000`: writers killed in one directory, before or inside the n-th disk
//!   call of every operation.
//! - `scripts/power-cuts.sh`: power cuts under ext4, xfs and btrfs on a recorded disk, and under a
//!   directory that keeps no more than a file system must.
//! - `scripts/datawal-suite.sh`: the tests of the crate datawal 0.1.5, fetched from the registry
//!   and compiled against `ringwal::datawal`: which pass, and why the others cannot.
//! - `scripts/datawal-import.sh`: imports of directories that the crate datawal wrote, torn and
//!   damaged; every record, key and value is compared.
//!
//! `CONTRIBUTING.md` lists how long each takes.
//!
//! # Long runs
//!
//! In November 2026, on two processors with other load, none of these runs broke a promise:
//!
//! | run | how much |
//! |---|---|
//! | an hour of lives of a log | 11,481,707 crashes, 2,871,452 faults, 832,378 wrong reads |
//! | the same hour, of an event log | 1,548,169 crashes, 1,072,742 faults |
//! | `scripts/kill-cycles.sh 3000` | 3,000 writers, 2,302 killed at work, 121,159 records |
//! | `POINTS=1000 scripts/power-cuts.sh ext4` | 1,080 cuts, 549 at an acknowledgement |
//! | the same with `xfs` | 1,080 cuts, 551 at an acknowledgement |
//! | the same with `btrfs` | 1,080 cuts, 516 at an acknowledgement |
//! | the same with `files`, five seeds | 5,400 cuts, 2,659 at an acknowledgement, 94 after a kill |
//! | `scripts/damage-table.sh` | 899,749 places of 15 shapes of logs |
//! | `scripts/sanitize.sh` | no finding of either sanitizer |
//! | `scripts/datawal-suite.sh` | 53 tests of that crate pass, 24 cannot: they look at its files |
//! | `scripts/datawal-import.sh`, five seeds | 1,530 directories, 49,694 records, 13,948 keys |
//!
//! The hour is `RINGWAL_SIM_SECONDS=3600 cargo test --release --features sim --test simulation`,
//! 1,555,266 seeds in all; 3,389,281 of its crashes struck during a recovery. The key-value log was
//! added later and has a simulation of its own (`tests/kv_simulation.rs`). The bugs that the
//! simulation found before are in `tests/simulation/found.rs`.
//!
//! Under ext4 unflushed writes tear at 512 bytes; under xfs and btrfs at 4 KiB, because xfs itself
//! cannot be mounted after smaller tears.
