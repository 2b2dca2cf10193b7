//! Standard input, output and error: the command reads and writes them only through this module.
//!
//! 1. If another program left a stream non-blocking, calls wait until it is ready.
//! 2. A closed pipe is no failure of printing: [`print()`] and [`say`] drop the rest. Code that
//!    must know, such as for acknowledgements, writes to [`stdout`] and gets the error.
//! 3. Every other error is returned, never a panic, and ends in an exit code.
//! 4. Nothing is buffered here: written bytes have reached the system.
//!
//! Threading: a stream handle holds the lock of its stream until it is dropped.

use std::fmt;
use std::io::{self, Read, StderrLock, StdinLock, StdoutLock, Write};

use crate::output::exit::Failure;
#[cfg(unix)]
use crate::util::system::{self, Ready};

/// Standard output.
#[derive(Debug)]
pub(crate) struct Stdout(StdoutLock<'static>);

/// Standard error.
#[derive(Debug)]
pub(crate) struct Stderr(StderrLock<'static>);

/// Standard input.
#[derive(Debug)]
pub(crate) struct Stdin(StdinLock<'static>);

pub(crate) fn stdout() -> Stdout {
    Stdout(io::stdout().lock())
}

pub(crate) fn stderr() -> Stderr {
    Stderr(io::stderr().lock())
}

pub(crate) fn stdin() -> Stdin {
    Stdin(io::stdin().lock())
}

/// Whether standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    io::IsTerminal::is_terminal(&io::stdout())
}

/// Whether standard error is a terminal.
pub(crate) fn stderr_is_terminal() -> bool {
    io::IsTerminal::is_terminal(&io::stderr())
}

/// Prints to standard output.
///
/// # Errors
///
/// [`Failure::Output`], except for a closed pipe.
pub(crate) fn print(text: impl fmt::Display) -> Result<(), Failure> {
    let written = stdout().write_all(text.to_string().as_bytes());
    unless_closed(written).map(drop).map_err(Failure::Output)
}

/// Prints a line to standard error, for people.
///
/// # Errors
///
/// [`Failure::Messages`], except for a closed pipe.
pub(crate) fn say(line: impl fmt::Display) -> Result<(), Failure> {
    let written = stderr().write_all(format!("{line}\n").as_bytes());
    unless_closed(written).map(drop).map_err(Failure::Messages)
}

/// [`say`] next to a failure that ends the command. If this message cannot be printed, the exit
/// code still tells the kind of failure.
pub(crate) fn say_also(line: impl fmt::Display) {
    let _unsaid = say(line);
}

/// Whether the stream still has a reader.
///
/// # Errors
///
/// Any other error.
pub(crate) fn unless_closed(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn write_some(stream: &mut impl std::os::fd::AsFd, bytes: &[u8]) -> io::Result<usize> {
    // Bypass the standard library's buffer: it does not report how many bytes it took before a
    // stream would block.
    loop {
        match system::write(stream.as_fd(), bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                system::wait_until(stream.as_fd(), Ready::ToWrite)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(not(unix))]
fn write_some(stream: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    stream.write(bytes)
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_some(&mut self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_some(&mut self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Read for Stdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buf) {
                #[cfg(unix)]
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    system::wait_until(std::os::fd::AsFd::as_fd(&self.0), Ready::ToRead)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}
