//! Writers that are killed at any moment, one after the other, in one directory that lives through
//! all of them: no acknowledged record is lost, none is invented, and the log takes new ones.
//!
//! A writer is this program again, running the one ignored test. It is killed at a random moment,
//! or right before or inside the n-th system call of an operation (`kill/points.rs`). After each
//! death the directory is read without changing it, and compared with the writer's lines;
//! the next writer's opening has to show the same.
//!
//! `RINGWAL_KILL_CYCLES=n` runs more cycles, `RINGWAL_KILL_SEED=n` others.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use model::{Death, Found, Model};
use points::Point;
use ringwal::Strategy;
use rng::Rng;
use workload::{Life, OPERATIONS, Witness, live};

mod common;
#[path = "kill/model.rs"]
mod model;
#[path = "kill/points.rs"]
mod points;
#[path = "kill/record.rs"]
mod record;
#[allow(dead_code, reason = "the simulation uses more of it")]
#[path = "simulation/rng.rs"]
mod rng;
#[path = "kill/workload.rs"]
mod workload;

const CYCLES: u64 = 150;
const SEED: u64 = 1;
const STEPS_MAX: u64 = 25;

/// How a writer ends.
#[derive(Clone, Debug)]
enum End {
    /// After this many lines and a short time, by a signal from this process.
    Moment { lines: u64, more: Duration },
    /// At a point of an operation, by a signal to itself.
    Point { operation: &'static str, point: Point },
}

/// One writer process, as its command line describes it.
#[derive(Clone, Debug)]
struct Plan {
    life: Life,
    end: End,
}

impl Plan {
    /// The plan of a cycle: backends and strategies take turns, the rest is chance.
    fn new(dir: &Path, seed: u64, cycle: u64, uring: bool) -> Plan {
        let mut rng = Rng::new(seed.wrapping_mul(1_000_003).wrapping_add(cycle));
        let strategy = Strategy::ALL[(cycle / 2) as usize % Strategy::ALL.len()];
        let strategies = match cycle % 2 {
            0 if uring => vec![Some(strategy)],
            _ => vec![None],
        };
        let operation = rng.pick(&OPERATIONS);
        let end = match rng.percent(25) {
            true => {
                let lines = rng.pick(&[0, 1, 10, 100, 300]);
                let more = Duration::from_micros(rng.below(2000));
                End::Moment { lines: rng.below(lines + 1), more }
            }
            false => {
                let most = if operation == "append" { 120 } else { 40 };
                let inside = Duration::from_micros(rng.below(300));
                let after = rng.percent(50).then_some(inside);
                End::Point { operation, point: Point { call: 1 + rng.below(most), after } }
            }
        };
        let favourite = match end {
            End::Moment { .. } => None,
            End::Point { .. } => Some(operation),
        };
        let steps = rng.between(1, STEPS_MAX);
        let (seed, number) = (rng.next(), cycle as u32);
        Plan {
            life: Life { dir: dir.to_path_buf(), seed, number, steps, favourite, strategies },
            end,
        }
    }

    fn start(&self, seed: u64) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_writer", "--ignored", "--nocapture", "--test-threads", "1"]);
        command.env("RINGWAL_WRITER", format!("{seed} {}", self.life.number));
        command.env("RINGWAL_WRITER_DIR", &self.life.dir);
        command.env("RINGWAL_WRITER_URING", self.life.strategies[0].map_or("", |_| "1"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

/// Prints to standard error, each line in one write; standard output belongs to the test harness.
struct Teller {
    operation: Option<&'static str>,
}

impl Witness for Teller {
    fn tell(&self, line: String) {
        tell(&line);
    }

    fn begins(&self, operation: &'static str) {
        if self.operation == Some(operation) {
            points::arm(true);
        }
    }

    fn ended(&self, operation: &'static str) {
        if self.operation == Some(operation) {
            points::arm(false);
        }
    }
}

fn tell(line: &str) {
    // The parent no longer reads, and will kill this process.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

#[test]
#[ignore = "a writer process that the other test starts and kills"]
fn a_writer() {
    let Ok(which) = std::env::var("RINGWAL_WRITER") else { return };
    let (seed, cycle) = which.split_once(' ').unwrap();
    let dir = PathBuf::from(std::env::var("RINGWAL_WRITER_DIR").unwrap());
    let uring = std::env::var("RINGWAL_WRITER_URING").unwrap() == "1";
    let plan = Plan::new(&dir, seed.parse().unwrap(), cycle.parse().unwrap(), uring);
    let mut operation = None;
    if let End::Point { operation: name, point } = plan.end {
        match points::watch(point, move |call| tell(&format!("kill {name} {call}"))) {
            Ok(()) => operation = Some(name),
            // In this case the writer ends when it has no more to do.
            Err(error) => tell(&format!("unwatched {error}")),
        }
    }
    live(&plan.life, &Teller { operation });
    // The writer always ends by SIGKILL.
    loop {
        std::thread::park();
    }
}

/// Runs a writer until its death, and reads its lines.
fn run(plan: &Plan, seed: u64, model: &mut Model, deaths: &mut Deaths) -> Result<(), String> {
    let mut child = plan.start(seed);
    let mut reader = BufReader::new(child.stderr.take().unwrap());
    model.new_life(plan.life.number);
    let mut lines = 0;
    let mut outcome = Ok(());
    let mut killed = false;
    let mut kill_at = match plan.end {
        End::Moment { lines, more } => Some((lines, more)),
        End::Point { .. } => None,
    };
    let mut line = Vec::new();
    loop {
        if let Some((_, more)) = kill_at.take_if(|(at, _)| lines >= *at) {
            let since = Instant::now();
            while since.elapsed() < more {
                std::hint::spin_loop();
            }
            child.kill().unwrap();
            killed = true;
            deaths.note("moment", "any");
        }
        line.clear();
        // A line without its end does not count.
        if reader.read_until(b'\n', &mut line).unwrap() == 0 || line.pop() != Some(b'\n') {
            break;
        }
        lines += 1;
        let text = String::from_utf8_lossy(&line);
        if let Some((operation, call)) = text.strip_prefix("kill ").and_then(|t| t.split_once(' '))
        {
            deaths.note(operation, call);
            killed = true;
        }
        if let Some(why) = text.strip_prefix("unwatched ") {
            deaths.note("SKIPPED named points, no seccomp notifications", why);
            continue;
        }
        outcome = outcome.and_then(|()| model.hear(&text));
        if (text == "end" || outcome.is_err()) && !killed {
            deaths.note("moment", "nothing more to do");
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    outcome?;
    if killed { Ok(()) } else { Err("the writer ended by itself".to_owned()) }
}

/// How often writers were killed where.
#[derive(Debug, Default)]
struct Deaths(BTreeMap<String, BTreeMap<String, u64>>);

impl Deaths {
    fn note(&mut self, operation: &str, call: &str) {
        let calls = self.0.entry(operation.to_owned()).or_default();
        *calls.entry(call.to_owned()).or_default() += 1;
    }

    fn print(&self) {
        for (operation, calls) in &self.0 {
            let calls: Vec<_> = calls.iter().map(|(call, n)| format!("{call} {n}")).collect();
            println!("  {operation}: {}", calls.join(", "));
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[test]
fn killed_writers_lose_nothing_and_the_next_one_goes_on() {
    let name = "killed_writers_lose_nothing_and_the_next_one_goes_on";
    let uring = common::uring_runs(name);
    let seed = number("RINGWAL_KILL_SEED").unwrap_or(SEED);
    let cycles = number("RINGWAL_KILL_CYCLES").unwrap_or(CYCLES);
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("log");
    let (mut model, mut deaths) = (Model::new(), Deaths::default());
    let started = Instant::now();
    let mut records = 0;
    for cycle in 1..=cycles {
        let plan = Plan::new(&dir, seed, cycle, uring);
        let checked = run(&plan, seed, &mut model, &mut deaths)
            .and_then(|()| Found::read(&dir))
            .and_then(|found| model.check(&found, Death::Killed).map(|()| found));
        match checked {
            Ok(found) => records = records.max(found.last),
            Err(broken) => {
                let kept = parent.keep();
                panic!(
                    "seed {seed}, cycle {cycle}: {broken}\n{plan:?}\nthe directory: {}\n\
                     run again with: RINGWAL_KILL_SEED={seed} RINGWAL_KILL_CYCLES={cycles} \
                     cargo test --test kill",
                    kept.display()
                );
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{cycles} writers killed in {seconds:.0} s, up to record {records}; where:");
    deaths.print();
    assert_eq!(Found::read(&dir).unwrap().last, model.floor(Death::Killed));
}
