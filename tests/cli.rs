//! The command as a process: what goes in comes out, what it acknowledged survives its death, and
//! what it cannot do it says.
//!
//! Nothing here waits for time to pass: a process is killed after it printed a number of lines.

#![cfg(feature = "cli")]
// Helpers of tests may unwrap, too; clippy.toml reaches only the tests themselves.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const BACKENDS: [&str; 2] = ["auto", "std"];

fn ringwal(args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwal"));
    command.arg(args[0]).arg(dir).args(&args[1..]).stdin(Stdio::null());
    command
}

/// Runs the command with `input` on its standard input.
fn run_with(args: &[&str], dir: &Path, input: &[u8]) -> Output {
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

fn run(args: &[&str], dir: &Path) -> Output {
    ringwal(args, dir).output().unwrap()
}

#[track_caller]
fn assert_exit(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "stderr: {}\nstdout: {}",
        stderr(output),
        String::from_utf8_lossy(&output.stdout[..output.stdout.len().min(500)])
    );
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A directory for a log, which is not there yet.
fn new_dir() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("log");
    (parent, dir)
}

/// `SEQ DIGEST` lines as a map; a sequence number that comes twice is an error.
fn parse_digests(text: &[u8]) -> BTreeMap<u64, String> {
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

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|ext| ext == "seg")).collect();
    paths.sort();
    paths
}

#[test]
fn lines_come_back_as_they_went_in() {
    let input = b"first\n\n\xff\xfe\x00 bytes\r\n  spaces  \nlast, without a newline";
    for backend in BACKENDS {
        let (_parent, dir) = new_dir();
        assert_exit(&run_with(&["append", "--backend", backend], &dir, input), 0);
        let dumped = run(&["dump", "--format", "raw"], &dir);
        assert_exit(&dumped, 0);
        assert_eq!(dumped.stdout, [&input[..], b"\n"].concat(), "{backend}");
    }
}

#[test]
fn length_prefixed_records_come_back_as_they_went_in() {
    let mut input = Vec::new();
    for record in [&b""[..], b"a\nb", &[0xff; 70_000], b"\0"] {
        input.extend_from_slice(&u32::try_from(record.len()).unwrap().to_le_bytes());
        input.extend_from_slice(record);
    }
    for backend in BACKENDS {
        let (_parent, dir) = new_dir();
        let args = ["append", "--framing", "len32", "--backend", backend];
        assert_exit(&run_with(&args, &dir, &input), 0);
        let dumped = run(&["dump", "--framing", "len32"], &dir);
        assert_exit(&dumped, 0);
        assert!(dumped.stdout == input, "{backend}");
    }
}

#[test]
fn a_cut_length_prefixed_record_is_refused_after_those_before_it_are_durable() {
    let (_parent, dir) = new_dir();
    let output = run_with(&["append", "--framing", "len32"], &dir, b"\x01\0\0\0a\x09\0\0\0b");
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("ends inside a record"), "{}", stderr(&output));
    assert_eq!(run(&["dump"], &dir).stdout, b"a\n");
}

#[test]
fn many_threads_append_every_line_once() {
    let input: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    for backend in BACKENDS {
        let (_parent, dir) = new_dir();
        let args = ["append", "--threads", "8", "--backend", backend];
        let appended = run_with(&args, &dir, input.as_bytes());
        assert_exit(&appended, 0);
        assert!(stderr(&appended).contains("20000"), "{}", stderr(&appended));
        let dumped = run(&["dump"], &dir).stdout;
        let mut numbers: Vec<u32> =
            dumped.lines().map(|line| line.unwrap().parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=20_000).collect::<Vec<_>>(), "{backend}");
    }
}

#[test]
fn acknowledgements_are_what_recovery_shows() {
    for backend in BACKENDS {
        for (threads, window) in [("1", "1"), ("1", "1024"), ("4", "1"), ("4", "16")] {
            let (_parent, dir) = new_dir();
            let args = [
                "append",
                "--acks",
                "--generate",
                "500",
                "--size",
                "100",
                "--backend",
                backend,
                "--threads",
                threads,
                "--window",
                window,
            ];
            let appended = run(&args, &dir);
            assert_exit(&appended, 0);
            let acks = parse_digests(&appended.stdout);
            assert_eq!(acks.len(), 500, "{backend} {threads} {window}");
            let recovered = run(&["recover", "--format", "digest", "--backend", backend], &dir);
            assert_exit(&recovered, 0);
            assert_eq!(parse_digests(&recovered.stdout), acks);
        }
    }
}

#[test]
fn a_log_goes_on_under_the_other_backend() {
    let (_parent, dir) = new_dir();
    for (backend, line) in [("auto", "one\n"), ("std", "two\n"), ("auto", "three\n")] {
        let args = ["append", "--backend", backend];
        assert_exit(&run_with(&args, &dir, line.as_bytes()), 0);
    }
    assert_eq!(run(&["dump"], &dir).stdout, b"one\ntwo\nthree\n");
}

#[test]
fn dump_starts_and_stops_where_it_is_told() {
    let (_parent, dir) = new_dir();
    assert_exit(&run_with(&["append"], &dir, b"a\nb\nc\nd\n"), 0);
    let dumped = run(&["dump", "--from", "2", "--limit", "2", "--format", "jsonl"], &dir);
    assert_exit(&dumped, 0);
    assert_eq!(
        String::from_utf8(dumped.stdout).unwrap(),
        "{\"seq\":2,\"bytes\":1,\"text\":\"b\"}\n{\"seq\":3,\"bytes\":1,\"text\":\"c\"}\n"
    );
    let beyond = run(&["dump", "--from", "9"], &dir);
    assert_exit(&beyond, 0);
    assert!(beyond.stdout.is_empty());
}

#[test]
fn made_up_records_are_the_same_every_time() {
    let dumps = [(); 2].map(|()| {
        let (_parent, dir) = new_dir();
        assert_exit(&run(&["append", "--generate", "300", "--size", "1KiB"], &dir), 0);
        run(&["dump"], &dir).stdout
    });
    assert_eq!(dumps[0].len(), 300 * 1025);
    assert!(dumps[0] == dumps[1]);
}

#[test]
fn dump_and_verify_work_beside_a_live_writer() {
    let (_parent, dir) = new_dir();
    let mut writer = Writer::start(&["append", "--acks"], &dir);
    writer.send(b"one\ntwo\n");
    let acked = writer.read_acks(2);
    let dumped = run(&["dump", "--format", "digest"], &dir);
    assert_exit(&dumped, 0);
    assert_eq!(parse_digests(&dumped.stdout), parse_digests(&acked));
    assert_exit(&run(&["verify"], &dir), 0);
    let second = run(&["append"], &dir);
    assert_exit(&second, 1);
    let pid = writer.child.id().to_string();
    assert!(stderr(&second).contains(&pid), "{}", stderr(&second));
    assert!(writer.end().success());
}

#[test]
fn verify_tells_clean_from_corrupt_from_no_log() {
    let (_parent, dir) = new_dir();
    let args = ["append", "--generate", "64", "--window", "1", "--backend", "std"];
    assert_exit(&run(&args, &dir), 0);
    let clean = run(&["verify"], &dir);
    assert_exit(&clean, 0);
    let json = run(&["verify", "--json"], &dir);
    assert_exit(&json, 0);
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&report["verdict"], &report["records"]), (&"clean".into(), &64.into()));

    let segment = segments(&dir).remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    // The middle batch's first record, behind the batch's header and the record's head.
    let at = bytes.len() / 2 / 4096 * 4096 + 64 + 8 + 1;
    bytes[at] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let corrupt = run(&["verify"], &dir);
    assert_exit(&corrupt, 1);
    let json = run(&["verify", "--json"], &dir);
    assert_exit(&json, 1);
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["verdict"], "corrupt");
    assert!(fs::read(&segment).unwrap() == bytes, "verify changed the segment");
    let recovered = run(&["recover"], &dir);
    assert_exit(&recovered, 1);
    assert!(stderr(&recovered).contains("damaged"), "{}", stderr(&recovered));

    let (parent, missing) = new_dir();
    assert_exit(&run(&["verify"], &missing), 2);
    assert!(!missing.exists());
    fs::write(parent.path().join("notes.txt"), "no log").unwrap();
    assert_exit(&run(&["verify"], parent.path()), 2);
    assert_exit(&run(&["verify"], &parent.path().join("notes.txt")), 2);
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let (_parent, dir) = new_dir();
    let mut writer = Writer::start(&["append", "--acks", "--window", "1"], &dir);
    writer.send(b"one\ntwo\n");
    let acked = writer.read_acks(2);
    writer.child.kill().unwrap();
    writer.child.wait().unwrap();
    // What a write that was never acknowledged may leave behind.
    let segment = segments(&dir).pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() / 4096 * 4096 + 4096;
    bytes.resize(bytes.len().max(end + 4096), 0);
    bytes[end..end + 40].copy_from_slice(&[0x5a; 40]);
    fs::write(&segment, &bytes).unwrap();
    assert_exit(&run(&["verify"], &dir), 0);
    let recovered = run(&["recover", "--format", "digest"], &dir);
    assert_exit(&recovered, 0);
    assert_eq!(parse_digests(&recovered.stdout), parse_digests(&acked));
    let again = run(&["verify", "--json"], &dir);
    let report: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(report["verdict"], "clean");
}

#[test]
fn a_killed_writer_loses_nothing_it_acknowledged() {
    for backend in BACKENDS {
        let (_parent, dir) = new_dir();
        let mut acked = BTreeMap::new();
        for (round, lines) in [1, 30, 400, 2000].into_iter().enumerate() {
            let args = [
                "append",
                "--acks",
                "--generate",
                "1000000",
                "--size",
                "200",
                "--threads",
                "4",
                "--window",
                if round % 2 == 0 { "1" } else { "64" },
                "--backend",
                backend,
                "--segment-bytes",
                "1MiB",
            ];
            let mut writer = Writer::start(&args, &dir);
            let mut printed = writer.read_acks(lines);
            writer.child.kill().unwrap();
            writer.child.wait().unwrap();
            writer.stdout.read_to_end(&mut printed).unwrap();
            let whole = printed.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            acked.extend(parse_digests(&printed[..whole]));

            let recovered = run(&["recover", "--format", "digest", "--backend", backend], &dir);
            assert_exit(&recovered, 0);
            let recovered = parse_digests(&recovered.stdout);
            for (seq, digest) in &acked {
                assert_eq!(recovered.get(seq), Some(digest), "{backend}: lost record {seq}");
            }
            let seqs: Vec<u64> = recovered.keys().copied().collect();
            assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "{backend}: a hole");
            // What was recovered without an acknowledgement stays, too.
            acked = recovered;
        }
    }
}

#[cfg(unix)]
#[test]
fn sigterm_and_sigint_close_the_log() {
    for (signal, name) in [(libc::SIGTERM, "SIGTERM"), (libc::SIGINT, "SIGINT")] {
        let (_parent, dir) = new_dir();
        let mut writer = Writer::start(&["append", "--acks"], &dir);
        writer.send(b"one\ntwo\nthree\n");
        let acked = writer.read_acks(3);
        // Its input stays open: only the signal can end it.
        writer.signal(signal);
        let status = writer.child.wait().unwrap();
        let mut said = String::new();
        writer.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(said.contains(name), "{said}");
        let verified = run(&["verify", "--json"], &dir);
        let report: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap();
        assert_eq!((&report["verdict"], &report["records"]), (&"clean".into(), &3.into()));
        assert_eq!(run(&["dump", "--format", "digest"], &dir).stdout, acked);
    }
}

#[test]
fn a_closed_standard_output_ends_it_without_a_false_acknowledgement() {
    let (_parent, dir) = new_dir();
    let args = ["append", "--acks", "--generate", "1000000"];
    let mut writer = Writer::start(&args, &dir);
    let printed = writer.read_acks(3);
    drop(writer.stdout);
    let status = writer.child.wait().unwrap();
    let mut said = String::new();
    writer.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("standard output"), "{said}");
    let kept = parse_digests(&run(&["dump", "--format", "digest"], &dir).stdout);
    for (seq, digest) in parse_digests(&printed) {
        assert_eq!(kept.get(&seq), Some(&digest));
    }
}

#[test]
fn wrong_requests_are_told_and_leave_nothing_behind() {
    let table: [(&str, &[&str]); 8] = [
        ("segment", &["--segment-bytes", "1"]),
        ("depth", &["--depth", "0"]),
        ("batch", &["--batch-records", "0"]),
        ("KiB", &["--segment-bytes", "12 parsecs"]),
        ("threads", &["--threads", "0"]),
        ("window", &["--window", "0"]),
        ("backend", &["--backend", "floppy"]),
        ("strategy", &["--strategy", "hope"]),
    ];
    for (word, options) in table {
        let (_parent, dir) = new_dir();
        let output = run(&[&["append"], options].concat(), &dir);
        assert_exit(&output, 2);
        assert!(stderr(&output).contains(word), "{options:?}: {}", stderr(&output));
        assert!(!dir.exists(), "{options:?} made a directory");
    }
}

#[test]
fn what_is_no_log_is_refused_and_left_alone() {
    let (parent, _) = new_dir();
    let file = parent.path().join("notes.txt");
    fs::write(&file, "no log").unwrap();
    for args in [&["append"][..], &["dump"], &["recover"], &["verify"]] {
        for path in [file.as_path(), parent.path()] {
            let output = run(args, path);
            assert_exit(&output, 2);
            assert!(stderr(&output).contains("not a log"), "{args:?}: {}", stderr(&output));
        }
    }
    let names: Vec<_> =
        fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["notes.txt"]);
    assert_eq!(fs::read(&file).unwrap(), b"no log");
}

/// A process that appends and can be talked to. It ends with its pipes at the latest.
struct Writer {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Writer {
    fn start(args: &[&str], dir: &Path) -> Writer {
        let mut command = ringwal(args, dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Writer { child, stdout }
    }

    fn send(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    /// Reads so many acknowledgements.
    fn read_acks(&mut self, lines: usize) -> Vec<u8> {
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
    fn signal(&self, signal: libc::c_int) {
        let pid = self.child.id().to_string();
        let number = signal.to_string();
        let status = Command::new("kill").args([format!("-{number}"), pid]).status().unwrap();
        assert!(status.success());
    }

    /// Closes its input and waits for it.
    fn end(mut self) -> std::process::ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().unwrap()
    }
}
