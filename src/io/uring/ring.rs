//! The ring: pushing whole chains, entering the kernel, reaping completions.
//!
//! 1. A chain is pushed whole or not at all, and every enter checks that the kernel took it whole.
//!    If the kernel took only a part, nothing is ever submitted again: the rest would run without
//!    its head.
//! 2. With deferred task work nothing proceeds outside of an enter, so every enter asks for events.
//! 3. No kernel thread polls the submission queue, so the kernel reads pushed entries only when an
//!    enter submits them.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::{IoUring, types};

use crate::io::uring::setup::{self, SetupRefused};

pub(super) struct Ring {
    ring: IoUring,
    pub(super) flags: &'static str,
    pub(super) skips_success: bool,
    /// Chains that the kernel has not taken yet: the owner, and the number of entries.
    pushed: VecDeque<(u64, u32)>,
    /// The kernel took a part of a chain; nothing is submitted any more.
    cut: bool,
    #[cfg(test)]
    pub(super) fault: Option<EnterFault>,
}

/// A failure that a test injects into the next enters.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) enum EnterFault {
    /// Submit only this many entries.
    Submit(u32),
    /// Answer with this errno instead of entering, so many times.
    Errno(i32, u32),
}

/// How an enter went.
#[derive(Debug)]
pub(super) enum Entered {
    /// Submitted, and waited for the completions that were asked for.
    Done,
    TimedOut,
    /// A signal interrupted it; try again.
    Interrupted,
    /// The kernel has no room now: reap completions and try again.
    Busy(io::Error),
    /// The kernel took only a part of this chain.
    Cut(u64),
}

impl Ring {
    /// A ring with room for `entries`, or what the kernel refused.
    pub(super) fn new(entries: u32) -> Result<Ring, SetupRefused> {
        let setup::SetUpRing { ring, flags, skips_success } = setup::set_up(entries)?;
        Ok(Ring {
            ring,
            flags,
            skips_success,
            pushed: VecDeque::new(),
            cut: false,
            #[cfg(test)]
            fault: None,
        })
    }

    /// How many entries fit in the submission queue.
    pub(super) fn capacity(&self) -> usize {
        self.ring.params().sq_entries() as usize
    }

    /// Appends a chain that belongs to `owner`; returns false if it does not fit now.
    ///
    /// # Safety
    ///
    /// The memory and the descriptors that the entries name must stay valid, and the memory
    /// untouched, until the kernel is done with the whole chain, or until this ring is dropped
    /// without having submitted it.
    pub(super) unsafe fn push(&mut self, owner: u64, chain: &[Entry]) -> bool {
        // SAFETY: the caller promises what this call requires.
        let pushed = unsafe { self.ring.submission().push_multiple(chain) };
        if pushed.is_ok() {
            self.pushed.push_back((owner, chain.len() as u32));
        }
        pushed.is_ok()
    }

    /// Submits the pushed chains if `submit`, then waits for at most `timeout` until `want`
    /// completions are there. Calls `taken` with the owner of each chain that the kernel took.
    pub(super) fn enter(
        &mut self,
        submit: bool,
        want: u32,
        timeout: Option<Duration>,
        mut taken: impl FnMut(u64),
    ) -> io::Result<Entered> {
        let pushed: u32 = self.pushed.iter().map(|&(_, len)| len).sum();
        let to_submit = if submit && !self.cut { pushed } else { 0 };
        let submitted = match self.enter_raw(to_submit, want, timeout) {
            Ok(submitted) => submitted,
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::ETIME) => Ok(Entered::TimedOut),
                    Some(libc::EINTR) => Ok(Entered::Interrupted),
                    Some(libc::EAGAIN | libc::EBUSY) => Ok(Entered::Busy(error)),
                    _ => Err(error),
                };
            }
        };
        let mut left = submitted;
        while left > 0 {
            let Some((owner, len)) = self.pushed.pop_front() else { break };
            if left < len {
                self.cut = true;
                return Ok(Entered::Cut(owner));
            }
            left -= len;
            taken(owner);
        }
        Ok(Entered::Done)
    }

    fn enter_raw(
        &mut self,
        to_submit: u32,
        want: u32,
        timeout: Option<Duration>,
    ) -> io::Result<u32> {
        #[cfg(test)]
        let to_submit = match &mut self.fault {
            Some(EnterFault::Submit(most)) if to_submit > *most => {
                let most = *most;
                self.fault = None;
                most
            }
            Some(EnterFault::Errno(errno, times)) if *times > 0 => {
                *times -= 1;
                return Err(io::Error::from_raw_os_error(*errno));
            }
            _ => to_submit,
        };
        let timespec = timeout.map(|timeout| {
            types::Timespec::new().sec(timeout.as_secs()).nsec(timeout.subsec_nanos())
        });
        let mut args = types::SubmitArgs::new();
        if let Some(timespec) = &timespec {
            args = args.timespec(timespec);
        }
        let flags = ENTER_GETEVENTS | ENTER_EXT_ARG;
        // SAFETY: `args` has the type that ENTER_EXT_ARG announces, and lives through the call, as
        // does the time that it points to. The entries were pushed under the promise of `push`.
        let taken = unsafe { self.ring.submitter().enter(to_submit, want, flags, Some(&args)) }?;
        Ok(taken as u32)
    }

    /// Moves all completions into `reaped`, as user data and result.
    pub(super) fn reap(&mut self, reaped: &mut Vec<(u64, i32)>) {
        reaped.extend(self.ring.completion().map(|cqe| (cqe.user_data(), cqe.result())));
    }
}

// The kernel's values of the flags of io_uring_enter; the crate `io-uring` keeps its own private.
const ENTER_GETEVENTS: u32 = 1 << 0;
const ENTER_EXT_ARG: u32 = 1 << 3;
