//! Generates the records of a run: small, medium and large ones, random or from files.
//!
//! 1. A size class has a fixed number of keys, so the store and the oracle stop growing.
//! 2. A generated record depends on the seed alone: the same seed gives the same bytes on every
//!    machine.

use std::path::PathBuf;

use crate::output::exit::Failure;
use crate::soak::workload::records::RecordFile;
use crate::util::random::splitmix64;

/// A class of generated records.
struct SizeClass {
    name: &'static str,
    /// The share of this class per 100 puts.
    weight: u64,
    keys: u64,
    value_bytes: (u64, u64),
}

const SIZE_CLASSES: [SizeClass; 3] = [
    SizeClass { name: "small", weight: 70, keys: 20_000, value_bytes: (0, 256) },
    SizeClass { name: "medium", weight: 25, keys: 4_000, value_bytes: (1 << 10, 8 << 10) },
    SizeClass { name: "large", weight: 5, keys: 400, value_bytes: (64 << 10, 256 << 10) },
];

/// A random number generator with a fixed seed.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        splitmix64(&mut self.0)
    }

    /// A number below `limit`, which must not be 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// The source of the three size classes.
pub(crate) enum Generator {
    /// Generated records.
    Synthetic,
    /// Records from files.
    Real([RecordFile; 3]),
}

impl Generator {
    /// Opens and checks the files, if any.
    pub(crate) fn new(files: Option<[PathBuf; 3]>) -> Result<Generator, Failure> {
        let Some([small, medium, large]) = files else { return Ok(Generator::Synthetic) };
        Ok(Generator::Real([
            RecordFile::open(small)?,
            RecordFile::open(medium)?,
            RecordFile::open(large)?,
        ]))
    }

    /// Draws a key and a value to put.
    pub(crate) fn draw(&mut self, rng: &mut Rng) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let at = draw_class(rng);
        match self {
            Generator::Synthetic => {
                let stream = &SIZE_CLASSES[at];
                let key = format!("{}-{:06}", stream.name, rng.below(stream.keys)).into_bytes();
                let (least, most) = stream.value_bytes;
                let length = least + rng.below(most - least + 1);
                Ok((key, noise(rng.next(), length as usize)))
            }
            Generator::Real(files) => {
                let drawn = rng.below(files[at].len());
                files[at].record(drawn as usize)
            }
        }
    }
}

/// Draws the size class of the next record, by weight.
fn draw_class(rng: &mut Rng) -> usize {
    let mut drawn = rng.below(SIZE_CLASSES.iter().map(|stream| stream.weight).sum());
    for (at, stream) in SIZE_CLASSES.iter().enumerate() {
        match drawn.checked_sub(stream.weight) {
            Some(rest) => drawn = rest,
            None => return at,
        }
    }
    SIZE_CLASSES.len() - 1
}

fn noise(mut state: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&splitmix64(&mut state).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_drawn_by_weight_and_a_seed_repeats_them() {
        let mut rng = Rng::new(7);
        let mut counts = [0_u64; 3];
        for _ in 0..100_000 {
            counts[draw_class(&mut rng)] += 1;
        }
        for (stream, count) in SIZE_CLASSES.iter().zip(counts) {
            let percent = count as f64 / 1000.0;
            assert!((percent - stream.weight as f64).abs() < 1.0, "{}: {percent}", stream.name);
        }
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            (0..50).map(|_| Generator::Synthetic.draw(&mut rng).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn made_up_records_keep_to_their_lengths() {
        let mut rng = Rng::new(1);
        for _ in 0..2000 {
            let (key, value) = Generator::Synthetic.draw(&mut rng).unwrap();
            let name = String::from_utf8(key).unwrap();
            let stream = SIZE_CLASSES.iter().find(|stream| name.starts_with(stream.name)).unwrap();
            let (least, most) = stream.value_bytes;
            assert!((least..=most).contains(&(value.len() as u64)), "{name}: {}", value.len());
        }
    }
}
