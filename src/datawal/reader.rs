//! A log seen from outside, without opening it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::datawal::RecordIter;
use crate::datawal::engine::{self, refuse_unimported};
use crate::datawal::record::Cursor;
use crate::{BackendKind, Reader};

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
            .with_context(|| format!("datawal: look at the reader's dir {}", dir.display()))?;
        if !found.is_dir() {
            bail!("datawal: the reader's dir {} is not a directory", dir.display());
        }
        refuse_unimported(dir)?;
        let mut cursor = Cursor::FIRST;
        let reader = read_only(dir)?;
        let mut last = u32::from(reader.is_some());
        for record in reader.into_iter().flatten() {
            // Scanning tells it, once it comes to that.
            let Ok(record) = record else { break };
            cursor.take(record.data(), dir, record.seq())?;
            last = cursor.segment;
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
    let reader = engine::builder(dir, BackendKind::Auto).read_only();
    let failed = || format!("datawal: open the reader's dir {}", dir.display());
    reader.map(Some).with_context(failed)
}
