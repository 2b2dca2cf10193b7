//! How the command ends when it fails: a message and an exit code.
//!
//! 1. 1 is a failure of the data or the machine: damage, a failing or full disk, a refused
//!    backend, a log that is in use, a standard stream that fails.
//! 2. 2 is a failure of the request: an unknown option, a value out of range, a path that is not
//!    a log, may not be read, is a log of a newer version or of another kind, or is taken. (clap
//!    uses it too.)
//! 3. The code follows from the failure alone, whatever command has it. The table for users is in
//!    the help ([`crate::cli`]) and in the manual's chapter on the command.

use std::fmt;
use std::io;
use std::path::PathBuf;

use ringwal::Error;

use crate::util::system::{Limit, answer, is_answer, soft_limit};

/// Exit code of a failure of the data or the machine.
pub(crate) const FAILED: u8 = 1;
/// Exit code of a failure of the request.
pub(crate) const USAGE: u8 = 2;

/// Why the command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The log said so.
    Log(Error),
    /// Standard input could not be read or is not framed as stated.
    Input(io::Error),
    /// Standard output could not be written.
    Output(io::Error),
    /// Standard error could not be written.
    Messages(io::Error),
    /// A part of the command itself could not be had.
    Setup(&'static str, io::Error),
    /// A raw file could not be read or written.
    Raw(PathBuf, io::Error),
    /// What a log gave back is not what it acknowledged.
    Mismatch(String),
    /// Something that has to hold all the time did not.
    Invariant(String),
    /// A signal ended it before it had anything to say.
    Stopped(&'static str),
    /// The options do not go together.
    Request(String),
    /// Another process of this program failed, and said so.
    Passed { code: u8, is_evidence: bool, message: String },
}

impl Failure {
    /// Whether it says that a log is damaged, so that its files should be looked into.
    pub(crate) fn is_evidence(&self) -> bool {
        match self {
            Failure::Log(error) => matches!(error.root_cause(), Error::Corrupt(_)),
            Failure::Mismatch(_) => true,
            Failure::Passed { is_evidence, .. } => *is_evidence,
            _ => false,
        }
    }

    /// The exit code for it.
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
            Failure::Input(error) => write!(f, "standard input: {error}{}", Short(error)),
            Failure::Output(error) => write!(f, "standard output: {error}{}", Short(error)),
            Failure::Messages(error) => write!(f, "standard error: {error}{}", Short(error)),
            Failure::Setup(what, error) => write!(f, "{what}: {error}{}", Short(error)),
            Failure::Raw(path, error) => write!(f, "{}: {error}{}", path.display(), Short(error)),
            Failure::Mismatch(what) => write!(f, "the log is not what it acknowledged: {what}"),
            Failure::Invariant(what) => write!(f, "an invariant failed: {what}"),
            Failure::Stopped(reason) => write!(f, "stopped by {reason}"),
            Failure::Request(what) => f.write_str(what),
            Failure::Passed { message, .. } => f.write_str(message),
        }
    }
}

/// The exit code for an error of a log.
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

/// The exit code for an answer of the operating system: whether another request would help.
fn code_of_io(error: &io::Error) -> u8 {
    use io::ErrorKind::{InvalidFilename, IsADirectory, NotADirectory, PermissionDenied};
    match error.kind() {
        PermissionDenied | NotADirectory | IsADirectory | InvalidFilename => USAGE,
        _ if is_answer(error, answer::CIRCLE) => USAGE,
        _ => FAILED,
    }
}

/// The exit code for a path of the caller's that the command could not use.
fn code_of_path(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists => USAGE,
        _ => code_of_io(error),
    }
}

/// An error of a log, in the words of who uses the command: with the flags that it has.
fn fmt_error(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        Error::Option { name, .. } => write!(f, "{error} ({})", flag(name)),
        Error::Import { .. } => write!(f, "{error} (--up-to-damage takes what comes before)"),
        Error::RecordTooLarge { .. } => {
            let option = "record_bytes_max";
            f.write_str(&error.to_string().replace(option, &flag(option)))
        }
        Error::Io { source, .. } => write!(f, "{error}{}", Short(source)),
        Error::NoSpace { source, .. } => write!(f, "{error}{}", Short(source)),
        other => write!(f, "{other}"),
    }
}

/// Which limit of the process it is that an answer of the operating system means, if it is one.
struct Short<'a>(&'a io::Error);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A write over the limit is cut short before the next one is refused.
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

/// The flag that sets an option of the engine.
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
