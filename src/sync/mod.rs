//! Locks, atomics, channels, threads and time: those of the standard library, or models of them.
//!
//! The engine takes all of them from here. With `--cfg ringwal_loom` or `--cfg ringwal_shuttle`
//! they belong to a model checker, which decides which thread runs next: loom tries all schedules
//! of a few threads, shuttle many schedules of a whole log (`ci/handover.sh`). `Arc` is always the
//! standard library's.
//!
//! In a model, time is a number. It advances a little at each look, and a wait with a timeout may
//! end at any moment. So a model can do everything that real time does, and more.

#[cfg(not(any(ringwal_loom, ringwal_shuttle)))]
mod real {
    #[cfg(not(target_os = "linux"))]
    pub(crate) use super::plain::Condvar;
    pub(crate) use super::plain::{Mutex, MutexGuard};
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
