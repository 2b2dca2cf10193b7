//! How the command ends when it fails: a message and an exit code.
//!
//! 1. 1 is a failure of the data or the machine: corruption, a failing or full disk, a refused
//!    backend, a log that is in use, a closed standard output.
//! 2. 2 is a failure of the request: an unknown option, a value out of range, a path that is not
//!    a log or cannot be read. (clap uses it too.)

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use ringwal::Error;

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
    /// Prints the cause on standard error and gives the exit code for it.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("ringwal: {self}");
        ExitCode::from(self.code())
    }

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
            Failure::Log(error) => match error.root_cause() {
                Error::Option { .. } | Error::NotALog { .. } | Error::NotEmpty { .. } => USAGE,
                _ => FAILED,
            },
            Failure::Request(_) => USAGE,
            Failure::Passed { code, .. } => *code,
            _ => FAILED,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Log(error) => {
                error.root_cause().fmt(f)?;
                match error.root_cause() {
                    Error::Option { name, .. } => write!(f, " ({})", flag(name)),
                    Error::Import { .. } => write!(f, " (--up-to-damage takes them)"),
                    _ => Ok(()),
                }
            }
            Failure::Input(error) => write!(f, "standard input: {error}"),
            Failure::Output(error) => write!(f, "standard output: {error}"),
            Failure::Setup(what, error) => write!(f, "{what}: {error}"),
            Failure::Raw(path, error) => write!(f, "{}: {error}", path.display()),
            Failure::Mismatch(what) => write!(f, "the log is not what it acknowledged: {what}"),
            Failure::Invariant(what) => write!(f, "an invariant failed: {what}"),
            Failure::Stopped(reason) => write!(f, "stopped by {reason}"),
            Failure::Request(what) => f.write_str(what),
            Failure::Passed { message, .. } => f.write_str(message),
        }
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
