//! Refusals of the kernel, played by a test.

use std::io;

/// Where a test can have the ring refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefuseAt {
    Setup,
    Opcode,
    DirectWrite,
    TestWrite,
}

#[cfg(test)]
thread_local! {
    /// What is refused on this thread, with which errno.
    pub(crate) static REFUSE: std::cell::Cell<Option<(RefuseAt, i32)>> =
        const { std::cell::Cell::new(None) };
}

/// The error that a test asked for at this point.
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
