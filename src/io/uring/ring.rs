//! The ring itself: pushing whole chains, entering the kernel, reaping completions.
//!
//! 1. A chain is pushed whole or not at all, and whether the kernel took it whole is checked after
//!    every enter. If it took a part of one, nothing is ever submitted again: the rest would run
//!    without its head.
//! 2. With deferred task work nothing proceeds outside of an enter, so every enter asks for
//!    events.
//! 3. No kernel thread polls the submission queue, so entries that were pushed and not taken are
//!    never looked at unless an enter says so.

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
    // Chains that are pushed and that the kernel has not taken: whose, and how many entries.
    pushed: VecDeque<(u64, u32)>,
    cut: bool,
    #[cfg(test)]
    pub(super) fault: Option<Fault>,
}

/// What a test lets go wrong at the next enters.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// Submit this many entries only.
    Submit(u32),
    /// Answer with this instead of entering, so many times.
    Errno(i32, u32),
}

/// How an enter went.
#[derive(Debug)]
pub(super) enum Entered {
    /// Submitted, and waited for what was asked.
    Done,
    TimedOut,
    /// A signal came; try again.
    Interrupted,
    /// The kernel has no room now: reap completions and try again.
    Busy(io::Error),
    /// The kernel took only a part of this chain.
    Cut(u64),
}

impl Ring {
    /// A ring with room for `entries`, or what was refused.
    pub(super) fn new(entries: u32) -> Result<Ring, SetupRefused> {
        let setup::Rung { ring, flags, skips_success } = setup::set_up(entries)?;
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

    /// How many entries fit in.
    pub(super) fn capacity(&self) -> usize {
        self.ring.params().sq_entries() as usize
    }

    /// Appends a chain that belongs to `owner`; false if it does not fit now.
    ///
    /// # Safety
    ///
    /// Memory and descriptors that the entries name have to stay valid, and the memory untouched,
    /// until the kernel is done with all of the chain, or until this ring is gone without having
    /// handed it over.
    pub(super) unsafe fn push(&mut self, owner: u64, chain: &[Entry]) -> bool {
        // SAFETY: the caller's promise is what this call asks for.
        let pushed = unsafe { self.ring.submission().push_multiple(chain) };
        if pushed.is_ok() {
            self.pushed.push_back((owner, chain.len() as u32));
        }
        pushed.is_ok()
    }

    /// Hands over what was pushed if `submit`, waits for `want` completions if there are not as
    /// many, at most for `timeout`. Calls `taken` for the owner of each chain that was handed
    /// over whole.
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
            Some(Fault::Submit(most)) if to_submit > *most => {
                let most = *most;
                self.fault = None;
                most
            }
            Some(Fault::Errno(errno, times)) if *times > 0 => {
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
        // SAFETY: `args` is what ENTER_EXT_ARG announces and lives through the call with the time
        // it points to; `to_submit` entries are published, under the promise of `push`.
        let taken = unsafe { self.ring.submitter().enter(to_submit, want, flags, Some(&args)) }?;
        Ok(taken as u32)
    }

    /// Takes all completions there are into `reaped`, as user data and result.
    pub(super) fn reap(&mut self, reaped: &mut Vec<(u64, i32)>) {
        reaped.extend(self.ring.completion().map(|cqe| (cqe.user_data(), cqe.result())));
    }
}

// The kernel's numbers for the flags of io_uring_enter; the crate keeps its own private.
const ENTER_GETEVENTS: u32 = 1 << 0;
const ENTER_EXT_ARG: u32 = 1 << 3;
