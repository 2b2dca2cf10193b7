//! The command as a process: records that go in come out, and every failure is reported.

#![cfg(feature = "cli")]
// Helpers of tests may unwrap, too; clippy.toml reaches only the tests themselves.
#![allow(clippy::unwrap_used)]

mod command;

use std::fs;
use std::io::BufRead;

use command::{
    BACKENDS, Writer, assert_exit, new_dir, parse_digests, run, run_with, segments, stderr,
};

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
    assert_exit(&run(&["verify"], parent.path()), 2);
    assert_exit(&run(&["dump"], parent.path()), 2);
    fs::write(parent.path().join("notes.txt"), "no log").unwrap();
    assert_exit(&run(&["verify"], parent.path()), 2);
    assert_exit(&run(&["verify"], &parent.path().join("notes.txt")), 2);
}

#[test]
fn many_segments_come_back_as_one_log() {
    for backend in BACKENDS {
        let (_parent, dir) = new_dir();
        let args = ["append", "--generate", "6000", "--size", "1000", "--segment-bytes", "1MiB"];
        assert_exit(&run(&[&args[..], &["--backend", backend]].concat(), &dir), 0);
        assert!(segments(&dir).len() > 5, "{backend}: {:?}", segments(&dir));
        let dumped = run(&["dump"], &dir).stdout;
        let numbers = dumped.lines().map(|line| {
            let line = line.unwrap();
            line.split(' ').next().and_then(|number| number.parse::<u32>().ok()).unwrap()
        });
        assert!(numbers.eq(1..=6000), "{backend}");
        assert_exit(&run(&["verify"], &dir), 0);
    }
}

#[test]
fn a_record_over_the_limit_ends_it_after_those_before_it() {
    let (_parent, dir) = new_dir();
    let input = ["short\n", &"x".repeat(2000), "\nnever\n"].concat();
    let args = ["append", "--acks", "--window", "1", "--record-bytes-max", "1KiB"];
    let output = run_with(&args, &dir, input.as_bytes());
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("over the limit"), "{}", stderr(&output));
    assert_eq!(parse_digests(&output.stdout).len(), 1);
    assert_eq!(run(&["dump"], &dir).stdout, b"short\n");
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let (_parent, dir) = new_dir();
    assert_exit(&run_with(&["append"], &dir, b"one\n"), 0);
    let segment = segments(&dir).remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[4] = 9;
    bytes[48] ^= 1; // a newer version need not keep our digest
    fs::write(&segment, &bytes).unwrap();
    for args in [&["verify"][..], &["dump"], &["recover"], &["append"]] {
        let output = run(args, &dir);
        assert_exit(&output, 2);
        assert!(stderr(&output).contains("version 9"), "{args:?}: {}", stderr(&output));
    }
    assert!(fs::read(&segment).unwrap() == bytes);
}

#[test]
fn wrong_requests_are_told_and_leave_nothing_behind() {
    let table: [(&str, &[&str]); 10] = [
        ("segment", &["--segment-bytes", "1"]),
        ("--spare-segments", &["--spare-segments", "17"]),
        ("--recycle-segments", &["--recycle-segments", "65"]),
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

#[test]
fn the_exit_codes_are_the_same_in_the_help_and_in_the_manual() {
    let command = || std::process::Command::new(env!("CARGO_BIN_EXE_ringwal"));
    let help = command().arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let table: Vec<_> = help.lines().skip_while(|line| !line.starts_with("Exit codes")).collect();
    assert!(table.len() > 7, "{help}");
    let manual = include_str!("../src/manual/command.rs");
    let manual: String =
        manual.lines().map(|line| line.trim_start_matches("//!").to_owned() + "\n").collect();
    let table: String = table.iter().map(|line| format!(" {line}\n")).collect();
    assert!(manual.contains(&table), "{table}");
}
