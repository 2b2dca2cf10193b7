//! A miniature ingest service that is killed again and again, and whose totals stay exact.
//!
//! ```text
//! producers --append--> event log --in order--> totals --every 200 events--> snapshot file
//!     ^                                                        then checkpoint, then truncate
//!     '-- resend the events that were not acknowledged before the kill
//! ```
//!
//! The supervisor starts this program as a child, reads its acknowledgements, and kills it with
//! SIGKILL in the middle of its work. The next child loads the snapshot and replays the events
//! after it, and each producer goes on after its last acknowledged event. A producer resends an
//! event whose fate it does not know. The log detects duplicates, so each event counts once.
//!
//! Run it with `cargo run --release --example ingest`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ringwal::wal::{SignalEvent, WalConfig, WalHandle};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The number of producers.
pub const PRODUCERS: u64 = 4;
/// The number of events of each producer.
pub const EVENTS_PER_PRODUCER: u64 = 1000;
/// The number of events between two snapshots.
const SNAPSHOT_EVERY: u64 = 200;
/// The log does not detect duplicates of truncated events after a restart. So it keeps the last
/// events, which the producers may resend.
const KEEP_EVENTS: u64 = 500;
/// Each child is killed after so many acknowledgements; one more child finishes.
const KILL_AFTER: [usize; 4] = [1, 300, 1200, 700];

/// The environment variables that tell a child its directory, and where each producer goes on.
pub const DIR: &str = "RINGWAL_INGEST_DIR";
const RESUME: &str = "RINGWAL_INGEST_RESUME";

/// The result that the service computes from the events.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// The sequence number of the last event that is included.
    pub seq: u64,
    /// The number of events.
    pub events: u64,
    /// The sum of their entity ids.
    pub sum: u64,
}

impl Totals {
    fn apply(&mut self, seq: u64, event: &SignalEvent) {
        assert_eq!(seq, self.seq + 1, "events come in order and without gaps");
        self.seq = seq;
        self.events += 1;
        self.sum += event.entity_id;
    }

    fn load(path: &Path) -> Outcome<Totals> {
        let Ok(text) = fs::read_to_string(path) else { return Ok(Totals::default()) };
        let numbers = text.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let [seq, events, sum] = numbers[..] else { return Err("a snapshot has 3 numbers".into()) };
        Ok(Totals { seq, events, sum })
    }

    /// Writes the snapshot atomically and durably.
    fn save(&self, path: &Path) -> Outcome<()> {
        let temp = path.with_extension("tmp");
        let mut file = File::create(&temp)?;
        write!(file, "{} {} {}", self.seq, self.events, self.sum)?;
        file.sync_all()?;
        fs::rename(&temp, path)?;
        Ok(File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?)
    }
}

/// The totals after all events.
pub fn expected() -> Totals {
    let events = PRODUCERS * EVENTS_PER_PRODUCER;
    Totals { seq: events, events, sum: (0..events).sum() }
}

fn event(producer: u64, n: u64) -> SignalEvent {
    let entity_id = producer * EVENTS_PER_PRODUCER + n;
    SignalEvent { entity_id, signal_type: producer as u8, weight: 1.0, timestamp_nanos: n }
}

/// Loads the snapshot, opens the log, and replays the events after the snapshot.
fn start(dir: &Path) -> Outcome<(WalHandle, Totals)> {
    let mut totals = Totals::load(&dir.join("snapshot"))?;
    let config = WalConfig {
        dir: dir.to_path_buf(),
        segment_size: 64 << 10,
        batch_size: 256,
        batch_timeout: Duration::from_millis(5),
        dedup_window: Duration::from_secs(600),
    };
    let (wal, events, report) = WalHandle::open(config)?;
    for (seq, event) in (report.replayed_from..).zip(&events) {
        // After a crash between the snapshot and the checkpoint, the snapshot is ahead.
        if seq > totals.seq {
            totals.apply(seq, event);
        }
    }
    Ok((wal, totals))
}

/// The child: several producers, and one thread that applies the events that they appended.
pub fn serve(dir: &Path) -> Outcome<()> {
    let (wal, totals) = start(dir)?;
    let resume = std::env::var(RESUME)?;
    let resume = resume.split(',').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let (sender, appended) = channel();
    std::thread::scope(|scope| {
        let wal = &wal;
        let producers: Vec<_> = (0..)
            .zip(resume)
            .map(|(producer, next)| {
                let sender = sender.clone();
                scope.spawn(move || {
                    for n in next..EVENTS_PER_PRODUCER {
                        let event = event(producer, n);
                        match wal.append(event)? {
                            0 => {} // a duplicate: it was appended before the kill
                            seq => sender.send((seq, event))?,
                        }
                        println!("acknowledged {producer} {n}");
                    }
                    Outcome::Ok(())
                })
            })
            .collect();
        drop(sender);
        let applied = apply(wal, totals, &appended, &dir.join("snapshot"));
        for producer in producers {
            producer.join().map_err(|_| "a producer panicked")??;
        }
        applied
    })?;
    Ok(wal.shutdown()?)
}

/// Applies events in the order of their numbers; writes snapshots and checkpoints, and truncates.
fn apply(
    wal: &WalHandle,
    mut totals: Totals,
    appended: &Receiver<(u64, SignalEvent)>,
    snapshot: &Path,
) -> Outcome<()> {
    let mut early = BTreeMap::new();
    for (seq, event) in appended {
        early.insert(seq, event);
        while let Some(event) = early.remove(&(totals.seq + 1)) {
            totals.apply(totals.seq + 1, &event);
            if totals.seq.is_multiple_of(SNAPSHOT_EVERY) {
                totals.save(snapshot)?;
                wal.checkpoint(totals.seq)?;
                wal.truncate_before(totals.seq.saturating_sub(KEEP_EVENTS))?;
            }
        }
    }
    Ok(())
}

/// The supervisor: runs children by `command` until the producers have no events left, and kills
/// all but the last child. Returns the totals after a final replay.
pub fn supervise(dir: &Path, command: impl Fn() -> Command) -> Outcome<Totals> {
    let mut resume = [0; PRODUCERS as usize];
    for kill_after in KILL_AFTER.into_iter().chain([usize::MAX]) {
        let mut child = command()
            .env(DIR, dir)
            .env(RESUME, resume.map(|n: u64| n.to_string()).join(","))
            .stdout(Stdio::piped())
            .spawn()?;
        let acks = read_acks(&mut child, kill_after, &mut resume)?;
        let status = child.wait()?;
        println!("a child acknowledged {acks} events and ended with {status}");
        if kill_after == usize::MAX && !status.success() {
            return Err(format!("the last child failed: {status}").into());
        }
    }
    let (wal, totals) = start(dir)?;
    wal.shutdown()?;
    Ok(totals)
}

/// Reads acknowledgements until the child ends, and kills it after `kill_after` of them.
fn read_acks(child: &mut Child, kill_after: usize, resume: &mut [u64]) -> Outcome<usize> {
    let stdout = child.stdout.take().ok_or("the child has no output")?;
    let mut acks = 0;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        let Some(ack) = line.strip_prefix("acknowledged ") else { continue };
        let Some((producer, n)) = ack.split_once(' ') else { continue };
        let (producer, n): (usize, u64) = (producer.parse()?, n.parse()?);
        resume[producer] = n + 1;
        acks += 1;
        if acks == kill_after {
            child.kill()?; // SIGKILL
        }
    }
    Ok(acks)
}

#[allow(dead_code, reason = "a test includes this file as a module and has its own main")]
fn main() -> Outcome<()> {
    if let Some(dir) = std::env::var_os(DIR) {
        return serve(&PathBuf::from(dir));
    }
    let dir = tempfile::tempdir()?;
    let program = std::env::current_exe()?;
    let totals = supervise(dir.path(), || Command::new(&program))?;
    assert_eq!(totals, expected(), "every event counts once");
    println!("{totals:?}: as expected");
    Ok(())
}
