//! What threads share and wait on: the standard library's, or models of it.
//!
//! The hand-over between appenders and the ring thread (the latch, the watermarks, all of `engine`)
//! takes its locks, atomics, channels, threads and the time from here. With `--cfg ringwal_loom`
//! or `--cfg ringwal_shuttle` they belong to a checker, which decides who runs next: loom tries
//! all schedules of a few threads, shuttle many schedules of a whole log (`ci/handover.sh`). `Arc`
//! is the standard library's everywhere.
//!
//! In a model time is a number. It moves a little whenever someone looks, and a wait with a
//! timeout may end at any moment, so a model does whatever real time could do, and more.

#[cfg(not(any(ringwal_loom, ringwal_shuttle)))]
mod real {
    pub(crate) use super::plain::{Condvar, Mutex, MutexGuard};
    pub(crate) use crossbeam_channel as channel;
    pub(crate) use std::sync::atomic;
    pub(crate) use std::thread;

    pub(crate) fn now() -> std::time::Instant {
        std::time::Instant::now()
    }
}

mod futex;
pub(crate) mod plain;

#[cfg(any(ringwal_loom, ringwal_shuttle))]
mod model;

#[cfg(any(ringwal_loom, ringwal_shuttle))]
pub(crate) use model::*;
#[cfg(not(any(ringwal_loom, ringwal_shuttle)))]
pub(crate) use real::*;

pub(crate) use futex::Futex;
