//! The exit codes of the commands that have more than the directory of a log.

use super::*;

use ringwal::datawal::RecordType;
use ringwal::datawal::format::encode_record;

/// Runs a case into every kind of stream, each time in a directory that `make` prepares.
fn run_made(case: &Case, make: impl Fn(&Path), command: impl Fn(&Path) -> Command) {
    for sink in Sink::ALL {
        for (stdout, stderr) in [(sink, Sink::File), (Sink::File, sink), (sink, sink)] {
            let parent = tempfile::tempdir().unwrap();
            make(parent.path());
            let mut command = command(parent.path());
            command.current_dir(parent.path()).stdin(Stdio::null());
            let done = run_into(command, stdout, stderr);
            case.assert(&done, stdout, stderr);
        }
    }
}

/// A case whose arguments are all that the command has.
fn run_plain(case: &Case, make: impl Fn(&Path)) {
    run_made(case, make, |_| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringwal"));
        command.args(case.args);
        command
    });
}

/// [`run_plain`] under a file-size limit that makes its writes fail.
fn run_limited(case: &Case, make: impl Fn(&Path)) {
    run_made(case, make, |_| {
        let mut command = Command::new("sh");
        let script = "ulimit -f 8; exec \"$@\"";
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_ringwal")]).args(case.args);
        command
    });
}

fn small(parent: &Path) {
    let args = ["append", "--backend", "std", "--generate", "20"];
    assert_exit(&run(&args, &parent.join("log")), 0);
}

fn old(parent: &Path) {
    let dir = parent.join("old");
    fs::create_dir(&dir).unwrap();
    for id in 1..=2_u64 {
        let record = encode_record(RecordType::Put, id, b"key", &[id as u8]).unwrap();
        fs::write(dir.join(format!("{id:08}.dwal")), record).unwrap();
    }
}

#[test]
fn every_code_of_backup() {
    let args = &["backup", "log", "copy"];
    run_plain(&Case::new(args, 0, "").says("records:  20 (1 to 20)"), small);
    run_plain(&Case::new(args, 1, "").says("damaged"), |parent| damaged(&parent.join("log")));
    run_plain(&Case::new(args, 2, "").says("is not a log"), nothing);
    run_plain(&Case::new(args, 2, "").says("is not empty"), |parent| {
        small(parent);
        fs::create_dir_all(parent.join("copy/of something")).unwrap();
    });
}

#[test]
fn every_code_of_import() {
    let args = &["import", "--from", "datawal", "old", "new"];
    run_plain(&Case::new(args, 0, "").says("imported 2 records of 2 files"), old);
    run_plain(&Case::new(args, 1, "").says("--up-to-damage"), |parent| {
        old(parent);
        let first = parent.join("old/00000001.dwal");
        let mut bytes = fs::read(&first).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&first, bytes).unwrap();
    });
    run_plain(&Case::new(args, 2, "").says("old: No such file"), nothing);
}

#[test]
fn every_code_of_a_bench_that_fails() {
    let args = &["bench", "--secs", "0.02", "--mode", "blocking", "--size", "100"];
    run_limited(&Case::new(args, 1, "").says("the file-size limit"), nothing);
    run_plain(&Case::new(&["bench", "absent"], 2, "").says("absent"), nothing);
}

#[test]
fn every_code_of_a_soak() {
    let args = &["soak", "--operations", "100", "--backend", "std"];
    run_plain(&Case::new(args, 0, "\nclean: "), nothing);
    run_limited(&Case::new(args, 1, "").says("the file-size limit"), nothing);
    run_plain(&Case::new(args, 2, "").says("the store of an earlier run"), |parent| {
        fs::create_dir_all(parent.join("ringwal-soak/store")).unwrap();
    });
}

#[test]
fn code_2_of_a_recover() {
    let args = &["recover", "log", "--segment-bytes", "1"];
    run_plain(&Case::new(args, 2, "").says("(--segment-bytes)"), small);
}
