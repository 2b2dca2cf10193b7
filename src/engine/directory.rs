//! The directory of a log: creates it for opening, or checks that it may hold one.
//!
//! A log begins only in a directory that is new, empty, or its own. No file is created or changed
//! before that is known.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::engine::options::LogOptions;
use crate::error::{Error, Result};
use crate::io::{Access, StdStorage, Storage};
use crate::segment::name;

/// Creates the directory durably, or checks that an existing one may hold a log.
pub(crate) fn make_dir(options: &LogOptions) -> Result<()> {
    let dir = &options.dir;
    match fs::metadata(dir) {
        Ok(found) if !found.is_dir() => {
            let reason = "it is a file, not a directory".to_owned();
            return Err(Error::NotALog { path: dir.clone(), reason });
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let missing: Vec<&Path> = dir.ancestors().take_while(|at| !at.exists()).collect();
            fs::create_dir_all(dir).map_err(|source| {
                Error::io("create the directory", dir, source).or_no_space(dir.clone(), 0)
            })?;
            // The new directories' names must survive, or the log in them is lost.
            for parent in missing.into_iter().filter_map(Path::parent) {
                let parent = if parent == Path::new("") { Path::new(".") } else { parent };
                StdStorage::new(parent).sync_dir()?;
            }
        }
        Err(error) => return Err(Error::io("look at", dir, error)),
    }
    let storage = StdStorage::new(dir);
    let names = storage.list()?;
    let (shard, state) = (options.shard, name::state_name(options.shard));
    let lock = name::lock_name(shard);
    let is_file = |n: &str| fs::symlink_metadata(storage.real_path(n)).is_ok_and(|n| n.is_file());
    let is_own = |n: &str| n == state || n == lock || name::parse_segment(shard, n).is_some();
    if let Some(foreign) = names.iter().find(|n| is_own(n.as_str()) && !is_file(n.as_str())) {
        let reason = format!("{foreign:?} in it is not a regular file");
        return Err(Error::NotALog { path: dir.clone(), reason });
    }
    if names.iter().any(|n| *n == state || name::parse_segment(shard, n).is_some()) {
        return Ok(());
    }
    // A log would begin here, so there must be no foreign files.
    let foreign = names.iter().find(|n| !name::is_expected(n));
    let foreign_lock = || names.iter().find(|n| **n == lock && !is_lock(&storage, n));
    if let Some(foreign) = foreign.or_else(foreign_lock) {
        let reason = format!("it has other files, such as {foreign:?}, and no segment");
        return Err(Error::NotALog { path: dir.clone(), reason });
    }
    Ok(())
}

/// Whether this may be a log's lock file: it is empty or has the number of a process.
fn is_lock(storage: &StdStorage, name: &str) -> bool {
    const BYTES_MAX: u64 = 16;
    let Ok(file) = storage.open(name, Access::Read) else { return false };
    let mut bytes = [0; BYTES_MAX as usize];
    match (file.bytes(), file.read_at(&mut bytes, 0)) {
        (Ok(len), Ok(read)) if len <= BYTES_MAX => {
            bytes[..read].iter().all(|byte| byte.is_ascii_digit() || *byte == b'\n')
        }
        _ => false,
    }
}
