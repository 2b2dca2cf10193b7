//! Measures with criterion, and keeps the times for ratios between measurements.

#![allow(dead_code, reason = "each benchmark uses its own part")]

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use criterion::{Criterion, Throughput};

/// The total time and the rounds of each measurement.
static TIMES: Mutex<BTreeMap<String, (Duration, u64)>> = Mutex::new(BTreeMap::new());

/// Measures `run`, which runs the given number of rounds and returns the time that they took.
pub(crate) fn measure(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    mut run: impl FnMut(u64) -> Duration,
) {
    measure_as(criterion, group, name, |rounds| {
        let elapsed = run(rounds);
        count(&format!("{group}/{name}"), elapsed, rounds);
        elapsed
    });
}

/// As [`measure`], for a `run` that adds its own times.
pub(crate) fn measure_as(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    mut run: impl FnMut(u64) -> Duration,
) {
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(1));
    group.bench_function(name, |bencher| bencher.iter_custom(&mut run));
    group.finish();
}

/// Adds to the times of a measurement.
pub(crate) fn count(name: &str, elapsed: Duration, rounds: u64) {
    let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    let (total, count) = times.entry(name.to_owned()).or_default();
    *total += elapsed;
    *count += rounds;
}

/// The mean time of a round, if the measurement was made.
fn nanos(name: &str) -> Option<f64> {
    let times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    times.get(name).map(|(total, count)| total.as_nanos() as f64 / *count as f64)
}

/// Prints the time of one measurement as a multiple of another's, if both were made.
pub(crate) fn ratio(name: &str, to: &str) {
    let (Some(time), Some(base)) = (nanos(name), nanos(to)) else { return };
    println!("{name}: {time:.1} ns, {to}: {base:.1} ns, ratio {:.3}", time / base);
}
