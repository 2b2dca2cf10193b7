//! How the command fails: a message and an exit code.
//!
//! 1. Code 1 is a failure of the data or the machine: damage, a failing or full disk, a refused
//!    backend, a log in use, a failing standard stream.
//! 2. Code 2 is a bad request: an unknown option, a value out of range, a path that is not a log,
//!    cannot be read, is taken, or holds a log of a newer version or another kind. (clap uses 2 as
//!    well.)
//! 3. The code depends on the failure alone, not on the command. Users find the table in the help
//!    ([`crate::cli`]) and in the manual's chapter on the command.

use std::fmt;
use std::io;
use std::path::PathBuf;

use ringwal::Error;

use crate::util::system::{Limit, answer, is_answer, soft_limit};

/// Exit code of a failure of the data or the machine.
pub(crate) const FAILED: u8 = 1;
/// Exit code of a bad request.
pub(crate) const USAGE: u8 = 2;

/// Why the command fails.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The log returned an error.
    Log(Error),
    /// Standard input could not be read or does not have the stated framing.
    Input(io::Error),
    /// Standard output could not be written.
    Output(io::Error),
    /// Standard error could not be written.
    Messages(io::Error),
    /// A resource of the command itself could not be set up.
    Setup(&'static str, io::Error),
    /// A file could not be read or written.
    Raw(PathBuf, io::Error),
    /// A log returned something other than it acknowledged.
    Mismatch(String),
    /// An invariant was violated.
    Invariant(String),
    /// A signal ended the command before it had a result.
    Stopped(&'static str),
    /// The options contradict each other.
    Request(String),
    /// A child process failed and reported this.
    Passed { code: u8, is_evidence: bool, message: String },
}

impl Failure {
    /// Whether the failure indicates a damaged log, whose files should be kept for inspection.
    pub(crate) fn is_evidence(&self) -> bool {
        match self {
            Failure::Log(error) => matches!(error.root_cause(), Error::Corrupt(_)),
            Failure::Mismatch(_) => true,
            Failure::Passed { is_evidence, .. } => *is_evidence,
            _ => false,
        }
    }

    /// The exit code of this failure.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Log(error) => code_of(error),
            Failure::Raw(_, error) => code_of_path(error),
            Failure::Request(_) => USAGE,
            Failure::Passed { code, .. } => *code,
            _ => FAILED,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Log(error) => fmt_error(error.root_cause(), f),
            Failure::Input(error) => write!(f, "standard input: {error}{}", LimitHint(error)),
            Failure::Output(error) => write!(f, "standard output: {error}{}", LimitHint(error)),
            Failure::Messages(error) => write!(f, "standard error: {error}{}", LimitHint(error)),
            Failure::Setup(what, error) => write!(f, "{what}: {error}{}", LimitHint(error)),
            Failure::Raw(path, error) => {
                write!(f, "{}: {error}{}", path.display(), LimitHint(error))
            }
            Failure::Mismatch(what) => {
                write!(f, "the log does not hold what it acknowledged: {what}")
            }
            Failure::Invariant(what) => write!(f, "an invariant failed: {what}"),
            Failure::Stopped(reason) => write!(f, "stopped by {reason}"),
            Failure::Request(what) => f.write_str(what),
            Failure::Passed { message, .. } => f.write_str(message),
        }
    }
}

/// The exit code of a log error.
pub(crate) fn code_of(error: &Error) -> u8 {
    match error.root_cause() {
        Error::Option { .. }
        | Error::NotALog { .. }
        | Error::NotEmpty { .. }
        | Error::OtherKind { .. }
        | Error::OtherLabel { .. }
        | Error::UnsupportedVersion { .. } => USAGE,
        Error::Io { source, .. } => code_of_io(source),
        _ => FAILED,
    }
}

/// The exit code of an operating-system error: 2 if a different request could succeed.
fn code_of_io(error: &io::Error) -> u8 {
    use io::ErrorKind::{InvalidFilename, IsADirectory, NotADirectory, PermissionDenied};
    match error.kind() {
        PermissionDenied | NotADirectory | IsADirectory | InvalidFilename => USAGE,
        _ if is_answer(error, answer::CIRCLE) => USAGE,
        _ => FAILED,
    }
}

/// The exit code of an error with a path that the user gave.
fn code_of_path(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists => USAGE,
        _ => code_of_io(error),
    }
}

/// A log error in terms of the command line: with its flags.
fn fmt_error(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        Error::Option { name, .. } => write!(f, "{error} ({})", flag(name)),
        Error::Import { .. } => write!(f, "{error} (--up-to-damage imports the records before it)"),
        Error::RecordTooLarge { .. } => {
            let option = "record_bytes_max";
            f.write_str(&error.to_string().replace(option, &flag(option)))
        }
        Error::Io { source, .. } => write!(f, "{error}{}", LimitHint(source)),
        Error::NoSpace { source, .. } => write!(f, "{error}{}", LimitHint(source)),
        other => write!(f, "{other}"),
    }
}

/// Names the process limit behind an operating-system error, if there is one.
struct LimitHint<'a>(&'a io::Error);

impl fmt::Display for LimitHint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The system shortens a write at the limit and refuses the next one.
        let is_cut = self.0.kind() == io::ErrorKind::WriteZero;
        if (is_cut || self.0.kind() == io::ErrorKind::FileTooLarge)
            && let Some(most) = soft_limit(Limit::FileBytes)
        {
            return write!(
                f,
                "; the file-size limit of this process is {most} bytes: raise it (ulimit -f, \
                 LimitFSIZE=)"
            );
        }
        if is_answer(self.0, answer::NO_DESCRIPTOR)
            && let Some(most) = soft_limit(Limit::Descriptors)
        {
            return write!(
                f,
                "; this process may have {most} files open: raise it (ulimit -n, LimitNOFILE=)"
            );
        }
        Ok(())
    }
}

/// The flag of an engine option.
fn flag(option: &str) -> String {
    match option {
        "batch_delay" => "--batch-delay-us".to_owned(),
        "queue_depth" => "--depth".to_owned(),
        other => format!("--{}", other.replace('_', "-")),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Log(error)
    }
}
