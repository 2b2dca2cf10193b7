//! Checks the content of a reopened store.
//!
//! A step is *unanswered* if the writer was killed before it replied. A prefix of the unanswered
//! steps may have happened and nothing else; all earlier steps have.

use std::collections::{HashMap, VecDeque};

use ringwal::kv::DataWal;

use crate::output::exit::Failure;
use crate::soak::run::writer::{Shown, broken};
use crate::soak::workload::Step;
use crate::soak::workload::oracle::{Key, Oracle, ValueDigest};

/// Maximum number of differing keys to show.
const SAMPLE_KEYS: usize = 3;

/// The values found for the keys of some steps.
type FoundValues = HashMap<Key, Option<ValueDigest>>;

/// Returns how many unanswered steps have happened; an error if they are not a prefix.
pub(crate) fn prefix(store: &DataWal, unanswered: &VecDeque<Step>) -> Result<usize, Failure> {
    let mut found = FoundValues::new();
    for key in unanswered.iter().filter_map(|step| step.op.key()) {
        if !found.contains_key(key) {
            let value = store.get(key).map_err(broken(format_args!("get {}", Shown(key))))?;
            found.insert(key.clone(), value.as_deref().map(ValueDigest::of));
        }
    }
    prefix_of(&found, unanswered).ok_or_else(|| {
        let base = undone(unanswered.iter());
        let differing = found.iter().filter(|(key, value)| base.get(&key[..]) != Some(value));
        let sample = differing.map(|(key, value)| difference(key, *value, base.get(&key[..])));
        let sample: Vec<_> = sample.take(SAMPLE_KEYS).collect();
        Failure::Invariant(format!(
            "after a kill the store does not hold the acknowledged operations and a prefix of the \
             {} operations after them: {}",
            unanswered.len(),
            sample.join("; ")
        ))
    })
}

fn prefix_of(found: &FoundValues, unanswered: &VecDeque<Step>) -> Option<usize> {
    let base = undone(unanswered.iter());
    let mut wrong = base.iter().filter(|(key, value)| found.get(**key) != Some(value)).count();
    let mut happened = 0;
    for step in unanswered {
        if wrong == 0 {
            break;
        }
        happened += 1;
        let Some(key) = step.op.key() else { continue };
        let want = found.get(key).copied().flatten();
        wrong -= usize::from(step.before != want);
        wrong += usize::from(step.after != want);
    }
    (wrong == 0).then_some(happened)
}

/// The values of the keys before the first of the steps.
fn undone<'a>(steps: impl Iterator<Item = &'a Step>) -> HashMap<&'a [u8], Option<ValueDigest>> {
    let mut base = HashMap::new();
    for step in steps {
        if let Some(key) = step.op.key() {
            base.entry(&key[..]).or_insert(step.before);
        }
    }
    base
}

/// Compares every key and value with the oracle, given that the unanswered steps have not happened.
/// Returns the number of keys.
pub(crate) fn compare(
    store: &DataWal,
    oracle: &Oracle,
    unanswered: &VecDeque<Step>,
) -> Result<usize, Failure> {
    let base = undone(unanswered.iter());
    let want = |key: &[u8]| base.get(key).copied().unwrap_or_else(|| oracle.get(key));
    let (mut keys, mut wrong, mut sample) = (0_usize, 0_usize, Vec::new());
    let mut differs = |key: &[u8], found: Option<ValueDigest>, want: Option<ValueDigest>| {
        wrong += 1;
        if sample.len() < SAMPLE_KEYS {
            sample.push(difference(key, found, Some(&want)));
        }
    };
    for item in store.iter().map_err(broken("iterate"))? {
        let (key, value) = item.map_err(broken(format_args!("read after {keys} keys")))?;
        let found = Some(ValueDigest::of(&value));
        keys += 1;
        if found != want(&key) {
            differs(&key, found, want(&key));
        }
    }
    let also = base.keys().copied().filter(|key| oracle.get(key).is_none());
    for key in oracle.keys().iter().map(|key| &key[..]).chain(also) {
        let want = want(key);
        if want.is_some() && !store.contains_key(key).map_err(broken("look up a key"))? {
            differs(key, None, want);
        }
    }
    let len = store.len().map_err(broken("count"))?;
    if keys != len {
        wrong += 1;
        sample.push(format!("{keys} keys are there, but the store says {len}"));
    }
    if wrong == 0 {
        return Ok(keys);
    }
    let sample = sample.join("; ");
    Err(Failure::Invariant(format!("{wrong} keys are not what they should be: {sample}")))
}

/// Describes a difference.
pub(crate) fn difference(
    key: &[u8],
    found: Option<ValueDigest>,
    want: Option<&Option<ValueDigest>>,
) -> String {
    let value = |digest: Option<ValueDigest>| {
        digest.map_or_else(|| "nothing".to_owned(), |digest| format!("a value of BLAKE3 {digest}"))
    };
    let want = value(want.copied().flatten());
    format!("key {} has {}, expected {want}", Shown(key), value(found))
}

#[cfg(test)]
mod tests;
