//! `RecordLogReader`: reads a log without its lock, also beside a live writer.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::datawal::RecordIter;
use crate::datawal::engine::{self, refuse_unimported};
use crate::datawal::errors::to_anyhow;
use crate::datawal::record::Cursor;
use crate::{BackendKind, Builder, Reader};

/// The segments of a log as of the opening of the reader. A reader takes no lock, changes nothing,
/// and works beside a writer.
///
/// Opening reads the whole log once, to find where its segments begin.
///
/// ```
/// use ringwal::datawal::{RecordLog, RecordLogReader};
///
/// let dir = tempfile::tempdir()?;
/// let mut log = RecordLog::open(dir.path())?;
/// log.append(b"first")?;
/// let reader = RecordLogReader::open(dir.path())?;
/// log.append(b"of the same segment")?;
/// log.rotate()?;
/// log.append(b"of the next one")?;
/// assert_eq!(reader.segments(), [1]);
/// assert_eq!(reader.scan_iter()?.count(), 2);
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct RecordLogReader {
    dir: PathBuf,
    segments: Vec<u32>,
}

impl RecordLogReader {
    /// Opens a directory, which may have no log yet.
    ///
    /// # Errors
    ///
    /// If there is no such directory, if it has files of the crate datawal, or if it has records of
    /// another kind of log.
    pub fn open(dir: &Path) -> Result<Self> {
        let found = fs::metadata(dir)
            .with_context(|| format!("datawal: stat reader dir {}", dir.display()))?;
        if !found.is_dir() {
            bail!("datawal: reader dir {} is not a directory", dir.display());
        }
        refuse_unimported(dir)?;
        let mut last = 0;
        if engine::has_log(dir)? {
            let cursor = Cell::new(Cursor::FIRST);
            let begin = &mut || cursor.set(Cursor::FIRST);
            // Damage is no error here: a scan reports it when it gets there.
            let looked = builder(dir).read_only_snapshot(begin, &mut |place, bytes| {
                let mut next = cursor.get();
                next.take(bytes, dir, place.seq())?;
                cursor.set(next);
                Ok(())
            });
            looked.map_err(to_anyhow).with_context(|| failed(dir))?;
            last = cursor.get().segment;
        }
        Ok(RecordLogReader { dir: dir.to_path_buf(), segments: (1..=last).collect() })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The numbers of the segments.
    pub fn segments(&self) -> &[u32] {
        &self.segments
    }

    /// Iterates over the records of these segments as they are now. A segment may have more of them
    /// than when the reader was opened.
    ///
    /// # Errors
    ///
    /// If the log cannot be read. Damage is an item of the iterator.
    pub fn scan_iter(&self) -> Result<RecordIter<'_>> {
        let Some(&last) = self.segments.last() else {
            return Ok(RecordIter::new(self.dir.clone(), None, 0, None));
        };
        let reader = read_only(&self.dir)?;
        let found = reader.as_ref().and_then(Reader::recovery).cloned();
        Ok(RecordIter::new(self.dir.clone(), reader, last, found))
    }
}

/// The engine's reader; `None` if no log was ever opened in `dir`.
fn read_only(dir: &Path) -> Result<Option<Reader>> {
    if !engine::has_log(dir)? {
        return Ok(None);
    }
    let reader = builder(dir).read_only();
    reader.map(Some).map_err(to_anyhow).with_context(|| failed(dir))
}

fn builder(dir: &Path) -> Builder {
    engine::builder(dir, BackendKind::Auto)
}

fn failed(dir: &Path) -> String {
    format!("datawal: open reader dir {}", dir.display())
}
