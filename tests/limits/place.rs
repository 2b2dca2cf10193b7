//! A log whose path leads elsewhere, because the directory or the process has changed.

use super::*;

#[test]
fn a_directory_that_is_replaced_underneath_is_told_at_the_next_segment() {
    let test = "a_directory_that_is_replaced_underneath_is_told_at_the_next_segment";
    run_case(test, "directory_replaced", false);
}

/// A backup is restored over the log of a running service.
pub(crate) fn directory_replaced(dir: &Path, backend: BackendKind) {
    let log = builder(dir, backend).open().unwrap();
    append(&log, 30);
    log.close().unwrap();
    drop(log);
    let (copy, away) = (dir.with_extension("copy"), dir.with_extension("away"));
    copy_dir(dir, &copy);
    let log = builder(dir, backend).open().unwrap();
    append(&log, 3);
    fs::rename(dir, &away).unwrap();
    fs::rename(&copy, dir).unwrap();
    let error = append_until_refused(&log);
    assert_names(&error, dir, "another directory is there now");
    let acked = log.durable_seq();
    assert_failed_for_good(&log, "another directory is there now");
    drop(log);
    // Both logs are whole: no record of one is in the other.
    assert_goes_on(dir, backend, Seq::new(30));
    assert_goes_on(&away, backend, acked);
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for name in common::files(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

#[test]
fn a_log_of_a_relative_path_stays_in_its_directory_when_the_process_changes_to_another() {
    let test =
        "a_log_of_a_relative_path_stays_in_its_directory_when_the_process_changes_to_another";
    run_case(test, "working_directory_changed", false);
}

pub(crate) fn working_directory_changed(dir: &Path, backend: BackendKind) {
    let (first, second) = (dir.join("first"), dir.join("second"));
    let relative = Path::new("log");
    for place in [&first, &second] {
        fs::create_dir_all(place).unwrap();
        std::env::set_current_dir(place).unwrap();
        append(&builder(relative, backend).open().unwrap(), 3);
    }
    let before = common::files(&second.join(relative));
    std::env::set_current_dir(&first).unwrap();
    let log = builder(relative, backend).open().unwrap();
    append(&log, 3);
    std::env::set_current_dir(&second).unwrap();
    // The other directory has a log with the same relative path: this log must not continue in it.
    append(&log, 100);
    log.close().unwrap();
    drop(log);
    assert_eq!(common::files(&second.join(relative)), before);
    assert_goes_on(&first.join(relative), backend, Seq::new(106));
    assert_goes_on(&second.join(relative), backend, Seq::new(3));
}
