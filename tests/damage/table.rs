//! The table of outcomes, by kind of damage and by shape of log.

use std::collections::BTreeMap;
use std::fmt;

use crate::check::{OUTCOMES, Outcome};
use crate::kinds::KINDS;

/// How often each outcome came, for each kind and shape.
#[derive(Debug, Default)]
pub(crate) struct Table {
    counts: BTreeMap<(String, String), [u64; OUTCOMES.len()]>,
}

impl Table {
    pub(crate) fn add(&mut self, shape: &str, kind: &str, outcomes: &[Outcome]) {
        let counts = self.counts.entry((shape.to_owned(), kind.to_owned())).or_default();
        for (count, kind) in counts.iter_mut().zip(OUTCOMES) {
            *count += outcomes.iter().filter(|outcome| **outcome == kind).count() as u64;
        }
    }

    pub(crate) fn total(&self, outcome: Outcome) -> u64 {
        let index = OUTCOMES.iter().position(|other| *other == outcome).unwrap();
        self.counts.values().map(|counts| counts[index]).sum()
    }

    fn sum(&self, matches: impl Fn(&str, &str) -> bool) -> [u64; OUTCOMES.len()] {
        let mut sum = [0; OUTCOMES.len()];
        for ((shape, kind), counts) in &self.counts {
            if matches(shape, kind) {
                sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
        }
        sum
    }
}

/// One line: the number of places, each outcome, and how much of the harmful damage was noticed.
fn line(f: &mut fmt::Formatter<'_>, name: &str, counts: [u64; OUTCOMES.len()]) -> fmt::Result {
    let [refused, told, harmless, torn, older] = counts;
    let places: u64 = counts.iter().sum();
    let harmful = places - harmless;
    let share = if harmful == 0 { "-".to_owned() } else { percent(refused + told, harmful) };
    writeln!(
        f,
        "{name:<26} {places:>7} {refused:>7} {told:>7} {harmless:>8} {torn:>7} {older:>5} \
         {share:>8}"
    )
}

fn percent(part: u64, whole: u64) -> String {
    let mille = part * 1000 / whole;
    format!("{}.{} %", mille / 10, mille % 10)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shapes: Vec<_> = self.counts.keys().map(|(shape, _)| shape.clone()).collect();
        shapes.dedup();
        let head = format!(
            "{:>7} {:>7} {:>7} {:>8} {:>7} {:>5} {:>8}",
            "places", "refused", "told", "harmless", "torn", "older", "detected"
        );
        writeln!(f, "{:<26} {head}", "by kind")?;
        for kind in KINDS {
            line(f, kind, self.sum(|_, other| other == kind))?;
        }
        line(f, "all", self.sum(|_, _| true))?;
        writeln!(f, "\n{:<26} {head}", "by shape")?;
        for shape in &shapes {
            line(f, shape, self.sum(|other, _| other == shape))?;
        }
        for shape in &shapes {
            writeln!(f, "\n{:<26} {head}", shape)?;
            for kind in KINDS {
                line(f, kind, self.sum(|a, b| a == shape && b == kind))?;
            }
        }
        Ok(())
    }
}
