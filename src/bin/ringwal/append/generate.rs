//! Generated records: the same for the same count and size, on every machine.
//!
//! A record is printable, so that `dump` shows it as a line, and hard to compress: it starts with
//! its number, as far as the size allows, and continues with noise derived from it.

use crossbeam_channel::Sender;

use crate::append::input::{Chunk, Message};
use crate::util::random::splitmix64;

/// Sends `count` records of `size` bytes. Returns early when the receiver is gone.
pub(crate) fn generate_records(count: u64, size: usize, chunks: &Sender<Message>) {
    let mut chunk = Chunk::default();
    let mut record = Vec::with_capacity(size);
    for number in 1..=count {
        fill(&mut record, number, size);
        chunk.push(&record);
        if chunk.is_full() && chunks.send(Ok(std::mem::take(&mut chunk))).is_err() {
            return;
        }
    }
    if !chunk.is_empty() {
        // The receiver is gone: the command is ending.
        let _ = chunks.send(Ok(chunk));
    }
}

fn fill(record: &mut Vec<u8>, number: u64, size: usize) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    record.clear();
    record.extend_from_slice(number.to_string().as_bytes());
    record.push(b' ');
    let mut state = number;
    while record.len() < size {
        let mut noise = splitmix64(&mut state);
        for _ in 0..10 {
            record.push(ALPHABET[usize::from(noise as u8 & 63)]);
            noise >>= 6;
        }
    }
    record.truncate(size);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_the_size_and_differ() {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for size in [0, 1, 2, 3, 64, 1000] {
            fill(&mut one, 1, size);
            fill(&mut two, 2, size);
            assert_eq!((one.len(), two.len()), (size, size));
            assert!(size == 0 || one != two);
            assert!(one.iter().all(|byte| (b' '..=b'z').contains(byte)));
        }
    }

    #[test]
    fn records_are_the_same_for_ever() {
        let mut record = Vec::new();
        fill(&mut record, 7, 16);
        assert_eq!(String::from_utf8_lossy(&record), "7 X3gMZRe4LPcYGP");
    }
}
