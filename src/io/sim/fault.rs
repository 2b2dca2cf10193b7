//! The faults of a simulated disk, and when they strike: [`SimFault`].

use std::fmt;
use std::io;

/// A fault of a call. [`SimDisk::fail_at`](super::SimDisk::fail_at) and
/// [`SimDisk::fail_from`](super::SimDisk::fail_from) say when it strikes.
///
/// A log survives all faults but the last three, wrong reads, which it detects wherever anything
/// can detect them; see the [module](super).
///
/// ```
/// use ringwal::{Error, Log, SimDisk, SimFault};
///
/// let disk = SimDisk::new(1);
/// let log = Log::builder("sim").segment_bytes(65_536).open_sim(&disk)?;
/// disk.fail_at(0, SimFault::CutChain);
/// let error = log.append("written, and its sync never ran").unwrap_err();
/// assert!(matches!(error, Error::Poisoned(_)));
/// assert_eq!(disk.struck().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SimFault {
    /// Any call fails with this errno. The bytes of a write or a sync that failed are then as after
    /// a crash, while later syncs succeed.
    Errno(i32),
    /// A call that needs a descriptor gets none, because all are in use. Once a log is open,
    /// nothing that leads to an acknowledgement may need one.
    NoDescriptor,
    /// The power goes out in the middle of any call.
    PowerCut,
    /// A write ends short: only its beginning was written.
    ShortWrite,
    /// A write or a sync of the commit path is cancelled before it begins.
    Cancelled,
    /// A write completes, and the sync that is linked to it is cancelled.
    CutChain,
    /// The kernel answers with this errno when the queue waits for it. `EAGAIN`, `EBUSY` and
    /// `EINTR` are harmless unless they persist; any other ends the queue.
    Enter(i32),
    /// A read gets one sector with wrong bytes: in one bit, in a part, or in all of it. A permanent
    /// fault of this kind, or of the next two, gives these bytes until the sector is written again.
    RottenRead,
    /// A read gets one sector as it was before it was last written.
    StaleRead,
    /// A read gets one sector of another place, or of another file.
    MisdirectedRead,
}

impl SimFault {
    /// Whether the fault is a read that returns wrong bytes.
    pub fn is_of_read(self) -> bool {
        matches!(self, SimFault::RottenRead | SimFault::StaleRead | SimFault::MisdirectedRead)
    }

    /// Whether the fault can strike such a call.
    fn hits(self, call: Call) -> bool {
        match self {
            SimFault::Errno(_) | SimFault::PowerCut => call != Call::Enter,
            SimFault::NoDescriptor => call == Call::Open,
            SimFault::ShortWrite => matches!(call, Call::Write | Call::QueueWrite),
            SimFault::Cancelled => matches!(call, Call::QueueWrite | Call::QueueSync),
            SimFault::CutChain => call == Call::LinkedSync,
            SimFault::Enter(_) => call == Call::Enter,
            SimFault::RottenRead | SimFault::StaleRead | SimFault::MisdirectedRead => {
                call == Call::Read
            }
        }
    }

    /// The error of the call.
    pub(super) fn error(self) -> io::Error {
        match self {
            SimFault::Errno(errno) | SimFault::Enter(errno) => io::Error::from_raw_os_error(errno),
            SimFault::NoDescriptor => io::Error::from_raw_os_error(libc::EMFILE),
            SimFault::PowerCut => io::Error::other("the power went out"),
            SimFault::ShortWrite => {
                io::Error::new(io::ErrorKind::WriteZero, "only a part of the bytes was written")
            }
            SimFault::Cancelled => io::Error::other("the operation was cancelled"),
            SimFault::CutChain => io::Error::other("the sync after the write was cancelled"),
            read => io::Error::other(read.to_string()),
        }
    }
}

impl fmt::Display for SimFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SimFault::Errno(errno) => write!(f, "errno {errno}"),
            SimFault::NoDescriptor => f.write_str("no descriptor"),
            SimFault::PowerCut => f.write_str("power cut"),
            SimFault::ShortWrite => f.write_str("short write"),
            SimFault::Cancelled => f.write_str("cancelled"),
            SimFault::CutChain => f.write_str("cut chain"),
            SimFault::Enter(errno) => write!(f, "errno {errno} from enter"),
            SimFault::RottenRead => f.write_str("rotten read"),
            SimFault::StaleRead => f.write_str("stale read"),
            SimFault::MisdirectedRead => f.write_str("misdirected read"),
        }
    }
}

/// The classes of calls that faults distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// A call that takes a descriptor.
    Open,
    /// A read that returns bytes.
    Read,
    /// A write of the blocking plane.
    Write,
    QueueWrite,
    QueueSync,
    /// The sync that is linked to a write.
    LinkedSync,
    Enter,
    Other,
}

/// A fault that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlannedFault {
    fault: SimFault,
    /// How many calls that it could strike it still spares.
    left: u64,
    for_good: bool,
}

/// A fault that struck.
#[derive(Clone, Copy, Debug)]
pub(super) struct Struck {
    pub(super) fault: SimFault,
    pub(super) for_good: bool,
}

/// The faults that are due, and a line for each fault that struck.
#[derive(Clone, Debug, Default)]
pub(super) struct PlannedFaults {
    plans: Vec<PlannedFault>,
    pub(super) struck: Vec<String>,
}

impl PlannedFaults {
    pub(super) fn add(&mut self, left: u64, fault: SimFault, for_good: bool) {
        self.plans.push(PlannedFault { fault, left, for_good });
    }

    pub(super) fn clear(&mut self) {
        self.plans.clear();
    }

    /// The fault that strikes this call, if one does; of several, the one that was added first.
    pub(super) fn strike(&mut self, call: Call, what: impl Fn() -> String) -> Option<Struck> {
        let mut struck = None;
        self.plans.retain_mut(|plan| {
            if !plan.fault.hits(call) {
                return true;
            }
            if plan.left > 0 {
                plan.left -= 1;
                return true;
            }
            if struck.is_some() {
                // This one strikes the next call.
                return true;
            }
            struck = Some(Struck { fault: plan.fault, for_good: plan.for_good });
            // A permanent wrong read is kept in the file, for its sector alone.
            plan.for_good && !plan.fault.is_of_read()
        });
        let struck = struck?;
        self.struck.push(format!("{}: {}", what(), struck.fault));
        Some(struck)
    }
}
