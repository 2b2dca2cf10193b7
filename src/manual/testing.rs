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
//! - Kernels other than those that the tests run on: no test boots another one.
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
//! - `scripts/sanitize.sh`: AddressSanitizer and ThreadSanitizer.
//! - `scripts/mutations.sh`: deliberate bugs, each of which some test must catch.
//!
//! `CONTRIBUTING.md` has how long each takes.
