//! `ringwal soak` as a process: it ends clean on a store that is right, finds what was damaged, and
//! leaves its time series and their picture. Nothing here depends on how fast anything is.

#![cfg(feature = "cli")]
// Helpers of tests may unwrap, too; clippy.toml reaches only the tests themselves.
#![allow(clippy::unwrap_used)]

mod command;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use command::{BACKENDS, assert_exit, stderr};
use tempfile::TempDir;

const COLUMNS: &str = "elapsed_s,resident_kib,descriptors,segments,live_keys,puts,deletes,\
                       rotations,compactions,written_bytes,put_p50_us,put_p99_us,fsync_p50_us,\
                       fsync_p99_us,gets,restarts,kills";

/// A soak in a directory of its own, and its files there.
struct Soak {
    dir: TempDir,
}

impl Soak {
    fn new() -> Soak {
        Soak { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringwal"));
        command.arg("soak").args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        for name in ["WORK_DIR", "LOG_DIR"] {
            command.env(format!("RINGWAL_SOAK_{name}"), self.path(&name.to_lowercase()));
        }
        command.env("RINGWAL_SOAK_SEGMENT_BYTES", "1MiB");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs it; it must end clean. Returns its output.
    #[track_caller]
    fn run_clean(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_exit(&output, 0);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("\nclean: "), "{said}");
        assert!(!self.store().exists(), "a clean run leaves no store");
        said
    }

    fn store(&self) -> PathBuf {
        self.path("work_dir").join("store")
    }

    /// The rows of the time series, by column.
    #[track_caller]
    fn rows(&self) -> Vec<BTreeMap<String, String>> {
        let text = fs::read_to_string(self.path("log_dir").join("soak.csv")).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(COLUMNS));
        let row = |line: &str| {
            assert_eq!(line.matches(',').count(), COLUMNS.matches(',').count(), "{line}");
            COLUMNS.split(',').map(str::to_owned).zip(line.split(',').map(str::to_owned)).collect()
        };
        lines.map(row).collect()
    }

    /// A number of the last row.
    #[track_caller]
    fn last(&self, column: &str) -> f64 {
        self.rows().last().unwrap()[column].parse().unwrap()
    }

    /// Writes a file of records `{"key": ..., "payload": ...}`.
    fn records(&self, name: &str, count: usize, bytes: usize) -> String {
        let line = |number: usize| {
            let key = STANDARD.encode(format!("{name} {number}"));
            let payload = STANDARD.encode(vec![number as u8; bytes]);
            format!("{{\"key\": \"{key}\", \"payload\": \"{payload}\"}}\n")
        };
        let path = self.path(name);
        fs::write(&path, (0..count).map(line).collect::<String>()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// The counts of operations that a run prints.
#[track_caller]
fn operations(said: &str) -> &str {
    said.lines().find(|line| line.starts_with("operations: ")).unwrap()
}

/// Panics unless every element is closed, in order, and gives the text of all of them.
#[track_caller]
fn texts_of_well_formed(svg: &str) -> Vec<&str> {
    let (mut open, mut texts, mut rest) = (Vec::new(), Vec::new(), svg);
    while let Some((text, after)) = rest.split_once('<') {
        texts.push(text.trim());
        let (tag, after) = after.split_once('>').unwrap();
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap());
        }
        rest = after;
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} are open");
    texts
}

#[test]
fn a_run_of_each_mode_on_each_backend_is_clean_and_leaves_its_series() {
    for backend in BACKENDS {
        for mode in ["synthetic", "real"] {
            let soak = Soak::new();
            let mut args = vec!["--operations", "4000", "--backend", backend, "--mode", mode];
            args.extend(["--restart-every", "1000", "--compact-every", "700"]);
            let files = [("small", 300, 20), ("medium", 90, 3000), ("large", 5, 200_000)];
            let files = files.map(|(name, count, bytes)| soak.records(name, count, bytes));
            if mode == "real" {
                args.extend(["--small", &files[0], "--medium", &files[1], "--large", &files[2]]);
            }
            soak.run_clean(&args);
            let (puts, deletes) = (soak.last("puts"), soak.last("deletes"));
            assert_eq!(puts + deletes + soak.last("gets"), 4000.0);
            assert!(puts > 3000.0 && (100.0..300.0).contains(&deletes), "{puts} {deletes}");
            assert!(soak.last("restarts") >= 3.0 && soak.last("compactions") >= 5.0);
            assert!(soak.last("rotations") > 3.0 && soak.last("segments") > 1.0);
            assert!(soak.last("written_bytes") > 1e6 && soak.last("put_p50_us") > 0.0);
            assert_eq!(soak.last("kills"), 0.0);
            if mode == "real" {
                assert!(soak.last("live_keys") <= 395.0);
            }
        }
    }
}

#[test]
fn the_picture_is_well_formed_and_has_every_curve() {
    let soak = Soak::new();
    soak.run_clean(&["--operations", "2000"]);
    let svg = fs::read_to_string(soak.path("log_dir").join("soak.svg")).unwrap();
    let texts = texts_of_well_formed(&svg);
    let curves: Vec<_> = COLUMNS.split(',').skip(1).collect();
    for curve in &curves {
        assert!(texts.contains(curve), "no {curve}");
    }
    let told = soak.rows()[0].values().filter(|value| !value.is_empty()).count() - 1;
    assert_eq!(svg.matches("stroke=\"#0000FF\"").count(), told);
    assert!(told >= curves.len() - 2, "{told}");
}

#[test]
fn a_row_is_written_and_a_line_printed_as_often_as_asked() {
    let soak = Soak::new();
    let said = soak.run_clean(&["--duration", "3s", "--progress-secs", "1"]);
    let rows = soak.rows();
    let elapsed: Vec<f64> = rows.iter().map(|row| row["elapsed_s"].parse().unwrap()).collect();
    assert!(elapsed.len() >= 2 && elapsed.is_sorted(), "{elapsed:?}");
    assert!(*elapsed.last().unwrap() >= 3.0, "{elapsed:?}");
    assert_eq!(said.lines().filter(|line| line.contains(" puts, ")).count(), elapsed.len());
}

#[cfg(unix)]
#[test]
fn killed_writers_lose_nothing_and_do_not_change_the_operations() {
    let args = ["--seed", "11", "--operations", "4500", "--restart-every", "900"];
    let args = [&args[..], &["--compact-every", "600"]].concat();
    for backend in BACKENDS {
        let killed = Soak::new();
        let said = killed.run_clean(&[&args[..], &["--kill", "--backend", backend]].concat());
        assert!(killed.last("kills") >= 2.0, "{said}");
        let closed = Soak::new();
        let same = closed.run_clean(&args);
        assert_eq!(operations(&said), operations(&same));
        for column in ["puts", "deletes", "gets", "live_keys"] {
            assert_eq!(killed.last(column), closed.last(column), "{column}");
        }
    }
}

#[test]
fn a_seed_decides_the_operations_and_a_new_one_is_printed() {
    let run = |args: &[&str]| {
        let args = [&["--operations", "1500"], args].concat();
        Soak::new().run_clean(&args)
    };
    let said = run(&[]);
    let (_, seed) = said.split_once("--seed ").unwrap();
    let seed = seed.split_whitespace().next().unwrap();
    assert_eq!(operations(&said), operations(&run(&["--seed", seed])));
    assert_ne!(operations(&said), operations(&run(&[])));
}

#[test]
fn every_option_can_be_an_environment_variable() {
    let soak = Soak::new();
    let mut command = soak.command(&[]);
    for (name, value) in [
        ("DURATION", "60s"),
        ("OPERATIONS", "2100"),
        ("MODE", "real"),
        ("SMALL", &soak.records("s", 50, 10)),
        ("MEDIUM", &soak.records("m", 20, 1000)),
        ("LARGE", &soak.records("l", 2, 70_000)),
        ("SEED", "5"),
        ("PROGRESS_SECS", "30"),
        ("COMPACT_EVERY", "500"),
        ("RESTART_EVERY", "600"),
        ("KILL", "true"),
        ("BACKEND", "std"),
    ] {
        command.env(format!("RINGWAL_SOAK_{name}"), value);
    }
    let output = command.output().unwrap();
    assert_exit(&output, 0);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("--seed 5") && said.contains("backend: std"), "{said}");
    assert_eq!(soak.last("puts") + soak.last("deletes") + soak.last("gets"), 2100.0);
    assert!(soak.last("live_keys") <= 72.0 && soak.last("compactions") >= 3.0);
    assert!(soak.last("kills") >= 1.0 || cfg!(not(unix)));
}

#[test]
fn what_keeps_a_run_from_beginning_is_named_with_exit_code_2() {
    let soak = Soak::new();
    let good = soak.records("good", 3, 10);
    let bad = soak.records("bad", 3, 10);
    let mut lines = fs::read_to_string(&bad).unwrap();
    lines.push_str("{\"key\": \"a\", \"payload\": \"\"}\n");
    fs::write(&bad, lines).unwrap();
    let real = |files: &[&str]| {
        let names = ["--small", "--medium", "--large"];
        let pairs = names.into_iter().zip(files).flat_map(|(name, file)| [name, *file]);
        ["--mode", "real"].into_iter().chain(pairs).map(str::to_owned).collect::<Vec<_>>()
    };
    let given = |args: &[&str]| args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>();
    for (args, said) in [
        (real(&[&good, &good, &bad]), "bad: line 4: \"key\" is not base64"),
        (real(&[&good, "absent", &good]), "absent: No such file"),
        (real(&[&good, &good]), "--large missing"),
        (given(&["--small", &good]), "are for --mode real"),
        (given(&["--work-dir", "good/inside"]), "good/inside: Not a directory"),
        (given(&["--log-dir", "good"]), "good: File exists"),
        (given(&["--segment-bytes", "1"]), "segment_bytes"),
        (given(&["--duration", "soon"]), "--duration"),
        (given(&["--duration", "8000h", "--progress-secs", "1"]), "raise --progress-secs"),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = soak.run(&[&args[..], &["--operations", "10"]].concat());
        assert_exit(&output, 2);
        assert!(stderr(&output).contains(said), "{args:?}: {}", stderr(&output));
        assert!(!soak.store().exists(), "{args:?}: a run that never began leaves no store");
    }
    fs::create_dir_all(soak.store()).unwrap();
    let output = soak.run(&["--operations", "10"]);
    assert_exit(&output, 2);
    assert!(stderr(&output).contains("the store of an earlier run"), "{}", stderr(&output));
}

#[cfg(target_os = "linux")]
mod meddling {
    //! A run and its store, disturbed from outside.

    use super::*;

    use std::io::{BufRead, BufReader, Read};
    use std::path::Path;
    use std::process::Child;

    /// A run that would take minutes, after its first row.
    fn begin(soak: &Soak, more: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
        let args = ["--duration", "5m", "--progress-secs", "1", "--compact-every", "100000000"];
        let mut command = soak.command(&[&args[..], more].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains(" puts, ") {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0, "it ended early");
        }
        (child, out)
    }

    fn end(mut child: Child, mut out: BufReader<std::process::ChildStdout>) -> Output {
        let mut stdout = Vec::new();
        out.read_to_end(&mut stdout).unwrap();
        drop(out);
        let mut stderr = Vec::new();
        child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        Output { status: child.wait().unwrap(), stdout, stderr }
    }

    fn signal(pid: u32, name: &str) {
        let status = Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
        assert!(status.success(), "{name}");
    }

    /// Stops a run where it has several segments, which compaction may take away at any time.
    fn stop_with_segments(pid: u32, store: &Path) {
        loop {
            signal(pid, "-STOP");
            if command::segments(store).len() > 2 {
                return;
            }
            signal(pid, "-CONT");
            std::thread::yield_now();
        }
    }

    /// Flips a byte in each so many of every segment but the last.
    fn damage(store: &Path, every: usize) {
        let segments = command::segments(store);
        assert!(segments.len() > 2, "{segments:?}");
        for segment in &segments[..segments.len() - 1] {
            let mut bytes = fs::read(segment).unwrap();
            bytes.iter_mut().skip(100).step_by(every).for_each(|byte| *byte ^= 1);
            fs::write(segment, bytes).unwrap();
        }
    }

    #[test]
    fn a_signal_ends_a_run_early_with_the_whole_comparison() {
        for name in ["-INT", "-TERM"] {
            let soak = Soak::new();
            let (child, out) = begin(&soak, &["--kill", "--restart-every", "1000"]);
            signal(child.id(), name);
            let output = end(child, out);
            assert_exit(&output, 0);
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(said.contains("ended early by SIG") && said.contains("\nclean: "), "{said}");
            assert!(fs::metadata(soak.path("log_dir").join("soak.svg")).unwrap().len() > 1000);
        }
    }

    #[test]
    fn values_that_are_damaged_during_a_run_are_found_by_its_reads() {
        let soak = Soak::new();
        let (child, out) = begin(&soak, &["--restart-every", "100000000"]);
        stop_with_segments(child.id(), &soak.store());
        damage(&soak.store(), 512);
        signal(child.id(), "-CONT");
        let output = end(child, out);
        assert_exit(&output, 1);
        let said = stderr(&output);
        assert!(said.contains("an invariant failed: at operation "), "{said}");
        assert!(said.contains(": get \"") && said.contains(".seg"), "{said}");
        assert!(soak.store().exists(), "the evidence stays");
        assert!(said.contains("the store stays in ") && said.contains("the seed was "), "{said}");
    }

    #[test]
    fn one_byte_that_is_damaged_before_the_end_is_found_at_the_end() {
        let soak = Soak::new();
        let (child, out) = begin(&soak, &["--restart-every", "100000000"]);
        stop_with_segments(child.id(), &soak.store());
        damage(&soak.store(), usize::MAX);
        signal(child.id(), "-TERM");
        signal(child.id(), "-CONT");
        let output = end(child, out);
        assert_exit(&output, 1);
        let said = stderr(&output);
        assert!(said.contains("an invariant failed: ") && said.contains(".seg"), "{said}");
        assert!(soak.store().exists(), "the evidence stays");
    }

    /// The writer that a run has, if it is alive.
    fn writer_of(pid: u32) -> Option<u32> {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let writer: u32 = children.split_whitespace().next()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{writer}/stat")).ok()?;
        let state = stat.rsplit(") ").next()?;
        (!state.starts_with(['Z', 'X'])).then_some(writer)
    }

    #[test]
    fn a_writer_that_ends_by_itself_fails_the_run() {
        let soak = Soak::new();
        let (child, out) = begin(&soak, &["--kill", "--restart-every", "2000"]);
        if !Path::new(&format!("/proc/self/task/{}/children", std::process::id())).exists() {
            println!("SKIPPED a_writer_that_ends_by_itself: no list of children in /proc");
            signal(child.id(), "-TERM");
            assert_exit(&end(child, out), 0);
            return;
        }
        // The run is stopped while it has one, so that it cannot have killed it itself.
        while {
            signal(child.id(), "-STOP");
            writer_of(child.id()).is_none_or(|writer| {
                signal(writer, "-KILL");
                false
            })
        } {
            signal(child.id(), "-CONT");
            std::thread::yield_now();
        }
        signal(child.id(), "-CONT");
        let output = end(child, out);
        assert_exit(&output, 1);
        assert!(stderr(&output).contains("ended unexpectedly, signal: 9"), "{}", stderr(&output));
    }
}
