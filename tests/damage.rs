//! Damage: every kind of it, at every place of logs of several shapes.
//!
//! A model that was kept while the log was written decides which outcomes are allowed, not
//! recovery: no acknowledged record with evidence left on the disk disappears silently.
//!
//! A run takes some places of each kind, by a fresh seed that it prints, and prints a table of
//! the outcomes. `RINGWAL_DAMAGE_SEED=n` repeats a run, `RINGWAL_DAMAGE_PLACES=all` takes every
//! place, another number as many per kind and shape; `scripts/damage-table.sh` does the former.

#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use check::{Checker, Outcome};
use kinds::{KINDS, apply, edits, mix};
use model::Shape;
use table::Table;

#[path = "damage/check.rs"]
mod check;
#[path = "damage/kinds.rs"]
mod kinds;
#[path = "damage/making.rs"]
mod making;
#[path = "damage/model.rs"]
mod model;
#[path = "damage/shapes.rs"]
mod shapes;
#[path = "damage/table.rs"]
mod table;

/// How many places of one kind a usual run takes in one shape.
const PLACES: usize = 50;

#[test]
fn nothing_with_a_witness_is_lost_in_silence_whatever_is_damaged() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    let seed = number("RINGWAL_DAMAGE_SEED").unwrap_or_else(|| clock() as u64);
    let all = std::env::var("RINGWAL_DAMAGE_PLACES").is_ok_and(|text| text == "all");
    let places = number("RINGWAL_DAMAGE_PLACES").map_or(PLACES, |places| places as usize);
    let places = if all { usize::MAX } else { places };
    println!("seed {seed}: RINGWAL_DAMAGE_SEED={seed} cargo test --features sim --test damage");

    let (shapes, sisters) = (shapes::all(b'a'), shapes::all(b'b'));
    let (table, broken) = (Mutex::new(Table::default()), Mutex::new(Vec::new()));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let work = || {
            while let Some(job) = job(&next, shapes.len()) {
                let (shape, sister) = (&shapes[job.0], &sisters[job.0]);
                let (outcomes, failures) = run(shape, sister, KINDS[job.1], places, seed);
                table.lock().unwrap().add(shape.name, KINDS[job.1], &outcomes);
                broken.lock().unwrap().extend(failures);
            }
        };
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let table = table.into_inner().unwrap();
    println!("{table}");
    let broken = broken.into_inner().unwrap();
    let some: Vec<_> = broken.iter().step_by(broken.len().div_ceil(30).max(1)).collect();
    assert!(broken.is_empty(), "seed {seed}, {} promises broken: {some:#?}", broken.len());
    assert!(table.total(Outcome::Refused) > table.total(Outcome::TornTail), "{table}");
    assert_little_memory();
}

/// The next kind of damage to the next shape.
fn job(next: &AtomicUsize, shapes: usize) -> Option<(usize, usize)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    (number < shapes * KINDS.len()).then(|| (number / KINDS.len(), number % KINDS.len()))
}

/// Does some damages of a kind to a shape, one at a time. Returns the outcomes, and those that
/// are not allowed.
fn run(
    shape: &Shape,
    sister: &Shape,
    kind: &str,
    places: usize,
    seed: u64,
) -> (Vec<Outcome>, Vec<String>) {
    let edits = edits(shape, kind);
    let stride = edits.len().div_ceil(places).max(1);
    let start = mix(seed, edits.len() as u64) as usize % stride;
    let checker = Checker::new(shape, sister);
    let (mut outcomes, mut broken) = (Vec::new(), Vec::new());
    for (index, edit) in edits.iter().enumerate().skip(start).step_by(stride) {
        let files = apply(edit, shape, sister, mix(seed, index as u64));
        match catch_unwind(AssertUnwindSafe(|| checker.check(edit, &files))) {
            Ok(Ok(outcome)) => outcomes.push(outcome),
            Ok(Err(what)) => broken.push(format!("{}: {edit:?}: {what}", shape.name)),
            Err(_) => broken.push(format!("{}: {edit:?}: panics, see above", shape.name)),
        }
    }
    (outcomes, broken)
}

/// A length that lies would show here: the logs have some kilobytes.
fn assert_little_memory() {
    const PEAK_KIB_MAX: u64 = 256 * 1024;
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        println!("SKIPPED assert_little_memory: there is no /proc");
        return;
    };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < PEAK_KIB_MAX, "{peak_kib} KiB");
}
