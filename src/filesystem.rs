//! The file system that a directory is on, and its properties that matter to a log: copy on write,
//! direct I/O, the size of its blocks.
//!
//! A quirk of a file system belongs here, in `KNOWN`, by the magic number of `statfs`. The file
//! systems that honour `RWF_DSYNC` are listed in `io/probe/strategies.rs`, beside the choice that
//! depends on them.

use std::path::Path;

use crate::sys::page_bytes;

/// The properties of a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filesystem {
    /// Its name, as messages show it; `unknown` if it cannot be told.
    pub(crate) name: String,
    /// An overwrite goes to new blocks, so writing blocks beforehand buys nothing.
    pub(crate) copy_on_write: bool,
    /// A local journaling file system that implements direct I/O itself, rather than emulating it
    /// or passing it on.
    pub(crate) direct_known: bool,
    /// The size of the blocks that it overwrites in place; 0 if it copies on write or sends the
    /// bytes to a server.
    pub(crate) block_bytes: u64,
}

impl Filesystem {
    /// The file system that `path` is on.
    pub(crate) fn of(path: &Path) -> Filesystem {
        platform::filesystem(path).unwrap_or_else(|| Filesystem::new("unknown", false, false))
    }

    fn new(name: impl Into<String>, copy_on_write: bool, direct_known: bool) -> Filesystem {
        Filesystem { name: name.into(), copy_on_write, direct_known, block_bytes: 0 }
    }

    fn with_blocks_of(self, bytes: u64) -> Filesystem {
        const SENDERS: [&str; 5] = ["fuse", "nfs", "cifs", "smb2", "9p"];
        let has_none = self.copy_on_write || SENDERS.contains(&self.name.as_str());
        Filesystem { block_bytes: if has_none { 0 } else { bytes }, ..self }
    }

    /// The unit of writes through the page cache, in bytes. The operating system writes back whole
    /// pages and the file system whole blocks, so a batch that starts at a multiple of both shares
    /// neither with acknowledged bytes.
    pub(crate) fn cached_unit(&self) -> u64 {
        cached_unit(page_bytes(), self.block_bytes)
    }
}

/// The limits of that unit. A larger "block size" is a preferred size of transfers, not a block.
const CACHED_UNITS: std::ops::RangeInclusive<u64> = 4096..=64 << 10;

fn cached_unit(page_bytes: u64, block_bytes: u64) -> u64 {
    let unit = page_bytes.max(block_bytes).checked_next_power_of_two();
    unit.unwrap_or(u64::MAX).clamp(*CACHED_UNITS.start(), *CACHED_UNITS.end())
}

#[cfg(target_os = "linux")]
mod platform {
    use std::path::Path;

    use super::Filesystem;
    use crate::sys::statfs;

    #[allow(
        clippy::unnecessary_cast,
        clippy::useless_conversion,
        reason = "the types differ between C libraries"
    )]
    pub(super) fn filesystem(path: &Path) -> Option<Filesystem> {
        let answer = statfs(path)?;
        let magic = answer.f_type as u64 & 0xffff_ffff;
        let known = KNOWN.iter().find(|known| known.0 == magic);
        let found = match known {
            Some(&(_, name, copy_on_write, direct)) => Filesystem::new(name, copy_on_write, direct),
            None => Filesystem::new(format!("unknown ({magic:#x})"), false, false),
        };
        Some(found.with_blocks_of(u64::try_from(answer.f_bsize).unwrap_or(0)))
    }

    // Magic number, name, copies on write, implements direct I/O.
    const KNOWN: [(u64, &str, bool, bool); 15] = [
        (0xef53, "ext4", false, true),
        (0x5846_5342, "xfs", false, true),
        (0xf2f5_2010, "f2fs", false, true),
        (0x3153_464a, "jfs", false, true),
        (0x9123_683e, "btrfs", true, false),
        (0x2fc1_2fc1, "zfs", true, false),
        (0xca45_1a4e, "bcachefs", true, false),
        (0x0102_1994, "tmpfs", false, false),
        (0x8584_58f6, "ramfs", false, false),
        (0x794c_7630, "overlayfs", false, false),
        (0x6573_5546, "fuse", false, false),
        (0x6969, "nfs", false, false),
        (0x0102_1997, "9p", false, false),
        (0xff53_4d42, "cifs", false, false),
        (0xfe53_4d42, "smb2", false, false),
    ];
}

#[cfg(target_os = "macos")]
mod platform {
    use std::path::Path;

    use super::Filesystem;
    use crate::sys::statfs;

    pub(super) fn filesystem(path: &Path) -> Option<Filesystem> {
        let answer = statfs(path)?;
        let name: Vec<u8> =
            answer.f_fstypename.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
        let name = String::from_utf8_lossy(&name).into_owned();
        let copy_on_write = name == "apfs";
        let block_bytes = u64::from(answer.f_bsize);
        Some(Filesystem::new(name, copy_on_write, false).with_blocks_of(block_bytes))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
mod platform {
    use std::path::Path;

    use super::Filesystem;

    pub(super) fn filesystem(_path: &Path) -> Option<Filesystem> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_of_a_directory_has_a_name() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!Filesystem::of(dir.path()).name.is_empty());
    }

    #[test]
    fn through_the_page_cache_the_unit_is_the_larger_of_page_and_block() {
        for (page, block, unit) in [
            (0, 0, 4096),
            (4096, 1024, 4096),
            (16 << 10, 4096, 16 << 10),
            (4096, 64 << 10, 64 << 10),
            (64 << 10, 4096, 64 << 10),
            (4096, 5000, 8192),
            (4096, 1 << 20, 64 << 10),
            (4096, u64::MAX, 64 << 10),
        ] {
            assert_eq!(cached_unit(page, block), unit, "page {page}, block {block}");
        }
        let of = |name: &str, cow| Filesystem::new(name, cow, false).with_blocks_of(64 << 10);
        assert_eq!(of("xfs", false).block_bytes, 64 << 10);
        assert_eq!((of("zfs", true).block_bytes, of("nfs", false).block_bytes), (0, 0));
        if cfg!(unix) {
            assert!(page_bytes() >= 4096);
        }
    }

    #[test]
    fn a_path_that_does_not_exist_is_on_an_unknown_file_system() {
        assert_eq!(Filesystem::of(Path::new("/does/not/exist")).name, "unknown");
    }
}
