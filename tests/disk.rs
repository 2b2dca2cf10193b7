//! The command on a disk that is full, and on one that is read-only.
//!
//! A small file system in memory is mounted where only this test sees it, in a mount namespace of
//! its own. That takes root; elsewhere the tests say by name that they were skipped.

#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]

mod command;

use std::process::{Command, Output};

use command::{BACKENDS, assert_exit, stderr};

/// Runs a shell script with `$D` a fresh 12 MiB file system and `$R` the command; `None` where
/// that is not allowed.
fn on_a_small_disk(test: &str, script: &str, backend: &str) -> Option<Output> {
    let dir = tempfile::tempdir().unwrap();
    let unshare = |script: &str| {
        let script = format!("mount -t tmpfs -o size=12m none \"$D\" || exit 99\n{script}");
        Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-euc", &script])
            .env("D", dir.path())
            .env("R", env!("CARGO_BIN_EXE_ringwal"))
            .env("B", backend)
            .output()
    };
    match unshare("exit 0") {
        Ok(probe) if probe.status.success() => Some(unshare(script).unwrap()),
        Ok(probe) => {
            println!("SKIPPED {test}: no mount namespace: {}", stderr(&probe));
            None
        }
        Err(error) => {
            println!("SKIPPED {test}: no unshare: {error}");
            None
        }
    }
}

#[test]
fn a_full_disk_loses_nothing_and_appends_go_on_when_there_is_room() {
    let script = r#"
        head -c 4194304 /dev/zero > "$D/filler"
        code=0
        "$R" append "$D/log" --generate 100000 --size 200 --threads 4 --backend $B \
            --segment-bytes 1MiB --acks > "$D.acks" || code=$?
        test $code = 1
        "$R" recover "$D/log" --format digest > "$D.found"
        sort "$D.acks" > "$D.a"; sort "$D.found" > "$D.f"
        test -s "$D.a"
        test -z "$(comm -23 "$D.a" "$D.f")"
        rm "$D/filler"
        before=$(wc -l < "$D.found")
        "$R" append "$D/log" --generate 1000 --size 200 --backend $B --segment-bytes 1MiB
        "$R" verify "$D/log"
        test "$("$R" dump "$D/log" --format digest | wc -l)" = $((before + 1000))
        rm "$D.acks" "$D.found" "$D.a" "$D.f"
    "#;
    for backend in BACKENDS {
        let Some(output) = on_a_small_disk("a_full_disk", script, backend) else { return };
        assert_exit(&output, 0);
        assert!(stderr(&output).contains("no room for "), "{}", stderr(&output));
        assert!(stderr(&output).contains("again once there is room"));
    }
}

#[test]
fn a_read_only_file_system_is_told_and_the_log_can_still_be_read() {
    let script = r#"
        "$R" append "$D/log" --generate 10 --segment-bytes 1MiB --backend $B
        mount -o remount,ro "$D"
        code=0
        "$R" append "$D/log" --generate 10 --backend $B || code=$?
        test $code = 1
        code=0
        "$R" append "$D/new" --generate 10 --backend $B || code=$?
        test $code = 1
        test ! -e "$D/new"
        "$R" verify "$D/log"
        test "$("$R" dump "$D/log" --format digest | wc -l)" = 10
    "#;
    for backend in BACKENDS {
        let Some(output) = on_a_small_disk("a_read_only_disk", script, backend) else { return };
        assert_exit(&output, 0);
        let said = stderr(&output);
        assert_eq!(said.matches("Read-only file system").count(), 2, "{said}");
    }
}

#[test]
fn a_log_that_another_process_has_open_is_refused_with_its_pid() {
    let (_parent, dir) = command::new_dir();
    let log = ringwal::Log::open(&dir).unwrap();
    log.append("one").unwrap();
    let output = command::run(&["append", "--generate", "1"], &dir);
    assert_exit(&output, 1);
    let holder = format!("in use by process {}", std::process::id());
    assert!(stderr(&output).contains(&holder), "{}", stderr(&output));
    log.append("two").unwrap();
}
