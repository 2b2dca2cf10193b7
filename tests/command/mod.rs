//! The command as a process, for the tests that run it.

// Each test program uses only some of these helpers.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// The values of `--backend` under test.
pub(crate) const BACKENDS: [&str; 2] = ["auto", "std"];

pub(crate) fn ringwal(args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwal"));
    command.arg(args[0]).arg(dir).args(&args[1..]).stdin(Stdio::null());
    command
}

/// Runs the command with `input` on its standard input.
pub(crate) fn run_with(args: &[&str], dir: &Path, input: &[u8]) -> Output {
    let mut command = ringwal(args, dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // The command may end before it has read everything; then this fails, rightly.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

pub(crate) fn run(args: &[&str], dir: &Path) -> Output {
    ringwal(args, dir).output().unwrap()
}

#[track_caller]
pub(crate) fn assert_exit(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "stderr: {}\nstdout: {}",
        stderr(output),
        String::from_utf8_lossy(&output.stdout[..output.stdout.len().min(500)])
    );
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A directory for a log, which is not there yet.
pub(crate) fn new_dir() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("log");
    (parent, dir)
}

/// `SEQ DIGEST` lines as a map; a sequence number that comes twice is an error.
pub(crate) fn parse_digests(text: &[u8]) -> BTreeMap<u64, String> {
    let mut map = BTreeMap::new();
    for line in text.lines() {
        let line = line.unwrap();
        let (seq, digest) = line.split_once(' ').unwrap_or_else(|| panic!("no digest: {line}"));
        assert_eq!(digest.len(), 16, "{line}");
        let before = map.insert(seq.parse().unwrap(), digest.to_owned());
        assert_eq!(before, None, "acknowledged twice: {line}");
    }
    map
}

pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|ext| ext == "seg")).collect();
    paths.sort();
    paths
}

/// Flips a bit of a record in the middle of a log that has a batch for each record; the batches
/// behind it prove that it was acknowledged. Gives how many records are before it.
pub(crate) fn damage_the_middle(dir: &Path) -> u64 {
    const BLOCK: usize = 4096;
    // The header of the batch, and the head of its record.
    const HEADS: usize = 64 + 8;
    let segment = segments(dir).remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    let batch = bytes.len() / 2 / BLOCK;
    bytes[batch * BLOCK + HEADS + 1] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    batch as u64
}

/// A process that appends and can be talked to. It ends with its pipes at the latest.
pub(crate) struct Writer {
    pub(crate) child: Child,
    pub(crate) stdout: BufReader<std::process::ChildStdout>,
}

impl Writer {
    pub(crate) fn start(args: &[&str], dir: &Path) -> Writer {
        Writer::spawn(ringwal(args, dir))
    }

    pub(crate) fn spawn(mut command: Command) -> Writer {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Writer { child, stdout }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    /// Reads so many acknowledgements.
    pub(crate) fn read_acks(&mut self, lines: usize) -> Vec<u8> {
        let mut acks = Vec::new();
        for line in 0..lines {
            if self.stdout.read_until(b'\n', &mut acks).unwrap() == 0 {
                let mut said = String::new();
                self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("it ended after {line} acknowledgements: {said}");
            }
        }
        acks
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: libc::c_int) {
        let pid = self.child.id().to_string();
        let number = signal.to_string();
        let status = Command::new("kill").args([format!("-{number}"), pid]).status().unwrap();
        assert!(status.success());
    }

    /// Closes its input and waits for it.
    pub(crate) fn end(mut self) -> std::process::ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().unwrap()
    }
}
