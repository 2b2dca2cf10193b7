use super::*;

fn storage() -> (tempfile::TempDir, StdStorage) {
    let dir = tempfile::tempdir().unwrap();
    let storage = StdStorage::new(dir.path());
    (dir, storage)
}

#[test]
fn zeros_fill_exactly_the_asked_range() {
    let (_dir, storage) = storage();
    let file = storage.open("a", Access::Create).unwrap();
    file.write_at(&[7; 5000], 0).unwrap();
    file.write_zeros(4990, 3 << 20 | 5).unwrap();
    file.write_at(&[7], 3 << 20 | 5).unwrap();
    file.write_zeros(4991, 3 << 20 | 5).unwrap();
    file.sync().unwrap();
    file.drop_cache();
    let mut bytes = vec![1; (3 << 20) + 100];
    let len = file.read_at(&mut bytes, 0).unwrap();
    assert_eq!(len, (3 << 20) + 6);
    assert!(bytes[..4990].iter().all(|&b| b == 7));
    assert!(bytes[4990..len - 1].iter().all(|&b| b == 0));
    assert_eq!(bytes[len - 1], 7);
    file.write_zeros(5, 5).unwrap();
}

#[test]
fn zeros_go_to_the_open_file_although_its_name_went_to_another() {
    let (_dir, storage) = storage();
    let file = storage.open("a", Access::Create).unwrap();
    storage.rename("a", "b").unwrap();
    let other = storage.open("a", Access::Create).unwrap();
    file.write_zeros(0, 1 << 20).unwrap();
    assert_eq!(file.bytes().unwrap(), 1 << 20);
    assert_eq!(other.bytes().unwrap(), 0);
}

#[test]
fn a_second_lock_is_refused_with_the_pid_and_changes_nothing() {
    let (dir, storage) = storage();
    let guard = storage.lock("lock").unwrap();
    let before = std::fs::read(dir.path().join("lock")).ok();
    match storage.lock("lock") {
        Err(Error::Locked { pid, path }) => {
            assert!(pid.is_none() || pid == Some(std::process::id()));
            assert_eq!(path, dir.path().join("lock"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read(dir.path().join("lock")).ok(), before);
    drop(guard);
    storage.lock("lock").unwrap();
}

#[test]
fn holes_are_found_where_the_file_system_knows_them_and_nothing_else_is_taken_for_one() {
    const FAR: u64 = 1 << 30;
    let (_dir, storage) = storage();
    let file = storage.open("a", Access::Create).unwrap();
    file.write_at(b"here", 100).unwrap();
    file.write_at(b"there", FAR).unwrap();
    file.set_bytes(2 * FAR).unwrap();
    assert_eq!(file.next_data(100).unwrap(), Some(100));
    let next = file.next_data(1 << 20).unwrap().unwrap();
    assert!((1 << 20..=FAR).contains(&next), "{next}");
    let last = file.next_data(FAR + (1 << 20)).unwrap();
    assert!(last.is_none_or(|at| at >= FAR + (1 << 20)), "{last:?}");
    assert!(file.next_data(u64::MAX).unwrap().is_none_or(|at| at == u64::MAX));
}

#[cfg(unix)]
#[test]
fn an_open_file_is_locked_by_one_and_only_while_its_name_leads_to_it() {
    let (_dir, storage) = storage();
    let file = storage.open("a", Access::Create).unwrap();
    let again = || storage.open("a", Access::Write).unwrap();
    let guard = file.lock().unwrap().unwrap();
    assert!(matches!(again().lock(), Err(Error::Locked { .. })));
    assert!(again().write_at(b"x", 0).is_ok(), "it is a matter of asking");
    // The file is closed, and its lock stays.
    drop(file);
    assert!(matches!(again().lock(), Err(Error::Locked { .. })));
    drop(guard);
    let (replaced, new) = (again(), storage.open("b", Access::Create).unwrap());
    let guard = again().lock().unwrap();
    storage.rename("b", "a").unwrap();
    drop(guard);
    assert!(matches!(replaced.lock(), Err(Error::Locked { .. })));
    assert!(matches!(new.lock(), Err(Error::Locked { .. })), "opened by another name");
    assert!(again().lock().unwrap().is_some());
    let removed = again();
    storage.remove("a").unwrap();
    assert!(matches!(removed.lock(), Err(Error::Locked { .. })));
}

#[test]
fn create_refuses_a_taken_name_and_read_a_missing_one() {
    let (_dir, storage) = storage();
    storage.open("a", Access::Create).unwrap();
    assert!(storage.open("a", Access::Create).is_err());
    assert!(storage.open("b", Access::Read).is_err());
    storage.rename("a", "b").unwrap();
    // As where directories cannot be synced.
    sync_name(&storage.real_path("b")).unwrap();
    assert!(sync_name(&storage.real_path("a")).is_err());
    storage.sync_dir().unwrap();
    assert_eq!(storage.list().unwrap(), ["b"]);
    storage.remove("b").unwrap();
    assert!(storage.list().unwrap().is_empty());
}

/// A limit on the size of files cuts a write short, and refuses the rest. It holds for a whole
/// process, so a child runs this test once more under it.
#[cfg(unix)]
#[test]
fn a_write_that_ends_short_is_an_error() {
    const NAME: &str = "io::portable::storage::tests::a_write_that_ends_short_is_an_error";
    const CHILD: &str = "RINGWAL_TEST_WRITES_SHORT";
    if std::env::var_os(CHILD).is_some() {
        let (_dir, storage) = storage();
        let file = storage.open("a", Access::Create).unwrap();
        let error = file.write_at(&[7; 1 << 20], 0).unwrap_err();
        assert!(error.is_shortage(), "{error}");
        let written = file.bytes().unwrap();
        return assert!((1..1 << 20).contains(&written), "{written} bytes were written");
    }
    let child = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}{child:?}");
}
