//! A log seen from outside, without opening it.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::datawal::RecordIter;
use crate::datawal::engine::{self, refuse_unimported};
use crate::datawal::record::Cursor;
use crate::datawal::told::told;
use crate::{BackendKind, Builder, Reader};

/// The segments of a log as they were when this was opened. It takes no lock and changes nothing;
/// a writer may be at work.
///
/// Opening reads the whole log once, to learn where its segments begin.
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
    /// Looks at a directory, in which there need not be a log yet.
    ///
    /// # Errors
    ///
    /// When it is not there, is no directory, has files of the crate datawal, or has records that
    /// are none of such a log.
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
            // Damage is told by a scan, once it comes to that.
            let looked = builder(dir).read_only_snapshot(begin, &mut |place, bytes| {
                let mut next = cursor.get();
                next.take(bytes, dir, place.seq())?;
                cursor.set(next);
                Ok(())
            });
            looked.map_err(told).with_context(|| failed(dir))?;
            last = cursor.get().segment;
        }
        Ok(RecordLogReader { dir: dir.to_path_buf(), segments: (1..=last).collect() })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The segments that there were.
    pub fn segments(&self) -> &[u32] {
        &self.segments
    }

    /// The records of these segments as they are now: a segment may have more of them than when
    /// this was opened.
    ///
    /// # Errors
    ///
    /// When the log cannot be read. Damage is an item of the iterator.
    pub fn scan_iter(&self) -> Result<RecordIter<'_>> {
        let Some(&last) = self.segments.last() else {
            return Ok(RecordIter::new(self.dir.clone(), None, 0, None));
        };
        let reader = read_only(&self.dir)?;
        let found = reader.as_ref().and_then(Reader::recovery).cloned();
        Ok(RecordIter::new(self.dir.clone(), reader, last, found))
    }
}

/// A reader of what is on disk; `None` where no log was ever opened.
fn read_only(dir: &Path) -> Result<Option<Reader>> {
    if !engine::has_log(dir)? {
        return Ok(None);
    }
    let reader = builder(dir).read_only();
    reader.map(Some).map_err(told).with_context(|| failed(dir))
}

fn builder(dir: &Path) -> Builder {
    engine::builder(dir, BackendKind::Auto)
}

fn failed(dir: &Path) -> String {
    format!("datawal: open reader dir {}", dir.display())
}
