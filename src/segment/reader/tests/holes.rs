//! Sparse files, which are longer than their data.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::format::{Place, seal};

/// Some bytes, a hole, and perhaps some more at the end.
#[derive(Debug)]
struct Sparse {
    bytes: Vec<u8>,
    at_end: Vec<u8>,
    file_bytes: u64,
    bytes_read: AtomicU64,
}

impl Sparse {
    fn at_end_from(&self) -> u64 {
        self.file_bytes - self.at_end.len() as u64
    }
}

impl StorageFile for Sparse {
    fn bytes(&self) -> Result<u64> {
        Ok(self.file_bytes)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let len = (self.file_bytes - offset.min(self.file_bytes)).min(buf.len() as u64) as usize;
        self.bytes_read.fetch_add(len as u64, Ordering::Relaxed);
        for (at, byte) in (offset..).zip(&mut buf[..len]) {
            let end = at.checked_sub(self.at_end_from()).map(|at| self.at_end[at as usize]);
            *byte = end.or(self.bytes.get(at as usize).copied()).unwrap_or(0);
        }
        Ok(len)
    }

    fn next_data(&self, from: u64) -> Result<Option<u64>> {
        Ok(match from {
            _ if from < self.bytes.len() as u64 || from >= self.at_end_from() => Some(from),
            _ if self.at_end.is_empty() => None,
            _ => Some(self.at_end_from()),
        })
    }
}

#[test]
fn a_segment_that_was_grown_to_any_length_is_not_read_through() {
    const GROWN: u64 = 20 << 30;
    let segment = SegmentBytes::new(1, 77).batch(2);
    let torn = segment.clone().bytes(&[7; 500]);
    for (bytes, at_end, kind) in [
        (segment.bytes.clone(), vec![], StopKind::Blank),
        (segment.bytes, vec![0; 3 << 20], StopKind::Blank),
        (torn.bytes.clone(), vec![], StopKind::Damaged),
        (torn.bytes, vec![9; 3 << 20], StopKind::Damaged),
    ] {
        let bytes_read = AtomicU64::new(0);
        let file = Arc::new(Sparse { bytes, at_end, file_bytes: GROWN, bytes_read });
        let mut scanner =
            SegmentScanner::new(Arc::clone(&file) as Arc<dyn StorageFile>, 0, Origin::UNKNOWN, 1)
                .unwrap();
        let (seqs, stop) = scan(&mut scanner);
        assert_eq!((seqs, stop.kind), (vec![1, 2], kind));
        assert_eq!(scanner.later_witness(&stop).unwrap(), None);
        let read = file.bytes_read.load(Ordering::Relaxed);
        assert!(read < 64 << 20, "{read} bytes were read");
    }
}

#[test]
fn a_batch_behind_a_hole_is_found() {
    const BEHIND: u64 = 3 << 30;
    let segment = SegmentBytes::new(1, 77).batch(2).bytes(&[7; UNIT]);
    let mut at_end = SegmentBytes::new(9, 77).batch(1).bytes;
    let (header, _) = BatchHeader::parse(&at_end).unwrap();
    let heads = at_end[HEADER_SIZE..][..RECORD_HEAD_SIZE].to_vec();
    let place = Place { log: Some(LOG_TAG), segment: 1 };
    seal(&mut at_end, Some(&place), &header, &heads);
    let (bytes, file_bytes) = (segment.bytes, BEHIND + at_end.len() as u64);
    let file = Sparse { bytes, at_end, file_bytes, bytes_read: AtomicU64::new(0) };
    let mut scanner = SegmentScanner::new(Arc::new(file), 0, Origin::UNKNOWN, 1).unwrap();
    let stop = scan(&mut scanner).1;
    assert_eq!(stop.kind, StopKind::Damaged);
    let found = scanner.later_witness(&stop).unwrap().unwrap();
    assert_eq!((found.offset, found.first_seq), (BEHIND, 9));
}
