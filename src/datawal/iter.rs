//! Records in their order.

use std::marker::PhantomData;
use std::path::PathBuf;

use anyhow::Result;

use crate::datawal::record::Cursor;
use crate::datawal::told::told;
use crate::datawal::{Record, RecoveryReport};
use crate::{Error, Reader, Recovery};

/// An iterator over the records of a log, oldest first, one at a time. After an error it has
/// nothing more.
///
/// It has a piece of 1 MiB of the log in memory, however large a segment is.
pub struct RecordIter<'log> {
    dir: PathBuf,
    /// `None` where there is no log yet, and when nothing more will come.
    reader: Option<Reader>,
    cursor: Cursor,
    /// What begins after this segment is not shown.
    last_segment: u32,
    report: RecoveryReport,
    /// Goes into the report at the end.
    found: Option<Recovery>,
    _log: PhantomData<&'log ()>,
}

impl RecordIter<'_> {
    pub(crate) fn new<'log>(
        dir: PathBuf,
        reader: Option<Reader>,
        last_segment: u32,
        found: Option<Recovery>,
    ) -> RecordIter<'log> {
        let (cursor, report) = (Cursor::FIRST, RecoveryReport::default());
        RecordIter { dir, reader, cursor, last_segment, report, found, _log: PhantomData }
    }

    /// What was found up to here; complete when the iterator is at its end.
    pub fn recovery_report(&self) -> RecoveryReport {
        self.report.clone()
    }

    fn try_next(&mut self) -> Result<Option<Record>> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        self.report.add_records(self.cursor);
        for record in reader {
            let record = record.map_err(|error| {
                let what = match &error {
                    Error::Corrupt(_) => "CRC mismatch",
                    _ => "scan",
                };
                let Cursor { segment, offset, .. } = self.cursor;
                told(error)
                    .context(format!("datawal: {what} at offset {offset} of segment {segment}"))
            })?;
            let mut cursor = self.cursor;
            let seen = cursor.take(record.data(), &self.dir, record.seq()).map_err(told)?;
            if cursor.segment > self.last_segment {
                break;
            }
            self.cursor = cursor;
            self.report.add_records(cursor);
            if let Some(seen) = seen {
                return Ok(Some(seen.to_record()));
            }
        }
        if let Some(found) = self.found.take() {
            self.report.add_tail(&found);
        }
        Ok(None)
    }
}

impl Iterator for RecordIter<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.try_next().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.reader = None;
        }
        next
    }
}
