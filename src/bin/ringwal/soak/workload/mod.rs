//! The workload: the operations of a run in order, and the result that each should have.
//!
//! 1. The seed and the options alone determine them, not time, the answers of the store, or kills;
//!    operations lost in a kill are repeated.
//! 2. Of 100 operations, about 5 delete an existing key, 10 read, and the rest put. A flush after
//!    every 1,000 operations and the periodic compactions are not counted.

pub(crate) mod generator;
pub(crate) mod oracle;
pub(crate) mod records;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::output::exit::Failure;
use crate::soak::workload::generator::{Generator, Rng};
use crate::soak::workload::oracle::{Key, Oracle, ValueDigest};

/// Operations between two calls of `fsync`.
const FSYNC_EVERY: u64 = 1000;
/// Shares per 100 operations.
const DELETES: u64 = 5;
const GETS: u64 = 10;
/// One read in this many is of a key that may not exist.
const GETS_OF_ANY: u64 = 8;

/// An operation on the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Put {
        key: Key,
        value: Vec<u8>,
    },
    Delete {
        key: Key,
    },
    Get {
        key: Key,
    },
    Fsync,
    /// Starts a compaction beside the following operations.
    Compact,
}

impl Op {
    /// The key of the operation, if it has one.
    pub(crate) fn key(&self) -> Option<&Key> {
        match self {
            Op::Put { key, .. } | Op::Delete { key } | Op::Get { key } => Some(key),
            Op::Fsync | Op::Compact => None,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let value = if let Op::Put { value, .. } = self { value.len() } else { 0 };
        value + self.key().map_or(0, |key| key.len())
    }
}

/// An operation with its position in the workload.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The number of operations up to and including this one.
    pub(crate) number: u64,
    pub(crate) op: Op,
    /// The value of its key before and after it.
    pub(crate) before: Option<ValueDigest>,
    pub(crate) after: Option<ValueDigest>,
}

/// Generates the operations and keeps the state that the store should have after them.
pub(crate) struct Workload {
    rng: Rng,
    generator: Generator,
    compact_every: u64,
    number: u64,
    due: VecDeque<Op>,
    pub(crate) oracle: Oracle,
    hash: blake3::Hasher,
}

impl Workload {
    pub(crate) fn new(seed: u64, generator: Generator, compact_every: u64) -> Workload {
        Workload {
            rng: Rng::new(seed),
            generator,
            compact_every,
            number: 0,
            due: VecDeque::new(),
            oracle: Oracle::default(),
            hash: blake3::Hasher::new(),
        }
    }

    /// The number of operations so far.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// A digest of all operations, to tell whether two runs did the same.
    pub(crate) fn digest(&self) -> ValueDigest {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.hash.finalize().as_bytes()[..16]);
        ValueDigest(u128::from_le_bytes(bytes))
    }

    /// The next operation.
    pub(crate) fn next(&mut self) -> Result<Step, Failure> {
        let op = match self.due.pop_front() {
            Some(op) => op,
            None => self.draw()?,
        };
        let after = match &op {
            Op::Put { value, .. } => Some(ValueDigest::of(value)),
            Op::Get { key } => self.oracle.get(key),
            _ => None,
        };
        let before = match &op {
            Op::Put { key, .. } | Op::Delete { key } => self.oracle.set(key, after),
            _ => after,
        };
        let kind = match op {
            Op::Put { .. } => 0,
            Op::Delete { .. } => 1,
            Op::Get { .. } => 2,
            Op::Fsync => 3,
            Op::Compact => 4,
        };
        let key = op.key().map_or(&[][..], |key| key);
        self.hash.update(&[kind]).update(&(key.len() as u64).to_le_bytes()).update(key);
        self.hash.update(&after.unwrap_or_default().0.to_le_bytes());
        Ok(Step { number: self.number, op, before, after })
    }

    fn draw(&mut self) -> Result<Op, Failure> {
        self.number += 1;
        if self.number.is_multiple_of(FSYNC_EVERY) {
            self.due.push_back(Op::Fsync);
        }
        if self.number.is_multiple_of(self.compact_every) {
            self.due.push_back(Op::Compact);
        }
        let kind = self.rng.below(100);
        let picked = self.rng.next();
        let picked = if kind < DELETES + GETS { self.oracle.pick(picked) } else { None };
        let any = kind >= DELETES && self.rng.below(GETS_OF_ANY) == 0;
        match picked {
            Some(key) if kind < DELETES => Ok(Op::Delete { key: Arc::clone(key) }),
            Some(key) if !any => Ok(Op::Get { key: Arc::clone(key) }),
            picked => {
                let is_get = picked.is_some();
                let (key, value) = self.generator.draw(&mut self.rng)?;
                let key = Key::from(key);
                Ok(if is_get { Op::Get { key } } else { Op::Put { key, value } })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(seed: u64, count: usize) -> (Vec<Step>, Workload) {
        let mut workload = Workload::new(seed, Generator::Synthetic, 5000);
        let steps = (0..count).map(|_| workload.next().unwrap()).collect();
        (steps, workload)
    }

    #[test]
    fn the_same_seed_gives_the_same_operations() {
        let ((one, a), (two, b), (_, other)) = (steps(1, 3000), steps(1, 3000), steps(2, 3000));
        assert!(one.iter().zip(&two).all(|(one, two)| one.op == two.op));
        assert_eq!(a.digest(), b.digest());
        assert_ne!(a.digest(), other.digest());
    }

    #[test]
    fn most_operations_put_one_in_twenty_deletes_what_is_there() {
        let (steps, workload) = steps(3, 20_024);
        let count = |is: fn(&Op) -> bool| steps.iter().filter(|step| is(&step.op)).count();
        assert_eq!(workload.number(), 20_000);
        assert_eq!(count(|op| *op == Op::Fsync), 20);
        assert_eq!(count(|op| *op == Op::Compact), 4);
        let deletes = count(|op| matches!(op, Op::Delete { .. }));
        assert!((900..1100).contains(&deletes), "{deletes}");
        assert!((1800..2200).contains(&count(|op| matches!(op, Op::Get { .. }))));
        assert!(count(|op| matches!(op, Op::Put { .. })) > 16_500);
        for step in steps.iter().filter(|step| matches!(step.op, Op::Delete { .. })) {
            assert!(step.before.is_some() && step.after.is_none());
        }
        let absent = |step: &&Step| matches!(step.op, Op::Get { .. }) && step.before.is_none();
        assert!(steps.iter().filter(absent).count() > 0);
    }
}
