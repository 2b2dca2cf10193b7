//! Power cuts: a writer runs on a disk that records every write and every sync; then the disk is
//! put together as a power cut at some moment may have left it, and the log in it is recovered and
//! compared with what had been acknowledged by then.
//!
//! ```text
//! power-cuts KIND [--points N] [--seed N] [--scratch DIR]
//! ```
//!
//! The disk is, by its kind:
//!
//! - `files`: a directory that keeps what was synced, and the names whose directory was synced; of
//!   everything else, any part.
//! - `ext4`, `xfs`, `btrfs`: a block device with that file system; it keeps what was flushed, and
//!   of everything else any part.
//!
//! One recording gives many moments: half of them right at an acknowledgement, the others anywhere.
//! Some of the states go on: a writer recovers the log there, appends, and the power is cut again.
//!
//! Root only: it mounts. `../power-cuts.sh` cleans up whatever happens.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use model::{Broken, Death, Found, Model};
use record::Ident;
use ringwal::{BackendKind, Log, Strategy};
use rng::Rng;
use workload::{Life, Witness, live};
use world::{Recording, World};

mod files;
mod image;
#[path = "../../../tests/kill/model.rs"]
mod model;
mod mounts;
#[path = "../../../tests/kill/record.rs"]
mod record;
#[path = "../../../tests/simulation/rng.rs"]
mod rng;
#[path = "../../../tests/kill/workload.rs"]
mod workload;
mod world;

/// How many moments of one recording are tried.
const POINTS_PER_RECORDING: u64 = 60;
/// A state in so many becomes the disk of a further recording.
const POINTS_PER_ROUND: u64 = 30;
const ROUNDS_MAX: u32 = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = Arguments::parse(&arguments).and_then(|arguments| {
        std::fs::create_dir_all(&arguments.scratch).map_err(|error| error.to_string())?;
        match arguments.kind.as_str() {
            "files" => Run::new(&arguments).all(&files::Files::new(&arguments.scratch)),
            kind => Run::new(&arguments).all(&image::Image::new(kind, &arguments.scratch)?),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(broken) => {
            eprintln!("power-cuts: {broken}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug)]
struct Arguments {
    kind: String,
    points: u64,
    seed: u64,
    scratch: PathBuf,
}

impl Arguments {
    fn parse(arguments: &[String]) -> Result<Arguments, String> {
        let usage = "usage: power-cuts KIND [--points N] [--seed N] [--scratch DIR]";
        let (kind, options) = arguments.split_first().ok_or(usage)?;
        let scratch = std::env::temp_dir().join("power-cuts");
        let mut parsed = Arguments { kind: kind.clone(), points: 1000, seed: 1, scratch };
        for option in options.chunks(2) {
            let [name, value] = option else { return Err(usage.to_owned()) };
            let number = || value.parse().map_err(|_| format!("{name}: not a number: {value}"));
            match name.as_str() {
                "--points" => parsed.points = number()?,
                "--seed" => parsed.seed = number()?,
                "--scratch" => parsed.scratch = PathBuf::from(value),
                _ => return Err(usage.to_owned()),
            }
        }
        Ok(parsed)
    }
}

/// What was done so far.
#[derive(Debug, Default)]
struct Figures {
    points: u64,
    at_acks: u64,
    later_rounds: u64,
    recordings: u64,
    kills: u64,
    operations: usize,
    records: u64,
}

struct Run<'a> {
    arguments: &'a Arguments,
    rng: Rng,
    figures: Figures,
    lives: u32,
    started: Instant,
}

/// Where a recording was cut.
struct Cut {
    at: usize,
    at_ack: bool,
}

impl Run<'_> {
    fn new(arguments: &Arguments) -> Run<'_> {
        let (rng, started) = (Rng::new(arguments.seed), Instant::now());
        Run { arguments, rng, figures: Figures::default(), lives: 0, started }
    }

    /// Tries as many points as were asked for.
    fn all<W: World>(&mut self, world: &W) -> Result<(), Broken> {
        while self.figures.points < self.arguments.points {
            let fresh = world.fresh()?;
            self.round(world, &fresh, &Model::new(), 1)?;
        }
        let Figures { points, at_acks, later_rounds, recordings, kills, operations, records } =
            self.figures;
        println!(
            "{}: {points} power cuts in {:.0} s, {at_acks} right at an acknowledgement, \
             {later_rounds} in a second or third round; {recordings} recordings, {kills} of them \
             after a kill, of {operations} operations; {records} records recovered; no promise \
             broken (seed {})",
            self.arguments.kind,
            self.started.elapsed().as_secs_f64(),
            self.arguments.seed
        );
        Ok(())
    }

    /// Records a life on a disk, or two of which the first one is killed, and tries moments of it.
    fn round<W: World>(
        &mut self,
        world: &W,
        base: &W::Disk,
        model: &Model,
        round: u32,
    ) -> Result<(), Broken> {
        let first_life = self.lives + 1;
        let mut recording = self.record(world, base, Recording::new())?;
        if W::GOES_ON && self.rng.percent(50) {
            let at = self.rng.below(recording.operations.len() as u64 + 1) as usize;
            recording = self.record(world, base, recording.killed_at(at))?;
            self.figures.kills += 1;
        }
        self.figures.operations += recording.operations.len();
        let points = if round == 1 { POINTS_PER_RECORDING } else { POINTS_PER_ROUND / 2 };
        for point in 1..=points {
            let cut = self.choose(&recording);
            let mut model = model.clone();
            model.new_life(first_life);
            for line in recording.told_by(cut.at) {
                let in_life = |broken| format!("seed {}: {line:?}: {broken}", self.arguments.seed);
                model.hear(line).map_err(in_life)?;
            }
            let seed = self.rng.next();
            let disk = world.cut(base, &recording.operations[..cut.at], seed);
            let records = &mut self.figures.records;
            let mut look = |dir: &Path| check(dir, &mut model, seed).map(|found| *records += found);
            if let Err(broken) = world.with(&disk, &mut look)? {
                let Arguments { kind, seed, .. } = self.arguments;
                let (of, at) = (recording.operations.len(), cut.at);
                let kept = world.keep(&disk)?;
                let kept = kept.display();
                return Err(format!(
                    "{kind}, seed {seed}: {broken}\ncut after {at} of {of} operations, {}, from \
                     life {first_life} on\nthe disk as it was found: {kept}",
                    if cut.at_ack { "right at an acknowledgement" } else { "at any moment" },
                ));
            }
            self.figures.points += 1;
            self.figures.at_acks += u64::from(cut.at_ack);
            self.figures.later_rounds += u64::from(round > 1);
            if point % POINTS_PER_ROUND == 0 && round < ROUNDS_MAX {
                self.round(world, &disk, &model, round + 1)?;
            }
        }
        Ok(())
    }

    /// Records the next life, after what was recorded before.
    fn record<W: World>(
        &mut self,
        world: &W,
        base: &W::Disk,
        before: Recording<W::Operation>,
    ) -> Result<Recording<W::Operation>, Broken> {
        self.lives += 1;
        self.figures.recordings += 1;
        let (life, seed) = (self.life(), self.rng.next());
        let recording = world.record(base, before, seed, &|dir, witness: &dyn Witness| {
            live(&Life { dir: dir.to_path_buf(), ..life.clone() }, witness);
        })?;
        match recording.lines.iter().find(|(_, line)| line.starts_with("failed")) {
            Some((_, failed)) => Err(format!("{life:?}: {failed}")),
            None => Ok(recording),
        }
    }

    /// Backends and strategies take turns.
    fn life(&mut self) -> Life {
        let ways = [
            None,
            Some(Strategy::LinkedFsync),
            Some(Strategy::Dsync),
            Some(Strategy::WriteThenSync),
        ];
        let strategies = vec![ways[self.lives as usize % ways.len()]];
        let (seed, steps) = (self.rng.next(), self.rng.between(10, 40));
        let number = self.lives;
        Life { dir: PathBuf::new(), seed, number, steps, favourite: None, strategies }
    }

    fn choose<O>(&mut self, recording: &Recording<O>) -> Cut {
        let acks: Vec<usize> = recording
            .lines
            .iter()
            .filter(|(_, line)| line.ends_with("synced"))
            .map(|(at, _)| *at)
            .collect();
        let at_ack = !acks.is_empty() && self.rng.percent(50);
        let at = match at_ack {
            true => self.rng.pick(&acks),
            false => self.rng.below(recording.operations.len() as u64 + 1) as usize,
        };
        Cut { at, at_ack }
    }
}

/// Compares the log in `dir` with the model, read-only and then opened; and it goes on. Gives the
/// number of records.
fn check(dir: &Path, model: &mut Model, seed: u64) -> Result<u64, Broken> {
    let found = Found::read(dir)?;
    model.check(&found, Death::PowerCut)?;
    let kind = if seed.is_multiple_of(4) { BackendKind::Auto } else { BackendKind::Std };
    let builder = Log::builder(dir).backend(kind).segment_bytes(16_384);
    let log = builder.open().map_err(|error| format!("open: {error}"))?;
    let (first, last) = (log.first_seq().get(), log.appended_seq().get());
    if (first, last) != (found.first, found.last) {
        let read = format!("{} to {}", found.first, found.last);
        return Err(format!("opened it has {first} to {last}, read it had {read}"));
    }
    let again = Found::open(&log)?;
    model.clone().check(&again, Death::PowerCut)?;
    let ident =
        Ident { life: u32::MAX, burst: 0, thread: 0, index: 0, place: 0, batch: 1, bytes: 300 };
    let seq = log.append(ident.content()).map_err(|error| format!("append: {error}"))?;
    if seq.get() != last + 1 {
        return Err(format!("the next record after {last} got {seq}"));
    }
    log.close().map_err(|error| format!("close: {error}"))?;
    Ok(last + 1 - first)
}
