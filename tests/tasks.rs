//! The example of a service of many tasks, as a test.

#[path = "../examples/tasks.rs"]
#[allow(unreachable_pub, reason = "it is a program of its own, too")]
mod example;

use ringwal::Log;
use ringwal::kv::{DataWal, WriteBatch};
use ringwal::wal::{SignalEvent, WalConfig, WalHandle};

#[test]
fn many_tasks_on_one_thread_append_reserve_and_put_and_all_of_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    example::run(dir.path()).unwrap();
}

#[test]
fn every_future_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}

    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    let config = WalConfig { dir: dir.path().join("events"), ..WalConfig::default() };
    let (wal, _, _) = WalHandle::open(config).unwrap();
    let store = DataWal::open(dir.path().join("store")).unwrap();
    let event = SignalEvent { entity_id: 1, signal_type: 1, weight: 1.0, timestamp_nanos: 5 };
    is_send(&log.append_async("record"));
    is_send(&log.reserve(10));
    is_send(&wal.append_async(event));
    is_send(&wal.append_batch_async(&[event]));
    is_send(&wal.submit(event).unwrap());
    is_send(&store.put_async("k", "v"));
    is_send(&store.delete_async("k"));
    is_send(&store.write_async(&WriteBatch::new()));
    is_send(&store.fsync_async());
}
