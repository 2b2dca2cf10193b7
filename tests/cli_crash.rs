//! The command's death: killed, stopped, cut off from its reader or from its disk, it never
//! acknowledged a record that is missing afterwards.
//!
//! Nothing here waits for time to pass: a process is ended after it printed a number of lines.

#![cfg(feature = "cli")]
// Helpers of tests may unwrap, too; clippy.toml reaches only the tests themselves.
#![allow(clippy::unwrap_used)]

mod command;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use command::{BACKENDS, Writer, assert_exit, new_dir, parse_digests, run, segments, stderr};

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let (_parent, dir) = new_dir();
    let mut writer = Writer::start(&["append", "--acks", "--window", "1"], &dir);
    writer.send(b"one\ntwo\n");
    let acked = writer.read_acks(2);
    writer.child.kill().unwrap();
    writer.child.wait().unwrap();
    // The leftovers of a write that was never acknowledged.
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
            // Records that were recovered without an acknowledgement stay, too.
            acked = recovered;
        }
    }
}

/// The limit on the length of files stands in for a disk that fails: the kernel refuses to write
/// beyond it.
#[cfg(unix)]
#[test]
fn a_failing_disk_ends_it_with_the_cause_and_no_false_acknowledgement() {
    for backend in BACKENDS {
        for preallocate in ["auto", "never"] {
            let (_parent, dir) = new_dir();
            let limited = "trap '' XFSZ; ulimit -f 2000; exec \"$@\"";
            let mut command = Command::new("sh");
            command.args(["-c", limited, "sh", env!("CARGO_BIN_EXE_ringwal"), "append"]).arg(&dir);
            command.args(["--acks", "--generate", "10000", "--size", "1000", "--threads", "4"]);
            command.args(["--window", "16", "--segment-bytes", "16MiB", "--backend", backend]);
            command.args(["--preallocate", preallocate]);
            let output = command.stdin(Stdio::null()).output().unwrap();
            assert_exit(&output, 1);
            let said = stderr(&output);
            let causes = ["too large", "no room", "bytes were written"];
            assert!(causes.iter().any(|cause| said.contains(cause)), "{backend}: {said}");
            let acked = parse_digests(&output.stdout);
            assert!(acked.len() < 10_000, "{backend}: the limit was not felt");
            let recovered = run(&["recover", "--format", "digest"], &dir);
            assert_exit(&recovered, 0);
            let recovered = parse_digests(&recovered.stdout);
            for (seq, digest) in &acked {
                assert_eq!(recovered.get(seq), Some(digest), "{backend}: lost record {seq}");
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn sigterm_sigint_and_sighup_close_the_log() {
    let signals = [(libc::SIGTERM, "SIGTERM"), (libc::SIGINT, "SIGINT"), (libc::SIGHUP, "SIGHUP")];
    for (signal, name) in signals {
        let (_parent, dir) = new_dir();
        let mut writer = Writer::start(&["append", "--acks"], &dir);
        writer.send(b"one\ntwo\nthree\n");
        let acked = writer.read_acks(3);
        // Its input stays open (waiting for a child would close it): only the signal can end it.
        let input = writer.child.stdin.take();
        writer.signal(signal);
        let status = writer.child.wait().unwrap();
        drop(input);
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

/// Under `nohup` and the like, the user wants the command to go on.
#[cfg(unix)]
#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let (_parent, dir) = new_dir();
    let mut command = Command::new("sh");
    let script = "trap '' HUP; exec \"$@\"";
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_ringwal"), "append"]).arg(&dir);
    command.arg("--acks");
    let mut writer = Writer::spawn(command);
    writer.send(b"one\n");
    writer.read_acks(1);
    writer.signal(libc::SIGHUP);
    writer.send(b"two\n");
    writer.read_acks(1);
    assert!(writer.end().success());
}

/// A bench whose terminal is closed leaves no files; those of a killed one disturb no later run.
#[cfg(unix)]
#[test]
fn a_bench_that_is_hung_up_removes_its_directory() {
    let (_parent, dir) = new_dir();
    fs::create_dir(&dir).unwrap();
    let args = ["bench", "--secs", "60", "--threads", "1", "--size", "100", "--rounds", "1"];
    let mut command = command::ringwal(&args, &dir);
    command.args(["--floors", "false", "--backend", "std", "--mode", "blocking"]);
    let mut bench = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let scratch = dir.join(format!("ringwal-bench-{}", bench.id()));
    // It measures once its log is there.
    while !scratch.join("log/state").exists() {
        assert!(bench.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    for _ in 0..2 {
        let pid = bench.id().to_string();
        // The second time it may be gone already.
        let _sent = Command::new("kill").args(["-HUP", &pid]).status().unwrap();
    }
    let output = bench.wait_with_output().unwrap();
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("stopped by SIGHUP"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "it left something behind");
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
