//! Counts the whole records in bytes that an import leaves behind. The count distinguishes a torn
//! tail from damage in the middle, and from a tail to which the crate datawal has appended since.
//!
//! Memory: a window and the largest record. Work: a few times the bytes searched, whatever they
//! are.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::datawal::format::{HEADER_LEN, Header, MAGIC, crc_holds};
use crate::{Error, Result};

/// The bytes of one read.
const WINDOW_BYTES: u64 = 1 << 20;
/// The search ends once invalid headers of long records have cost this many times the bytes.
const WASTED_MAX: u64 = 8;

/// Counts the whole records in the bytes `from..to` of a file, with anything between them.
pub(crate) fn whole_records(path: &Path, from: u64, to: u64) -> Result<u64> {
    let count = || {
        let file = File::open(path)?;
        Search { file, to, begin: from, window: Vec::new() }.count(from)
    };
    count().map_err(|error| Error::io("read", path, error))
}

struct Search {
    file: File,
    /// The end of the bytes.
    to: u64,
    /// The offset of the window.
    begin: u64,
    window: Vec<u8>,
}

impl Search {
    fn count(&mut self, from: u64) -> std::io::Result<u64> {
        let (mut at, mut found) = (from, 0);
        let mut budget = self.to.saturating_sub(from).saturating_mul(WASTED_MAX);
        while self.to.saturating_sub(at) >= HEADER_LEN as u64 {
            let rest = self.bytes(at, HEADER_LEN as u64)?;
            // The file became shorter meanwhile.
            let Some(head) = rest.first_chunk::<HEADER_LEN>() else { break };
            if !head.starts_with(&MAGIC) {
                let next = rest.windows(MAGIC.len()).position(|bytes| bytes == MAGIC);
                // A record may begin with the last bytes of the window.
                at += next.unwrap_or(rest.len() - (MAGIC.len() - 1)) as u64;
                continue;
            }
            let len = match Header::parse(head) {
                Ok(header) => u64::from(header.record_len()),
                Err(_) => u64::MAX,
            };
            if len > self.to - at {
                at += 1;
            } else if self.bytes(at, len)?.get(..len as usize).is_some_and(crc_holds) {
                found += 1;
                at += len;
            } else if let Some(left) = budget.checked_sub(len) {
                budget = left;
                at += 1;
            } else {
                break;
            }
        }
        Ok(found)
    }

    /// The window's bytes from `at` on: at least `len`, unless the file is shorter.
    fn bytes(&mut self, at: u64, len: u64) -> std::io::Result<&[u8]> {
        if at < self.begin || at + len > self.begin + self.window.len() as u64 {
            let bytes = len.max(WINDOW_BYTES).min(self.to.saturating_sub(at));
            self.window.clear();
            self.file.seek(SeekFrom::Start(at))?;
            self.file.by_ref().take(bytes).read_to_end(&mut self.window)?;
            self.begin = at;
        }
        let skipped = usize::try_from(at - self.begin).unwrap_or(usize::MAX);
        Ok(self.window.get(skipped..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::datawal::format::{RecordType, encode_record};

    fn count(bytes: &[u8], from: u64) -> u64 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        whole_records(&path, from, bytes.len() as u64).unwrap()
    }

    #[test]
    fn every_whole_record_counts_wherever_it_lies() {
        let record = encode_record(RecordType::Put, 1, b"k", b"v").unwrap();
        let long = encode_record(RecordType::Put, 1, b"k", &vec![7; 3 << 20]).unwrap();
        let torn = &record[..record.len() - 1];
        assert_eq!(count(b"", 0), 0);
        assert_eq!(count(b"DWAL", 0), 0);
        assert_eq!(count(torn, 0), 0);
        assert_eq!(count(&record, 0), 1);
        assert_eq!(count(&record, 1), 0);
        assert_eq!(count(&[torn, &record, b"DWA", &record].concat(), 0), 2);
        assert_eq!(count(&[&record[..], &long, torn, &long, &record].concat(), 0), 4);
        for shift in 0..2 * HEADER_LEN {
            let zeros = vec![0; WINDOW_BYTES as usize - shift];
            assert_eq!(count(&[&zeros[..], &record, &zeros, &record].concat(), 0), 2, "{shift}");
        }
    }

    #[test]
    fn headers_of_long_records_end_the_search_in_time() {
        let mut head = encode_record(RecordType::Put, 1, b"", b"").unwrap();
        head.truncate(HEADER_LEN);
        // The payload's length: 4 MiB.
        head[22] = 0x40;
        let bytes = head.repeat((8 << 20) / HEADER_LEN);
        assert_eq!(count(&bytes, 0), 0);
    }
}
