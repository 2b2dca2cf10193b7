//! The command and its standard streams, whatever they are: every exit code of its help is
//! produced, with standard output and error each of a terminal, a file, a pipe whose reader is
//! gone, a pipe that is full and does not block, and a full device. It never panics.

#![cfg(all(target_os = "linux", feature = "cli"))]
// Helpers of tests may unwrap, too; clippy.toml reaches only the tests themselves.
#![allow(clippy::unwrap_used)]

#[path = "streams/codes.rs"]
mod codes;
mod command;
#[path = "command/sink.rs"]
mod sink;
#[path = "command/terminal.rs"]
mod terminal;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use command::{assert_exit, damage_the_middle, new_dir, ringwal, run, run_with};
use sink::{Done, Sink, run_into};

/// More than a pipe holds.
const RECORDS: usize = 3000;
const RECORD_BYTES: usize = 100;

/// The outcome of a command if all of its output arrives.
struct Case {
    args: &'static [&'static str],
    code: i32,
    /// A text in its standard output, and one in its standard error; empty for no output.
    out: &'static str,
    err: &'static str,
    /// Whether it is a failure if the reader of the output is gone.
    needs_reader: bool,
}

impl Case {
    const fn new(args: &'static [&'static str], code: i32, out: &'static str) -> Case {
        Case { args, code, out, err: "", needs_reader: false }
    }

    const fn says(mut self, err: &'static str) -> Case {
        self.err = err;
        self
    }

    /// The exit code where one of the streams is something else.
    fn code(&self, stdout: Sink, stderr: Sink) -> i32 {
        let fails = |text: &str, sink| !text.is_empty() && sink == Sink::FullDevice;
        let is_unread = self.needs_reader && stdout == Sink::ClosedPipe;
        if self.code == 0 && (fails(self.out, stdout) || fails(self.err, stderr) || is_unread) {
            return 1;
        }
        self.code
    }

    #[track_caller]
    fn assert(&self, done: &Done, stdout: Sink, stderr: Sink) {
        let what = format!("{:?} into {stdout:?} and {stderr:?}: {done:?}", self.args);
        let what = &what[..what.len().min(3000)];
        assert_eq!(done.code, Some(self.code(stdout, stderr)), "{what}");
        assert!(!done.stderr.contains("panicked"), "{what}");
        if stdout.is_whole() {
            assert!(done.stdout.contains(self.out), "{what}");
            assert_eq!(self.out.is_empty(), done.stdout.is_empty(), "{what}");
        }
        if stderr.is_whole() {
            assert!(done.stderr.contains(self.err), "{what}");
        }
        if stdout == Sink::FullDevice && stderr.is_whole() && !self.out.is_empty() {
            assert!(done.stderr.contains("standard output: No space left on device"), "{what}");
        }
    }
}

/// Runs a case into every kind of stream, with the other one a file; `make` prepares a directory.
fn run_case(case: &Case, make: impl Fn(&Path)) {
    let (_template, made) = new_dir();
    make(&made);
    for sink in Sink::ALL {
        for (stdout, stderr) in [(sink, Sink::File), (Sink::File, sink), (sink, sink)] {
            let (_parent, dir) = new_dir();
            copy_dir(&made, &dir);
            let done = run_into(ringwal(case.args, &dir), stdout, stderr);
            case.assert(&done, stdout, stderr);
        }
    }
}

/// Copies a directory of files, if it is there.
fn copy_dir(from: &Path, to: &Path) {
    let Ok(entries) = fs::read_dir(from) else { return };
    fs::create_dir(to).unwrap();
    for entry in entries.flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn clean(dir: &Path) {
    let (records, bytes) = (RECORDS.to_string(), RECORD_BYTES.to_string());
    let args = ["append", "--backend", "std", "--generate", &records, "--size", &bytes];
    assert_exit(&run(&args, dir), 0);
}

fn damaged(dir: &Path) {
    let args = ["append", "--backend", "std", "--generate", "64", "--window", "1"];
    assert_exit(&run(&args, dir), 0);
    damage_the_middle(dir);
}

fn nothing(_dir: &Path) {}

#[test]
fn code_0_of_what_prints_a_log() {
    run_case(&Case::new(&["dump"], 0, "\n3000 "), clean);
    run_case(&Case::new(&["dump", "--format", "jsonl"], 0, "{\"seq\":3000,"), clean);
    run_case(&Case::new(&["verify"], 0, "records:  3000 (1 to 3000)"), clean);
    run_case(&Case::new(&["verify", "--json"], 0, "\"verdict\":\"clean\""), clean);
    let recover = &["recover", "--backend", "std", "--format", "digest"];
    run_case(&Case::new(recover, 0, "\n3000 ").says("records:  3000 (1 to 3000)"), clean);
}

#[test]
fn code_0_of_what_appends() {
    let append = &["append", "--backend", "std", "--generate", "20"];
    run_case(&Case::new(append, 0, "").says("records:  20 acknowledged"), nothing);
    let acks = &["append", "--backend", "std", "--generate", "20", "--acks"];
    let acks = Case::new(acks, 0, "\n20 ").says("seq:      1 to");
    run_case(&Case { needs_reader: true, ..acks }, nothing);
}

#[test]
fn code_0_of_a_bench() {
    let bench = &[
        "bench",
        "--secs",
        "0.02",
        "--threads",
        "1",
        "--size",
        "100",
        "--mode",
        "blocking",
        "--rounds",
        "1",
        "--floors",
        "false",
        "--drop-caches",
        "false",
        "--backend",
        "std",
    ];
    run_case(&Case::new(bench, 0, "blocking"), |dir| fs::create_dir(dir).unwrap());
}

#[test]
fn code_0_of_help() {
    for args in [&["--help"][..], &["dump", "--help"], &["help", "verify"], &["--version"]] {
        for sink in Sink::ALL {
            let mut command = Command::new(env!("CARGO_BIN_EXE_ringwal"));
            command.args(args);
            let done = run_into(command, sink, Sink::File);
            let code = if sink == Sink::FullDevice { 1 } else { 0 };
            assert_eq!(done.code, Some(code), "{args:?} into {sink:?}: {done:?}");
            assert_eq!(done.stdout.is_empty(), !sink.is_whole(), "{args:?} into {sink:?}");
        }
    }
}

#[test]
fn code_1_of_a_damaged_log() {
    let dump = &["dump", "--format", "digest"];
    run_case(&Case::new(dump, 1, "\n31 ").says("damaged"), damaged);
    run_case(&Case::new(&["verify"], 1, "corrupt"), damaged);
    run_case(&Case::new(&["verify", "--json"], 1, "\"verdict\":\"corrupt\""), damaged);
    run_case(&Case::new(&["recover"], 1, "").says("damaged"), damaged);
    run_case(&Case::new(&["append", "--generate", "1"], 1, "").says("damaged"), damaged);
}

#[test]
fn code_2_of_a_wrong_request() {
    for args in [&["dump"][..], &["verify"], &["verify", "--shard", "3"]] {
        run_case(&Case::new(args, 2, "").says("is not a log"), nothing);
    }
    let json = &["verify", "--json"];
    run_case(&Case::new(json, 2, "\"verdict\":\"not-a-log\"").says("not a log"), nothing);
    let option = &["append", "--segment-bytes", "1"];
    run_case(&Case::new(option, 2, "").says("(--segment-bytes)"), nothing);
    run_case(&Case::new(&["append", "--hope"], 2, "").says("--hope"), nothing);
}

#[test]
fn a_pipe_that_does_not_block_gets_all_of_a_log() {
    let (_parent, dir) = new_dir();
    clean(&dir);
    let whole = String::from_utf8(run(&["dump"], &dir).stdout).unwrap();
    assert_eq!(whole.lines().count(), RECORDS);
    let done = run_into(ringwal(&["dump"], &dir), Sink::FullPipe, Sink::FullPipe);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stdout == whole, "{} of {} bytes", done.stdout.len(), whole.len());
}

#[test]
fn input_that_does_not_block_is_waited_for() {
    let (_parent, dir) = new_dir();
    let (reader, mut writer) = std::io::pipe().unwrap();
    terminal::do_not_block(&reader);
    let mut command = ringwal(&["append", "--acks", "--backend", "std"], &dir);
    command.stdin(reader).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut acks = std::io::BufReader::new(child.stdout.take().unwrap());
    // Each is sent when the one before was acknowledged, so the input is empty in between.
    for number in 1..=20 {
        writeln!(writer, "line {number}").unwrap();
        let mut ack = String::new();
        std::io::BufRead::read_line(&mut acks, &mut ack).unwrap();
        assert!(ack.starts_with(&format!("{number} ")), "{ack}");
    }
    drop(writer);
    assert!(child.wait().unwrap().success());
    assert_eq!(run(&["dump"], &dir).stdout.iter().filter(|byte| **byte == b'\n').count(), 20);
}

/// The command under a limit of the shell.
fn limited(limit: &str, args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new("sh");
    let script = format!("ulimit {limit}; exec \"$@\"");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_ringwal"), args[0]]).arg(dir);
    command.args(&args[1..]).stdin(Stdio::null());
    command
}

#[test]
fn the_file_size_limit_is_named_whatever_it_stops() {
    const NAMED: &str = "the file-size limit of this process is 65536 bytes";
    let (_parent, dir) = new_dir();
    let args = ["append", "--generate", "1", "--backend", "std"];
    let done = run_into(limited("-f 128", &args, &dir), Sink::File, Sink::File);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains(NAMED), "{done:?}");
    let (_parent, dir) = new_dir();
    clean(&dir);
    let done = run_into(limited("-f 128", &["dump"], &dir), Sink::File, Sink::File);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("standard output: ") && done.stderr.contains(NAMED), "{done:?}");
    assert_eq!(done.stdout.len(), 65536);
}

#[test]
fn many_segments_need_few_descriptors() {
    const SEGMENTS: usize = 1200;
    let (_parent, dir) = new_dir();
    let input: String = (1..=SEGMENTS).map(|number| format!("{number}\n")).collect();
    let args = [
        "append",
        "--backend",
        "std",
        "--segment-bytes",
        "128",
        "--batch-records",
        "1",
        "--window",
        "1",
        "--durability",
        "written",
        "--preallocate",
        "never",
    ];
    assert_exit(&run_with(&args, &dir, input.as_bytes()), 0);
    assert_eq!(command::segments(&dir).len(), SEGMENTS);
    // The reader of a log keeps the last 64.
    for args in [&["dump"][..], &["recover", "--format", "raw"], &["verify"]] {
        let done = run_into(limited("-n 100", args, &dir), Sink::File, Sink::File);
        assert_eq!(done.code, Some(0), "{args:?}: {done:?}");
        assert!(done.stdout == input || args == ["verify"], "{args:?}: {}", done.stdout.len());
    }
    let done = run_into(limited("-n 10", &["append"], &dir), Sink::File, Sink::File);
    assert!(done.code == Some(0) || done.stderr.contains("ulimit -n"), "{done:?}");
}
