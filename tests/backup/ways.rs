//! Ways to copy a log without this crate: a snapshot of all files at one instant, and a copy of
//! the files of a closed log.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|ext| ext == "seg")).collect();
    paths.sort();
    paths
}

/// Copies with `cp -a` if available, else in the same way.
#[cfg(unix)]
fn copy_files(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// With `tar`, without `--sparse`.
#[cfg(unix)]
fn tar_files(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    let script = "tar -C \"$0\" -cf - . | tar -C \"$1\" -xf -";
    let copied = std::process::Command::new("sh").args(["-c", script]).args([from, to]).status();
    assert!(copied.unwrap().success());
}

#[cfg(unix)]
fn rsync_files(from: &Path, to: &Path) {
    let copied = std::process::Command::new("rsync").arg("-a").arg(from.join("")).arg(to).status();
    assert!(copied.unwrap().success());
}

#[cfg(unix)]
#[test]
fn every_copy_of_the_files_of_a_closed_log_opens_with_what_was_acknowledged() {
    closed_log_is_copied(copy_files);
}

#[cfg(unix)]
#[test]
fn every_tar_of_the_files_of_a_closed_log_opens_with_what_was_acknowledged() {
    closed_log_is_copied(tar_files);
}

#[cfg(unix)]
#[test]
fn every_rsync_of_the_files_of_a_closed_log_opens_with_what_was_acknowledged() {
    if std::process::Command::new("rsync").arg("--version").output().is_err() {
        let test = "every_rsync_of_the_files_of_a_closed_log_opens_with_what_was_acknowledged";
        return println!("SKIPPED {test}: there is no rsync");
    }
    closed_log_is_copied(rsync_files);
}

/// Copies a log that is closed for each copy, and used in between.
#[cfg(unix)]
fn closed_log_is_copied(copy_files: impl Fn(&Path, &Path)) {
    use super::{BackendKind, ROUNDS, Seq, builder, new_parent, open_copy};
    let parent = new_parent();
    let dir = parent.path().join("log");
    for round in 0..ROUNDS as u64 {
        let log = builder(&dir, BackendKind::Std).spare_segments(0).open().unwrap();
        let commits: Vec<_> =
            (0..30).map(|n| log.submit(vec![round as u8; 40 * n + 1]).unwrap()).collect();
        for commit in commits {
            commit.wait().unwrap();
        }
        let seq = log.durable_seq();
        log.checkpoint(seq, seq.get().to_le_bytes()).unwrap();
        log.truncate_before(Seq::new(seq.get().saturating_sub(100).max(1))).unwrap();
        log.close().unwrap();
        let copy = parent.path().join("copy");
        copy_files(&dir, &copy);
        let copied = open_copy(&copy, seq, Some(seq)).0;
        assert!(copied.len() >= 30 && copied[&seq.get()] == vec![round as u8; 40 * 29 + 1]);
        fs::remove_dir_all(&copy).unwrap();
    }
}

/// A stopped process with no operation in flight, as with the std backend, changes no file: a copy
/// made then is a snapshot of one instant.
#[cfg(all(target_os = "linux", feature = "cli"))]
#[test]
fn every_atomic_snapshot_of_a_busy_log_opens_with_what_was_acknowledged() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::{BackendKind, Log, ROUNDS, new_parent};

    /// Ends the process, also if the test panics.
    struct Writer(std::process::Child);
    impl Drop for Writer {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    let parent = new_parent();
    let dir = parent.path().join("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwal"));
    command.arg("append").arg(&dir).args(["--generate", "1000000000", "--acks"]);
    command.args(["--backend", "std", "--window", "8", "--segment-bytes", "64KiB"]);
    command.args(["--threads", "2", "--spare-segments", "0"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut writer = Writer(command.spawn().unwrap());
    let mut acks = BufReader::new(writer.0.stdout.take().unwrap());
    let pid = writer.0.id().to_string();
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    let threads = format!("/proc/{pid}/task");
    let has_stopped = || {
        fs::read_dir(&threads).unwrap().all(|thread| {
            let stat = fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
            stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
        })
    };
    let mut acked = Vec::new();
    for _ in 0..ROUNDS {
        // The records acknowledged since; the pipe holds back the rest.
        for _ in 0..20 {
            let mut line = String::new();
            assert!(acks.read_line(&mut line).unwrap() > 0);
            acked.push(line.split(' ').next().unwrap().parse::<u64>().unwrap());
        }
        signal("-STOP");
        while !has_stopped() {
            std::thread::yield_now();
        }
        let copy = parent.path().join("copy");
        copy_files(&dir, &copy);
        signal("-CONT");
        let log = Log::builder(&copy).backend(BackendKind::Std).spare_segments(0).open().unwrap();
        assert!(log.durable_seq().get() >= *acked.iter().max().unwrap());
        assert!(log.reader().unwrap().all(|record| record.is_ok()));
        log.close().unwrap();
        fs::remove_dir_all(&copy).unwrap();
    }
}
