//! The names of the files of the crate datawal: `00000001.dwal` and so on. A log of this crate has
//! no such files; the functions are for programs that look at a directory before its
//! [import](crate::datawal::import).

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::Error;
use crate::datawal::errors::to_anyhow;

/// The extension of a segment's file name, without the dot.
pub const SEGMENT_EXT: &str = "dwal";
/// The number of digits in a segment's file name.
pub const SEGMENT_ID_WIDTH: usize = 8;

/// The path of a segment's file.
pub fn segment_path(dir: &Path, id: u32) -> PathBuf {
    dir.join(format!("{id:0width$}.{SEGMENT_EXT}", width = SEGMENT_ID_WIDTH))
}

/// Parses the name of a segment's file.
pub fn parse_segment_filename(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(SEGMENT_EXT)?.strip_suffix('.')?;
    let is_number = digits.len() == SEGMENT_ID_WIDTH && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

/// The segments in a directory, ascending.
pub(crate) fn list(dir: &Path) -> crate::Result<Vec<u32>> {
    let failed = |error| Error::io("list", dir, error);
    let mut ids = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let id = entry.file_name().to_str().and_then(parse_segment_filename);
        if let Some(id) = id
            && entry.file_type().map_err(failed)?.is_file()
        {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

/// The segments in a directory, ascending. Only regular files with such a name count.
///
/// # Errors
///
/// If the directory cannot be listed.
pub fn list_segment_ids(dir: &Path) -> Result<Vec<u32>> {
    list(dir).map_err(to_anyhow).with_context(|| format!("datawal: read_dir {}", dir.display()))
}

/// The last segment in a directory.
///
/// # Errors
///
/// As [`list_segment_ids`].
pub fn active_segment_id(dir: &Path) -> Result<Option<u32>> {
    Ok(list_segment_ids(dir)?.last().copied())
}

/// The number after those in `existing`, which is ascending.
///
/// # Errors
///
/// If there is no number left.
pub fn next_segment_id(existing: &[u32]) -> Result<u32> {
    let last = existing.last().copied().unwrap_or_default();
    last.checked_add(1)
        .ok_or_else(|| anyhow!("datawal: segment id overflow at {last}; no id is left"))
}

/// The length of a segment's file; 0 if there is none.
///
/// # Errors
///
/// If the file's metadata cannot be read.
pub fn segment_size(dir: &Path, id: u32) -> Result<u64> {
    let path = segment_path(dir, id);
    match fs::metadata(&path) {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => {
            Err(error).with_context(|| format!("datawal: look at segment {}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_its_segment_alone() {
        assert_eq!(segment_path(Path::new("d"), 7), Path::new("d/00000007.dwal"));
        assert_eq!(parse_segment_filename("00000007.dwal"), Some(7));
        for name in ["7.dwal", "00000007dwal", "000000007.dwal", "+0000007.dwal", "0000000a.dwal"] {
            assert_eq!(parse_segment_filename(name), None, "{name}");
        }
    }

    #[test]
    fn a_directory_has_its_segments_in_order_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(active_segment_id(dir.path()).unwrap(), None);
        for name in ["00000010.dwal", "00000002.dwal", "notes.txt"] {
            fs::write(dir.path().join(name), "four").unwrap();
        }
        fs::create_dir(dir.path().join("00000003.dwal")).unwrap();
        assert_eq!(list_segment_ids(dir.path()).unwrap(), [2, 10]);
        assert_eq!(active_segment_id(dir.path()).unwrap(), Some(10));
        assert_eq!(segment_size(dir.path(), 2).unwrap(), 4);
        assert_eq!(segment_size(dir.path(), 4).unwrap(), 0);
        assert!(list_segment_ids(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn numbers_begin_at_one_and_end_at_the_last_one() {
        assert_eq!(next_segment_id(&[]).unwrap(), 1);
        assert_eq!(next_segment_id(&[1, 5]).unwrap(), 6);
        assert!(next_segment_id(&[u32::MAX]).is_err());
    }
}
