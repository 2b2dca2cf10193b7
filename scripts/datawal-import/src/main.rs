//! Directories that the crate datawal itself writes, imported: every record, key and value of the
//! new one is compared with what that crate reads from the old one.
//!
//! ```text
//! datawal-import [--rounds N] [--seed N] [--corpus DIR]
//!
//! life:   datawal writes a directory ─► its end is torn, flipped, or left as it is ─► and so on
//! check:  datawal reads a copy of it ──┐
//!         ringwal imports it ──────────┴─► the same records, or both refuse; nothing has changed
//! ```
//!
//! `--corpus` takes directories that are there already, such as those of datawal's own tests.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use check::Totals;
use rng::Rng;

mod check;
mod life;
#[allow(dead_code, reason = "it is shared with tests")]
#[path = "../../../tests/simulation/rng.rs"]
mod rng;

/// Why it ends early: in the words of whoever noticed.
type Broken = String;

const USAGE: &str = "usage: datawal-import [--rounds N] [--seed N] [--corpus DIR]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = Arguments::parse(&arguments).and_then(|arguments| run(&arguments));
    match outcome {
        Ok(totals) => {
            println!("{totals}");
            ExitCode::SUCCESS
        }
        Err(broken) => {
            eprintln!("datawal-import: {broken}");
            ExitCode::FAILURE
        }
    }
}

struct Arguments {
    rounds: u64,
    seed: u64,
    corpus: Option<PathBuf>,
}

impl Arguments {
    fn parse(arguments: &[String]) -> Result<Arguments, Broken> {
        let mut parsed = Arguments { rounds: 300, seed: 1, corpus: None };
        for pair in arguments.chunks(2) {
            match pair {
                [name, value] if name == "--rounds" => parsed.rounds = number(name, value)?,
                [name, value] if name == "--seed" => parsed.seed = number(name, value)?,
                [name, value] if name == "--corpus" => parsed.corpus = Some(value.into()),
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(parsed)
    }
}

fn number<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<T, Broken> {
    value.parse().map_err(|error| format!("{name} {value}: {error}\n{USAGE}"))
}

fn run(arguments: &Arguments) -> Result<Totals, Broken> {
    let mut totals = Totals::default();
    if let Some(corpus) = &arguments.corpus {
        for dir in directories(corpus)? {
            let scratch = scratch()?;
            check::check(&dir, scratch.path(), &mut totals)
                .map_err(|broken| format!("{}: {broken}", dir.display()))?;
        }
    }
    for round in 0..arguments.rounds {
        let scratch = scratch()?;
        let (dir, mut rng) = (scratch.path().join("old"), Rng::of_step(arguments.seed, round));
        let broken = match life::live(&dir, &mut rng) {
            Ok(()) => check::check(&dir, scratch.path(), &mut totals),
            Err(broken) => Err(broken),
        };
        if let Err(broken) = broken {
            let kept = scratch.keep();
            let (seed, kept) = (arguments.seed, kept.display());
            return Err(format!("seed {seed}, round {round}, kept in {kept}: {broken}"));
        }
    }
    Ok(totals)
}

fn scratch() -> Result<tempfile::TempDir, Broken> {
    tempfile::tempdir().map_err(|error| format!("a scratch directory: {error}"))
}

/// The directories in `corpus`, in their order.
fn directories(corpus: &Path) -> Result<Vec<PathBuf>, Broken> {
    let failed = |error| format!("{}: {error}", corpus.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(corpus).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
