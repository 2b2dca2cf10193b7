//! Processes of this program: starting another one, and its memory and descriptors.
//!
//! A figure that the system does not report is `None`, never 0.

use std::fs;
use std::io::{self, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Starts a command with piped standard input and output, in its own process group: signals from
/// the terminal reach this process only.
pub(crate) fn start_piped(
    mut command: Command,
) -> io::Result<(Child, ChildStdin, BufReader<ChildStdout>)> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn()?;
    let missing = || io::Error::other("it has no pipe");
    let input = child.stdin.take().ok_or_else(missing)?;
    let output = BufReader::new(child.stdout.take().ok_or_else(missing)?);
    Ok((child, input, output))
}

/// The path of this program. It stays valid if the file is replaced during a long run.
pub(crate) fn own_program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok(PathBuf::from("/proc/self/exe"));
    }
    std::env::current_exe()
}

/// The resident memory of a process; `process` is a number or `self`.
pub(crate) fn resident_kib(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// The number of open descriptors of a process.
pub(crate) fn descriptors(process: &str) -> Option<u64> {
    let listed = fs::read_dir(format!("/proc/{process}/fd")).ok()?.count() as u64;
    // One of our own descriptors belongs to the listing itself.
    Some(listed - u64::from(process == "self" && listed > 0))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_and_descriptors_are_known_here_and_of_no_process_that_is_not_there() {
        let own = std::process::id().to_string();
        assert!(resident_kib("self").is_some_and(|kib| kib > 0));
        assert!(descriptors(&own).is_some_and(|open| open > 0));
        assert_eq!((resident_kib("0"), descriptors("0")), (None, None));
    }
}
