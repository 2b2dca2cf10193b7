//! `RecordIter`: iterates over the records of a log, for the log's handle and its reader.

use std::marker::PhantomData;
use std::path::PathBuf;

use anyhow::Result;

use crate::datawal::errors::to_anyhow;
use crate::datawal::record::Cursor;
use crate::datawal::{Record, RecoveryReport};
use crate::{Error, Reader, Recovery};

/// An iterator over the records of a log, oldest first. It ends after an error.
///
/// It keeps 1 MiB of the log in memory, however large a segment is.
pub struct RecordIter<'log> {
    dir: PathBuf,
    /// `None` if there is no log yet, and after the end.
    reader: Option<Reader>,
    cursor: Cursor,
    /// The iterator ends before a later segment.
    last_segment: u32,
    report: RecoveryReport,
    /// The engine's report, added to ours at the end.
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

    /// The report up to here; complete once the iterator is at its end.
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
                to_anyhow(error)
                    .context(format!("datawal: {what} at offset {offset} of segment {segment}"))
            })?;
            let mut cursor = self.cursor;
            let logged = cursor.take(record.data(), &self.dir, record.seq()).map_err(to_anyhow)?;
            if cursor.segment > self.last_segment {
                break;
            }
            self.cursor = cursor;
            self.report.add_records(cursor);
            if let Some(logged) = logged {
                return Ok(Some(logged.to_record()));
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
