//! Drops files from the page cache, so that opening them is cold.
//!
//! 1. As root on Linux, the caches of the whole system are dropped, so every program reads from
//!    disk again. `--drop-caches false` forbids this.
//! 2. Otherwise the system is advised to drop the files (`posix_fadvise`). A file system that
//!    ignores the advice makes all compared reads faster, unless they bypass the cache.
//! 3. Neither drops data that is not on disk yet, so all files must be synced first.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use ringwal::io::{Access, StdStorage, Storage};

use crate::output::exit::Failure;

/// How files are dropped from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheDrop {
    /// All caches of the system are dropped.
    WholeSystem,
    /// The system is advised to drop the files.
    Advised,
}

/// On `3`, the kernel drops pages, dentries and inodes.
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

impl CacheDrop {
    /// The best available and permitted way.
    pub(crate) fn best(may_drop: bool) -> CacheDrop {
        match may_drop && open_drop_caches().is_ok() {
            true => CacheDrop::WholeSystem,
            false => CacheDrop::Advised,
        }
    }

    /// Its name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            CacheDrop::WholeSystem => "drop_caches",
            CacheDrop::Advised => "posix_fadvise",
        }
    }

    /// Drops all segments of the log in `dir` and returns their names in order.
    pub(crate) fn drop_segments(self, dir: &Path) -> Result<Vec<String>, Failure> {
        let storage = StdStorage::new(dir);
        let mut names = storage.list()?;
        names.retain(|name| name.ends_with(".seg"));
        names.sort();
        for name in &names {
            storage.open(name, Access::Read)?.drop_cache();
        }
        if self == CacheDrop::WholeSystem {
            open_drop_caches()
                .and_then(|mut file| file.write_all(b"3"))
                .map_err(|error| io::Error::other(format!("{error}; try --drop-caches false")))
                .map_err(|error| Failure::Raw(DROP_CACHES.into(), error))?;
        }
        Ok(names)
    }
}

impl fmt::Display for CacheDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CacheDrop::WholeSystem => "the caches of the whole system were dropped",
            CacheDrop::Advised => "the system was asked to forget the files (posix_fadvise)",
        })
    }
}

fn open_drop_caches() -> io::Result<File> {
    File::options().write(true).open(DROP_CACHES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_dropped_only_where_it_is_wanted_and_allowed() {
        assert_eq!(CacheDrop::best(false), CacheDrop::Advised);
        let allowed = open_drop_caches().is_ok();
        assert_eq!(CacheDrop::best(true) == CacheDrop::WholeSystem, allowed);
    }

    #[test]
    fn segments_are_named_in_order_and_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.seg", "a.seg", "state"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        assert_eq!(CacheDrop::Advised.drop_segments(dir.path()).unwrap(), ["a.seg", "b.seg"]);
        assert_eq!(std::fs::read(dir.path().join("a.seg")).unwrap(), b"a.seg");
    }
}
