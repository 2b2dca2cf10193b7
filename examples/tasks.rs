//! A service of many tasks on one thread: each appends to a log, to an event log and to a store,
//! and no call blocks the thread. At the end, everything that was acknowledged is there.
//!
//! Run it with `cargo run --release --example tasks`.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use ringwal::kv::{DataWal, WriteBatch};
use ringwal::wal::{SignalEvent, WalConfig, WalHandle};
use ringwal::{Durability, Log, Seq};
use tokio::task::JoinSet;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The number of tasks.
pub const TASKS: u64 = 500;

/// What the tasks share.
struct Service {
    log: Log,
    events: WalHandle,
    store: DataWal,
}

/// What one task does. Returns the number of its order.
async fn order(service: Arc<Service>, task: u64) -> Outcome<Seq> {
    // One call for room, the append, and the disk.
    service.log.append_async(format!("order {task} received")).await?;

    // The two steps apart. The room comes first, and what is said in it is decided then.
    let permit = service.log.reserve(64).await?;
    let seq = permit.submit(format!("order {task} accepted"))?.await?;

    let event = SignalEvent { entity_id: task, signal_type: 1, weight: 1.0, timestamp_nanos: 5 };
    let first = service.events.append_async(event).await?;
    let again = service.events.append_async(event).await?;
    assert!(first > 0 && again == 0, "a duplicate is recognized");

    let key = format!("order {task:04}");
    service.store.put_async(&key, "accepted").await?;
    let mut batch = WriteBatch::new();
    batch.put(&key, "paid")?.put(format!("invoice {task:04}"), seq.to_string())?;
    service.store.at(Durability::Synced).write_async(&batch).await?;
    Ok(seq)
}

/// Runs all tasks on this thread, and checks what they left behind.
pub fn run(dir: &Path) -> Outcome<()> {
    let config = WalConfig { dir: dir.join("events"), ..WalConfig::default() };
    let service = Arc::new(Service {
        log: Log::open(dir.join("log"))?,
        events: WalHandle::open(config.clone())?.0,
        store: DataWal::open(dir.join("store"))?,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut seqs = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            tasks.spawn(order(Arc::clone(&service), task));
        }
        let mut seqs = Vec::new();
        while let Some(done) = tasks.join_next().await {
            seqs.push(done??);
        }
        Outcome::Ok(seqs)
    })?;
    drop(runtime);
    drop(service);

    let log = Log::open(dir.join("log"))?;
    assert_eq!(log.durable_seq().get(), 2 * TASKS);
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len() as u64, TASKS, "every order has a number of its own");
    assert_eq!(WalHandle::open(config)?.1.len() as u64, TASKS);
    let store = DataWal::open(dir.join("store"))?;
    assert_eq!(store.len()? as u64, 2 * TASKS);
    assert_eq!(store.get("order 0017")?.as_deref(), Some(&b"paid"[..]));
    println!("{TASKS} tasks on one thread: {} records", log.durable_seq());
    Ok(())
}

#[allow(dead_code, reason = "a test runs `run` in a directory of its own")]
fn main() -> Outcome<()> {
    let dir = std::env::temp_dir().join(format!("ringwal-tasks-{}", std::process::id()));
    let outcome = run(&dir);
    std::fs::remove_dir_all(&dir)?;
    outcome
}
