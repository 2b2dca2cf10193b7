//! The example `ingest`, as a test: its children are this program again.

#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]

#[path = "../examples/ingest.rs"]
#[allow(unreachable_pub, reason = "it is a program of its own, too")]
mod ingest;

use std::path::Path;
use std::process::Command;

#[test]
fn a_service_that_is_killed_again_and_again_has_exact_totals() {
    if let Some(dir) = std::env::var_os(ingest::DIR) {
        println!(); // the test harness leaves its line open
        return ingest::serve(Path::new(&dir)).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let command = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let name = "a_service_that_is_killed_again_and_again_has_exact_totals";
        command.args([name, "--exact", "--nocapture"]);
        command
    };
    let totals = ingest::supervise(dir.path(), command).unwrap();
    assert_eq!(totals, ingest::expected());
    let first = ringwal::wal::segment::list_segments(&dir.path().join("wal")).unwrap()[0].0;
    assert!(first > 1, "it truncated what it had in its snapshots");
}
