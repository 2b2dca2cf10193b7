//! Refusals of the kernel that a test simulates.

use std::io;

/// The step that a test lets the kernel refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefuseAt {
    Setup,
    Opcode,
    DirectWrite,
    TestWrite,
}

#[cfg(test)]
thread_local! {
    /// The step that is refused on this thread, and the errno.
    pub(crate) static REFUSE: std::cell::Cell<Option<(RefuseAt, i32)>> =
        const { std::cell::Cell::new(None) };
}

/// The error that a test asked for at this step.
pub(crate) fn refused_by_test(at: RefuseAt) -> Option<io::Error> {
    #[cfg(test)]
    if let Some((asked, errno)) = REFUSE.get()
        && asked == at
    {
        return Some(io::Error::from_raw_os_error(errno));
    }
    let _ = at;
    None
}
