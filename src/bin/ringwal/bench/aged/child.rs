//! The parent's handle on the process that owns a log.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{self, ChildStdin, ChildStdout, Command};
use std::str::FromStr;

use crate::bench::aged::protocol::{Appended, Opened, Request, Usage, answered};
use crate::output::exit::Failure;
use crate::util::process::{own_program, start_piped};

/// The process. Dropping this kills it.
pub(crate) struct Child {
    child: process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts the process with a new log in `dir`.
    pub(crate) fn start(dir: &Path, run: u64, size: usize) -> Result<Child, Failure> {
        let mut command = Command::new(own_program().map_err(failed)?);
        // Pass on all options of this process, so none can be forgotten.
        command.args(["bench", "--life"]).arg(dir).args(std::env::args_os().skip(2));
        let (child, input, output) = start_piped(command).map_err(failed)?;
        let mut child = Child { child, input: Some(input), output };
        child.ask(Request::Begin { run, size }).map(|_| child)
    }

    /// Appends this many records.
    pub(crate) fn append(&mut self, records: u64) -> Result<Appended, Failure> {
        self.figures(Request::Append(records))
    }

    /// Reads the resource usage of the process.
    pub(crate) fn usage(&mut self) -> Result<Usage, Failure> {
        self.figures(Request::Usage)
    }

    /// Truncates to the last `records`.
    pub(crate) fn keep(&mut self, records: u64) -> Result<(), Failure> {
        self.ask(Request::Keep(records)).map(drop)
    }

    /// Closes the log, reopens it and compares its records.
    pub(crate) fn reopen(&mut self) -> Result<Opened, Failure> {
        self.figures(Request::Reopen)
    }

    /// Makes the process close the log and end.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        self.input = None;
        let status = self.child.wait().map_err(failed)?;
        if status.success() { Ok(()) } else { Err(ended(status)) }
    }

    fn figures<T: FromStr<Err = Failure>>(&mut self, ask: Request) -> Result<T, Failure> {
        self.ask(ask)?.parse()
    }

    fn ask(&mut self, ask: Request) -> Result<String, Failure> {
        let mut line = String::new();
        let answer_line = match &mut self.input {
            Some(input) => writeln!(input, "{ask}").and_then(|()| self.output.read_line(&mut line)),
            None => Ok(0),
        };
        match answer_line {
            Ok(bytes) if bytes > 0 => answered(&line).map(str::to_owned),
            // The process reports a failure before it ends; this end came without a report.
            _ => Err(self.child.wait().map_or_else(failed, ended)),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // After a failure, nothing waits for its remaining work. Killing an ended process does
        // nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn failed(error: io::Error) -> Failure {
    Failure::Setup("process of a log", error)
}

fn ended(status: impl fmt::Display) -> Failure {
    Failure::Invariant(format!("the process of a log ended unexpectedly, {status}"))
}
