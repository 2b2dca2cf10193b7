//! The steps of a life, and the shortest life that still fails.
//!
//! Every step has a number and takes its chances from the seed and that number alone, so a life
//! can be lived again without some of its steps.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::rng::Rng;

/// Which steps of a life are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Steps {
    #[default]
    All,
    Only(BTreeSet<u64>),
}

/// Where a life is.
#[derive(Debug)]
pub(crate) struct Path {
    seed: u64,
    steps: Steps,
    next: u64,
    pub(crate) taken: BTreeSet<u64>,
}

impl Path {
    pub(crate) fn new(seed: u64, steps: Steps) -> Path {
        Path { seed, steps, next: 0, taken: BTreeSet::new() }
    }

    /// The chances of the next step, which is always taken.
    pub(crate) fn must(&mut self) -> Rng {
        self.next += 1;
        Rng::of_step(self.seed, self.next)
    }

    /// The chances of the next step, if it is taken.
    pub(crate) fn may(&mut self) -> Option<Rng> {
        let rng = self.must();
        let taken = match &self.steps {
            Steps::All => true,
            Steps::Only(steps) => steps.contains(&self.next),
        };
        taken.then(|| {
            self.taken.insert(self.next);
            rng
        })
    }
}

/// The fewest of `steps` that this finds with which `fails` still holds: whole halves are left out
/// first, then quarters, and so on, down to single steps.
pub(crate) fn shrink(
    steps: BTreeSet<u64>,
    patience: Duration,
    fails: impl Fn(&BTreeSet<u64>) -> bool,
) -> BTreeSet<u64> {
    let started = Instant::now();
    let mut left: Vec<u64> = steps.into_iter().collect();
    let mut size = left.len().div_ceil(2);
    while size > 0 && started.elapsed() < patience {
        let before = left.len();
        let mut at = 0;
        while at < left.len() && started.elapsed() < patience {
            let end = (at + size).min(left.len());
            let fewer = left[..at].iter().chain(&left[end..]).copied().collect();
            if fails(&fewer) {
                left.drain(at..end);
            } else {
                at = end;
            }
        }
        // Single steps are tried until none can be left out.
        size = if size == 1 && left.len() < before { 1 } else { size / 2 };
    }
    left.into_iter().collect()
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Steps::Only(steps) = self else { return f.write_str("all") };
        let mut runs: Vec<RangeInclusive<u64>> = Vec::new();
        for &step in steps {
            match runs.last_mut() {
                Some(run) if *run.end() + 1 == step => *run = *run.start()..=step,
                _ => runs.push(step..=step),
            }
        }
        for (index, run) in runs.iter().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            write!(f, "{}", run.start())?;
            if run.start() < run.end() {
                write!(f, "-{}", run.end())?;
            }
        }
        Ok(())
    }
}

impl FromStr for Steps {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Steps, Self::Err> {
        if text == "all" {
            return Ok(Steps::All);
        }
        let mut steps = BTreeSet::new();
        for run in text.split(',').filter(|run| !run.is_empty()) {
            let (from, to) = run.split_once('-').unwrap_or((run, run));
            steps.extend(from.parse::<u64>()?..=to.parse()?);
        }
        Ok(Steps::Only(steps))
    }
}

#[test]
fn what_fails_shrinks_to_the_steps_that_it_takes() {
    let all = (1..=100).collect();
    let takes = [17, 18, 64];
    let fails = |steps: &BTreeSet<u64>| takes.iter().all(|step| steps.contains(step));
    let left = Steps::Only(shrink(all, Duration::from_secs(60), fails));
    assert_eq!(left.to_string(), "17-18,64");
    assert_eq!("17-18,64".parse(), Ok(left));
    assert_eq!("all".parse(), Ok(Steps::All));
}

#[test]
fn a_step_has_the_same_chances_whatever_was_left_out() {
    let third = |steps: Steps| {
        let mut path = Path::new(7, steps);
        (path.may(), path.may(), path.may()).2.map(|mut rng| rng.next())
    };
    let only = |step| Steps::Only(BTreeSet::from([step]));
    assert_eq!(third(only(3)), third(Steps::All));
    assert_eq!(third(only(2)), None);
}
