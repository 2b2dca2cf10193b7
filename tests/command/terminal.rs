//! Terminals and descriptors that do not block, by system calls that have no safe wrapper.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A terminal: the end that a person sits at, and the one that a program has.
pub(crate) fn terminal() -> (File, OwnedFd) {
    let (mut person, mut program) = (-1, -1);
    let (name, termios, size) = (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: two numbers are written to locals; the null pointers ask for the defaults.
    let code = unsafe { libc::openpty(&raw mut person, &raw mut program, name, termios, size) };
    assert_eq!(code, 0, "{}", io::Error::last_os_error());
    // SAFETY: the call just created this descriptor, so it has no other owner.
    let person = unsafe { File::from_raw_fd(person) };
    // SAFETY: as above.
    let program = unsafe { OwnedFd::from_raw_fd(program) };
    for end in [person.as_raw_fd(), program.as_raw_fd()] {
        // SAFETY: the call takes numbers only, and the descriptor is open.
        let code = unsafe { libc::fcntl(end, libc::F_SETFD, libc::FD_CLOEXEC) };
        assert_eq!(code, 0, "{}", io::Error::last_os_error());
    }
    (person, program)
}

/// Lets a descriptor answer that it would block, instead of blocking.
pub(crate) fn do_not_block(end: &impl AsRawFd) {
    // SAFETY: the call takes numbers only, and the descriptor is open.
    let code = unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(code, 0, "{}", io::Error::last_os_error());
}
